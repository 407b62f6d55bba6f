// The dashboard in a real Chromium: what it shows is what /status says, in light and dark, on a desk and on a phone.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import axe from 'axe-core';
import { chromium } from 'playwright-core';

import { key, openStage } from '../sdk/stage.mjs';

const config = fileURLToPath(new URL('gateway.yaml', import.meta.url));
const pictures = process.env.FOREBAY_SCREENSHOTS ?? fileURLToPath(new URL('../../target/screenshots', import.meta.url));
const TOKEN = 'a token of the operators';
const MARKUP = '<img/src=x/onerror=alert(1)>';
const PATIENCE = 30_000;
const flags = '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';
const looks = { desktop: { width: 1280, height: 900 }, tablet: { width: 820, height: 1180 }, phone: { width: 375, height: 812 } };

let browser;
before(async () => {
  mkdirSync(pictures, { recursive: true });
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags.split(' ') });
});
after(() => browser?.close());

/** A page, and what it did that it should not: its complaints, and what it asked of others. */
async function look(admin, { size = 'desktop', colorScheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: looks[size], colorScheme, reducedMotion: 'reduce', locale: 'en-GB' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const [complaints, strangers] = [[], []];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(`${error}`));
  page.on('dialog', (dialog) => (complaints.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on('request', (request) => request.url().startsWith(`${admin}/`) || request.url().startsWith('data:') || strangers.push(request.url()));
  const shoot = (name) => page.screenshot({ path: `${pictures}/${name}-${size}-${colorScheme}.png`, fullPage: true });
  return { page, complaints, strangers, shoot, close: () => context.close() };
}

/** From now on the page is given one answer of the gateway again and again; it is told once the page shows it. */
async function hold(page) {
  let text;
  await page.route('**/status?history', async (route) => {
    text ??= await (await route.fetch()).text();
    await route.fulfill({ body: text, contentType: 'application/json' });
  });
  const given = () => page.waitForResponse((answer) => answer.url().includes('/status'));
  await given();
  // By the time it asks again, it has shown what it was given.
  await given();
  return JSON.parse(text);
}

/** The page's text by model, deployment and field: the numbers themselves, without what stands beside them. */
const read = (page) =>
  page.evaluate(() => {
    const all = {};
    for (const row of document.querySelectorAll('tr[data-deployment]')) {
      const cells = [...row.querySelectorAll('[data-field]')].map((cell) => {
        const parts = [...cell.children].filter((it) => !it.hidden && it.getAttribute('aria-hidden') !== 'true');
        return [cell.dataset.field, parts.length ? parts.map((it) => it.textContent).filter(Boolean) : [cell.textContent]];
      });
      const model = row.closest('[data-model]').dataset.model;
      all[`${model}: ${row.dataset.deployment}`] = Object.fromEntries(cells);
    }
    return all;
  });

// How numbers and times are written; worked out apart from the page.
const trim = (n, digits) => n.toLocaleString('en-GB', { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });
function number(n) {
  if (n > 0 && n < 0.05) return '< 0.1';
  if (n >= 1e6 - 500) return `${trim(n / 1e6, n < 9.95e6 ? 1 : 0)} M`;
  if (n >= 999.5) return `${trim(n / 1e3, n < 9950 ? 1 : 0)} k`;
  return trim(n, n >= 9.95 || Number.isInteger(n) ? 0 : 1);
}
function span(seconds) {
  const steps = [[172800, 86400, ' days'], [7200, 3600, ' h'], [120, 60, ' min']];
  const step = steps.find(([from]) => seconds >= from);
  return step ? `${Math.floor(seconds / step[1])}${step[2]}` : `${Math.ceil(seconds)} s`;
}
function time(seconds) {
  if (seconds >= 9.95) return span(seconds);
  if (seconds >= 0.9995) return `${trim(seconds, 1)} s`;
  return seconds >= 0.0009995 ? `${Math.round(seconds * 1e3)} ms` : `${Math.round(seconds * 1e6)} µs`;
}
const percent = (part) => `${Math.round(part * 100)} %`;
const plain = (label) => label.replaceAll('_', ' ');

/** How attempts end here, in an operator's words. */
const ENDS = {
  served: 'served',
  throttled: '429 throttled',
  identity_rejected: 'credential refused (401, 403)',
  fault_connect: 'no connection',
};

function stateOf(d) {
  const causes = { throttle: 'Throttled', fault: 'Circuit open', credential: 'Credential refused', configuration: 'Not found' };
  if (d.state === 'closed') return ['Ready'];
  if (d.state === 'ramping') return ['Slow start', `gets ${percent(d.ramp)} of its weight`];
  if (d.state === 'trial') return ['Half-open', `one request probes it; was ${causes[d.cause].toLowerCase()}`];
  const cooldown = d.cause === 'throttle' ? 'cooldown, ' : '';
  return [causes[d.cause], d.retry_in_seconds === null ? 'the next request probes it' : `${cooldown}next retry in ${span(d.retry_in_seconds)}`];
}

/** What a deployment's row should say, by what /status says. */
function rowOf(d) {
  const left = [];
  if (d.remaining_tokens !== null) left.push(`${number(d.remaining_tokens)} tokens left`);
  if (d.remaining_requests !== null) left.push(`${number(d.remaining_requests)} requests left`);
  const capacity = [d.utilization !== null ? percent(d.utilization) : left.length ? '' : '–', left.join(', ')].filter(Boolean);
  const first = d.time_to_first_token;
  const attempts = Object.entries(d.attempts_last_minute).sort((a, b) => b[1] - a[1]);
  return {
    deployment: [d.instance, d.deployment + (d.type === 'provisioned' ? ' · provisioned' : '')],
    state: stateOf(d),
    share: [d.share === null ? '–' : percent(d.share), `weight ${percent(d.share_by_weight)}`],
    capacity,
    requests: [number(d.requests_per_second)],
    tokens: [number(d.tokens_per_second)],
    first: first ? [time(first.p50_seconds), `median, 95 % in ${time(first.p95_seconds)}`] : ['–'],
    inflight: [number(d.inflight)],
    attempts: [
      attempts.map(([label, n]) => `${number(n)} ${ENDS[label]}`).join(', ') || '–',
      d.last ? `last: ${ENDS[d.last.outcome]}, ${span(d.last.seconds_ago)} ago` : 'no requests yet',
    ],
  };
}

async function isLegible(page) {
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.equal(wide[0], wide[1], 'the page scrolls sideways');
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const said = found.violations.map((it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`);
  assert.deepEqual(said, []);
}

const eventually = async (what, isSo) => {
  for (const end = Date.now() + PATIENCE; ; ) {
    if (await isSo()) return;
    assert.ok(Date.now() < end, `never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

const statusOf = async (admin) => (await fetch(`${admin}/status`)).json();

describe('the dashboard', () => {
  let stage;
  const chat = (stream, signal) =>
    fetch(`${stage.url}/openai/v1/chat/completions`, {
      method: 'POST',
      signal,
      headers: { 'api-key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'gpt-4o', stream, messages: [{ role: 'user', content: 'Why do dams spill?' }] }),
    });
  const chats = async (count) => {
    for (let n = 0; n < count; n++) assert.ok((await (await chat(n % 2 === 0)).text()).length > 0);
  };

  before(async () => (stage = await openStage(undefined, config)));
  after(() => stage?.close());

  test('while all is well it says so', async () => {
    await chats(20);
    const { page, complaints, strangers, shoot, close } = await look(stage.admin);
    await page.goto(stage.admin);
    await page.getByText('All is well').waitFor();
    assert.equal(await page.locator('#alarms').isVisible(), false);
    const status = await hold(page);
    assert.equal(await page.locator('tr[data-deployment]').count(), 4);
    assert.match(await page.locator('#about').textContent(), new RegExp(`^${status.version.replaceAll('.', '\\.')} · serving · up `));
    await shoot('well');
    assert.deepEqual([complaints, strangers], [[], []]);
    await close();
  });

  describe('with one deployment throttled, one down, one that refuses the credential, and a stream under way', () => {
    const leave = new AbortController();
    let traffic;

    before(async () => {
      await stage.fault('swc-ptu', 'throttle', { seconds: 500 });
      await stage.down('frc-std');
      await stage.faultOne('swc-std', 'text-embedding-3-small', 'status', { status: 401 });
      await chats(40);
      await fetch(`${stage.url}/openai/v1/embeddings`, {
        method: 'POST',
        headers: { 'api-key': key, 'content-type': 'application/json' },
        body: JSON.stringify({ model: MARKUP, input: 'x' }),
      });
      await stage.fault('swc-std', 'silent', { ms: 600_000, after_events: 4 });
      const reader = (await chat(true, leave.signal)).body.getReader();
      await reader.read();
      // What was told not to come back does not; the rest serves on.
      await stage.heal();
      const go = async () => {
        while (!leave.signal.aborted) await chats(1);
      };
      traffic = go();
      await eventually('the scene is set', async () => {
        const status = await statusOf(stage.admin);
        const [ptu, std, frc] = status.models.find((it) => it.model === 'gpt-4o').deployments;
        return ptu.cause === 'throttle' && std.inflight >= 1 && frc.cause === 'fault' && std.share > 0;
      });
    });
    after(async () => {
      leave.abort();
      await traffic;
    });

    for (const size of Object.keys(looks))
      for (const colorScheme of ['light', 'dark'])
        test(`every row says what /status says (${size}, ${colorScheme})`, async () => {
          const { page, complaints, strangers, shoot, close } = await look(stage.admin, { size, colorScheme });
          await page.goto(stage.admin);
          const status = await hold(page);
          const expected = {};
          for (const it of status.models) for (const d of it.deployments) expected[`${it.model}: ${d.instance}/${d.deployment}`] = rowOf(d);
          assert.equal(Object.keys(expected).length, 4);
          assert.deepEqual(await read(page), expected);

          // Bars are as wide as their numbers.
          const bars = await page.locator('td.bar').evaluateAll((all) =>
            all.filter((it) => !it.querySelector('.rail').hidden).map((it) => [it.firstChild.textContent, it.querySelector('i').style.width]));
          assert.ok(bars.some(([text]) => parseInt(text, 10) > 50) && bars.length >= 5, `${bars}`);
          for (const [text, width] of bars) assert.ok(Math.abs((parseFloat(text) || 0) - parseFloat(width)) <= 0.5, `${text}: ${width}`);

          const causes = Object.values(expected).map((row) => row.state[0]).sort();
          assert.deepEqual(causes, ['Circuit open', 'Credential refused', 'Ready', 'Throttled']);
          const alarms = await page.locator('#alarms li').allTextContents();
          assert.deepEqual(alarms, status.alarms.map((it) => it.text + it.mend));
          assert.ok(alarms.length >= 3, `${alarms}`);
          assert.match(await page.locator('#verdict').textContent(), /^2 things to fix$/);
          const t = status.traffic;
          const tiles = await page.locator('.tile strong').allTextContents();
          assert.deepEqual(tiles.slice(0, 2), [number(t.requests_per_second), number(t.tokens_per_second)]);
          assert.equal(tiles[3], number(t.inflight));
          const place = (it) => (it ? `${it.instance}/${it.deployment}` : 'no deployment left');
          const moves = status.failovers.map((it) => [it.model, place(it.from), place(it.to), ENDS[it.cause] ?? it.cause, number(it.times), `${span(it.seconds_ago)} ago`]);
          assert.ok(moves.length >= 3, `${moves}`);
          const rows = page.locator('#failovers tbody tr');
          assert.deepEqual(await rows.evaluateAll((all) => all.map((row) => [...row.children].map((it) => it.textContent))), moves);
          const used = (client) => client.limits.filter((it) => Math.round((it.used / it.most) * 100) > 0);
          const limits = status.clients.flatMap((client) => used(client).map((it) => [
            client.client, plain(it.limit), `${percent(it.used / it.most)}${number(it.used)} of ${number(it.most)}, ${number(it.remaining)} left`,
            it.renews_in_seconds === null ? 'continuously' : `in ${span(it.renews_in_seconds)}`,
          ]));
          assert.ok(limits.length < 4, 'what is hardly used is left off');
          assert.match(await page.locator('#clients p').textContent(), /^\d limits? at 0 % not shown$/);
          assert.equal(await page.locator('#host').textContent(), status.gateway.host);
          assert.equal(tiles[4], status.traffic.answers_last_minute.failure ? tiles[4] : 'No failures');
          const shown = page.locator('#clients tbody tr');
          assert.deepEqual(await shown.evaluateAll((all) => all.map((row) => [...row.children].map((it) => it.textContent))), limits);
          assert.ok(status.clients[0].limits.some((it) => it.used > 0), 'the busy client comes first');
          // Names are text.
          assert.equal(await page.locator('main img').count(), 0);
          assert.ok(await page.getByRole('heading', { name: MARKUP, exact: true }).isVisible());

          await isLegible(page);
          await shoot('trouble');
          assert.deepEqual([complaints, strangers], [[], []]);
          await close();
        });

    test('it is live, and rests while nobody looks', async () => {
      const { page, close } = await look(stage.admin);
      await page.goto(stage.admin);
      const countdown = page.locator('tr[data-deployment="swc-ptu/gpt-4o-ptu"] [data-field=state] small');
      await countdown.waitFor();
      const seconds = async () => Number((await countdown.textContent()).match(/\d+/)[0]);
      const at = await page.locator('#about').textContent();
      await eventually('the uptime moves on', async () => (await page.locator('#about').textContent()) !== at);
      assert.ok((await seconds()) > 0);

      // A hidden tab: Chromium tells the page so, and it asks no more.
      await page.evaluate(() => {
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => globalThis.isHidden });
        globalThis.hide = (hidden) => {
          globalThis.isHidden = hidden;
          document.dispatchEvent(new Event('visibilitychange'));
        };
      });
      let asked = 0;
      page.on('request', () => asked++);
      await eventually('it asks', () => asked > 1);
      await page.evaluate(() => globalThis.hide(true));
      await page.waitForLoadState('networkidle');
      const before = asked;
      // Longer than any pause between two questions; a page that goes on asking is seen by then.
      await new Promise((resolve) => setTimeout(resolve, 3000));
      assert.ok(asked - before <= 1, `${asked - before} questions of a hidden page`);
      const resting = asked;
      await page.evaluate(() => globalThis.hide(false));
      await eventually('it asks again', () => asked > resting + 1);
      await close();
    });
  });

  test('a gateway that is gone is told, with the age of what stands there, and taken back', async () => {
    for (const [size, colorScheme] of [['desktop', 'light'], ['phone', 'dark']]) {
      const { page, complaints, strangers, shoot, close } = await look(stage.admin, { size, colorScheme });
      await page.goto(stage.admin);
      await page.locator('tr[data-deployment]').first().waitFor();
      await stage.end();
      const gone = page.getByRole('alert');
      await gone.getByText(/^The gateway does not answer\. The data below is from \d\d:\d\d:\d\d, \d+ (s|min) ago\.$/).waitFor();
      assert.ok(await page.evaluate(() => document.body.classList.contains('stale')));
      assert.ok(await page.locator('tr[data-deployment]').first().isVisible());
      await isLegible(page);
      await shoot('gone');
      await stage.begin();
      await gone.waitFor({ state: 'hidden' });
      assert.equal(await page.evaluate(() => document.body.classList.contains('stale')), false);
      const others = complaints.filter((it) => !it.includes('net::ERR_'));
      assert.deepEqual([others, strangers], [[], []]);
      await close();
    }
  });
});

describe('with a token', () => {
  let stage, folder;
  before(async () => {
    folder = mkdtempSync(`${tmpdir()}/forebay-browser-`);
    const hash = createHash('sha256').update(TOKEN).digest('hex');
    const guarded = readFileSync(config, 'utf8').replace('ADMIN_PORT}" }', `ADMIN_PORT}", token: "sha256:${hash}" }`);
    assert.ok(guarded.includes(hash));
    writeFileSync(`${folder}/gateway.yaml`, guarded);
    stage = await openStage(undefined, `${folder}/gateway.yaml`);
  });
  after(async () => {
    await stage?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const colorScheme of ['light', 'dark'])
    test(`the page asks for it, keeps it for this tab alone, and forgets it (${colorScheme})`, async () => {
      const size = colorScheme === 'dark' ? 'phone' : 'desktop';
      const { page, complaints, strangers, shoot, close } = await look(stage.admin, { size, colorScheme });
      const queries = [];
      page.on('request', (request) => request.url().includes(TOKEN.split(' ')[0] + '%20') && queries.push(request.url()));
      await page.goto(stage.admin);
      const field = page.getByLabel('Token', { exact: true });
      await field.waitFor();
      assert.equal(await page.locator('#all').isVisible(), false);
      await isLegible(page);
      await shoot('door');
      // The field has the focus: an operator types, and that is all.
      for (const [typed, says] of [['a wrong token', 'Wrong token.'], ['tökén', 'A token has ASCII characters only.']]) {
        await page.keyboard.type(typed);
        await page.keyboard.press('Enter');
        await page.getByText(says).waitFor();
      }
      await page.keyboard.type(TOKEN);
      await page.keyboard.press('Enter');
      await page.getByText('All is well').waitFor();
      await page.reload();
      await page.getByText('All is well').waitFor();
      const kept = () => page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie]);
      assert.deepEqual(await kept(), [1, 0, '']);
      await page.getByRole('button', { name: 'Forget the token' }).click();
      await field.waitFor();
      assert.deepEqual(await kept(), [0, 0, '']);
      await page.reload();
      await field.waitFor();
      const others = complaints.filter((it) => !it.includes('401'));
      assert.deepEqual([others, strangers, queries], [[], [], []]);
      await close();
    });
});

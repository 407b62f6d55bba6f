
'use strict';
// Shows what /status says, again and again. What comes from there is only ever put in as text.
const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

function make(tag, set = {}, ...inside) {
  const it = tag === 'svg' || tag === 'path' ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(set)) it.setAttribute(name, value);
  it.append(...inside);
  return it;
}
// What is as it was is left alone, so that a reader's place and selection stay.
const say = (it, text) => { if (it.textContent !== text) it.textContent = text; };
const mark = (it, name, value) => { if (it.getAttribute(name) !== value) it.setAttribute(name, value); };
const fill = (it, part) => { const width = `${Math.min(100, Math.max(0, part * 100)).toFixed(1)}%`; if (it.style.width !== width) it.style.width = width; };

// Numbers and times as one says them.
function number(n) {
  if (n >= 999500) return `${(n / 1e6).toFixed(n < 9.95e6 ? 1 : 0)} M`;
  if (n >= 999.5) return `${(n / 1e3).toFixed(n < 9950 ? 1 : 0)} k`;
  return n === 0 || n >= 9.95 || Number.isInteger(n) ? n.toFixed(0) : n < 0.05 ? '< 0.1' : n.toFixed(1);
}
const percent = (part) => `${Math.round(part * 100)} %`;
function time(s) {
  if (s < 0.0009995) return `${Math.round(s * 1e6)} µs`;
  if (s < 0.9995) return `${Math.round(s * 1e3)} ms`;
  return s < 9.95 ? `${s.toFixed(1)} s` : span(s);
}
function span(s) {
  if (s < 0) return `-${span(-s)}`;
  if (s < 120) return `${Math.ceil(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}
const words = (label) => label.replaceAll('_', ' ');

/** How attempts end, in the words that alarms have for it. */
const ENDS = {
  caller_error: 'the caller’s error (4xx)',
  throttled: '429 throttled',
  identity_rejected: 'credential refused (401, 403)',
  operation_rejected: 'role lacks this operation (403)',
  not_deployed: 'deployment not found (404)',
  not_found: 'path not found (404)',
  redirected: 'redirect (3xx)',
  not_the_api: 'web page or proxy, not the API',
  refused: '4xx to every request',
  unwanted: 'status of more_statuses',
  usage_rejected: 'stream_options refused',
  limit_rejected: 'max_tokens refused',
  stale_connection: 'pooled connection was closed',
  not_processed: 'HTTP/2: not processed',
  client_left: 'client left',
  own_limit: 'this machine’s connection limit',
  fault_status: '5xx',
  fault_timeout: '408 timeout',
  fault_connect: 'no connection',
  fault_credential: 'no token',
  fault_reset: 'connection closed before an answer',
  fault_silence: 'no answer in time',
  fault_broken: 'answer broke off',
};
const ended = (label) => ENDS[label] ?? words(label);
const times = (t) => (t ? [time(t.p50_seconds), `median, 95 % in ${time(t.p95_seconds)}`] : ['–', '']);

const SHAPES = {
  ok: 'M6.5 1a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11z',
  half: 'M6.5 0a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zM6.5 2v9a4.5 4.5 0 0 1 0-9z',
  wait: 'M1 1h4v11H1zM8 1h4v11H8z',
  trial: 'M6.5 0L13 6.5L6.5 13L0 6.5z',
  bad: 'M6.5 .5L13 12.5H0z',
  cross: 'M2 0L6.5 4.5L11 0L13 2L8.5 6.5L13 11L11 13L6.5 8.5L2 13L0 11L4.5 6.5L0 2z',
};
const shape = (name) => make('svg', { viewBox: '0 0 13 13', class: 'shape', 'aria-hidden': 'true' }, make('path', { d: SHAPES[name], 'fill-rule': 'evenodd' }));

/** How a deployment stands: colour, shape, word, and what follows. */
function standing(d) {
  const next = d.retry_in_seconds === null ? 'the next request probes it' : `next retry in ${span(d.retry_in_seconds)}`;
  const open = {
    throttle: ['warn', 'wait', 'Throttled'],
    fault: ['bad', 'bad', 'Circuit open'],
    credential: ['bad', 'cross', 'Credential refused'],
    configuration: ['bad', 'cross', 'Not found'],
  }[d.cause];
  if (d.state === 'trial') return ['warn', 'trial', 'Half-open', `one request probes it; was ${open?.[2].toLowerCase() ?? d.cause}`];
  if (d.state === 'open') return [...(open ?? ['bad', 'cross', words(d.cause)]), d.cause === 'throttle' ? next.replace('next retry', 'cooldown, next retry') : next];
  if (d.state === 'ramping') return ['ok', 'half', 'Slow start', `gets ${percent(d.ramp)} of its weight`];
  return ['ok', 'ok', 'Ready', ''];
}

/** A table whose rows are found again by key, cells by name. Columns: name, heading, class. */
class Table {
  constructor(label, columns) {
    const heads = columns.map(([, head, kind]) => make('th', { scope: 'col', role: 'columnheader', ...(kind && { class: kind }) }, head));
    heads.forEach((it, i) => mark(it, 'data-field', columns[i][0]));
    const top = make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' }, ...heads));
    this.element = make('table', { role: 'table', 'aria-label': label }, top);
    this.columns = columns;
    this.rows = new Map();
    this.keys = '';
  }
  /** Rows of [key, group or '', attributes]; they are made anew only where these changed. */
  lay(rows, build) {
    const keys = JSON.stringify(rows);
    if (keys === this.keys) return;
    this.keys = keys;
    this.rows.clear();
    this.element.querySelectorAll('tbody').forEach((it) => it.remove());
    let body, last;
    for (const [key, group, attributes] of rows) {
      if (body === undefined || group !== last) {
        body = make('tbody', { role: 'rowgroup' });
        if (group) body.append(make('tr', { class: 'group', role: 'row' }, make('th', { colspan: this.columns.length, scope: 'rowgroup', role: 'rowheader' }, group)));
        this.element.append(body);
        last = group;
      }
      const cells = {};
      const row = make('tr', { role: 'row', ...attributes });
      for (const [name, head, kind] of this.columns) {
        const isName = kind?.includes('name');
        const set = { 'data-field': name, ...(kind && { class: kind }) };
        cells[name] = make(isName ? 'th' : 'td', isName ? { ...set, scope: 'row', role: 'rowheader' } : { ...set, role: 'cell', 'data-label': head });
        row.append(cells[name]);
      }
      build?.(cells, key);
      body.append(row);
      this.rows.set(key, { row, cells });
    }
  }
}

/** Two lines: what counts, and beside it. */
function lines(cell) {
  const [over, under] = [make('span'), make('small')];
  cell.append(over, under);
  return (a, b = '') => { say(over, a); say(under, b); under.hidden = b === ''; };
}
/** A number with its bar. */
function bar(cell, tick) {
  const [text, full, rail, under] = [make('span'), make('i'), make('span', { class: 'rail', 'aria-hidden': 'true' }), make('small')];
  rail.append(full);
  const at = tick && rail.appendChild(make('u'));
  cell.append(text, rail, under);
  return (a, part, b = '', kind = '', ticked = 0) => {
    say(text, a); say(under, b); fill(full, part ?? 0); mark(full, 'class', kind);
    under.hidden = b === ''; rail.hidden = part === null;
    if (at) at.style.left = `${ticked * 100}%`;
  };
}

// The models.
const COLUMNS = [
  ['deployment', 'Deployment', 'name'], ['state', 'State', 'state'], ['share', 'Share', 'bar'], ['capacity', 'Capacity used', 'bar'],
  ['requests', 'Requests/s', 'number'], ['tokens', 'Tokens/s', 'number'], ['first', 'First token', 'number'],
  ['inflight', 'In flight', 'number'], ['attempts', 'Last minute', 'wide'],
];
const models = new Map();
let laid = '';

function showModels(all) {
  const keys = JSON.stringify(all.map((it) => it.model));
  if (keys !== laid) {
    laid = keys;
    models.clear();
    $('models').replaceChildren(...all.map((it) => openModel(it.model)));
  }
  for (const it of all) showModel(it);
  const count = all.reduce((sum, it) => sum + it.deployments.length, 0);
  $('sift').hidden = count <= 20;
}
function openModel(name) {
  const [about, table] = [make('p'), new Table(`Deployments of ${name}`, COLUMNS)];
  const head = make('div', { class: 'head' }, make('h2', {}, name), about);
  models.set(name, { about, table, writers: new Map() });
  return make('section', { class: 'model', 'aria-label': `Model ${name}`, 'data-model': name }, head, table.element);
}
function showModel(m) {
  const { about, table, writers } = models.get(m.model);
  const ready = m.deployments.filter((it) => it.available).length;
  const [p50, p95] = times(m.time_to_first_token);
  const parts = [`${ready} of ${m.deployments.length} ready`, `${number(m.requests_per_second)} requests/s`, `${number(m.tokens_per_second)} tokens/s`];
  say(about, [...parts, ...(p95 ? [`first token ${p50} ${p95}`] : [])].join(' · '));
  const priorities = new Set(m.deployments.map((it) => it.priority));
  const keyOf = (d) => `${d.instance}/${d.deployment}`;
  const rows = m.deployments.map((d) => [keyOf(d), priorities.size > 1 ? `Priority ${d.priority}` : '', { 'data-deployment': keyOf(d) }, d.type, d.weight]);
  const before = table.keys;
  table.lay(rows, (cells, key) => {
    cells.deployment.append(make('b'), make('small'));
    const says = cells.state.appendChild(make('span', { class: 'says' }));
    writers.set(key, {
      says, next: cells.state.appendChild(make('small')), share: bar(cells.share, true), capacity: bar(cells.capacity),
      first: lines(cells.first), attempts: lines(cells.attempts),
    });
  });
  for (const d of m.deployments) {
    const key = keyOf(d);
    const { row, cells } = table.rows.get(key);
    if (before !== table.keys) {
      say(cells.deployment.firstChild, d.instance);
      say(cells.deployment.lastChild, d.deployment + (d.type === 'provisioned' ? ' · provisioned' : ''));
    }
    showDeployment(d, row, cells, writers.get(key));
  }
}
function showDeployment(d, row, cells, write) {
  const [colour, form, word, next] = standing(d);
  mark(row, 'data-well', colour === 'ok' ? 'yes' : 'no');
  if (write.says.dataset.says !== form + word) {
    write.says.dataset.says = form + word;
    write.says.className = `says ${colour}`;
    write.says.replaceChildren(shape(form), word);
  }
  say(write.next, next);
  write.next.hidden = next === '';
  write.share(d.share === null ? '–' : percent(d.share), d.share ?? 0, `weight ${percent(d.share_by_weight)}`, '', d.share_by_weight);
  const left = [];
  if (d.remaining_tokens !== null) left.push(`${number(d.remaining_tokens)} tokens left`);
  if (d.remaining_requests !== null) left.push(`${number(d.remaining_requests)} requests left`);
  const used = d.utilization;
  const kind = used >= 1 ? 'bad' : used >= 0.85 ? 'warn' : '';
  if (used !== null) write.capacity(percent(used), used, left.join(', '), kind);
  else write.capacity(left.length ? '' : '–', null, left.join(', '));
  say(cells.requests, number(d.requests_per_second));
  say(cells.tokens, number(d.tokens_per_second));
  write.first(...times(d.time_to_first_token));
  say(cells.inflight, number(d.inflight));
  const attempts = Object.entries(d.attempts_last_minute).sort((a, b) => b[1] - a[1]);
  const last = d.last ? `last: ${ended(d.last.outcome)}, ${span(d.last.seconds_ago)} ago` : 'no requests yet';
  write.attempts(attempts.map(([label, n]) => `${number(n)} ${ended(label)}`).join(', ') || '–', last);
}

// What concerns all.
function tile(title, curve) {
  const [value, under] = [make('strong'), make('small')];
  const it = make('div', { class: 'tile' }, make('h2', {}, title), value, under);
  const paths = curve && [make('path', { class: 'under' }), make('path', { class: 'curve' })];
  if (curve) it.append(make('svg', { viewBox: '0 0 120 34', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, ...paths));
  $('traffic').append(it);
  const write = (a, b, values) => { say(value, a); say(under, b); if (curve) draw(paths, values); };
  write.mark = (kind) => mark(value, 'class', kind);
  return write;
}
function draw([under, over], values) {
  // The newest at the right; what is not known yet is left out.
  const top = Math.max(...values, 1e-9);
  const line = values.map((v, i) => `${120 - values.length + 1 + i},${(33 - (v / top) * 31).toFixed(1)}`);
  mark(over, 'd', line.length > 1 ? `M${line.join('L')}` : '');
  mark(under, 'd', line.length > 1 ? `M${121 - values.length},34L${line.join('L')}L120,34z` : '');
}
const tiles = [tile('Requests a second', true), tile('Tokens a second', true), tile('First token'), tile('In flight'), tile('Last minute')];

const CALLERS = { caller_error: 'got 4xx', too_many_requests: 'got 429', client_left: 'left' };
function showTraffic(t) {
  const peak = (values) => (values.length ? `up to ${number(Math.max(...values))} in two minutes` : '');
  const { requests_per_second: requests, tokens_per_second: tokens } = t.history;
  tiles[0](number(t.requests_per_second), peak(requests), requests);
  tiles[1](number(t.tokens_per_second), peak(tokens), tokens);
  tiles[2](...times(t.time_to_first_token));
  const [p50, p95] = times(t.overhead);
  tiles[3](number(t.inflight), p95 ? `overhead ${p50} ${p95}` : '');
  const answers = Object.entries(t.answers_last_minute).filter(([, n]) => n > 0);
  const all = answers.reduce((sum, [, n]) => sum + n, 0);
  // What callers did wrong, or left, is no fault of the gateway's or of its deployments.
  const failed = t.answers_last_minute.failure ?? 0;
  const part = failed / (all || 1);
  const share = failed === 0 ? 'No failures' : `${part < 0.0005 ? '< 0.1' : (part * 100).toFixed(part < 0.1 ? 1 : 0)} % failed`;
  const rest = answers.filter(([label]) => !['success', 'failure'].includes(label)).map(([label, n]) => `${number(n)} ${CALLERS[label] ?? words(label)}`);
  const own = rest.length ? `; callers: ${rest.join(', ')}` : '';
  tiles[4](all ? share : '–', all ? `${failed ? `${number(failed)} of ${number(all)} answers (5xx)` : `in ${number(all)} answers`}${own}` : 'none');
  tiles[4].mark(failed > 0 ? 'bad' : '');
}

let told = '', host = '';
function showAlarms(alarms, more) {
  const bad = alarms.filter((it) => it.severity === 'alarm').length;
  const things = (n, what) => `${n} ${n === 1 ? 'thing' : 'things'} to ${what}`;
  const [colour, form, text] = bad ? ['bad', 'bad', things(bad, 'fix')]
    : alarms.length ? ['warn', 'trial', things(alarms.length + more, 'watch')] : ['ok', 'ok', 'All is well'];
  if (told !== text) {
    told = text;
    $('verdict').className = colour;
    $('verdict').replaceChildren(shape(form), text);
    document.title = bad ? `(${bad}) Forebay ${host}` : `Forebay ${host}: ${text.toLowerCase()}`;
  }
  $('alarms').hidden = alarms.length === 0;
  const list = $('alarms').firstElementChild;
  while (list.children.length > alarms.length + (more > 0)) list.lastChild.remove();
  const put = (i, colour, form, text, mend = '') => {
    const item = list.children[i] ?? list.appendChild(make('li', {}, make('b'), make('div', {}, make('span'), make('small'))));
    if (item.className !== colour) {
      item.className = colour;
      item.firstChild.replaceChildren(shape(form));
    }
    say(item.lastChild.firstChild, text);
    say(item.lastChild.lastChild, mend);
  };
  alarms.forEach(({ severity, text, mend }, i) => put(i, ...(severity === 'alarm' ? ['bad', 'bad'] : ['warn', 'trial']), text, mend));
  if (more > 0) put(alarms.length, 'warn', 'trial', `and ${more} more`);
}

// Tables that are short, or change seldom: a row is an object of texts.
function plain(label, columns) {
  const table = new Table(label, columns);
  const none = make('p', { class: 'soft' });
  return {
    elements: [none, table.element],
    show(rows, empty) {
      say(none, rows.length ? '' : empty);
      none.hidden = rows.length > 0;
      table.element.hidden = rows.length === 0;
      table.lay(rows.map((_, i) => [i, '', {}]));
      rows.forEach((row, i) => Object.entries(row).forEach(([name, text]) => say(table.rows.get(i).cells[name], text)));
    },
  };
}
const failovers = plain('Last failovers', [['model', 'Model', 'name'], ['from', 'From'], ['to', 'To'], ['cause', 'Cause'], ['times', 'Times', 'number'], ['ago', 'Last', 'number']]);
$('failovers').append(...failovers.elements);
function showFailovers(all) {
  const place = (it) => (it ? `${it.instance}/${it.deployment}` : 'no deployment left');
  const row = (it) => ({ model: it.model, from: place(it.from), to: place(it.to), cause: ended(it.cause), times: number(it.times), ago: `${span(it.seconds_ago)} ago` });
  failovers.show(all.map(row), 'None so far.');
}

// Clients against their limits: a row is a limit, the fullest first.
const LIMITS = [['client', 'Client', 'name'], ['limit', 'Limit'], ['used', 'Used', 'bar'], ['renews', 'Renews', 'number']];
const limits = new Table('Clients and their limits', LIMITS);
const beyond = make('p', { class: 'soft' });
const limitWriters = new Map();
$('clients').append(limits.element, beyond);
function showClients(all, more) {
  $('clients').hidden = all.length === 0;
  const every = all.flatMap((client) => client.limits.map((it) => ({ ...it, client: client.client })));
  // What is hardly used is counted, not shown.
  const rows = every.filter((it) => it.most === 0 || Math.round((it.used / it.most) * 100) > 0);
  limits.element.hidden = rows.length === 0;
  limits.lay(rows.map((_, i) => [i, '', {}]), (cells, i) => limitWriters.set(i, bar(cells.used)));
  rows.forEach((it, i) => {
    const { cells } = limits.rows.get(i);
    const part = it.most > 0 ? it.used / it.most : 1;
    say(cells.client, it.client);
    say(cells.limit, words(it.limit) + (it.model === null ? '' : ` of ${it.model}`));
    const text = `${number(it.used)} of ${number(it.most)}, ${number(it.remaining)} left`;
    limitWriters.get(i)(percent(part), part, text, part >= 1 ? 'bad' : part >= 0.85 ? 'warn' : '');
    say(cells.renews, it.renews_in_seconds === null ? 'continuously' : `in ${span(it.renews_in_seconds)}`);
  });
  const unused = every.length - rows.length;
  const said = [unused > 0 && `${unused} ${unused === 1 ? 'limit' : 'limits'} at 0 % not shown`, more > 0 && `${more} more clients, further from their limits: see /status?clients=all`];
  say(beyond, said.filter(Boolean).join('; '));
  beyond.hidden = beyond.textContent === '';
}

function card(title, columns) {
  const it = plain(title, columns);
  const section = make('section', {}, make('h2', {}, title), ...it.elements);
  $('around').append(section);
  return (rows) => { section.hidden = rows.length === 0; it.show(rows, ''); };
}
const identities = card('Identities', [['identity', 'Identity', 'name'], ['kind', 'Kind'], ['token', 'Token'], ['failures', 'Failures', 'number']]);
const issuers = card('Issuers', [['issuer', 'Issuer', 'name'], ['keys', 'Keys', 'number'], ['age', 'Fetched', 'number'], ['failures', 'Failures', 'number']]);
const listeners = card('Listeners', [['address', 'Address', 'name'], ['connections', 'Connections', 'number'], ['certificate', 'Certificate']]);
const logs = card('Logs', [['log', 'Log', 'name'], ['state', 'State'], ['lost', 'Lines lost', 'number']]);
function showAround(s) {
  const token = (it) => (!it.ready ? 'none' : it.expires_in_seconds === null ? 'does not expire' : `expires in ${span(it.expires_in_seconds)}`);
  identities(s.identities.map((it) => ({ identity: it.identity, kind: words(it.kind), token: token(it), failures: number(it.failures) })));
  const age = (it) => (it.keys_age_seconds === null ? 'never' : `${span(it.keys_age_seconds)} ago`);
  issuers(s.issuers.map((it) => ({ issuer: it.issuer, keys: number(it.keys), age: age(it), failures: number(it.failures) })));
  const ends = (left) => (left === null ? 'no TLS' : left < 0 ? `expired ${span(-left)} ago` : `expires in ${span(left)}`);
  listeners(s.listeners.map((it) => ({ address: it.address, connections: number(it.connections), certificate: ends(it.certificate_ends_in_seconds) })));
  logs(s.logs.map((it) => ({ log: it.log, state: it.failing ? "can't be written" : 'written', lost: number(it.lines_dropped) })));
}

function show(s) {
  host = s.gateway.host;
  say($('host'), host);
  say($('about'), `${s.version} · ${s.phase}${s.phase === 'serving' && !s.healthy ? ', /health returns 503' : ''} · up ${span(s.uptime_seconds)}`);
  showAlarms(s.alarms, s.alarms_left_off);
  showTraffic(s.traffic);
  showModels(s.models);
  showFailovers(s.failovers);
  showClients(s.clients, s.clients_left_off);
  showAround(s);
}

// Asking, again and again, while somebody looks.
let token = '', seen = 0, timer = 0;
try { token = sessionStorage.getItem('forebay-token') ?? ''; } catch { /* Kept in memory alone. */ }
function keep(text) {
  token = text;
  try { text ? sessionStorage.setItem('forebay-token', text) : sessionStorage.removeItem('forebay-token'); } catch { /* As above. */ }
}
async function ask() {
  clearTimeout(timer);
  const began = performance.now();
  let pause = 1000;
  try {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const answer = await fetch('/status?history', { headers, cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (answer.status === 401) return closeDoor();
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const status = await answer.json();
    seen = Date.now();
    openDoor();
    show(status);
    say($('fresh'), `as of ${new Date(seen).toLocaleTimeString()}`);
    // A large gateway is not asked all the time.
    pause = Math.min(5000, Math.max(1000, 8 * (performance.now() - began)));
  } catch (error) {
    miss(error);
    pause = 2000;
  }
  if (!document.hidden) timer = setTimeout(ask, pause);
}
function miss(error) {
  const why = error.name === 'TimeoutError' ? 'within five seconds' : error instanceof TypeError ? '' : `as expected: ${error.message}`;
  const old = seen ? ` The data below is from ${new Date(seen).toLocaleTimeString()}, ${span((Date.now() - seen) / 1000)} ago.` : '';
  say($('gone'), `The gateway does not answer${why && ` ${why}`}.${old}`);
  $('gone').hidden = false;
  document.body.classList.add('stale');
  document.title = 'Forebay does not answer';
  told = '';
}
function openDoor() {
  $('gone').hidden = true;
  $('door').hidden = true;
  $('all').hidden = false;
  $('forget').hidden = !token;
  document.body.classList.remove('stale');
}
function closeDoor(text) {
  const wrong = text ?? (token && 'Wrong token.');
  if (wrong) say($('door-says'), wrong);
  keep('');
  for (const id of ['all', 'forget', 'gone']) $(id).hidden = true;
  for (const id of ['verdict', 'host', 'about', 'fresh']) $(id).replaceChildren();
  told = '';
  document.title = 'Forebay';
  document.body.classList.remove('stale');
  $('door').hidden = false;
  $('token').focus();
}
$('door').addEventListener('submit', (event) => {
  event.preventDefault();
  const typed = $('token').value.trim();
  $('token').value = '';
  // A header holds no other letters.
  if (!/^[\x20-\x7e]+$/.test(typed)) return closeDoor('A token has ASCII characters only.');
  keep(typed);
  ask();
});
$('forget').addEventListener('click', () => closeDoor('The token was forgotten.'));
$('sift').addEventListener('change', (event) => $('models').classList.toggle('sift', event.target.checked));
document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : ask()));
ask();

// Streams before and after their first output, and quiet ones, as the Node SDK sees them.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

import OpenAI from 'openai';

import { azure, openStage, v1 } from './stage.mjs';

const messages = [{ role: 'user', content: 'Say hello.' }];

/** A streamed chat's text. */
async function chat(client) {
  let text = '';
  for await (const chunk of await client.chat.completions.create({ model: 'gpt-4o', messages, stream: true }))
    text += chunk.choices[0]?.delta.content ?? '';
  return text;
}

/** The type of a streamed response's last event. */
async function respond(client) {
  let last;
  for await (const event of await client.responses.create({ model: 'gpt-4o', input: 'Say hello.', stream: true }))
    last = event.type;
  return last;
}

describe('streams', () => {
  let stage;
  beforeEach(async () => (stage = await openStage()));
  afterEach(() => stage?.close());

  for (const type of ['too_many_requests', 'server_error', 'forbidden'])
    test(`${type} inside a 200 is not seen while another deployment can answer`, async () => {
      await stage.fault('swc-ptu', 'stream_error', { type, after_events: 1 });
      assert.ok(await chat(azure(stage)));
      assert.equal(await respond(v1(stage)), 'response.completed');
    });

  test("the caller's own mistake reaches the caller", async () => {
    await stage.fault('swc-ptu', 'stream_error', { type: 'user_error', after_events: 1 });
    await assert.rejects(chat(azure(stage)), OpenAI.APIError);
    assert.equal((await stage.requests('swc-std')).length, 0);
  });

  test('after the first output a failure is an error', async () => {
    for (const kind of ['stream_error', 'reset_mid_stream', 'close_mid_stream']) {
      await stage.everywhere(kind, { after_events: 5 });
      await assert.rejects(chat(azure(stage)), kind);
      await assert.rejects(respond(v1(stage)), kind);
    }
  });

  test('a quiet stream is kept alive by what it does not see', async () => {
    await stage.everywhere('silent', { ms: 2500, after_events: 4 });
    assert.ok(await chat(azure(stage)));
    assert.equal(await respond(v1(stage)), 'response.completed');
  });

  test('told when to retry, it succeeds then', async () => {
    await stage.everywhere('throttle', { seconds: 1 });
    const request = { model: 'gpt-4o', messages };
    await assert.rejects(azure(stage).chat.completions.create(request), (no) => {
      assert.equal(no.headers.get('x-should-retry'), 'true');
      return no instanceof OpenAI.RateLimitError;
    });
    assert.ok((await azure(stage, { maxRetries: 5 }).chat.completions.create(request)).choices.length);
  });
});

// Every kind of no as the SDK's own error, and a failover that the client does not notice.

import assert from 'node:assert/strict';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';

import OpenAI from 'openai';

import { azure, openStage, v1 } from './stage.mjs';

const hello = [{ role: 'user', content: 'Say hello.' }];
const chat = (client, more) => client.chat.completions.create({ model: 'gpt-4o', messages: hello, ...more });

function is(kind, checks = () => {}) {
  return (error) => {
    assert.ok(error instanceof kind, `${error?.constructor?.name}: ${error?.message}`);
    checks(error);
    return true;
  };
}

describe('refusals', () => {
  let stage;
  before(async () => (stage = await openStage()));
  after(() => stage?.close());

  for (const [way, connect] of Object.entries({ azure, v1 })) {
    test(`a wrong key (${way})`, () =>
      assert.rejects(chat(connect({ url: stage.url, key: 'wrong' })), is(OpenAI.AuthenticationError)));

    test(`an unknown model (${way})`, () =>
      assert.rejects(
        chat(connect(stage), { model: 'gpt-17' }),
        is(OpenAI.NotFoundError, (no) => assert.equal(no.code, 'DeploymentNotFound')),
      ));

    test(`an unknown path (${way})`, () =>
      assert.rejects(connect(stage).post('/no/such/thing', { body: { model: 'gpt-4o' } }), is(OpenAI.NotFoundError)));

    test(`Azure's own refusal comes through as it is (${way})`, () =>
      assert.rejects(
        chat(connect(stage), { messages: [{ role: 'user', content: 'trigger_content_filter' }] }),
        is(OpenAI.BadRequestError, (no) => assert.equal(no.code, 'content_filter')),
      ));
  }

  test('a body that names no model', () =>
    assert.rejects(
      chat(v1(stage), { model: undefined }),
      is(OpenAI.BadRequestError, (no) => assert.match(no.message, /model/)),
    ));

  test('the models are listed', async () => {
    for (const connect of [azure, v1]) {
      const names = [];
      for await (const model of connect(stage).models.list()) names.push(model.id);
      assert.deepEqual(names.sort(), ['gpt-4o', 'gpt-image-1', 'text-embedding-3-small']);
    }
  });
});

describe('faults', () => {
  let stage;
  beforeEach(async () => (stage = await openStage()));
  afterEach(() => stage?.close());

  test('every deployment throttled', async () => {
    await stage.everywhere('throttle', { seconds: 30 });
    for (const connect of [azure, v1]) {
      await assert.rejects(
        chat(connect(stage)),
        is(OpenAI.RateLimitError, (no) => {
          const [seconds, ms] = ['retry-after', 'retry-after-ms'].map((name) => Number(no.headers.get(name)));
          assert.ok(ms > 0 && ms <= 30_000);
          assert.equal(seconds, Math.ceil(ms / 1000));
        }),
      );
    }
  });

  test('every deployment failing', async () => {
    await stage.everywhere('status', { status: 503 });
    await assert.rejects(
      chat(azure(stage)),
      is(OpenAI.InternalServerError, (no) => assert.equal(no.status, 503)),
    );
  });

  test('a client that does not wait', async () => {
    await stage.everywhere('hang');
    await assert.rejects(chat(azure(stage, { timeout: 500 })), is(OpenAI.APIConnectionTimeoutError));
    await stage.heal();
    assert.ok((await chat(azure(stage))).choices[0].message.content);
  });

  test('a stream that breaks is an error', async () => {
    await stage.everywhere('reset_mid_stream', { after_events: 4 });
    const got = [];
    await assert.rejects(async () => {
      for await (const chunk of await chat(v1(stage), { stream: true })) got.push(chunk);
    });
    assert.ok(got.length > 0);
  });

  test('one deployment throttled and one dead: the client notices nothing', async () => {
    await stage.fault('swc-ptu', 'throttle', { seconds: 60 });
    await stage.down('frc-std');
    const client = azure(stage);
    for (let n = 0; n < 30; n++) {
      const { data, response } = await chat(client).withResponse();
      assert.ok(data.choices[0].message.content);
      assert.equal(response.headers.get('x-forebay-deployment'), 'swc-std/gpt-4o');
    }
    for (let n = 0; n < 10; n++) {
      let finish;
      for await (const chunk of await chat(client, { stream: true })) finish = chunk.choices[0]?.finish_reason ?? finish;
      assert.equal(finish, 'stop');
    }
    assert.equal((await stage.requests('swc-ptu')).length, 1);
  });
});

// What works against Azure works unchanged: the same tests against the gateway and against a simulated instance itself.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { toFile } from 'openai';

import { azure, openStage, v1 } from './stage.mjs';

const hello = [{ role: 'user', content: 'Say hello.' }];
const weather = [{ role: 'user', content: 'What is the weather in Stockholm?' }];
const tools = [
  {
    type: 'function',
    function: {
      name: 'look_up_weather',
      description: 'The weather of a city.',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
  },
];

let stage;
before(async () => (stage = await openStage()));
after(() => stage?.close());

const places = {
  gateway: () => stage,
  instance: () => ({ url: stage.instances['swc-std'], key: 'sim-key-std' }),
};

async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

for (const [where, place] of Object.entries(places)) {
  for (const [way, connect] of Object.entries({ azure, v1 })) {
    describe(`${way} at the ${where}`, () => {
      let client;
      before(() => (client = connect(place())));

      test('a chat', async () => {
        const answer = await client.chat.completions.create({ model: 'gpt-4o', messages: hello });
        assert.ok(answer.choices[0].message.content);
        assert.equal(answer.choices[0].finish_reason, 'stop');
        assert.ok(answer.usage.total_tokens > 0);
      });

      test('a streamed chat', async () => {
        const chunks = await all(
          client.chat.completions.create({
            model: 'gpt-4o',
            messages: hello,
            stream: true,
            stream_options: { include_usage: true },
          }),
        );
        assert.ok(chunks.map((c) => c.choices[0]?.delta.content ?? '').join(''));
        assert.deepEqual(
          chunks.flatMap((c) => c.choices[0]?.finish_reason ?? []),
          ['stop'],
        );
        assert.ok(chunks.at(-1).usage.completion_tokens > 0);
      });

      test('a streamed chat that does not ask for its usage', async () => {
        const chunks = await all(client.chat.completions.create({ model: 'gpt-4o', messages: hello, stream: true }));
        assert.ok(chunks.map((c) => c.choices[0]?.delta.content ?? '').join(''));
        assert.deepEqual(
          chunks.filter((c) => 'usage' in c),
          [],
        );
        assert.equal(chunks.filter((c) => c.choices.length === 0).length, 1, 'the filter results alone');
      });

      test('tools', async () => {
        const answer = await client.chat.completions.create({ model: 'gpt-4o', messages: weather, tools });
        assert.equal(answer.choices[0].finish_reason, 'tool_calls');
        const [call] = answer.choices[0].message.tool_calls;
        assert.equal(call.function.name, 'look_up_weather');
        JSON.parse(call.function.arguments);
      });

      test('streamed tools', async () => {
        const runner = client.chat.completions.stream({ model: 'gpt-4o', messages: weather, tools });
        const whole = await runner.finalChatCompletion();
        const [call] = whole.choices[0].message.tool_calls;
        assert.equal(call.function.name, 'look_up_weather');
        JSON.parse(call.function.arguments);
      });

      test('embeddings', async () => {
        const model = 'text-embedding-3-small';
        const packed = await client.embeddings.create({ model, input: ['one', 'two'] });
        const plain = await client.embeddings.create({ model, input: ['one', 'two'], encoding_format: 'float' });
        assert.equal(packed.data.length, 2);
        assert.equal(packed.data[0].embedding.length, plain.data[0].embedding.length);
        packed.data[0].embedding.forEach((n, i) => assert.ok(Math.abs(n - plain.data[0].embedding[i]) < 1e-6));
      });

      test('a response', async () => {
        const answer = await client.responses.create({ model: 'gpt-4o', input: 'Say hello.' });
        assert.equal(answer.status, 'completed');
        assert.ok(answer.output_text);
      });

      test('a streamed response', async () => {
        const events = await all(client.responses.create({ model: 'gpt-4o', input: 'Say hello.', stream: true }));
        assert.equal(events[0].type, 'response.created');
        assert.equal(events.at(-1).type, 'response.completed');
        const pieces = events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta);
        assert.ok(pieces.join(''));
      });

      test('a conversation made shorter', async () => {
        const short = await client.responses.compact({ model: 'gpt-4o', input: 'Say hello.' });
        assert.equal(short.object, 'response.compaction');
        assert.ok(short.usage.total_tokens > 0);
      });

      test('an image edited: the model is a field of the multipart body', async () => {
        const image = await toFile(Buffer.from('not much of a picture'), 'picture.png', { type: 'image/png' });
        const answer = await client.images.edit({ model: 'gpt-image-1', image, prompt: 'Make it blue.' });
        assert.ok(answer.data.length > 0);
      });
    });
  }
}

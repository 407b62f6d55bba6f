// Tokens of an issuer that is nobody's simulation: a certified OpenID provider, asked with client credentials.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import OpenAI from 'openai';
import Provider from 'oidc-provider';

import { azure, openStage, v1 } from './stage.mjs';

const hello = [{ role: 'user', content: 'Say hello.' }];
const chat = (client) => client.chat.completions.create({ model: 'gpt-4o', messages: hello });

const resource = 'api://forebay';

/** An issuer on loopback; two applications may have tokens of it. */
async function openIssuer() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const app = (id) => ({
    client_id: id,
    client_secret: `${id}-secret`,
    id_token_signed_response_alg: 'ES256',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  });
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(url, {
    clients: [app('sdk-app'), app('another-app')],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }] },
    scopes: ['models.use', 'models.read'],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, audience) => ({
          audience,
          scope: 'models.use models.read',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  server.on('request', provider.callback());
  const token = async ({ id = 'sdk-app', scope = 'models.use', audience = resource } = {}) => {
    const form = new URLSearchParams({ grant_type: 'client_credentials', scope, resource: audience });
    const authorization = `Basic ${btoa(`${id}:${id}-secret`)}`;
    const answer = await fetch(`${url}/token`, { method: 'POST', body: form, headers: { authorization } });
    assert.equal(answer.status, 200, await answer.clone().text());
    return (await answer.json()).access_token;
  };
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url, token, close };
}

describe('tokens', () => {
  let issuer, stage;
  before(async () => {
    issuer = await openIssuer();
    stage = await openStage(issuer.url);
  });
  after(async () => {
    await stage?.close();
    await issuer?.close();
  });

  test('a token of the issuer is enough, as a token provider gives it and in place of a key', async () => {
    const provided = azure(stage, { azureADTokenProvider: () => issuer.token() });
    assert.ok((await chat(provided)).choices[0].message.content);
    const placed = v1({ ...stage, key: await issuer.token({ scope: 'models.read models.use' }) });
    assert.ok((await chat(placed)).choices[0].message.content);
  });

  for (const [what, wanted] of Object.entries({
    'another application': { id: 'another-app' },
    'another scope': { scope: 'models.read' },
    'another audience': { audience: 'api://another' },
  })) {
    test(`a token of ${what} is an authentication error`, async () => {
      const client = v1({ ...stage, key: await issuer.token(wanted) });
      await assert.rejects(chat(client), (error) => {
        assert.ok(error instanceof OpenAI.AuthenticationError, error?.message);
        assert.match(error.message, /invalid token/);
        return true;
      });
    });
  }

  test('a key goes on working', async () => {
    assert.ok((await chat(azure(stage))).choices[0].message.content);
  });
});

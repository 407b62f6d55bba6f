// Simulated Azure OpenAI instances, and the gateway before them: the real binary, on loopback, for one test file.
// What asks them is not its business.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const binary = process.env.FOREBAY ?? fileURLToPath(new URL('../../target/debug/forebay', import.meta.url));
const instances = ['swc-ptu', 'swc-std', 'frc-std'];
const sha256 = (text) => createHash('sha256').update(text).digest('hex');

export const key = 'sdk-client-key';

/** A child that ends with its test run, even one that is killed. */
function start(args, env, stdout) {
  const diesWithUs = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'TERM', '--'] : [];
  const [command, ...rest] = [...diesWithUs, binary, ...args];
  const child = spawn(command, rest, { env: { ...process.env, ...env }, stdio: ['ignore', stdout, 'pipe'] });
  child.said = '';
  child.stderr.on('data', (data) => (child.said += data));
  child.ended = new Promise((resolve) => child.on('exit', resolve));
  return child;
}

async function stop(child) {
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5000);
  await child.ended;
  clearTimeout(late);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.on('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startSimulator() {
  const child = start(['simulate', '--config', `${here}simulator.yaml`], {}, 'pipe');
  const urls = {};
  for await (const line of createInterface({ input: child.stdout })) {
    const [name, url] = line.split(' ');
    if (url?.startsWith('http://')) urls[name] = url;
    if ([...instances, 'control', 'tokens', 'issuer'].every((name) => urls[name])) return { child, urls };
  }
  throw new Error(`the simulator ended:\n${child.said}`);
}

async function startGateway(urls, [port, adminPort], { issuer, config }) {
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  const env = {
    FOREBAY_PORT: `${port}`,
    FOREBAY_ADMIN_PORT: `${adminPort}`,
    SIM_TOKENS: urls.tokens,
    SIM_ISSUER: urls.issuer,
    OIDC_ISSUER: issuer,
    SDK_KEY_SHA256: sha256(key),
    EMBEDDER_KEY_SHA256: sha256('embedder-client-key'),
  };
  for (const name of instances) env[`SIM_${name.toUpperCase().replaceAll('-', '_')}`] = urls[name];
  const child = start(['serve', '--config', config], env, 'ignore');
  const deadline = Date.now() + 20_000;
  for (;;) {
    const ready = await fetch(`${adminUrl}/health/ready`).catch(() => undefined);
    if (ready?.status === 200) return { child, url: `http://127.0.0.1:${port}`, admin: adminUrl };
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`the gateway is not ready:\n${child.said}`);
    }
    await pause(20);
  }
}

/**
 * Starts both, and gives what a test needs of them. `issuer`: whose tokens count, beside the simulator's own;
 * `config`: another for the gateway.
 */
export async function openStage(issuer = 'http://127.0.0.1:9', config = `${here}gateway.yaml`) {
  const simulator = await startSimulator();
  const ports = [await freePort(), await freePort()];
  const open = () => startGateway(simulator.urls, ports, { issuer, config });
  let gateway = await open().catch(async (error) => {
    await stop(simulator.child);
    throw error;
  });
  const control = async (method, path, body) => {
    const answer = await fetch(`${simulator.urls.control}${path}`, {
      method,
      body: body && JSON.stringify(body),
      headers: body && { 'content-type': 'application/json' },
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  const faults = (instance, deployment = '*') => `/instances/${instance}/deployments/${deployment}/fault`;
  return {
    url: gateway.url,
    admin: gateway.admin,
    instances: simulator.urls,
    fault: (instance, kind, details) => control('PUT', faults(instance), { kind, ...details }),
    faultOne: (instance, deployment, kind, details) =>
      control('PUT', faults(instance, deployment), { kind, ...details }),
    everywhere: (kind, details) =>
      Promise.all(instances.map((i) => control('PUT', faults(i), { kind, ...details }))),
    heal: () => Promise.all(instances.map((i) => control('DELETE', faults(i)))),
    down: (instance) => control('POST', `/instances/${instance}/down`),
    requests: async (instance) => (await control('GET', `/requests?instance=${instance}`)).json(),
    /** Ends the gateway alone, and starts it again at the same ports. */
    end: () => stop(gateway.child),
    begin: async () => (gateway = await open()),
    close: async () => {
      await stop(gateway.child);
      await stop(simulator.child);
    },
  };
}

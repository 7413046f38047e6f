// A whole system under test: everything in one process (deploy/local) with several gateways, on free ports, with its own data.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import './contract.js';

// Whoever ends a test file by SIGTERM, as the runner does with one that hangs, leaves nothing behind: see the listeners of 'exit'.
if (process.env.NODE_TEST_CONTEXT) process.once('SIGTERM', () => process.exit(143));

export const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, '..', '..');

/** Settings of the system that tests rely on. */
export const settings = {
  API_KEY: 'e2e-api-key-0123456789abcdef0123456789',
  JWT_SECRET: 'e2e-secret-e2e-secret-e2e-secret-0123456789',
  AUTH_AUTO_PROVISION: 'true',
  REGISTRATION: 'true',
  GUESTS: 'true',
  FRONTEND_URL: 'http://app.example.test,http://localhost:5173',
  // Many accounts from one address, and cheap passwords: what they cost is not this suite's question.
  REGISTER_ADDRESS_RATE: '0', GUEST_ADDRESS_RATE: '0', LOGIN_ADDRESS_RATE: '0', ARGON2_MEMORY_KIB: '8192', ARGON2_TIME: '1', ARGON2_WAIT: '8s',
};

/** Limits of time for a machine that is busy or stands still for seconds, where nothing is killed and every answer comes in the end. */
const patient = { EVENT_TIMEOUT: '20s', CLUSTER_TIMEOUT: '20s', STALL_LIMIT: '1h', SHUTDOWN_TIMEOUT: '100s' };

/** A new folder for temporary files; PostgreSQL runs as another user and has to get through. */
export function scratch() {
  const dir = mkdtempSync(join(tmpdir(), 'starling-e2e-'));
  chmodSync(dir, 0o755);
  return dir;
}

/** Builds deploy/local into dir and gives the path of the binary. */
export function build(dir) {
  const binary = join(dir, 'starling-local');
  const { status } = spawnSync('go', ['build', '-o', binary, './deploy/local'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new Error('go build ./deploy/local failed');
  return binary;
}

/** Ports first, first+1, … that nobody listens on. Who listens only much later takes them from a range of its own. */
export async function freePorts(n, from = 20_000, to = 30_000) {
  for (let tries = 0; tries < 50; tries += 1) {
    const first = from + Math.floor(Math.random() * (to - from));
    const free = await Promise.all(Array.from({ length: n }, (_, i) => isFree(first + i)));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${n} free ports in a row`);
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

const wrongSettings = 2; // the exit code, also of a port that is taken

export class System {
  /** Starts a system and waits until every gateway is ready. Its output goes to the file log. admin: gateways tell their readiness. */
  static async start(options) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await System.#start(options);
      } catch (err) {
        if (err.code !== wrongSettings || options.port !== undefined || tries === 5) throw err; // somebody else may have taken a port that was free
      }
    }
  }

  static async #start({ binary, data, gateways = 3, log, env = {}, port, admin = false }) {
    const system = new System();
    const first = port ?? await freePorts(gateways);
    system.port = first;
    system.urls = Array.from({ length: gateways }, (_, i) => `http://127.0.0.1:${first + i}`);
    mkdirSync(data, { recursive: true });
    const out = createWriteStream(log, { flags: 'a' });
    const more = [];
    if (admin) {
      system.admin = await freePorts(gateways); // of the first gateway
      more.push(`--admin=127.0.0.1:${system.admin}`);
    }
    system.process = spawn(binary, [`--gateways=${gateways}`, `--listen=127.0.0.1:${first}`, `--data=${data}`, '--verbose', ...more], {
      env: { ...process.env, ...patient, ...settings, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
    });
    system.process.stdout.pipe(out, { end: false });
    system.process.stderr.pipe(out, { end: false });
    system.exited = once(system.process, 'exit');
    process.once('exit', () => system.process.kill('SIGKILL')); // none is left behind, however this process ends
    system.log = log;
    try {
      await system.#ready(240_000);
    } catch (err) {
      system.process.kill('SIGKILL');
      throw err;
    }
    return system;
  }

  /** It says so itself once every part answers; the gateways are asked as well. */
  async #ready(ms) {
    const end = Date.now() + ms;
    let said = '';
    this.process.stdout.on('data', (bytes) => { said = (said + bytes).slice(-10_000); });
    for (const ready of [() => /\bis ready\b/.test(said), ...this.urls.map((url) => () => answers(`${url}/healthz`))]) {
      while (!await ready()) {
        const code = this.process.exitCode;
        if (code !== null) throw Object.assign(new Error(`the system ended with code ${code}; see ${this.log}`), { code });
        if (Date.now() > end) throw new Error(`the system is not ready after ${ms} ms; see ${this.log}`);
        await new Promise((resolve) => { setTimeout(resolve, 50); });
      }
    }
  }

  /** Interrupts as Ctrl-C does; fails unless it ends with code 0. */
  async stop() {
    this.process.kill('SIGINT');
    const began = Date.now();
    const late = setTimeout(() => this.process.kill('SIGKILL'), 120_000);
    const [code, signal] = await this.exited;
    clearTimeout(late);
    if (code !== 0) throw new Error(`after SIGINT the system ended with code ${code} signal ${signal} after ${Date.now() - began} ms, want code 0; see ${this.log}`);
  }

  /** Ends the process without warning. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }
}

export async function answers(address) {
  try {
    return (await fetch(address, { signal: AbortSignal.timeout(2000) })).ok;
  } catch {
    return false;
  }
}

/** Removes a system's data, also what it keeps in other places, and the folder around it. */
export function remove(dir, binary) {
  spawnSync(binary, [`--data=${join(dir, 'data')}`, '--clean'], { env: { ...process.env, LOG_LEVEL: 'error' } });
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

// Starling as separate processes, which can be killed one by one: the binaries of the services and gateways over the NATS and
// PostgreSQL of test/bed.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { answers, freePorts, root, settings } from './system.js';

const binaries = { auth: './auth-service/cmd/auth-service', chat: './chat-service/cmd/chat-service', presence: './presence-service/cmd/presence-service', gateway: './gateway/cmd/gateway', bed: './test/bed' };

/** The token that a process shows, and those of the callers that it lets in: as the compose file and the chart hand them out. */
function tokens(name) {
  const [kind] = name.split('-');
  const token = (caller) => `fleet-token-of-${caller}`;
  const callers = { auth: ['gateway'], chat: ['gateway', 'presence-service'], presence: ['gateway'], gateway: [] }[kind];
  return {
    SERVICE_TOKEN: kind === 'gateway' ? token('gateway') : kind === 'presence' ? token('presence-service') : '',
    SERVICE_TOKENS: callers.map((caller) => `${caller}=${token(caller)}`).join(','),
  };
}

export class Fleet {
  /**
   * Builds the binaries and starts two gateways and one of each service, or as many as copies says. env is for all processes, or
   * gives what the process of a name gets. lay is called when PostgreSQL and NATS are there.
   */
  static async start(dir, log, env = {}, { copies = {}, lay } = {}) {
    const fleet = new Fleet();
    const services = ['auth', 'chat', 'presence'];
    const names = (service) => Array.from({ length: copies[service] ?? 1 }, (_, i) => (i === 0 ? service : `${service}-${i}`));
    const all = [...services.flatMap(names), 'gateway-0', 'gateway-1'];
    Object.assign(fleet, { dir, processes: new Map(), out: createWriteStream(log, { flags: 'a' }) });
    fleet.binaries = process.env.STARLING_BINARIES ?? dir; // a folder in which they are built already
    for (const [name, path] of process.env.STARLING_BINARIES ? [] : Object.entries(binaries)) {
      const { status } = spawnSync('go', ['build', '-o', join(dir, `bin-${name}`), path], { cwd: root, stdio: 'inherit' });
      if (status !== 0) throw new Error(`go build ${path} failed`);
    }
    process.once('exit', () => fleet.processes.forEach((p) => p.kill('SIGKILL')));
    await fleet.#startBed();
    await lay?.(fleet);
    const first = await freePorts(2 + 2 * all.length);
    fleet.out.setMaxListeners(0);
    fleet.port = (i) => first + i;
    fleet.urls = [0, 1].map((i) => `http://127.0.0.1:${first + i}`);
    const grpc = (name) => `127.0.0.1:${first + 2 + all.indexOf(name)}`;
    const admin = (name) => `127.0.0.1:${first + 2 + all.length + all.indexOf(name)}`;
    fleet.admin = admin;
    const own = typeof env === 'function' ? env : () => env;
    fleet.environment = (name) => ({
      ...process.env, ...settings, DATABASE_URL: fleet.database, NATS_URL: fleet.nats, ...tokens(name),
      ...Object.fromEntries(services.map((s) => [`${s.toUpperCase()}_SERVICE_ADDR`, names(s).map(grpc).join(',')])),
      GRPC_LISTEN: name.startsWith('gateway') ? '' : grpc(name), ADMIN_LISTEN: admin(name), DRAIN_WINDOW: '500ms', LOG_FORMAT: 'text', ...own(name, fleet),
    });
    fleet.ready = (name) => until(() => answers(`http://${admin(name)}/readyz`), 90_000, `${name} is ready`);
    all.forEach((name) => fleet.run(name));
    await Promise.all(all.map((name) => fleet.ready(name)));
    return fleet;
  }

  async #startBed() {
    const data = join(this.dir, 'data');
    mkdirSync(data, { recursive: true });
    const bed = this.#spawn('bed', ['-data', data], process.env, 'pipe');
    const [line] = await once(createInterface(bed.stdout), 'line');
    Object.assign(this, JSON.parse(line));
  }

  /** Starts a process: auth, chat, presence (the second: chat-1), gateway-0 or gateway-1. */
  run(name) {
    const i = name.startsWith('gateway-') ? Number(name.slice(8)) : undefined;
    const args = i === undefined ? [] : [`--listen=127.0.0.1:${this.port(i)}`, `--gateway-id=${name}`];
    this.#spawn(name, args, this.environment(name), 'ignore');
  }

  #spawn(name, args, env, stdin) {
    const child = spawn(join(this.binaries, `bin-${name.split('-')[0]}`), args, { env, stdio: [stdin, 'pipe', 'pipe'] });
    child.stderr.pipe(this.out, { end: false });
    if (name !== 'bed') child.stdout.pipe(this.out, { end: false });
    this.processes.set(name, child);
    return child;
  }

  /** Kills a process without warning. */
  async kill(name) {
    const child = this.processes.get(name);
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  /** Stops a process in its tracks, or lets it go on: it holds its connections and answers nothing. */
  hang(name) { this.processes.get(name).kill('SIGSTOP'); }

  resume(name) { this.processes.get(name).kill('SIGCONT'); }

  /** Ends everything: PostgreSQL and NATS orderly, because the bed's PostgreSQL would hold the folder otherwise. */
  async stop() {
    for (const name of [...this.processes.keys()].filter((n) => n !== 'bed')) await this.kill(name);
    const bed = this.processes.get('bed');
    bed.stdin.end();
    if (bed.exitCode === null) await once(bed, 'exit');
  }
}

/** Waits until a condition holds. */
export async function until(condition, ms, what) {
  for (const end = Date.now() + ms; !await condition();) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

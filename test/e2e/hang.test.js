// Parts of the system hang (node run.js --faults): they hold their connections and answer nothing, or slowly. Every client
// operation is still answered within EVENT_TIMEOUT, refused in a way that says when to come back, nothing piles up, and soon
// after the part is back everything works.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { Fleet, until } from './fleet.js';
import { Link } from './link.js';
import { scratch } from './system.js';
import { newUser, roomId } from './user.js';

const hanging = Number(process.env.HANG_MS ?? 12_000);
const patience = 5000 + 700; // EVENT_TIMEOUT, and what a busy machine adds
const healing = 10_000;
const links = {}; // 'chat>pg', 'gateway-0>nats', …
const only = process.env.HANG_CASE;

let fleet;
let dir;

/** Processes reach PostgreSQL and NATS by links of their own. */
function linked(name, { database, nats }) {
  const through = (address, link) => {
    const url = new URL(address);
    url.hostname = '127.0.0.1';
    url.port = links[link].port;
    return url.href;
  };
  return { ...(links[`${name}>pg`] && { DATABASE_URL: through(database, `${name}>pg`) }), NATS_URL: through(nats, `${name}>nats`), EVENT_RATE: '0' };
}

const names = ['auth', 'auth-1', 'chat', 'chat-1', 'presence', 'presence-1', 'gateway-0', 'gateway-1'];

before(async () => {
  dir = scratch();
  const lay = async ({ database, nats }) => {
    for (const name of names) {
      if (!name.startsWith('gateway')) links[`${name}>pg`] = await Link.to('127.0.0.1', new URL(database).port);
      links[`${name}>nats`] = await Link.to('127.0.0.1', new URL(nats).port);
    }
  };
  fleet = await Fleet.start(dir, join(process.env.STARLING_RESULTS ?? dir, `hang-${process.pid}.log`), linked, { copies: { auth: 2, chat: 2, presence: 2 }, lay });
}, { timeout: 240_000 });

after(async () => {
  await fleet?.stop();
  Object.values(links).forEach((link) => link.remove());
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

/** Everything that clients did: { what, at, took, code }, code being 'ok', the fault's, or 'silence'. */
class Log {
  constructor() { this.entries = []; }

  async operation(what, call) {
    const at = Date.now();
    const reply = await call().catch((err) => ({ ok: false, error: { code: /timed out/.test(err.message) ? 'silence' : err.message } }));
    const entry = { what, at, took: Date.now() - at, code: reply.ok ? 'ok' : reply.error.code, retry: reply.error?.retryAfterMs };
    this.entries.push(entry);
    return reply;
  }

  between(from, to) { return this.entries.filter((e) => e.at >= from && e.at < to); }

  summary(from, to) {
    const by = {};
    for (const e of this.between(from, to)) {
      const key = `${e.what} ${e.code}`;
      by[key] ??= { n: 0, worst: 0 };
      by[key].n += 1;
      by[key].worst = Math.max(by[key].worst, e.took);
    }
    return Object.entries(by).sort().map(([key, { n, worst }]) => `${key} ×${n} ≤${worst} ms`).join(', ');
  }
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Clients that do a bit of everything until they are told to stop. */
async function crowd(t, log, n = 16) {
  let running = true;
  const room = roomId('hang');
  const work = [];
  for (let i = 0; i < n; i += 1) {
    const user = await newUser('user');
    const socket = io(fleet.urls[i % 2], { auth: { token: user.token }, transports: ['websocket'], forceNew: true, reconnectionDelay: 200, reconnectionDelayMax: 1000 });
    t.after(() => socket.close());
    await new Promise((resolve) => { socket.once('connect', resolve); });
    await until(async () => (await socket.timeout(5000).emitWithAck('room:join', room).catch(() => ({}))).ok, 20_000, 'joined');
    const ask = (event, args) => log.operation(event, () => socket.timeout(8000).emitWithAck(event, args));
    const loop = async (round) => {
      for (let k = 0; running; k += 1) {
        if (socket.connected) await round(k).catch(() => {});
        await pause(100);
      }
    };
    work.push(loop(async (k) => {
      const kind = (i + k) % 4;
      if (kind === 0) await ask('room:join', `${room}-${i}-${k % 7}`);
      else if (kind === 1) await ask('message:history', { roomId: room, limit: 5 });
      else if (kind === 2) await ask('presence:get', { userIds: [user.id, 'nobody'] });
      else await ask('message:send', { roomId: room, content: `${i} ${k}`, clientMsgId: `${user.id}-${k}` });
    }));
  }
  // Newcomers, each with a token that nobody has seen.
  work.push((async () => {
    while (running) {
      const user = await newUser('new');
      const socket = io(fleet.urls[Math.floor(Math.random() * 2)], { auth: { token: user.token }, transports: ['websocket'], forceNew: true, reconnection: false, timeout: 8000 });
      log.operation('connect', () => new Promise((resolve) => {
        socket.once('connect', () => resolve({ ok: true }));
        socket.once('disconnect', () => resolve({ ok: false, error: { code: 'closed' } }));
        socket.once('connect_error', (err) => resolve({ ok: false, error: { code: err.data ? err.message : 'closed' } })); // by HTTP: 503
        setTimeout(() => resolve({ ok: false, error: { code: 'held' } }), 5000).unref(); // it waits for auth-service
      })).finally(() => socket.close());
      await pause(100);
    }
  })());
  return async () => { running = false; await Promise.all(work); };
}

/** Goroutines and memory of all processes that answer. */
async function load() {
  const all = {};
  await Promise.all(names.map(async (name) => {
    const text = await fetch(`http://${fleet.admin(name)}/metrics`, { signal: AbortSignal.timeout(1000) }).then((r) => r.text()).catch(() => '');
    const goroutines = /^go_goroutines (\d+)/m.exec(text);
    if (goroutines) all[name] = { goroutines: Number(goroutines[1]), mib: Math.round(Number(/^process_resident_memory_bytes (\S+)/m.exec(text)[1]) / 2 ** 20) };
  }));
  return all;
}

const children = (pid) => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean);

/** The processes of PostgreSQL: those whose command is postgres, below the bed's. */
function postgres() {
  const found = [];
  const walk = (pid) => children(pid).forEach((child) => {
    if (readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'postgres') found.push(Number(child));
    walk(child);
  });
  for (const thread of execFileSync('ls', [`/proc/${fleet.processes.get('bed').pid}/task`], { encoding: 'utf8' }).trim().split('\n')) {
    for (const child of readFileSync(`/proc/${fleet.processes.get('bed').pid}/task/${thread}/children`, 'utf8').trim().split(/\s+/).filter(Boolean)) {
      if (readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'postgres') found.push(Number(child));
      walk(child);
    }
  }
  return [...new Set(found)];
}

const each = (pattern, act) => Object.entries(links).filter(([name]) => pattern.test(name)).forEach(([, link]) => act(link));
let stopped = [];

const cases = [
  { name: 'PostgreSQL black-holed', hang: () => each(/>pg$/, (l) => l.hold()), heal: () => each(/>pg$/, (l) => l.heal()) },
  { name: 'answers of PostgreSQL lost', hang: () => each(/>pg$/, (l) => l.hold({ up: false })), heal: () => each(/>pg$/, (l) => l.heal()) },
  { name: 'PostgreSQL stopped', hang: () => { stopped = postgres(); assert.ok(stopped.length > 3); stopped.forEach((pid) => process.kill(pid, 'SIGSTOP')); }, heal: () => stopped.forEach((pid) => { try { process.kill(pid, 'SIGCONT'); } catch { /* it has ended */ } }) },
  { name: 'PostgreSQL slow', hang: () => each(/>pg$/, (l) => { l.delay = 150; }), heal: () => each(/>pg$/, (l) => l.heal()) },
  { name: 'one chat-service without PostgreSQL', hang: () => each(/^chat-1>pg$/, (l) => l.hold()), heal: () => each(/>pg$/, (l) => l.heal()) },
  { name: 'one chat-service stopped', half: true, hang: () => fleet.hang('chat-1'), heal: () => fleet.resume('chat-1') },
  { name: 'both chat-services stopped', hang: () => ['chat', 'chat-1'].forEach((n) => fleet.hang(n)), heal: () => ['chat', 'chat-1'].forEach((n) => fleet.resume(n)) },
  { name: 'one auth-service stopped', half: true, hang: () => fleet.hang('auth-1'), heal: () => fleet.resume('auth-1') },
  { name: 'both auth-services stopped', hang: () => ['auth', 'auth-1'].forEach((n) => fleet.hang(n)), heal: () => ['auth', 'auth-1'].forEach((n) => fleet.resume(n)) },
  { name: 'one presence-service stopped', half: true, hang: () => fleet.hang('presence-1'), heal: () => fleet.resume('presence-1') },
  { name: 'a gateway’s NATS link passes nothing up', hang: () => links['gateway-0>nats'].hold({ down: false }), heal: () => links['gateway-0>nats'].heal() },
  { name: 'a gateway’s NATS link passes nothing down', hang: () => links['gateway-0>nats'].hold({ up: false }), heal: () => links['gateway-0>nats'].heal() },
  { name: 'a chat-service’s NATS link passes nothing down', half: true, hang: () => links['chat-1>nats'].hold({ up: false }), heal: () => links['chat-1>nats'].heal() },
];

const refusals = ['ok', 'unavailable', 'timeout', 'rate_limited', 'closed', 'held'];

for (const { name, half, hang, heal } of cases.filter((c) => !only || c.name.includes(only))) {
  test(name, { timeout: hanging + 90_000 }, async (t) => {
    const log = new Log();
    const stop = await crowd(t, log);
    await pause(3000);
    const before = await load();
    const began = Date.now();
    hang();
    t.after(heal);
    await pause(hanging);
    const worst = await load();
    const healed = Date.now();
    heal();
    await pause(healing + 4000);
    const ended = Date.now();
    await stop();
    t.diagnostic(`before: ${log.summary(0, began)}`);
    t.diagnostic(`hanging: ${log.summary(began, healed)}`);
    t.diagnostic(`healing: ${log.summary(healed, healed + healing)}`);
    t.diagnostic(`after: ${log.summary(healed + healing, ended)}`);
    const lastBad = log.between(healed, ended).filter((e) => e.code !== 'ok').map((e) => e.at + e.took - healed);
    t.diagnostic(`last failure ${lastBad.length > 0 ? `${Math.max(...lastBad)} ms after healing` : 'before healing'}`);
    t.diagnostic(`load: ${Object.entries(worst).map(([n, l]) => `${n} ${before[n]?.goroutines}→${l.goroutines} goroutines ${before[n]?.mib}→${l.mib} MiB`).join(', ')}`);
    const late = log.entries.filter((e) => e.took > patience);
    assert.deepEqual(late.slice(0, 5), [], `${late.length} operations took more than ${patience} ms`);
    const strange = log.entries.filter((e) => !refusals.includes(e.code) || e.code === 'unavailable' && !(e.retry > 0));
    assert.deepEqual(strange.slice(0, 5), [], `${strange.length} operations failed otherwise`);
    const unwell = log.between(healed + healing, ended).filter((e) => e.code !== 'ok');
    assert.deepEqual(unwell.slice(0, 5), [], `${unwell.length} operations failed ${healing} ms after healing`);
    // With one of two copies away nearly all is answered with success: a client event fails that meets the hanging copy in all
    // of its attempts before the NATS server cuts that copy off.
    const during = log.between(began, healed);
    const failed = during.filter((e) => e.code !== 'ok');
    if (half) assert.ok(failed.length <= during.length * 0.06, `${failed.length} of ${during.length} operations failed: ${JSON.stringify(failed.slice(0, 5))}`);
    for (const [n, l] of Object.entries(worst)) assert.ok(l.goroutines < (before[n]?.goroutines ?? 100) + 400, `${n} has ${l.goroutines} goroutines`);
  });
}

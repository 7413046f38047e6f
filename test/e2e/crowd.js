// A crowd of official clients that chat without pause while somebody rolls, kills and scales the system under them, and what they saw:
// messages lost and delivered twice, sessions recovered, and how long the unluckiest client waited. It takes commands on stdin, each a
// line, and answers each with a line that says how the phase before went:
//
//   phase NAME   what follows happens in this phase; answered when every client is served again
//   outage NAME  the same, and clients may wait for longer than --longest
//   end          stops sending, holds what every client saw against the rooms' history; then the crowd goes, with 1 where promises were broken
//
// The results are written anew with each phase, so that those of a crowd that was ended tell how far it came.
//
//   JWT_SECRET=… node crowd.js --url=http://127.0.0.1:3000 --clients=60 --rooms=6 --rate=30 --results=crowd.json
//   node crowd.js --table=crowd.json         the results as a Markdown table
//
// Every client is in one room, sends in turn and repeats under its clientMsgId what was refused or got no answer. Its wait is the time
// from the first try to the ack, so it covers refusals, reconnects and joining again.

import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { io } from 'socket.io-client';
import { newUser, run } from './user.js';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' }, results: { type: 'string' }, table: { type: 'string' },
    clients: { type: 'string', default: '60' }, rooms: { type: 'string', default: '6' }, rate: { type: 'string', default: '30' },
    longest: { type: 'string' }, // seconds that no client may wait for an ack; without it the results tell, and nothing fails
    patience: { type: 'string', default: '300' }, // seconds until a client that is not served counts as locked out
  },
});
const patience = Number(options.patience) * 1000;
const now = () => performance.now();
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** A Map from the key of each item to the items with that key. */
function grouped(items, key) {
  const groups = new Map();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item); else groups.set(key(item), [item]);
  }
  return groups;
}

/** What happened between two commands. */
class Phase {
  constructor(name, outage = false) {
    Object.assign(this, { name, outage, from: now(), waits: [], answer: 0, refusals: {}, disconnects: 0, recovered: 0, fresh: 0, connects: {}, repeated: 0 });
  }

  refused(code) { this.refusals[code] = (this.refusals[code] ?? 0) + 1; }

  /** One more try to connect: the most in a second is the storm that the system has to bear. */
  connecting() {
    const second = Math.floor(now() / 1000);
    this.connects[second] = (this.connects[second] ?? 0) + 1;
  }

  summary() {
    const sorted = this.waits.toSorted((a, b) => a - b);
    const at = (share) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
    const { name, outage, refusals, disconnects, recovered, fresh, repeated } = this;
    this.told = { // what was lost is known at the end
      name, outage, seconds: Math.round((now() - this.from) / 100) / 10, acked: sorted.length, lost: 0, undelivered: 0, repeated, refusals,
      p50: at(0.5), p99: at(0.99), longest: at(1), answer: Math.round(this.answer),
      disconnects, recovered, fresh, connectsASecond: Math.max(0, ...Object.values(this.connects)),
    };
    return this.told;
  }
}

class Member {
  constructor(crowd, user, room) {
    Object.assign(this, { crowd, user, room, seen: new Set(), last: 0, began: now(), served: 0, number: 0, gone: false });
    this.socket = io(options.url, { auth: { token: user.token }, transports: ['websocket'], forceNew: true });
    this.socket.io.on('reconnect_attempt', () => crowd.phase.connecting());
    this.socket.on('disconnect', (reason) => {
      if (this.gone) return;
      crowd.phase.disconnects += 1;
      if (reason === 'io server disconnect') this.socket.connect(); // the only one after which the client does not come back by itself
    });
    this.socket.on('connect', () => this.#connected());
    this.socket.on('connect_error', (err) => {
      if (this.socket.active) return; // it tries again by itself
      crowd.phase.refused(`connect: ${err.data?.code ?? err.message}`);
      setTimeout(() => this.socket.connect(), err.data?.retryAfterMs ?? 1000);
    });
    this.socket.on('message:new', (message) => this.#saw(message));
    this.socket.on('room:history', (messages) => {
      this.page = messages.at(-1)?.seq;
      messages.forEach((message) => this.#saw(message));
    });
    this.ready = new Promise((resolve) => { this.enter = resolve; });
  }

  #saw(message) {
    if (message.roomId !== this.room) return;
    if (this.seen.has(message.seq) && this.first !== undefined && !this.paging) this.crowd.phase.repeated += 1;
    this.seen.add(message.seq);
    this.last = Math.max(this.last, message.seq);
  }

  #connected() {
    if (this.first === undefined) {
      this.#join();
    } else if (this.socket.recovered) {
      this.crowd.phase.recovered += 1;
    } else {
      this.crowd.phase.fresh += 1;
      this.ready = new Promise((resolve) => { this.enter = resolve; });
      this.#join();
    }
  }

  /** Enters the room, with what was missed; a connection that breaks meanwhile begins anew at the next connect. */
  async #join() {
    const id = this.socket.id;
    let since = this.last;
    this.paging = false;
    for (;;) {
      const argument = this.first === undefined ? { roomId: this.room, limit: 1 } : { roomId: this.room, since, limit: 500 };
      const reply = await this.socket.timeout(10_000).emitWithAck('room:join', argument).catch(() => undefined);
      if (this.socket.id !== id) return;
      if (reply?.ok) {
        if (this.first === undefined) {
          this.first = reply.seq; // what is above has to be seen
          this.last = Math.max(this.last, reply.seq);
        } else if (reply.hasMore) { // live events came in meanwhile, so the next pages overlap with them
          this.paging = true;
          since = this.page;
          continue;
        }
        this.paging = false;
        this.enter();
        return;
      }
      this.crowd.phase.refused(`room:join: ${reply?.error.code ?? 'no answer'}`);
      await pause(reply?.error.retryAfterMs ?? 500);
    }
  }

  /** Sends until the end, one message at a time. */
  async talk(everyMs) {
    await pause(Math.random() * everyMs);
    for (let due = now(); !this.crowd.ended; due = Math.max(due + everyMs, now() - everyMs)) {
      await pause(Math.max(0, due - now()));
      await this.#send();
    }
  }

  async #send() {
    this.began = now();
    const clientMsgId = `${this.user.id}-${this.number += 1}`;
    for (;;) {
      await this.ready;
      if (!this.socket.connected) {
        await pause(20);
        if (this.gone) return;
        continue;
      }
      const asked = now();
      const reply = await this.socket.timeout(10_000).emitWithAck('message:send', { roomId: this.room, content: clientMsgId, clientMsgId }).catch(() => undefined);
      if (reply) this.crowd.phase.answer = Math.max(this.crowd.phase.answer, now() - asked);
      if (reply?.ok) {
        this.crowd.acked.push({ room: this.room, seq: reply.seq, id: reply.id, clientMsgId, phase: this.crowd.phase });
        this.crowd.phase.waits.push(now() - this.began);
        this.served = this.began;
        return;
      }
      this.crowd.phase.refused(reply?.error.code ?? 'no answer');
      if (this.gone) return;
      await pause((reply?.error.retryAfterMs ?? 100) * (1 + Math.random()));
    }
  }
}

class Crowd {
  phase = new Phase('start');
  phases = [];
  acked = []; // { room, seq, id, clientMsgId, phase }
  violations = [];
  ended = false;

  async start() {
    const clients = Number(options.clients);
    const rooms = Number(options.rooms);
    const users = await Promise.all(Array.from({ length: clients }, (_, i) => newUser(`crowd${i}`, { expires: '12h' })));
    this.members = [];
    for (const [i, user] of users.entries()) {
      this.members.push(new Member(this, user, `crowd-${run}-${i % rooms}`));
      await pause(20);
    }
    await this.#within('every client is in its room', () => this.members.every((m) => m.first !== undefined));
    const everyMs = (clients / Number(options.rate)) * 1000;
    this.talks = this.members.map((m) => m.talk(everyMs));
  }

  /** Waits until every client got an ack for something that it sent from now on. */
  async settled() {
    const from = now();
    await this.#within(`every client is served again after "${this.phase.name}"`, () => this.members.every((m) => m.served >= from));
  }

  next(name, outage) {
    const summary = this.phase.summary();
    this.phases.push(summary);
    this.counts = { acked: this.acked.length }; // the others are known at the end
    if (options.longest && !this.phase.outage && summary.longest > Number(options.longest) * 1000) {
      this.violations.push(`a client waited ${summary.longest} ms for an ack: ${summary.name}`);
    }
    this.phase = new Phase(name, outage);
    return summary;
  }

  async end() {
    this.ended = true;
    let quiet = false;
    Promise.all(this.talks).then(() => { quiet = true; });
    await this.#within('the last messages are acknowledged', () => quiet);
    const wanted = grouped(this.acked, (a) => a.room);
    const missing = () => this.members.flatMap((m) => (wanted.get(m.room) ?? []).filter((a) => a.seq > m.first && !m.seen.has(a.seq)).map((a) => ({ ...a, by: m.user.id })));
    const end = now() + Math.min(60_000, patience);
    while (missing().length > 0 && now() < end) await pause(200);
    this.next('');
    const undelivered = missing();
    const lost = [];
    const twice = [];
    for (const [room, messages] of wanted) {
      const kept = await this.#history(room, Math.min(...messages.map((a) => a.seq)) - 1);
      const byId = grouped(kept, (m) => m.clientMsgId);
      for (const a of messages) {
        const found = byId.get(a.clientMsgId) ?? [];
        if (!found.some((m) => m.id === a.id && m.seq === a.seq)) lost.push(a);
        if (found.length > 1) twice.push(a);
      }
    }
    for (const member of this.members) { member.gone = true; member.socket.close(); }
    const repeated = this.phases.reduce((sum, p) => sum + p.repeated, 0);
    for (const a of lost) a.phase.told.lost += 1;
    for (const a of undelivered) a.phase.told.undelivered += 1;
    for (const a of twice) a.phase.told.repeated += 1;
    this.counts = { acked: this.acked.length, lost: lost.length, undelivered: undelivered.length, repeated: repeated + twice.length };
    const names = (list) => list.slice(0, 5).map((a) => (a.by ? `${a.clientMsgId} by ${a.by}` : a.clientMsgId)).join(', ');
    const say = (list, what) => { if (list.length > 0) this.violations.push(`${list.length} ${what}: ${names(list)}`); };
    say(lost, 'acknowledged messages are not in the history of their room');
    say(twice, 'messages were stored more than once');
    say(undelivered, 'messages did not reach a member of their room');
    if (repeated > 0) this.violations.push(`${repeated} messages were delivered twice`);
  }

  /** What is known so far. */
  results() {
    const { counts, violations, phases } = this;
    return { clients: this.members.length, rooms: Number(options.rooms), rate: Number(options.rate), counts, violations, phases };
  }

  /** All messages of a room after a sequence, as a newcomer on the connection of a member reads them. */
  async #history(room, since) {
    const member = this.members.find((m) => m.room === room);
    const reader = io(options.url, { auth: { token: member.user.token }, transports: ['websocket'], forceNew: true });
    const found = [];
    reader.on('room:history', (messages) => found.push(...messages));
    try {
      for (let from = since, more = true, tries = 0; more;) {
        const reply = await reader.timeout(30_000).emitWithAck('room:join', { roomId: room, since: from, limit: 500 }).catch(() => undefined);
        if (!reply?.ok) {
          if ((tries += 1) > 20) throw new Error(`the history of ${room} cannot be read: ${JSON.stringify(reply)}`);
          await pause(500);
          continue;
        }
        more = reply.hasMore;
        from = Math.max(from, ...found.map((m) => m.seq));
      }
      return found;
    } finally {
      reader.close();
    }
  }

  async #within(what, holds) {
    const end = now() + patience;
    while (!holds()) {
      if (now() > end) {
        const slow = this.members.filter((m) => now() - m.served > 10_000).length;
        this.violations.push(`not within ${patience / 1000} s: ${what} (${slow} of ${this.members.length} clients wait)`);
        return;
      }
      await pause(50);
    }
  }
}

const codes = (refusals) => Object.entries(refusals).map(([code, n]) => `${n} ${code}`).join(', ') || '–';

/** How a phase went, in a line. */
const line = (p) => `${p.name}: ${p.seconds} s, ${p.acked} messages acked; waits of ${p.p50} ms (p50), ${p.p99} ms (p99), ${p.longest} ms (longest), ` +
  `the slowest answer ${p.answer} ms; ${p.disconnects} connections closed, ${p.recovered} recovered, ${p.fresh} fresh; ${p.repeated} repeated; refused: ${codes(p.refusals)}`;

/** The results as Markdown. */
function table(results) {
  const { phases, counts, violations } = results;
  const known = (n) => (counts.lost === undefined ? '?' : n);
  const row = (p) => `| ${p.name} | ${p.seconds} | ${p.acked} | ${known(p.lost)} | ${known(p.undelivered)} | ${known(p.repeated)} | ${codes(p.refusals)} | ${p.p50} | ${p.p99} | ${p.longest} | ${p.answer} | ${p.disconnects} | ${p.recovered} | ${p.fresh} | ${p.connectsASecond} |`;
  const judged = counts.lost === undefined
    ? 'The clients were ended before what they saw was held against the history: nothing is known of what was lost.'
    : `Of these lost: ${counts.lost}, not delivered to a member: ${counts.undelivered}, delivered or stored twice: ${counts.repeated}.`;
  return [
    `${results.clients} official clients in ${results.rooms} rooms, ${results.rate} messages a second. Acknowledged: ${counts.acked}. ${judged}`,
    '',
    'A wait is the time from the first try of a message to its ack, refusals, reconnects and joining again included: the longest one is the longest ' +
      'time that a client was not served. An answer is an ack or a refusal; the slowest is counted on a connection that lived on.',
    '',
    ...violations.map((v) => `* **Broken**: ${v}`), ...(violations.length > 0 ? [''] : []),
    '| what was done | s | messages acked | lost | not delivered | repeated | refusals, sent again | wait p50, ms | p99 | longest of any client | slowest answer, ms | connections closed | recovered | fresh sessions | most connects in a second |',
    '|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|',
    ...phases.map(row),
  ].join('\n');
}

if (options.table) {
  console.log(table(JSON.parse(readFileSync(options.table, 'utf8'))));
  process.exit(0);
}
if (!options.url) throw new Error('--url is not set');
process.stdout.on('error', () => process.exit(1)); // whoever commands is gone
const crowd = new Crowd();
const keep = () => { if (options.results) writeFileSync(options.results, `${JSON.stringify(crowd.results(), null, 2)}\n`); };
await crowd.start();
console.log(`${crowd.members.length} clients are in their rooms`);
for await (const command of createInterface({ input: process.stdin })) {
  const [verb, ...rest] = command.trim().split(' ');
  if (verb === 'phase' || verb === 'outage') {
    await crowd.settled();
    console.log(line(crowd.next(rest.join(' '), verb === 'outage')));
    keep();
  } else if (verb === 'end') {
    await crowd.settled();
    await crowd.end();
    keep();
    const { acked, lost, undelivered, repeated } = crowd.counts;
    console.log([`${acked} messages acked, ${lost} lost, ${undelivered} not delivered to a member, ${repeated} repeated`, ...crowd.violations].join('; '));
    process.exit(crowd.violations.length > 0 ? 1 : 0);
  } else {
    console.log(`unknown command: ${verb}`);
  }
}
process.exit(1); // nobody said end

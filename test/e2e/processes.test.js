// Single processes are killed while clients work (node run.js --faults): clients come through, nothing acknowledged is lost.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { Fleet, until } from './fleet.js';
import { scratch } from './system.js';
import { newUser, roomId } from './user.js';

let fleet;
let dir;

before(async () => {
  dir = scratch();
  fleet = await Fleet.start(dir, join(process.env.STARLING_RESULTS ?? dir, `fleet-${process.pid}.log`));
}, { timeout: 240_000 });

after(async () => {
  await fleet?.stop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

/** A member of a room that logs what it sees of it. */
async function member(t, room, gateway) {
  const user = await newUser('user');
  const log = []; // the useq of what the user's log told
  const auth = (give) => give({ token: user.token, ...(log.length > 0 && { useq: log.at(-1) }) });
  const socket = io(fleet.urls[gateway], { auth, transports: ['websocket'], forceNew: true, reconnectionDelay: 200, reconnectionDelayMax: 600 });
  t.after(() => socket.close());
  socket.onAny((event, e) => { if (event.startsWith('me:')) log.push(e.useq); });
  const seen = [];
  const connects = [];
  socket.on('message:new', (m) => { if (m.roomId === room) seen.push(m); });
  socket.on('connect', () => connects.push(socket.recovered));
  await until(async () => (await socket.timeout(3000).emitWithAck('room:join', room).catch(() => ({}))).ok, 60_000, 'joined');
  return { socket, seen, connects, user, log };
}

/** Sends until told to stop, each message again with its clientMsgId until it is acknowledged. */
function sender({ socket, user }, room) {
  const acked = [];
  let running = true;
  const refusals = new Map();
  const done = (async () => {
    for (let i = 0; running; i += 1) {
      const message = { roomId: room, content: `${user.id} ${i}`, clientMsgId: `${user.id}-${i}` };
      for (const began = Date.now(); ;) {
        const reply = await socket.timeout(6000).emitWithAck('message:send', message).catch((err) => ({ ok: false, error: { code: err.message } }));
        if (reply.ok) { acked.push({ ...message, ...reply }); break; }
        refusals.set(reply.error.code, (refusals.get(reply.error.code) ?? 0) + 1);
        assert.ok(Date.now() - began < 40_000, `${message.content} is not taken: ${JSON.stringify(reply.error)}`);
        await new Promise((resolve) => { setTimeout(resolve, 100); });
      }
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
  })();
  return { acked, refusals, stop: () => { running = false; return done; } };
}

/** Makes rooms with another user until told to stop, each asked for with its key until it is acknowledged; gives how many it made. */
function maker({ socket }, user) {
  let running = true;
  const done = (async () => {
    for (let made = 0; ;) {
      const request = { kind: 'private', members: [{ userId: user.id }], key: `room ${made}` };
      const began = Date.now();
      for (let reply = {}; !reply.ok;) {
        reply = await socket.timeout(6000).emitWithAck('room:create', request).catch((err) => ({ error: err.message }));
        assert.ok(Date.now() - began < 40_000, `a room is not made: ${JSON.stringify(reply.error)}`);
        await new Promise((resolve) => { setTimeout(resolve, 250); }); // a user makes 200 rooms at most
      }
      made += 1;
      if (!running) return made;
    }
  })();
  return { stop: () => { running = false; return done; } };
}

/** The room's messages in the database. */
async function stored({ socket }, room) {
  const all = [];
  for (let cursor = 0; ;) {
    const { messages, hasMore } = await socket.timeout(30_000).emitWithAck('message:history', { roomId: room, after: cursor, limit: 100 });
    all.push(...messages);
    if (!hasMore) return all;
    cursor = messages.at(-1).seq;
  }
}

for (const victim of ['chat', 'presence', 'auth', 'gateway-0']) {
  test(`kill -9 of ${victim} and its restart`, { timeout: 300_000 }, async (t) => {
    const room = roomId(victim);
    const members = [await member(t, room, 0), await member(t, room, 1), await member(t, room, 1)];
    const senders = [sender(members[0], room), sender(members[1], room)];
    await until(() => senders.every((s) => s.acked.length > 20), 60_000, 'senders are at work');

    const rooms = maker(members[1], members[0].user);
    await fleet.kill(victim);
    await new Promise((resolve) => { setTimeout(resolve, 1500); });
    fleet.run(victim);
    await fleet.ready(victim);
    const then = senders.map((s) => s.acked.length);
    await until(() => senders.every((s, i) => s.acked.length > then[i] + 20), 60_000, 'later sends work');
    await Promise.all(senders.map((s) => s.stop()));
    const told = 1 + await rooms.stop(); // of the log of the first member: its own join, and the rooms that it was added to
    await until(() => members[0].log.length >= told, 60_000, `the log of a user, ${told} events, has ${members[0].log}`);
    assert.deepEqual(members[0].log, Array.from({ length: told }, (_, i) => i + 1), 'every event of a user\'s log once, in order; no room twice');

    const history = await stored(members[1], room);
    const byId = new Map(history.map((m) => [m.clientMsgId, m]));
    assert.equal(byId.size, history.length, 'no message twice');
    for (const a of senders.flatMap((s) => s.acked)) assert.deepEqual([byId.get(a.clientMsgId)?.seq, byId.get(a.clientMsgId)?.content], [a.seq, a.content]);
    const seqs = history.map((m) => m.seq);
    for (const [i, m] of members.entries()) {
      const want = seqs.filter((s) => s >= m.seen[0].seq);
      await until(() => m.seen.length >= want.length, 60_000, `member ${i} has seen the last of ${want.length} messages, not ${m.seen.length}`);
      assert.deepEqual(m.seen.map((x) => x.seq), want, `member ${i} saw every message once, in order`);
    }
    if (!victim.startsWith('gateway')) assert.deepEqual(members.map((m) => m.connects.length), [1, 1, 1], 'clients stayed connected');
    else assert.deepEqual(members[0].connects.slice(1).every(Boolean), true, 'the client of the killed gateway was recovered');
    t.diagnostic(`${history.length} messages; refusals ${JSON.stringify(senders.map((s) => Object.fromEntries(s.refusals)))}`);
  });
}

test('auth-service disables a user as an operator\'s command beside the running one', { timeout: 300_000 }, async (t) => {
  const user = await newUser('user');
  const sockets = fleet.urls.map((url) => io(url, { auth: { token: user.token }, transports: ['websocket'], forceNew: true, reconnection: false }));
  sockets.forEach((socket) => t.after(() => socket.close()));
  await until(() => sockets.every((socket) => socket.connected), 30_000, 'connected to both gateways');
  const ended = Promise.all(sockets.map((socket) => once(socket, 'disconnect')));
  const command = (...args) => spawnSync(join(fleet.binaries, 'bin-auth'), args, { env: fleet.environment('auth'), encoding: 'utf8', timeout: 60_000 });
  const { status, stdout, stderr } = command('users', 'disable', user.id);
  assert.deepEqual([status, stdout, stderr], [0, `Disabled ${user.id}\n`, '']);
  await ended;
  assert.equal(command('users', 'disable').status, 2);
  assert.equal(command('keys', 'rm', 'nobody').status, 1);
});

test('kill -9 of the gateway whose session another one carries', { timeout: 300_000 }, async (t) => {
  const user = await newUser('user');
  const path = '/socket.io/?EIO=4';
  const open = await (await fetch(`${fleet.urls[0]}${path}&transport=polling`)).text();
  const { sid } = JSON.parse(open.slice(1));
  const ws = new WebSocket(`${fleet.urls[1].replace('http', 'ws')}${path}&transport=websocket&sid=${encodeURIComponent(sid)}`);
  t.after(() => ws.terminate());
  const heard = [];
  ws.on('message', (bytes) => heard.push(bytes.toString()));
  await once(ws, 'open');
  const closed = once(ws, 'close');
  ws.send('2probe');
  await until(() => heard.includes('3probe'), 60_000, 'the probe is answered');
  ws.send('5');
  ws.send(`40${JSON.stringify({ token: user.token })}`);
  await until(() => heard.some((p) => p.startsWith('40{')), 60_000, 'connected');
  const killed = Date.now();
  await fleet.kill('gateway-0');
  const [code] = await closed;
  const took = Date.now() - killed;
  assert.equal(code, 1013, 'the client is told to come back');
  assert.ok(took < 9000, `told after ${took} ms`); // 2.5 s on a quiet machine; silence alone would take 11 s
  fleet.run('gateway-0');
  await fleet.ready('gateway-0');
});

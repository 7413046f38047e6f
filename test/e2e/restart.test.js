// What is kept over a stop and a start of the whole system, in a system of its own.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { System, remove, scratch } from './system.js';
import { newUser, roomId } from './user.js';

const binary = process.env.STARLING_BINARY;

// open connects. What comes right after the answer to CONNECT is lost on who listens only when open has returned: listen does it before.
async function open(t, base, token, more, listen = () => {}) {
  const socket = io(base, { auth: { token, ...more }, transports: ['websocket'], forceNew: true, reconnection: false, timeout: 30_000 });
  t.after(() => socket.close());
  listen(socket);
  await new Promise((resolve, reject) => { socket.once('connect', resolve).once('connect_error', reject); });
  return socket;
}

const ask = (socket, event, argument) => socket.timeout(30_000).emitWithAck(event, argument);
const post = async (base, path, body) => {
  const response = await fetch(base + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
};

test('messages, rooms, accounts and keys survive a restart; unknown users are refused without provisioning', { timeout: 600_000, skip: !binary && 'needs a system of its own (STARLING_BINARY)' }, async (t) => {
  const dir = scratch();
  const log = join(process.env.STARLING_RESULTS ?? dir, `restart-${process.pid}.log`);
  const options = { binary, data: join(dir, 'data'), gateways: 1, log };
  let system = await System.start(options);
  t.after(async () => { await system.kill(); remove(dir, binary); });
  let [base] = system.urls;

  const ann = await newUser('ann');
  const room = roomId();
  const a = await open(t, base, ann.token);
  await ask(a, 'room:join', room);
  const create = { kind: 'private', key: 'made before the restart' };
  const made = await ask(a, 'room:create', create);
  const acks = [];
  for (let i = 0; i < 20; i += 1) acks.push(await ask(a, 'message:send', { roomId: room, content: `m${i}`, clientMsgId: `c${i}` }));
  const username = `keeper-${process.pid}`;
  const password = 'correct horse battery staple';
  const registered = await post(base, '/api/v1/auth/register', { username, password });
  assert.equal(registered.status, 200, JSON.stringify(registered.body));
  a.close();
  await system.stop();

  system = await System.start({ ...options, env: { AUTH_AUTO_PROVISION: 'false' } });
  [base] = system.urls;
  let mine;
  const b = await open(t, base, ann.token, { useq: 1 }, (socket) => {
    mine = new Promise((resolve) => { socket.once('me:room-added', resolve); });
  });
  const history = new Promise((resolve) => { b.once('room:history', resolve); });
  const joined = await ask(b, 'room:join', room);
  assert.equal(joined.ok, true, JSON.stringify(joined));
  assert.equal(joined.role, 'owner');
  assert.deepEqual((await history).map((m) => [m.id, m.seq, m.content]), acks.map((k, i) => [k.id, k.seq, `m${i}`]));
  assert.deepEqual(await ask(b, 'message:send', { roomId: room, content: 'm3', clientMsgId: 'c3' }), acks[3], 'a retry after the restart');
  const live = new Promise((resolve) => { b.once('message:new', resolve); });
  const next = await ask(b, 'message:send', { roomId: room, content: 'after' });
  assert.equal(next.seq, acks.at(-1).seq + 1);
  assert.equal((await live).seq, next.seq);

  assert.deepEqual(await ask(b, 'room:create', create), made, 'a repeat after the restart');
  const added = await mine;
  assert.deepEqual([added.useq, added.room.roomId], [2, made.room.roomId], 'what the client had not seen of its log');

  await open(t, base, registered.body.accessToken);
  assert.equal((await post(base, '/api/v1/auth/refresh', { refreshToken: registered.body.refreshToken })).status, 200);
  assert.equal((await post(base, '/api/v1/auth/login', { username, password })).status, 200);

  const stranger = await newUser('stranger');
  await assert.rejects(open(t, base, stranger.token), (err) => {
    assert.equal(err.message, 'User not found');
    assert.equal(typeof err.data?.code, 'string');
    return true;
  });
  await system.stop();
});

// A client as existing applications have it, written against nothing but the contract: its handlers, its order of events.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { url } from './client.js';
import { apiKey, call, register } from './rest.js';
import { newUser, roomId } from './user.js';

const once = (socket, event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${event}`)), 30_000);
  socket.once(event, (...args) => { clearTimeout(timer); resolve(args[0]); });
});

test('an existing chat application goes on working', async (t) => {
  const [alice, bob, admin] = [await register('alice'), await newUser('bob'), await newUser('root', { role: 'admin' })];
  const open = (who, path, gateway) => {
    const socket = io(url(gateway) + path, { auth: { token: who.token }, transports: ['websocket', 'polling'], forceNew: true });
    t.after(() => socket.close());
    return socket;
  };
  const a = open(alice, '', 0);
  const onlineA = once(a, 'users:online');
  await once(a, 'connect');
  assert.ok(Array.isArray(await onlineA));
  const b = open(bob, '', 1);
  await once(b, 'connect');

  // A room: join, history, the other one is announced.
  const room = roomId('general');
  const emptyHistory = once(a, 'room:history');
  a.emit('room:join', room);
  assert.deepEqual(await emptyHistory, []);
  const joined = once(a, 'room:user-joined');
  const reply = await b.emitWithAck('room:join', room);
  assert.equal(reply.ok, true);
  assert.equal((await joined).userId, bob.id);

  // A message: acknowledged, delivered to both, read, in the next joiner's history.
  const [atA, atB] = [once(a, 'message:new'), once(b, 'message:new')];
  const ack = await a.emitWithAck('message:send', { roomId: room, content: 'hello', type: 'text' });
  assert.equal(ack.status, 'delivered');
  assert.equal((await atA).id, ack.id);
  const message = await atB;
  assert.deepEqual([message.content, message.sender.id], ['hello', alice.id]);
  const read = once(a, 'message:read');
  b.emit('message:read', { roomId: room, messageId: message.id });
  assert.deepEqual([(await read).messageId, (await read).userId], [ack.id, bob.id]);

  // Typing.
  const [start, stop] = [once(b, 'typing:start'), once(b, 'typing:stop')];
  a.emit('typing:start', room);
  assert.equal((await start).userId, alice.id);
  a.emit('typing:stop', room);
  assert.equal((await stop).userId, alice.id);

  // Something of the application's own, to the room.
  const custom = once(a, 'room:message');
  b.emit('room:message', { roomId: room, wave: true });
  const waved = await custom;
  assert.deepEqual([waved.wave, waved.sender, typeof waved.timestamp], [true, bob.id, 'number']);

  // To everyone.
  const [received, chat] = [once(a, 'chat:message:received'), once(b, 'chat:message')];
  a.emit('chat:message', { id: 'x1', text: 'hi all' });
  assert.deepEqual(await received, { id: 'x1', status: 'delivered' });
  assert.equal((await chat).text, 'hi all');
  const boss = open(admin, '', 2);
  await once(boss, 'connect');
  const heard = once(a, 'announcement');
  boss.emit('announcement', { text: 'lunch' });
  assert.deepEqual(await heard, { text: 'lunch' });

  // /chat shares the rooms; /notifications gets what a backend posts.
  const chatA = open(alice, '/chat', 2);
  await once(chatA, 'connect');
  const history = once(chatA, 'room:history');
  chatA.emit('room:join', room);
  assert.deepEqual((await history).map((m) => m.content), ['hello']);
  const short = once(b, 'message:new');
  chatA.emit('message', { roomId: room, content: 'from /chat' });
  assert.equal((await short).content, 'from /chat');
  const bell = open(alice, '/notifications', 1);
  await once(bell, 'connect');
  const notified = once(bell, 'notification');
  await call('POST', '/api/v1/notifications', { key: apiKey, body: { userId: alice.id, type: 'mention', title: 'Bob waved' } });
  assert.equal((await notified).title, 'Bob waved');

  const left = once(a, 'room:user-left');
  b.emit('room:leave', room);
  assert.equal((await left).userId, bob.id);
});

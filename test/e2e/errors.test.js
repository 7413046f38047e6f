// Refusals: event:error without an ack callback, unknown events, and that a refusal never ends the connection.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { newUser, roomId } from './user.js';
import { exact, ok, refused, text } from './expect.js';

test('a failed event without an ack callback is answered by event:error, to the sender only', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  const a2 = await connect(t, ann);
  const b = await connect(t, await newUser('bob'), { gateway: 1 });
  const cases = [
    ['message:send', [{ roomId: roomId('nowhere'), content: 'x' }], ['forbidden', 'not_found']],
    ['message:send', [{ content: 'x' }], ['invalid']],
    ['room:join', [''], ['invalid']],
    ['announcement', ['x'], ['forbidden']],
    ['no:such:event', [], ['unknown_event']],
    ['message:send', [{ roomId: 'x', content: 'y'.repeat(70_000) }], ['too_large']],
  ];
  for (const [event, args, codes] of cases) {
    a.socket.emit(event, ...args);
    const got = await a.take('event:error');
    exact(got, { event, code: (c) => codes.includes(c), message: text }, 'event:error');
  }
  ok(await a.emit('room:list'), { rooms: [], useq: 0 });
  for (const s of [a2, b]) assert.deepEqual(s.seen('event:error'), []);
});

test('with an ack callback there is no event:error; a success without one is silent', async (t) => {
  const a = await connect(t, await newUser('ann'));
  refused(await a.emit('no:such:event'), 'unknown_event');
  a.socket.emit('room:list');
  ok(await a.emit('room:list'), { rooms: [], useq: 0 });
  assert.deepEqual(a.seen('event:error'), []);
});

test('unknown events, with names of every kind', async (t) => {
  const a = await connect(t, await newUser('ann'));
  for (const event of ['nope', 'message', 'message:', ':', 'message:send:now', 'message.send', 'room:*', '>', '*', '$SYS', '', ' ', 'é', 'x'.repeat(200),
    'a:b:c:d:e:f:g:h:i:j', 'constructor', '__proto__', 'Message:Send']) {
    refused(await a.emit(event, {}), 'unknown_event', 'invalid');
  }
  ok(await a.emit('room:list'), { rooms: [], useq: 0 });
});

test('events are only answered on the namespaces that have them', async (t) => {
  const ann = await newUser('ann');
  const n = await connect(t, ann, { namespace: '/notifications' });
  for (const event of ['room:join', 'message:send', 'chat:message']) refused(await n.emit(event, roomId()), 'unknown_event');
  const root = await connect(t, ann);
  const reply = await root.emit('notification:list');
  if (!reply.ok) refused(reply, 'unknown_event');
  const chat = await connect(t, ann, { namespace: '/chat' });
  ok(await chat.emit('room:list'), { rooms: [], useq: 0 });
});

test('no answer of ours tells about the inside', async (t) => {
  const a = await connect(t, await newUser('ann'));
  for (const argument of [{ roomId: 'x\u0000y' }, { roomId: "'; drop table rooms; --", content: 'x' }, { roomId: '\ud800', content: '\udfff' }, { roomId: 'r', messageId: "' or 1=1" }]) {
    for (const event of ['message:send', 'message:read', 'message:readers', 'message:history', 'room:message']) {
      const reply = await a.emit(event, argument);
      assert.equal(reply.ok, false);
      assert.notEqual(reply.error.code, 'internal', `${event} ${JSON.stringify(argument)}: ${JSON.stringify(reply)}`);
      assert.doesNotMatch(reply.error.message, /SQLSTATE|pgx|nats|grpc|panic|\.go:/i);
    }
  }
});

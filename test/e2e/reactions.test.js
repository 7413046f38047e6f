// Reactions and pinned messages.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair } from './client.js';
import { array, exact, iso, ok, refused, seq } from './expect.js';
import { newUser, roomId } from './user.js';

const react = (client, room, id, key = '👍') => client.patiently('message:react', { roomId: room, messageId: id, key });
const sent = async (client, room, content = 'x') => (await client.patiently('message:send', { roomId: room, content })).id;
const shown = async (client, room, id) => (await client.emit('message:get', { roomId: room, messageIds: [id] })).messages[0];

test('a reaction counts once a user and key, everybody hears of it, and one sees one\'s own', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const id = await sent(a, room);
  const first = await react(b, room, id);
  ok(first, { seq, reactions: [{ key: '👍', count: 1, mine: true }] });
  for (const s of [a, b]) {
    exact(await s.take('message:reactions'), { roomId: room, seq: first.seq, messageId: id, changes: [{ key: '👍', userId: bob.id, on: true }], counts: [{ key: '👍', count: 1 }] });
  }
  ok(await react(b, room, id), { reactions: [{ key: '👍', count: 1, mine: true }] });
  ok(await react(a, room, id, 'ok'), { seq, reactions: [{ key: '👍', count: 1 }, { key: 'ok', count: 1, mine: true }] });
  ok(await react(a, room, id), { seq, reactions: [{ key: '👍', count: 2, mine: true }, { key: 'ok', count: 1, mine: true }] });
  const off = await b.emit('message:unreact', { roomId: room, messageId: id, key: '👍' });
  ok(off, { seq, reactions: [{ key: '👍', count: 1 }, { key: 'ok', count: 1 }] });
  ok(await b.emit('message:unreact', { roomId: room, messageId: id, key: '👍' }), { reactions: array });
  const reactions = [{ key: '👍', count: 1 }, { key: 'ok', count: 1 }];
  assert.deepEqual([(await shown(b, room, id)).reactions, (await shown(b, room, id)).changed], [reactions, off.seq]);
  for (const page of [await a.emit('message:history', { roomId: room }), await a.emit('message:changes', { roomId: room, since: 0 })]) {
    assert.deepEqual(page.messages[0].reactions, reactions.map((r) => ({ ...r, mine: true })));
  }
  const c = await connect(t, ann, { gateway: 2 });
  assert.deepEqual((await c.join(room)).history[0].reactions, reactions.map((r) => ({ ...r, mine: true })));
  ok(await a.emit('message:delete', { roomId: room, messageId: id }), { seq });
  assert.equal(refused(await react(a, room, id), 'not_found').reason, 'deleted');
  assert.ok(!('reactions' in await shown(a, room, id)));
  const other = await sent(a, room);
  for (const bad of [{}, { key: '' }, { key: 1 }, { key: 'x'.repeat(65) }, { key: 'a\nb' }]) refused(await a.patiently('message:react', { roomId: room, messageId: other, ...bad }), 'invalid');
  const eve = await connect(t, await newUser('eve'));
  refused(await react(eve, room, other), 'forbidden');
  ok(await a.emit('room:mute', { roomId: room, userId: bob.id }));
  assert.equal(refused(await react(b, room, other), 'forbidden').reason, 'muted');
  for (let i = 0; i < 20; i += 1) ok(await react(a, room, other, `${i}`), { seq, reactions: array });
  assert.equal(refused(await react(a, room, other, 'one more'), 'too_large').reason, 'too_many_keys');
});

test('many who react at once make a few events with exact counts', async (t) => {
  const room = roomId();
  const users = 100;
  const a = await connect(t, await newUser('ann'));
  await a.join(room);
  const id = await sent(a, room);
  const sockets = [];
  for (let i = 0; i < users; i += 1) {
    const s = await connect(t, await newUser(`u${i}`), { gateway: i });
    await s.join({ roomId: room, limit: 1, since: 0 });
    sockets.push(s);
  }
  const acks = await Promise.all(sockets.map((s, i) => react(s, room, id, i % 2 ? 'odd' : 'even')));
  for (const ack of acks) ok(ack, { seq, reactions: array });
  const last = Math.max(...acks.map((k) => k.seq));
  for (const s of [a, sockets[1], sockets[2]]) await s.take('message:reactions', (e) => e.seq === last);
  const events = a.seen('message:reactions');
  const whole = events.at(-1).counts.toSorted((x, y) => (x.key < y.key ? -1 : 1));
  assert.deepEqual(whole, [{ key: 'even', count: users / 2 }, { key: 'odd', count: users / 2 }]);
  assert.equal(events.flatMap((e) => e.changes).length, users);
  assert.ok(events.length <= users / 4, `${events.length} events`);
  assert.deepEqual((await shown(a, room, id)).reactions, events.at(-1).counts);
});

test('moderators pin messages, and everybody sees which', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const ids = [await sent(b, room, 'one'), await sent(b, room, 'two')];
  assert.equal(refused(await b.emit('message:pin', { roomId: room, messageId: ids[0] }), 'forbidden').reason, 'not_allowed');
  const pin = await a.emit('message:pin', { roomId: room, messageId: ids[0] });
  ok(pin, { seq });
  ok(await a.emit('message:pin', { roomId: room, messageId: ids[0] }), { seq: pin.seq });
  ok(await a.emit('message:pin', { roomId: room, messageId: ids[1] }), { seq });
  exact(await b.take('message:pinned'), { roomId: room, seq: pin.seq, messageId: ids[0], by: ann.id, pinnedAt: iso });
  const pins = await b.emit('message:pins', room);
  ok(pins, { messages: array });
  assert.deepEqual(pins.messages.map((m) => [m.id, typeof m.pinnedAt]), ids.map((id) => [id, 'string']));
  const page = await b.emit('message:pins', { roomId: room, limit: 1 });
  ok(page, { messages: array, next: pins.messages[0].seq });
  assert.deepEqual((await b.emit('message:pins', { roomId: room, after: page.next })).messages.map((m) => m.id), [ids[1]]);
  const unpin = await a.emit('message:unpin', { roomId: room, messageId: ids[0] });
  exact(await b.take('message:unpinned'), { roomId: room, seq: unpin.seq, messageId: ids[0], by: ann.id });
  ok(await a.emit('message:delete', { roomId: room, messageId: ids[1] }), { seq });
  assert.deepEqual((await b.emit('message:pins', room)).messages, []);
  const direct = (await b.emit('room:open', { userIds: [ann.id] })).room.roomId;
  const said = await sent(b, direct);
  ok(await a.emit('message:pin', { roomId: direct, messageId: said }), { seq });
  const eve = await connect(t, await newUser('eve'));
  refused(await eve.emit('message:pins', direct), 'not_found');
  refused(await eve.emit('message:pin', { roomId: direct, messageId: said }), 'not_found');
  await eventually(async () => assert.equal((await b.emit('message:pins', direct)).messages.length, 1));
});

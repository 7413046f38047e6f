// Reactions and pinned messages.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pair, pause } from './client.js';
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

test('500 users who react within a second make a few events with exact counts', async (t) => {
  const users = await Promise.all(Array.from({ length: 500 }, (_, i) => newUser(`u${i}`)));
  const [a, other] = [await connect(t, await newUser('ann')), await connect(t, users[1], { gateway: 1 })];
  const room = roomId();
  await a.join(room);
  for (let i = 0; i < users.length; i += 100) {
    const added = await a.patiently('room:add', { roomId: room, userIds: users.slice(i, i + 100).map((u) => u.id) });
    assert.deepEqual(added.failed, []);
  }
  await other.join(room);
  const id = await sent(a, room);
  const sockets = [];
  for (let i = 0; i < users.length; i += 50) { // they are members, and look at another room
    sockets.push(...await Promise.all(users.slice(i, i + 50).map((u, k) => connect(t, u, { gateway: i + k }))));
  }
  const took = [];
  const begin = performance.now();
  const acks = await Promise.all(sockets.map(async (s, i) => {
    await pause(i); // half a second for all of them
    const from = performance.now();
    const ack = await react(s, room, id, i % 2 ? 'odd' : 'even');
    took.push(performance.now() - from);
    return ack;
  }));
  for (const ack of acks) ok(ack, { seq, reactions: array });
  const seconds = (performance.now() - begin) / 1000;
  took.sort((x, y) => x - y);
  const at = (share) => `${took[Math.floor((took.length - 1) * share)].toFixed(0)} ms`;
  const last = Math.max(...acks.map((k) => k.seq));
  for (const s of [a, other]) await s.take('message:reactions', (e) => e.seq === last);
  const events = a.seen('message:reactions');
  t.diagnostic(`acks of ${users.length} reactions: p50 ${at(0.5)}, p99 ${at(0.99)}, the last ${at(1)}; ${events.length} events in ${seconds.toFixed(1)} s`);
  assert.deepEqual(other.seen('message:reactions'), events);
  const whole = events.at(-1).counts.toSorted((x, y) => (x.key < y.key ? -1 : 1));
  assert.deepEqual(whole, [{ key: 'even', count: users.length / 2 }, { key: 'odd', count: users.length / 2 }]);
  const changes = events.flatMap((e) => e.changes);
  assert.deepEqual(changes.map((c) => c.userId).toSorted(), users.map((u) => u.id).toSorted());
  assert.ok(events.length <= 10 + 10 * seconds, `${events.length} events in ${seconds} s`); // what comes within 150 ms is one
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

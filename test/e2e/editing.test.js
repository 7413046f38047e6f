// Messages that answer others and carry data, and what becomes of them: edits, deletions, and what one missed of these.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { again, connect, drop, pair } from './client.js';
import { array, boolean, exact, iso, message, ok, refused, sent, seq } from './expect.js';
import { apiKey, call } from './rest.js';
import { newUser, roomId, unique } from './user.js';

const say = async (client, room, content, more = {}) => {
  const ack = await client.patiently('message:send', { roomId: room, content, ...more });
  assert.equal(ack.ok, true, JSON.stringify(ack));
  return ack;
};
const whole = { 'changed?': seq, 'format?': 'markdown', 'data?': () => true, 'replyTo?': () => true, 'mentions?': () => true, 'editedAt?': iso };
const history = async (client, room) => (await client.emit('message:history', { roomId: room, limit: 100 })).messages;

test('a message carries data and a format, answers another one and mentions users, live and in every page', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const first = await say(a, room, 'What about\nlunch?', { format: 'plain' });
  const data = { big: 12345678901234567890n.toString(), deep: { a: [1, 2.5, null] }, '__proto__x': '"\u2028' };
  const answer = await say(b, room, '**Yes**', { format: 'markdown', data, replyTo: first.id, mentions: { users: [ann.id, ann.id] } });
  assert.equal(answer.n, first.n + 1);
  const replyTo = { id: first.id, sender: { id: ann.id, name: ann.name }, preview: 'What about lunch?' };
  const want = { ...whole, id: answer.id, n: answer.n, content: '**Yes**', format: 'markdown', data, replyTo, mentions: { users: [ann.id], room: false } };
  for (const s of [a, b]) {
    message(await s.take('message:new'), { n: first.n });
    message(await s.take('message:new'), want);
  }
  message((await history(a, room))[1], want);
  message((await a.emit('message:get', { roomId: room, messageIds: [answer.id] })).messages[0], want);
  ok(await say(a, room, 'all', { mentions: { room: true } }), sent);
  const c = await connect(t, await newUser('cid'), { gateway: 2 });
  const { history: shown } = await c.join(room);
  message(shown[1], want);
  assert.equal(refused(await c.emit('message:send', { roomId: room, content: 'x', mentions: { room: true } }), 'forbidden').reason, 'mention_not_allowed');
  assert.equal(refused(await c.emit('message:send', { roomId: room, content: 'x', replyTo: answer.id.replace(/^.{8}/, '00000000') }), 'not_found').reason, 'reply_gone');
  for (const [more, code] of [
    [{ data: [] }, 'invalid'], [{ data: 'x' }, 'invalid'], [{ data: { a: 'x'.repeat(8192) } }, 'too_large'], [{ data: JSON.parse('{"a":'.repeat(9) + '1' + '}'.repeat(9)) }, 'invalid'],
    [{ format: 'html' }, 'invalid'], [{ format: 1 }, 'invalid'], [{ replyTo: 'x' }, 'invalid'], [{ replyTo: {} }, 'invalid'], [{ mentions: [] }, 'invalid'],
    [{ mentions: { users: 'x' } }, 'invalid'], [{ mentions: { users: [1] } }, 'invalid'], [{ mentions: { users: [''] } }, 'invalid'], [{ mentions: { room: 'yes' } }, 'invalid'],
    [{ mentions: { users: Array.from({ length: 51 }, (_, i) => `u${i}`) } }, 'too_large'],
  ]) refused(await c.patiently('message:send', { roomId: room, content: 'x', ...more }), code);
  ok(await c.patiently('message:send', { roomId: room, content: 'x', data: JSON.parse('{"a":'.repeat(8) + '1' + '}'.repeat(8)) }), sent);
});

test('message:edit: everybody gets the whole message, a stale ifChanged is a conflict, and others may not', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const first = await say(b, room, 'teh', { data: { a: 1 } });
  const edit = await b.emit('message:edit', { roomId: room, messageId: first.id, content: 'the' });
  ok(edit, { seq });
  for (const s of [a, b]) {
    const got = await s.take('message:edited');
    exact(got, { roomId: room, seq: edit.seq, message: () => true });
    message(got.message, { ...whole, id: first.id, seq: first.seq, n: first.n, content: 'the', data: { a: 1 }, changed: edit.seq, editedAt: iso });
  }
  ok(await b.emit('message:edit', { roomId: room, messageId: first.id, content: 'the' }), { seq: edit.seq });
  assert.equal(refused(await b.emit('message:edit', { roomId: room, messageId: first.id, content: 'x', ifChanged: first.seq }), 'conflict').reason, 'changed');
  const third = await b.emit('message:edit', { roomId: room, messageId: first.id, data: null, mentions: { users: [ann.id] }, ifChanged: edit.seq });
  ok(third, { seq });
  const now = (await history(a, room))[0];
  message(now, { ...whole, content: 'the', changed: third.seq, mentions: { users: [ann.id], room: false } });
  assert.ok(!('data' in now), JSON.stringify(now));
  const byOwner = await a.emit('message:edit', { roomId: room, messageId: first.id, content: 'moderated' });
  ok(byOwner, { seq });
  const [x, y] = await Promise.all([1, 2].map((i) => b.emit('message:edit', { roomId: room, messageId: first.id, content: `${i}`, ifChanged: byOwner.seq })));
  assert.deepEqual([x.ok, y.ok].sort(), [false, true]);
  const mine = await say(a, room, 'mine');
  assert.equal(refused(await b.emit('message:edit', { roomId: room, messageId: mine.id, content: 'x' }), 'forbidden').reason, 'not_author');
  const key = unique('key');
  const once = await a.emit('message:edit', { roomId: room, messageId: mine.id, content: 'once', key });
  await a.emit('message:edit', { roomId: room, messageId: mine.id, content: 'twice' });
  assert.deepEqual(await a.emit('message:edit', { roomId: room, messageId: mine.id, content: 'once', key }), once);
  assert.equal((await a.emit('message:get', { roomId: room, messageIds: [mine.id] })).messages[0].content, 'twice');
  for (const [bad, code] of [
    [{}, 'invalid'], [{ content: '' }, 'invalid'], [{ content: 1 }, 'invalid'], [{ content: 'x'.repeat(16385) }, 'too_large'], [{ data: 1 }, 'invalid'],
    [{ content: 'x', ifChanged: 0 }, 'invalid'], [{ content: 'x', messageId: 'x' }, 'invalid'], [{ content: 'x', messageId: mine.id.replace(/^.{8}/, '00000000') }, 'not_found'],
    [{ content: 'x', roomId: roomId() }, 'not_found'],
  ]) refused(await a.patiently('message:edit', { roomId: room, messageId: mine.id, ...bad }), code);
  refused(await a.emit('message:edits', { roomId: room, messageId: mine.id }), 'forbidden'); // KEEP_EDITS is off
});

test('of a deleted message nothing is left, wherever one looks', async (t) => {
  const secret = unique('secret');
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room, again);
  const gone = await say(b, room, `${secret} said`, { data: { secret }, clientMsgId: 'c1' });
  const answer = await say(a, room, 'indeed', { replyTo: gone.id });
  ok(await b.emit('message:edit', { roomId: room, messageId: gone.id, content: `${secret} edited` }), { seq });
  const late = await connect(t, ann, { gateway: 2, ...again });
  await late.join({ roomId: room, since: 0 });
  await say(a, room, 'mark');
  const marked = (e) => e.content === 'mark';
  await Promise.all([a, b, late].map((s) => s.take('message:new', marked)));

  let deleted;
  await drop(late, 1, async () => {
    refused(await (await connect(t, await newUser('eve'))).emit('message:delete', { roomId: room, messageId: gone.id }), 'forbidden');
    deleted = await b.emit('message:delete', { roomId: room, messageId: gone.id });
    ok(deleted, { seq });
    ok(await b.emit('message:delete', { roomId: room, messageId: gone.id }), { seq: deleted.seq });
    assert.equal(refused(await b.emit('message:edit', { roomId: room, messageId: gone.id, content: 'x' }), 'not_found').reason, 'deleted');
    assert.equal(refused(await a.emit('message:send', { roomId: room, content: 'x', replyTo: gone.id }), 'not_found').reason, 'reply_gone');
  });
  assert.equal(late.socket.recovered, true);
  for (const s of [a, b, late]) {
    exact(await s.take('message:deleted'), { roomId: room, seq: deleted.seq, messageId: gone.id, by: bob.id, deletedAt: iso });
  }
  const tombstone = { id: gone.id, seq: gone.seq, n: gone.n, content: '', changed: deleted.seq, deletedAt: iso, deletedBy: bob.id, clientMsgId: 'c1' };
  const fresh = await connect(t, await newUser('cid'), { gateway: 2 });
  const joined = await fresh.join({ roomId: room, since: 0 });
  message(joined.history[0], tombstone);
  message(joined.history[1], { ...whole, id: answer.id, replyTo: { id: gone.id, sender: { id: bob.id, name: bob.name }, preview: '' } });
  const pages = [
    joined, await history(a, room), await a.emit('message:get', { roomId: room, messageIds: [gone.id, answer.id] }),
    await a.emit('message:changes', { roomId: room, since: 0 }), await a.emit('room:list'), await a.emit('message:history', { roomId: room, around: gone.id }),
    (await call('GET', `/api/v1/rooms/${room}/messages`, { key: apiKey })).body, await b.emit('message:send', { roomId: room, content: secret, clientMsgId: 'c1' }),
  ];
  for (const page of pages) {
    assert.ok(!JSON.stringify(page).includes(secret), JSON.stringify(page));
    assert.ok(JSON.stringify(page).length > 50);
  }
});

test('a socket that recovers is told what the messages are by now', async (t) => {
  const secret = unique('secret');
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room, again);
  await say(b, room, 'before');
  await a.take('message:new');
  await drop(a, 2, async () => {
    const gone = await say(b, room, secret);
    const kept = await say(b, room, 'teh');
    ok(await b.emit('message:edit', { roomId: room, messageId: gone.id, content: `${secret}!` }), { seq });
    ok(await b.emit('message:edit', { roomId: room, messageId: kept.id, content: 'the' }), { seq });
    ok(await b.emit('message:delete', { roomId: room, messageId: gone.id }), { seq });
  });
  assert.equal(a.socket.recovered, true);
  const missed = a.events.filter((e) => e.data?.roomId === room).slice(-5);
  assert.deepEqual(missed.map((e) => e.event), ['message:new', 'message:new', 'message:edited', 'message:edited', 'message:deleted']);
  assert.deepEqual(missed.map((e) => (e.data.message ?? e.data).content), ['', 'the', '', 'the', undefined]);
  const seqs = missed.map((e) => e.data.seq);
  assert.deepEqual(seqs, seqs.map((_, i) => seqs[0] + i));
  assert.ok(!JSON.stringify(missed).includes(secret));
});

test('message:changes tells what is new or has changed, each once; around finds a quote', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  const sent = [];
  for (let i = 0; i < 20; i += 1) sent.push(await say(a, room, `${i}`));
  const since = sent[19].seq;
  for (const i of [3, 5, 3]) ok(await a.emit('message:edit', { roomId: room, messageId: sent[i].id, content: `edited ${i} at ${unique('')}` }), { seq });
  ok(await a.emit('message:delete', { roomId: room, messageId: sent[4].id }), { seq });
  const last = await say(a, room, 'last');
  const all = await b.emit('message:changes', { roomId: room, since });
  ok(all, { messages: array, upTo: last.seq, hasMore: false });
  assert.deepEqual(all.messages.map((m) => m.n), [6, 4, 5, 21].map((n) => n + sent[0].n - 1));
  const pages = [];
  for (let from = since; ;) {
    const page = await b.emit('message:changes', { roomId: room, since: from, limit: 1 });
    ok(page, { messages: array, upTo: seq, hasMore: boolean });
    pages.push(...page.messages);
    from = page.upTo;
    if (!page.hasMore) break;
  }
  assert.deepEqual(pages, all.messages);
  assert.deepEqual((await b.emit('message:changes', { roomId: room, since: last.seq })).messages, []);
  const page = await b.emit('message:history', { roomId: room, around: sent[10].id, limit: 5 });
  ok(page, { messages: array, hasMore: true, hasNewer: true });
  assert.deepEqual(page.messages.map((m) => m.id), sent.slice(8, 13).map((m) => m.id));
  ok(await b.emit('message:history', { roomId: room, around: last.seq, limit: 100 }), { messages: array, hasMore: false, hasNewer: false });
  refused(await b.emit('message:history', { roomId: room, around: 'x' }), 'invalid');
  refused(await b.emit('message:history', { roomId: room, around: 5, before: 6 }), 'invalid');
  for (const bad of [{}, { since: -1 }, { since: 'x' }]) refused(await b.emit('message:changes', { roomId: room, ...bad }), 'invalid');
  const secret = (await a.emit('room:create', { kind: 'private' })).room.roomId;
  refused(await b.emit('message:changes', { roomId: secret, since: 0 }), 'not_found');
  refused(await b.emit('message:get', { roomId: secret, messageIds: [last.id] }), 'not_found');
  for (const bad of [{}, { messageIds: [] }, { messageIds: 'x' }, { messageIds: [1] }, { messageIds: ['x'] }]) refused(await b.emit('message:get', { roomId: room, ...bad }), 'invalid');
});

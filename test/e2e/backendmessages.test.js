// What is done to messages by REST: by another backend as itself and as a user, and by users with their tokens.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, pair, url } from './client.js';
import { array, boolean, exact, iso, message, refused, seq, text, uuid7 } from './expect.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId } from './user.js';

const path = (id, ...more) => ['/api/v1/rooms', encodeURIComponent(id), ...more.map(encodeURIComponent)].join('/');

async function done(reply, spec) {
  const { status, body } = await reply;
  assert.equal(status, 200, JSON.stringify(body));
  if (spec) exact(body, spec, 'answer');
  return body;
}

async function refusedWith(reply, status, code, reason) {
  const { status: got, body } = await reply;
  assert.equal(got, status, JSON.stringify(body));
  exact(body, { code, message: text, ...(reason && { reason }) }, 'error');
  return body;
}

const whole = { 'changed?': seq, 'reactions': array, 'format?': text, 'data?': () => true, 'replyTo?': () => true, 'mentions?': () => true, 'editedAt?': iso, 'pinnedAt?': iso, 'system?': boolean };

test('a backend posts a message with all that it may have, and gets it as clients do', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId('team/ü');
  const [a] = await pair(t, ann, bob, room);
  const first = await done(call('POST', path(room, 'messages'), { key, body: { content: 'Lunch?', asUserId: bob.id } }), { id: uuid7, seq, createdAt: iso, n: seq });
  const raw = `{"content":"**Yes**","format":"markdown","data":{"big":12345678901234567890,"a":[1,{"b":null}]},"replyTo":"${first.id}","mentions":{"users":["${ann.id}","${ann.id}"]}}`;
  const second = await done(call('POST', path(room, 'messages'), { key, raw, headers: { 'content-type': 'application/json' } }), { id: uuid7, seq, createdAt: iso, n: first.n + 1 });
  const live = await a.take('message:new', (m) => m.id === second.id);
  const spec = {
    id: second.id, n: second.n, content: '**Yes**', format: 'markdown', replyTo: { id: first.id, sender: { id: bob.id, name: bob.name }, preview: 'Lunch?' },
    mentions: { users: [ann.id], room: false }, system: true, data: () => true,
  };
  message(live, spec);
  const answer = await fetch(url() + path(room, 'messages', second.id), { headers: { 'x-api-key': key } });
  assert.match(await answer.text(), /"big":12345678901234567890,/);
  const got = await done(call('GET', path(room, 'messages', second.id), { key, gateway: 1 }));
  message(got, { ...spec, reactions: [] });
  assert.deepEqual(got.data, live.data);
  assert.deepEqual((await done(call('GET', path(room, 'messages'), { token: bob.token }))).messages.map((m) => m.id), [first.id, second.id]);
  const around = await done(call('GET', `${path(room, 'messages')}?around=${first.id}&limit=2`, { token: ann.token }), { messages: array, hasMore: boolean, hasNewer: boolean });
  assert.deepEqual([around.messages.map((m) => m.id), around.hasNewer], [[first.id, second.id], false]);
  assert.deepEqual((await done(call('GET', `${path(room, 'messages')}?around=${second.seq}&limit=1`, { key }))).messages.map((m) => m.id), [second.id]);
  await refusedWith(call('POST', path(room, 'messages'), { key, body: { content: 'x', replyTo: first.id.replace(/^.{8}/, '00000000') } }), 404, 'not_found', 'reply_gone');
  await refusedWith(call('POST', path(room, 'messages'), { key, body: { content: 'x', mentions: { room: true }, userId: bob.id } }), 403, 'forbidden', 'mention_not_allowed');
  for (const [more, status] of [
    [{ data: [] }, 400], [{ data: { a: 'x'.repeat(8192) } }, 413], [{ format: 'html' }, 400], [{ replyTo: 'x' }, 400], [{ mentions: [] }, 400], [{ mentions: { users: [''] } }, 400],
    [{ mentions: { users: Array.from({ length: 51 }, (_, i) => `u${i}`) } }, 413], [{ userId: ann.id, asUserId: bob.id }, 400],
  ]) await refusedWith(call('POST', path(room, 'messages'), { key, body: { content: 'x', ...more } }), status, status === 413 ? 'too_large' : 'invalid');
  for (const bad of ['around=x', 'around=-1', `around=${first.id}&before=9`]) await refusedWith(call('GET', `${path(room, 'messages')}?${bad}`, { key }), 400, 'invalid');
});

test('messages are edited and deleted by their author, by moderators, and by a backend as whom it likes', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  await (await connect(t, cid)).join(room);
  const { id, seq: at } = await b.emit('message:send', { roomId: room, content: 'teh', data: { a: 1 }, mentions: { users: [ann.id] } });
  const where = path(room, 'messages', id);
  const edit = await done(call('PATCH', where, { token: bob.token, body: { content: 'the' } }), { seq });
  const edited = await a.take('message:edited');
  assert.deepEqual([edited.seq, edited.message.content, edited.message.data], [edit.seq, 'the', { a: 1 }]);
  await refusedWith(call('PATCH', where, { token: bob.token, body: { content: 'x', ifChanged: at } }), 409, 'conflict', 'changed');
  await refusedWith(call('PATCH', where, { token: cid.token, body: { content: 'x' } }), 403, 'forbidden', 'not_author');
  await refusedWith(call('PATCH', where, { key, body: { content: 'x', asUserId: cid.id } }), 403, 'forbidden', 'not_author');
  await refusedWith(call('PATCH', where, { key, body: { asUserId: bob.id } }), 400, 'invalid');
  await refusedWith(call('PATCH', where, { key, body: { content: 'x', ifChanged: 0 } }), 400, 'invalid');
  const taken = await done(call('PATCH', where, { key, body: { data: {}, mentions: {}, ifChanged: edit.seq, asUserId: bob.id } }), { seq });
  const bare = await done(call('GET', where, { token: ann.token }));
  message(bare, { ...whole, id, content: 'the', changed: taken.seq, editedAt: iso });
  assert.ok(!('data' in bare) && !('mentions' in bare), JSON.stringify(bare));
  const again = { key, body: { content: 'by the backend' }, headers: { 'idempotency-key': 'edit-1' } };
  const byBackend = await done(call('PATCH', where, again), { seq });
  assert.deepEqual(await done(call('PATCH', where, again)), byBackend, 'the first answer');
  assert.equal((await done(call('GET', `${path(room, 'changes')}?since=${taken.seq}`, { key }), { messages: array, upTo: seq, hasMore: false })).messages[0].content, 'by the backend');
  await refusedWith(call('GET', path(room, 'messages', id, 'edits'), { key }), 403, 'forbidden'); // KEEP_EDITS is off

  await refusedWith(call('DELETE', where, { token: cid.token }), 403, 'forbidden', 'not_author');
  const gone = await done(call('DELETE', `${where}?asUserId=${bob.id}`, { key }), { seq });
  exact(await a.take('message:deleted'), { roomId: room, seq: gone.seq, messageId: id, by: bob.id, deletedAt: iso });
  assert.deepEqual(await done(call('DELETE', where, { key })), gone, 'twice');
  message(await done(call('GET', where, { token: cid.token })), { ...whole, id, content: '', deletedAt: iso, deletedBy: bob.id, changed: gone.seq });
  await refusedWith(call('PATCH', where, { key, body: { content: 'x' } }), 404, 'not_found', 'deleted');
  const { entries } = await done(call('GET', `/api/v1/audit?roomId=${room}`, { key }));
  assert.deepEqual(entries.map((e) => [e.act, e.byId, e.apiKey, e.userId]), [['edit-message', 'system', 'default', bob.id]]);

  const eve = await newUser('eve');
  for (const [method, to, body] of [['GET', where], ['PATCH', where, { content: 'x' }], ['DELETE', where], ['GET', path(room, 'changes')], ['GET', path(room, 'pins')]]) {
    await refusedWith(call(method, to, { token: eve.token, body }), 403, 'forbidden');
  }
  for (const wrong of ['x', id.replace(/^.{8}/, '00000000')]) {
    const { status } = await call('GET', path(room, 'messages', wrong), { key });
    assert.equal(status, wrong === 'x' ? 400 : 404);
  }
  await refusedWith(call('GET', where), 401, 'unauthenticated');
});

test('reactions are a user\'s, and pins a moderator\'s, by REST too', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a] = await pair(t, ann, bob, room);
  const { id } = await a.emit('message:send', { roomId: room, content: 'x' });
  const where = path(room, 'messages', id, 'reactions');
  const heart = '❤️/';
  const first = await done(call('POST', where, { token: bob.token, body: { key: heart } }), { seq, reactions: [{ key: heart, count: 1, mine: true }] });
  const told = await a.take('message:reactions');
  assert.deepEqual([told.seq, told.changes, told.counts], [first.seq, [{ key: heart, userId: bob.id, on: true }], [{ key: heart, count: 1 }]]);
  await done(call('POST', where, { key, body: { key: heart, asUserId: bob.id } }), { reactions: [{ key: heart, count: 1, mine: true }] });
  await done(call('POST', where, { key, body: { key: heart, asUserId: ann.id } }), { seq, reactions: [{ key: heart, count: 2, mine: true }] });
  assert.deepEqual((await done(call('GET', path(room, 'messages', id), { key }))).reactions, [{ key: heart, count: 2 }]);
  await done(call('DELETE', path(room, 'messages', id, 'reactions', heart), { token: bob.token }), { seq, reactions: [{ key: heart, count: 1 }] });
  await refusedWith(call('POST', where, { key, body: { key: heart } }), 400, 'invalid');
  for (const bad of ['', 'x'.repeat(65), 'a\u0000']) await refusedWith(call('POST', where, { token: bob.token, body: { key: bad } }), 400, 'invalid');

  await refusedWith(call('POST', path(room, 'pins'), { token: bob.token, body: { messageId: id } }), 403, 'forbidden', 'not_allowed');
  const pin = await done(call('POST', path(room, 'pins'), { key, body: { messageId: id, asUserId: ann.id } }), { seq });
  exact(await a.take('message:pinned'), { roomId: room, seq: pin.seq, messageId: id, by: ann.id, pinnedAt: iso });
  const { id: other } = await a.emit('message:send', { roomId: room, content: 'y' });
  await done(call('POST', path(room, 'pins'), { key, body: { messageId: other } }), { seq });
  const page = await done(call('GET', `${path(room, 'pins')}?limit=1`, { token: bob.token }), { messages: array, next: seq });
  const rest = await done(call('GET', `${path(room, 'pins')}?after=${page.next}`, { key }), { messages: array });
  assert.deepEqual([...page.messages, ...rest.messages].map((m) => [m.id, typeof m.pinnedAt]), [[id, 'string'], [other, 'string']]);
  await done(call('DELETE', path(room, 'pins', id), { token: ann.token }), { seq });
  assert.deepEqual((await done(call('GET', path(room, 'pins'), { key }))).messages.map((m) => m.id), [other]);
  refused(await (await connect(t, await newUser('eve'))).emit('message:pins', room), 'forbidden');
});

test('message changes by REST come by pages, each message once', async (t) => {
  const ann = await newUser('ann');
  const room = roomId();
  const a = await connect(t, ann);
  await a.join(room);
  const ids = [];
  for (let i = 0; i < 5; i += 1) ids.push((await a.emit('message:send', { roomId: room, content: `${i}` })).id);
  for (const id of [ids[3], ids[1]]) await done(call('PATCH', path(room, 'messages', id), { token: ann.token, body: { content: 'new' } }));
  const seen = [];
  for (let since = 0, more = true; more;) {
    const page = await done(call('GET', `${path(room, 'changes')}?since=${since}&limit=2`, { token: ann.token }), { messages: array, upTo: seq, hasMore: boolean });
    seen.push(...page.messages.map((m) => m.id));
    [since, more] = [page.upTo, page.hasMore];
  }
  assert.deepEqual(seen, [ids[0], ids[2], ids[4], ids[3], ids[1]]);
  for (const bad of ['since=-1', 'since=x', 'limit=0']) await refusedWith(call('GET', `${path(room, 'changes')}?${bad}`, { key }), 400, 'invalid');
});

test('data that protobuf cannot hold comes back by REST to the last digit, of messages and of rooms', async () => {
  const id = roomId();
  const data = '{"huge":1e999,"half":"\\ud800","n":12345678901234567890}';
  const json = { 'content-type': 'application/json' };
  await done(call('POST', '/api/v1/rooms', { key, raw: `{"kind":"private","roomId":"${id}","profile":{"data":${data}}}`, headers: json }));
  const { id: messageId } = await done(call('POST', path(id, 'messages'), { key, raw: `{"content":"x","data":${data}}`, headers: json }));
  for (const where of [path(id), path(id, 'messages', messageId), path(id, 'messages')]) {
    const answer = await (await fetch(url() + where, { headers: { 'x-api-key': key } })).text();
    assert.ok(answer.includes(`"data":${data}`), `${where}: ${answer}`);
  }
});

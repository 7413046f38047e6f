// Rooms by REST: another backend as itself and as a user, users with their tokens, and what is kept of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId, unique } from './user.js';
import { any, array, count, exact, iso, ok, refused, seq, text } from './expect.js';

const path = (id, ...more) => ['/api/v1/rooms', encodeURIComponent(id), ...more.map(encodeURIComponent)].join('/');
const unread = { marker: { seq: 0, n: 0 }, prefs: { muted: false, hidden: false, pinned: false } };
const query = (params) => new URLSearchParams(params).toString();

function done(reply, spec) {
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  exact(reply.body, spec, 'answer');
  return reply.body;
}

function refusedWith(reply, status, code, reason) {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  exact(reply.body, { code, message: text, ...(reason && { reason }), 'until?': iso }, 'error');
}

const room = (spec) => (value) => {
  exact(value, { roomId: text, kind: text, profile: (p) => typeof p === 'object', settings: (s) => typeof s === 'object', version: count, createdAt: iso, memberCount: count, 'archivedAt?': iso, ...spec }, 'room');
  return true;
};

test('a backend makes a room of nobody, whose id has a slash, and manages it', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const [a, b] = [await connect(t, ann), await connect(t, bob, { gateway: 1 })];
  const id = roomId('team/général ü');
  const profile = { name: 'Team', data: { big: 9007199254740993n.toString(), n: 1 } };
  const body = { kind: 'private', roomId: id, profile, members: [{ userId: ann.id, role: 'moderator' }] };
  done(await call('POST', '/api/v1/rooms', { key, body }), { room: room({ roomId: id, kind: 'private', profile, memberCount: 1 }) });
  refusedWith(await call('POST', '/api/v1/rooms', { key, body }), 409, 'conflict', 'exists');
  done(await call('GET', path(id), { key, gateway: 2 }), { room: room({ roomId: id, profile, memberCount: 1 }) });
  done(await call('GET', `${path(id)}?${query({ asUserId: ann.id })}`, { key }), { room: room({ roomId: id }), role: 'moderator', ...unread });
  assert.equal((await a.join(id)).reply.role, 'moderator');

  done(await call('POST', path(id, 'members'), { key, body: { userIds: [bob.id, ann.id] } }), { done: [bob.id, ann.id], failed: [] });
  exact(await a.take('room:user-joined', (e) => e.userId === bob.id), { userId: bob.id, userName: text, roomId: id, seq, by: 'system' });
  assert.equal((await b.join(id)).reply.role, 'member');
  done(await call('PATCH', path(id, 'members', bob.id), { key, body: { role: 'owner' } }), {});
  exact(await b.take('room:role'), { userId: bob.id, role: 'owner', roomId: id, seq, by: 'system' });
  refusedWith(await call('PATCH', path(id, 'members', cid.id), { key, body: { role: 'owner' } }), 404, 'not_found');

  const until = new Date(Date.now() + 3_600_000).toISOString();
  done(await call('POST', path(id, 'mutes'), { key, body: { userId: bob.id, until } }), {});
  const muted = refused(await b.emit('message:send', { roomId: id, content: 'x' }), 'forbidden');
  assert.deepEqual([muted.reason, muted.until], ['muted', until]);
  done(await call('GET', path(id, 'mutes'), { key }), { mutes: [{ userId: bob.id, until }] });
  done(await call('DELETE', path(id, 'mutes', bob.id), { key }), {});
  assert.equal((await b.emit('message:send', { roomId: id, content: 'x' })).ok, true);

  done(await call('POST', path(id, 'bans'), { key, body: { userId: bob.id, reason: 'a test' } }), {});
  exact(await b.take('room:user-left'), { userId: bob.id, roomId: id, seq, by: 'system', reason: 'banned' });
  assert.equal(refused(await b.emit('room:join', id), 'forbidden').reason, 'banned');
  done(await call('GET', path(id, 'bans'), { key }), { bans: [{ userId: bob.id }] });
  done(await call('POST', path(id, 'members'), { key, body: { userIds: [bob.id] } }), { done: [], failed: [{ userId: bob.id, reason: 'banned' }] });
  done(await call('DELETE', path(id, 'bans', bob.id), { key }), {});
  done(await call('GET', path(id, 'bans'), { key }), { bans: [] });

  done(await call('POST', path(id, 'members'), { key, body: { userIds: [cid.id] } }), { done: [cid.id], failed: [] });
  done(await call('DELETE', `${path(id, 'members', cid.id)}?${query({ reason: 'moved on' })}`, { key }), {});
  exact(await a.take('room:user-left', (e) => e.userId === cid.id), { userId: cid.id, roomId: id, seq, by: 'system', reason: 'removed' });

  const { entries } = done(await call('GET', `/api/v1/audit?${query({ roomId: id })}`, { key }), { entries: array });
  assert.deepEqual(entries.map((e) => e.act).reverse(), ['create', 'add', 'role', 'mute', 'unmute', 'ban', 'unban', 'add', 'remove']);
  for (const e of entries) exact(e, { id: count, at: iso, roomId: id, byId: 'system', apiKey: 'default', act: text, 'userId?': text, 'role?': text, 'until?': iso, 'reason?': text }, 'entry');
  assert.equal(entries.find((e) => e.act === 'ban').reason, 'a test');
  assert.equal(entries.find((e) => e.act === 'mute').until, until);
});

test('a backend changes a room, and hears of changes between', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const id = roomId('changed');
  const settings = { send: 'moderator', slowModeMs: 1000, maxMembers: 3 };
  done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, settings, profile: { name: 'One', topic: 'old' }, members: [{ userId: ann.id, role: 'moderator' }, { userId: bob.id }] } }), { room: room({ settings, version: 1 }) });
  const a = await connect(t, ann);
  await a.join(id);
  done(await call('PATCH', path(id), { key, body: { profile: { name: 'Two', topic: '', data: { n: 1 } }, settings: { send: 'member', slowModeMs: 0 }, ifVersion: 1 } }), { version: 2 });
  exact(await a.take('room:updated'), { profile: { name: 'Two', data: { n: 1 } }, settings: { send: 'member', maxMembers: 3 }, version: 2, roomId: id, seq, by: 'system' });
  done(await call('GET', path(id), { key }), { room: room({ profile: { name: 'Two', data: { n: 1 } }, settings: { send: 'member', maxMembers: 3 }, version: 2 }) });
  refusedWith(await call('PATCH', path(id), { key, body: { profile: { name: 'Three' }, ifVersion: 1 } }), 409, 'conflict', 'changed');
  refusedWith(await call('PATCH', path(id), { key, body: { settings: { send: 'owner' }, asUserId: ann.id } }), 403, 'forbidden', 'not_allowed');
  done(await call('PATCH', path(id), { token: ann.token, body: { profile: { topic: 'new' } } }), { version: 3 });
  for (const [body, field] of [[{ settings: { send: 'king' } }, /send/], [{ settings: { slowModeMs: 21_600_001 } }, /slowModeMs/], [{ settings: { maxMembers: 100_001 } }, /maxMembers/], [{ ifVersion: 0 }, /ifVersion/], [{ settings: 1 }, /settings/]]) {
    const reply = await call('PATCH', path(id), { key, body });
    assert.deepEqual([reply.status, reply.body.code], [400, 'invalid'], JSON.stringify(body));
    assert.match(reply.body.message, field);
  }
  const { entries } = done(await call('GET', `/api/v1/audit?${query({ roomId: id })}`, { key }), { entries: array });
  assert.deepEqual(entries.map((e) => [e.act, e.byId, e.apiKey]), [['update', ann.id, undefined], ['update', 'system', 'default'], ['create', 'system', 'default']]);
});

for (const by of ['as itself', 'as an owner', 'with a token of an owner']) {
  test(`DELETE of a room ${by}: out on every gateway before the answer, and no such room afterwards`, async (t) => {
    const [ann, bob] = [await newUser('ann'), await newUser('bob')];
    const id = roomId('team/ended');
    done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: [{ userId: ann.id, role: 'owner' }, { userId: bob.id, role: 'moderator' }] } }), { room: room({ memberCount: 2 }) });
    const sockets = await Promise.all([[ann, 0], [bob, 1], [bob, 2]].map(([user, gateway]) => connect(t, user, { gateway })));
    for (const s of sockets) await s.join(id);
    const inside = async () => (await call('GET', `/api/v1/sockets?${query({ rooms: id })}`, { key })).body.sockets.length;
    assert.equal(await inside(), 3);
    refusedWith(await call('DELETE', `${path(id)}?${query({ asUserId: bob.id })}`, { key }), 403, 'forbidden', 'not_allowed');
    refusedWith(await call('DELETE', path(id), { token: bob.token }), 403, 'forbidden', 'not_allowed');
    refusedWith(await call('DELETE', path(id)), 401, 'unauthenticated');
    assert.equal(await inside(), 3);

    const [where, options, who, apiKey] = {
      'as itself': [path(id), { key }, 'system', 'default'],
      'as an owner': [`${path(id)}?${query({ asUserId: ann.id })}`, { key }, ann.id, 'default'],
      'with a token of an owner': [path(id), { token: ann.token }, ann.id, undefined],
    }[by];
    done(await call('DELETE', where, { ...options, gateway: 1 }), {});
    assert.equal(await inside(), 0, 'sockets that are in the room after the answer');
    for (const s of sockets) exact(await s.take('room:deleted'), { roomId: id, seq, by: who });
    for (const [again, as] of [[where, options], [path(id), { key }], [path(id), { token: bob.token }]]) refusedWith(await call('DELETE', again, as), 404, 'not_found');
    refusedWith(await call('GET', path(id), { key }), 404, 'not_found');
    refusedWith(await call('POST', path(id, 'members'), { key, body: { userIds: [bob.id] } }), 404, 'not_found');
    refusedWith(await call('POST', path(id, 'messages'), { key, body: { content: 'x' } }), 404, 'not_found');
    refusedWith(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id } }), 409, 'conflict', 'exists');
    for (const s of sockets) refused(await s.emit('room:join', id), 'not_found');
    const { entries } = done(await call('GET', `/api/v1/audit?${query({ roomId: id })}`, { key }), { entries: array });
    assert.deepEqual(entries.map((e) => [e.act, e.byId, e.apiKey]), [['delete', who, apiKey], ['create', 'system', 'default']]);
  });
}

test('who is in a room, by pages and by name', async (t) => {
  const users = await Promise.all(['ann', 'bob', 'cid'].map((name) => newUser(name)));
  const [ann, bob, cid] = users;
  const id = roomId('who');
  done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: users.map((u) => ({ userId: u.id })) } }), { room: room({ memberCount: 3 }) });
  const a = await connect(t, ann);
  await a.join(id);
  const member = (u, role = 'member') => (m) => { exact(m, { userId: u.id, name: text, role, joinedAt: iso }, 'member'); return true; };
  const first = done(await call('GET', `${path(id, 'members')}?limit=2`, { key }), { members: array, count: 3, next: bob.id });
  assert.ok(first.members.length === 2 && member(ann)(first.members[0]) && member(bob)(first.members[1]));
  const rest = done(await call('GET', `${path(id, 'members')}?${query({ limit: 2, after: first.next })}`, { token: ann.token }), { members: array, count: 3 });
  assert.ok(rest.members.length === 1 && member(cid)(rest.members[0]));
  const by = await a.emit('room:members', { roomId: id, query: bob.id.toUpperCase() });
  exact(by, { ok: true, members: (m) => m.length === 1 && member(bob)(m[0]), count: 1 }, 'ack');
  exact(await a.emit('room:members', id), { ok: true, members: (m) => m.length === 3, count: 3 }, 'ack');
  exact(await a.emit('room:members', { roomId: id, query: '%' }), { ok: true, members: [], count: 0 }, 'ack');
  refused(await a.emit('room:members', { roomId: id, query: 'x'.repeat(65) }), 'too_large');
  refused(await a.emit('room:members', { roomId: id, limit: 0 }), 'invalid');
  const got = await call('GET', path(id, 'members', cid.id), { key });
  assert.ok(got.status === 200 && member(cid)(got.body));
  refusedWith(await call('GET', path(id, 'members', 'nobody'), { key }), 404, 'not_found');
});

test('nobody takes over a public room that a backend made', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [a, b] = [await connect(t, ann), await connect(t, bob)];
  const { room: { roomId: id } } = done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'public' } }), { room: room({ kind: 'public', memberCount: 0 }) });
  assert.equal((await a.join(id)).reply.role, 'member');
  await b.join(id);
  assert.equal((await a.emit('room:leave', id)).ok, true);
  assert.equal((await b.join(id)).reply.role, 'member');
});

test('a backend as a user has the rights of that user', async (t) => {
  const [ann, bob, cid, eve] = [await newUser('ann'), await newUser('bob'), await newUser('cid'), await newUser('eve')];
  const a = await connect(t, ann);
  const id = roomId('club');
  done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: [{ userId: bob.id }], asUserId: ann.id } }), { room: room({ memberCount: 2 }), role: 'owner' });
  assert.equal((await a.join(id)).reply.role, 'owner');
  const none = roomId('none');
  const as = (user, extra = {}) => ({ key, body: { asUserId: user.id, ...extra } });
  for (const [what, made] of Object.entries({
    get: (r) => call('GET', `${path(r)}?${query({ asUserId: eve.id })}`, { key }),
    add: (r) => call('POST', path(r, 'members'), as(eve, { userIds: [eve.id] })),
    role: (r) => call('PATCH', path(r, 'members', bob.id), as(eve, { role: 'member' })),
    remove: (r) => call('DELETE', `${path(r, 'members', bob.id)}?${query({ asUserId: eve.id })}`, { key }),
    bans: (r) => call('GET', `${path(r, 'bans')}?${query({ asUserId: eve.id })}`, { key }),
    ban: (r) => call('POST', path(r, 'bans'), as(eve, { userId: bob.id })),
    unban: (r) => call('DELETE', `${path(r, 'bans', bob.id)}?${query({ asUserId: eve.id })}`, { key }),
    mutes: (r) => call('GET', `${path(r, 'mutes')}?${query({ asUserId: eve.id })}`, { key }),
    mute: (r) => call('POST', path(r, 'mutes'), as(eve, { userId: bob.id })),
    unmute: (r) => call('DELETE', `${path(r, 'mutes', bob.id)}?${query({ asUserId: eve.id })}`, { key }),
    audit: (r) => call('GET', `/api/v1/audit?${query({ roomId: r, asUserId: eve.id })}`, { key }),
    delete: (r) => call('DELETE', `${path(r)}?${query({ asUserId: eve.id })}`, { key }),
  })) {
    const [there, nowhere] = [await made(id), await made(none)];
    refusedWith(there, 404, 'not_found');
    assert.deepEqual([there.status, there.body], [nowhere.status, nowhere.body], what);
  }
  refusedWith(await call('POST', path(id, 'members'), as(bob, { userIds: [cid.id] })), 403, 'forbidden', 'not_allowed');
  refusedWith(await call('DELETE', `${path(id, 'members', ann.id)}?${query({ asUserId: bob.id })}`, { key }), 403, 'forbidden', 'not_allowed');
  done(await call('POST', path(id, 'members'), as(ann, { userIds: [cid.id], role: 'moderator' })), { done: [cid.id], failed: [] });
  exact(await a.take('room:user-joined', (e) => e.userId === cid.id), { userId: cid.id, userName: text, roomId: id, seq, by: ann.id });
  refusedWith(await call('POST', path(id, 'bans'), as(cid, { userId: ann.id })), 403, 'forbidden', 'not_allowed');
  done(await call('POST', path(id, 'mutes'), as(cid, { userId: bob.id })), {});
  const { entries } = done(await call('GET', `/api/v1/audit?${query({ roomId: id, asUserId: cid.id, userId: bob.id })}`, { key }), { entries: array });
  assert.deepEqual(entries.map((e) => [e.act, e.byId, e.apiKey]), [['mute', cid.id, 'default']]);
  // One's own membership ends as by room:leave.
  refusedWith(await call('DELETE', `${path(id, 'members', ann.id)}?${query({ asUserId: ann.id })}`, { key }), 409, 'conflict', 'last_owner');
  done(await call('DELETE', `${path(id, 'members', ann.id)}?${query({ asUserId: ann.id, successor: cid.id })}`, { key }), {});
  done(await call('GET', `${path(id)}?${query({ asUserId: cid.id })}`, { key }), { room: room({ memberCount: 2 }), role: 'owner', ...unread });
});

test('a user does the same with an access token, and as nobody else', async () => {
  const [ann, bob, eve] = [await newUser('ann'), await newUser('bob'), await newUser('eve')];
  const id = roomId('mine');
  done(await call('POST', '/api/v1/rooms', { token: ann.token, body: { kind: 'private', roomId: id } }), { room: room({ memberCount: 1 }), role: 'owner' });
  done(await call('POST', path(id, 'members'), { token: ann.token, body: { userIds: [bob.id] } }), { done: [bob.id], failed: [] });
  done(await call('GET', path(id), { token: bob.token }), { room: room({ memberCount: 2 }), role: 'member', ...unread });
  refusedWith(await call('GET', path(id), { token: eve.token }), 404, 'not_found');
  refusedWith(await call('GET', `${path(id)}?${query({ asUserId: bob.id })}`, { token: eve.token }), 403, 'forbidden');
  refusedWith(await call('POST', path(id, 'bans'), { token: eve.token, body: { userId: bob.id, asUserId: ann.id } }), 403, 'forbidden');
  refusedWith(await call('GET', '/api/v1/audit', { token: ann.token }), 400, 'invalid');
  const { entries } = done(await call('GET', `/api/v1/audit?${query({ roomId: id })}`, { token: ann.token }), { entries: array });
  assert.deepEqual(entries.map((e) => [e.act, e.byId, e.apiKey]), [['add', ann.id, undefined]]);
  refusedWith(await call('GET', path(id)), 401, 'unauthenticated');

  const opened = done(await call('POST', '/api/v1/rooms:open', { token: ann.token, body: { userIds: [bob.id] } }), { room: room({ kind: 'direct', memberCount: 2 }), created: true });
  const again = done(await call('POST', '/api/v1/rooms:open', { key, body: { userIds: [bob.id, ann.id] } }), { room: room({ kind: 'direct' }), created: false });
  assert.equal(again.room.roomId, opened.room.roomId);
  done(await call('POST', '/api/v1/rooms:open', { key, body: { userIds: [bob.id], asUserId: ann.id } }), { room: room({ roomId: opened.room.roomId }), created: false });
  refusedWith(await call('POST', path(opened.room.roomId, 'members'), { key, body: { userIds: [eve.id] } }), 403, 'forbidden', 'not_allowed');
});

test('what a user sees, asked by a backend: rooms and messages', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const id = roomId('seen');
  done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: [{ userId: ann.id }] } }), { room: room({}) });
  done(await call('POST', path(id, 'messages'), { key, body: { content: 'hello' } }), { id: text, seq, n: 1, createdAt: iso });
  const { rooms } = done(await call('GET', `/api/v1/rooms?${query({ asUserId: ann.id })}`, { key }), { rooms: array, useq: 1 });
  assert.deepEqual(rooms.map((r) => [r.roomId, r.role]), [[id, 'member']]);
  for (const as of ['', `?${query({ asUserId: ann.id })}`]) {
    const { messages } = done(await call('GET', path(id, 'messages') + as, { key }), { messages: array, hasMore: false });
    assert.deepEqual(messages.map((m) => m.content), ['hello']);
    done(await call('GET', path(id, 'readers') + as, { key }), { readers: [], count: 0 });
  }
  refusedWith(await call('GET', `${path(id, 'messages')}?${query({ asUserId: eve.id })}`, { key }), 404, 'not_found');
});

test('all rooms, by pages and kinds, for a backend as itself', async () => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const common = unique('!listed'); // before what other tests make
  const ids = ['a', 'b', 'c/d', 'e'].map((name) => `${common}/${name}`);
  for (const [i, id] of ids.entries()) {
    done(await call('POST', '/api/v1/rooms', { key, body: { kind: i % 2 ? 'public' : 'private', roomId: id, profile: { name: `Room ${i}` }, members: [{ userId: ann.id }] } }), { room: room({}) });
  }
  done(await call('DELETE', path(ids[1]), { key }), {});
  const list = async (params, next) => done(await call('GET', `/api/v1/rooms?${new URLSearchParams(params)}`, { key, gateway: 1 }), { rooms: array, ...(next && { next }), 'next?': text });
  const mine = (rooms) => rooms.map((r) => r.roomId).filter((id) => id.startsWith(common));

  const first = await list({ after: common, limit: 2 }, ids[2]);
  assert.deepEqual(first.rooms.map((r) => r.roomId), [ids[0], ids[2]]);
  exact(first.rooms[0], { roomId: ids[0], name: 'Room 0', role: '', seq: count, unread: 0, room: room({ roomId: ids[0], kind: 'private', profile: { name: 'Room 0' }, memberCount: 1 }) }, 'entry');
  assert.equal((await list({ after: first.next, limit: 1 })).rooms[0].roomId, ids[3]);
  assert.deepEqual(mine((await list({ after: common, kinds: 'public' })).rooms), [ids[3]]);
  assert.deepEqual(mine((await list([['after', common], ['kinds', 'public'], ['kinds', 'private']])).rooms), [ids[0], ids[2], ids[3]]);

  const all = [];
  for (let after; ;) {
    const { rooms, next } = await list({ ...(after && { after }), limit: 200 });
    assert.ok(rooms.length <= 200 && (next === undefined || next === rooms.at(-1).roomId));
    all.push(...rooms.map((r) => r.roomId));
    if (!next) break;
    after = next;
  }
  assert.equal(new Set(all).size, all.length, 'rooms listed twice');
  assert.deepEqual(all.filter((id) => id.startsWith(common)), [ids[0], ids[2], ids[3]]);

  assert.deepEqual(done(await call('GET', `/api/v1/rooms?${query({ asUserId: bob.id })}`, { key }), { rooms: array, useq: 0 }).rooms, []);
  for (const params of ['limit=0', 'kinds=deleted', 'kinds=x', 'kinds=public&kinds=', 'after=%07', `asUserId=${ann.id}&limit=0`, `asUserId=${ann.id}&kinds=x`, `asUserId=${ann.id}&after=x`]) {
    refusedWith(await call('GET', `/api/v1/rooms?${params}`, { key }), 400, 'invalid');
  }
  refusedWith(await call('GET', '/api/v1/rooms'), 401, 'unauthenticated');
  const { body: { key: moderation } } = await call('POST', '/api/v1/keys', { key, body: { name: unique('key'), scopes: ['moderation'] } });
  refusedWith(await call('GET', '/api/v1/rooms', { key: moderation }), 403, 'forbidden');
});

test('the rooms of a user, by pages and kinds, as room:list has them', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  for (const kind of ['public', 'private', 'public']) assert.equal((await a.emit('room:create', { kind })).ok, true);
  const { rooms: [last] } = await a.emit('room:list');
  const { id: message } = await a.emit('message:send', { roomId: last.roomId, content: 'x' });
  ok(await a.emit('message:read', { roomId: last.roomId, messageId: message }), { marker: any, unread: 0, mentions: 0 });
  ok(await a.emit('room:prefs', { roomId: last.roomId, pinned: true }));
  const { rooms: all } = await a.emit('room:list');
  const ids = all.map((r) => r.roomId);
  for (const [base, by] of [[{ asUserId: ann.id }, { key }], [{}, { token: ann.token }]]) {
    const page = async (params, next) => done(await call('GET', `/api/v1/rooms?${query({ ...base, ...params })}`, by), { rooms: array, useq: seq, ...(next && { next }) });
    const first = await page({ limit: 2 }, text);
    const second = await page({ limit: 2, after: first.next });
    assert.deepEqual([...first.rooms, ...second.rooms].map((r) => r.roomId), ids);
    assert.equal((await page({ kinds: 'private' })).rooms.length, 1);
    // What is empty or missing is told by REST as an empty list and not at all.
    const asEvent = ({ lastMessage: last, ...r }) => ({ ...r, lastMessage: last ? (({ reactions, ...m }) => (reactions.length > 0 ? { ...m, reactions } : m))(last) : null });
    assert.deepEqual((await page({})).rooms.map(asEvent), all);
    const { marker, prefs } = done(await call('GET', `${path(last.roomId)}?${query(base)}`, by), { room: room({}), role: 'owner', marker: any, prefs: any });
    assert.deepEqual([marker, prefs], [all[0].marker, all[0].prefs]);
  }
});

test('invites by REST: made, listed by pages, ended; and they let in as those of the event', async (t) => {
  const [ann, bob, cid, eve] = await Promise.all(['ann', 'bob', 'cid', 'eve'].map((name) => newUser(name)));
  const [a, b] = [await connect(t, ann), await connect(t, bob, { gateway: 1 })];
  const id = roomId('team/invited');
  done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: [{ userId: ann.id, role: 'moderator' }, { userId: cid.id }] } }), { room: room({}) });
  const inviteId = /^[\w-]{43}$/;
  const made = async (options) => done(await call('POST', path(id, 'invites'), options), { invite: text, inviteId, expiresAt: iso });
  const mine = await made({ token: ann.token, body: { uses: 3, role: 'moderator', expiresInMs: 60_000 } });
  assert.ok(Math.abs(Date.parse(mine.expiresAt) - Date.now() - 60_000) < 50_000, mine.expiresAt);
  const backends = await made({ key, body: { role: 'owner' } });
  const annsByBackend = await made({ key, body: { asUserId: ann.id } });
  const byEvent = await a.emit('room:invite', { roomId: id });
  exact(byEvent, { ok: true, invite: text, inviteId, expiresAt: iso }, 'ack');
  const want = [
    { inviteId: mine.inviteId, by: ann.id, role: 'moderator', uses: 3, expiresAt: mine.expiresAt },
    { inviteId: backends.inviteId, by: 'system', role: 'owner', uses: 1, expiresAt: backends.expiresAt },
    { inviteId: annsByBackend.inviteId, by: ann.id, role: 'member', uses: 1, expiresAt: annsByBackend.expiresAt },
    { inviteId: byEvent.inviteId, by: ann.id, role: 'member', uses: 1, expiresAt: byEvent.expiresAt },
  ];
  const sorted = (list) => [...list].sort((x, y) => (x.inviteId < y.inviteId ? -1 : 1));
  for (const options of [{ key }, { token: ann.token }]) assert.deepEqual(sorted(done(await call('GET', path(id, 'invites'), options), { invites: array }).invites), sorted(want));
  const ack = await a.emit('room:invites', id);
  exact(ack, { ok: true, invites: array }, 'ack');
  assert.deepEqual(sorted(ack.invites), sorted(want));
  for (const page of [async (after) => (await call('GET', `${path(id, 'invites')}?${query({ limit: 3, ...(after && { after }) })}`, { key })).body, (after) => a.emit('room:invites', { roomId: id, limit: 3, ...(after && { after }) })]) {
    const first = await page();
    assert.equal(first.next, first.invites[2].inviteId);
    const rest = await page(first.next);
    assert.equal(rest.next, undefined);
    assert.deepEqual([...first.invites, ...rest.invites], ack.invites);
  }

  assert.equal((await b.join({ roomId: id, invite: mine.invite })).reply.role, 'moderator');
  refusedWith(await call('DELETE', path(id, 'invites', backends.inviteId), { token: ann.token }), 403, 'forbidden', 'not_allowed'); // it makes owners
  done(await call('DELETE', path(id, 'invites', mine.inviteId), { token: ann.token }), {});
  done(await call('DELETE', path(id, 'invites', mine.inviteId), { token: ann.token }), {}); // twice
  done(await call('DELETE', `${path(id, 'invites', annsByBackend.inviteId)}?${query({ asUserId: bob.id })}`, { key }), {});
  exact(await b.emit('room:revoke-invite', { roomId: id, inviteId: byEvent.inviteId }), { ok: true }, 'ack');
  done(await call('DELETE', path(id, 'invites', backends.inviteId), { key }), {});
  assert.deepEqual((await a.emit('room:invites', id)).invites, []);
  const e = await connect(t, eve);
  for (const { invite } of [mine, backends, annsByBackend, byEvent]) assert.equal(refused(await e.emit('room:join', { roomId: id, invite }), 'forbidden').reason, 'invite_expired');

  const { entries } = done(await call('GET', `/api/v1/audit?${query({ roomId: id })}`, { key }), { entries: array });
  assert.deepEqual(entries.map((x) => [x.act, x.byId, x.userId, x.role, x.apiKey]).reverse().slice(1), [
    ['invite', ann.id, undefined, 'moderator', undefined], ['invite', 'system', undefined, 'owner', 'default'],
    ['invite', ann.id, undefined, 'member', 'default'], ['invite', ann.id, undefined, 'member', undefined],
    ['revoke-invite', ann.id, ann.id, 'moderator', undefined], ['revoke-invite', bob.id, ann.id, 'member', 'default'],
    ['revoke-invite', bob.id, ann.id, 'member', undefined], ['revoke-invite', 'system', undefined, 'owner', 'default'],
  ]);
  const c = await connect(t, cid);
  for (const bad of [{ inviteId: 'x' }, { inviteId: 7 }, {}, { inviteId: mine.invite }]) refused(await c.emit('room:revoke-invite', { roomId: id, ...bad }), 'invalid');
  refused(await a.emit('room:invites', { roomId: id, after: 'x' }), 'invalid');
  refused(await a.emit('room:invites', { roomId: id, limit: 0 }), 'invalid');
});

test('blocks by REST: set and ended as by the events, listed by pages, of a user alone', async (t) => {
  const [ann, bob, cid, dan] = await Promise.all(['ann', 'bob', 'cid', 'dan'].map((name) => newUser(name)));
  const a = await connect(t, ann);
  exact(await a.emit('user:blocks'), { ok: true, blocks: [] }, 'ack');
  done(await call('POST', '/api/v1/blocks', { token: ann.token, body: { userId: dan.id } }), {});
  done(await call('POST', '/api/v1/blocks', { key, body: { userId: bob.id, asUserId: ann.id } }), {});
  done(await call('POST', '/api/v1/blocks', { key, body: { userId: bob.id, asUserId: ann.id } }), {}); // twice
  exact(await a.emit('user:block', cid.id), { ok: true }, 'ack');
  const { blocks } = await a.emit('user:blocks', {});
  assert.deepEqual(blocks.map((x) => x.userId), [bob.id, cid.id, dan.id]);
  for (const x of blocks) exact(x, { userId: text, blockedAt: iso }, 'block');
  assert.ok(Math.abs(Date.parse(blocks[0].blockedAt) - Date.now()) < 600_000);
  for (const [where, options] of [['/api/v1/blocks', { token: ann.token }], [`/api/v1/blocks?${query({ asUserId: ann.id })}`, { key }]]) {
    assert.deepEqual(done(await call('GET', where, options), { blocks: array }).blocks, blocks);
  }
  for (const page of [async (after) => (await call('GET', `/api/v1/blocks?${query({ asUserId: ann.id, limit: 2, ...(after && { after }) })}`, { key })).body, (after) => a.emit('user:blocks', { limit: 2, ...(after && { after }) })]) {
    const first = await page();
    assert.deepEqual([first.next, first.blocks], [cid.id, blocks.slice(0, 2)]);
    const rest = await page(first.next);
    assert.deepEqual([rest.next, rest.blocks], [undefined, blocks.slice(2)]);
  }
  refusedWith(await call('POST', '/api/v1/rooms:open', { token: bob.token, body: { userIds: [ann.id] } }), 403, 'forbidden', 'blocked');
  done(await call('DELETE', `/api/v1/blocks/${bob.id}`, { token: ann.token }), {});
  done(await call('DELETE', `/api/v1/blocks/${bob.id}`, { token: ann.token }), {}); // twice
  done(await call('DELETE', `/api/v1/blocks/${dan.id}?${query({ asUserId: ann.id })}`, { key }), {});
  assert.deepEqual((await a.emit('user:blocks')).blocks.map((x) => x.userId), [cid.id]);
  for (const again of [false, true]) { // the repeat comes when the block has ended
    done(await call('POST', '/api/v1/blocks', { token: ann.token, body: { userId: dan.id }, headers: { 'idempotency-key': `once-${ann.id}` } }), {});
    assert.equal((await a.emit('user:blocks')).blocks.length, again ? 1 : 2);
    done(await call('DELETE', `/api/v1/blocks/${dan.id}`, { token: ann.token }), {});
  }
  done(await call('POST', '/api/v1/rooms:open', { token: bob.token, body: { userIds: [ann.id] } }), { room: room({ kind: 'direct' }), created: true });

  assert.deepEqual(done(await call('GET', '/api/v1/blocks', { token: cid.token }), { blocks: array }).blocks, [], 'nobody is told who blocks one');
  refusedWith(await call('GET', `/api/v1/blocks?${query({ asUserId: ann.id })}`, { token: cid.token }), 403, 'forbidden');
  refusedWith(await call('POST', '/api/v1/blocks', { token: cid.token, body: { userId: dan.id, asUserId: ann.id } }), 403, 'forbidden');
  const { body: { key: moderation } } = await call('POST', '/api/v1/keys', { key, body: { name: unique('key'), scopes: ['moderation'] } });
  refusedWith(await call('GET', `/api/v1/blocks?${query({ asUserId: ann.id })}`, { key: moderation }), 403, 'forbidden');
  refusedWith(await call('GET', '/api/v1/blocks'), 401, 'unauthenticated');
  for (const [method, where, options] of [
    ['GET', '/api/v1/blocks', { key }], ['POST', '/api/v1/blocks', { key, body: { userId: ann.id } }], ['DELETE', `/api/v1/blocks/${ann.id}`, { key }],
    ['POST', '/api/v1/blocks', { token: ann.token, body: {} }], ['POST', '/api/v1/blocks', { token: ann.token, body: { userId: ann.id } }],
    ['GET', '/api/v1/blocks?limit=0', { token: ann.token }], ['GET', `/api/v1/blocks?${query({ asUserId: 'system' })}`, { key }],
  ]) refusedWith(await call(method, where, options), 400, 'invalid');
  for (const bad of [{ limit: 0 }, { after: 7 }, 'x', { after: '\u0000' }]) refused(await a.emit('user:blocks', bad), 'invalid');
});

test('who ends its own membership by a call is out on every gateway before the answer', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const id = roomId('left');
  done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'private', roomId: id, members: [{ userId: ann.id }, { userId: bob.id }] } }), { room: room({}) });
  const sockets = await Promise.all([0, 1, 2].map((gateway) => connect(t, bob, { gateway })));
  for (const s of sockets) await s.join(id);
  done(await call('DELETE', path(id, 'members', bob.id), { token: bob.token }), {});
  assert.equal((await call('GET', `/api/v1/sockets?${query({ rooms: id })}`, { key })).body.sockets.length, 0);
  for (const s of sockets) refused(await s.emit('room:members', id), 'not_found');
});

test('keys need the scope, and what is wrong is named', async () => {
  const scoped = async (...scopes) => (await call('POST', '/api/v1/keys', { key, body: { name: unique('key'), scopes } })).body.key;
  const [rooms, moderation] = [await scoped('rooms'), await scoped('moderation')];
  const { room: { roomId: id } } = done(await call('POST', '/api/v1/rooms', { key: rooms, body: { kind: 'public' } }), { room: room({}) });
  refusedWith(await call('POST', '/api/v1/rooms', { key: moderation, body: { kind: 'public' } }), 403, 'forbidden');
  refusedWith(await call('GET', path(id, 'bans'), { key: rooms }), 403, 'forbidden');
  refusedWith(await call('GET', '/api/v1/audit', { key: rooms }), 403, 'forbidden');
  done(await call('GET', path(id, 'bans'), { key: moderation }), { bans: [] });
  for (const [method, where, body, field] of [
    ['POST', '/api/v1/rooms', {}, /kind/], ['POST', '/api/v1/rooms', { kind: 'direct' }, /kind/], ['POST', '/api/v1/rooms', { kind: 7 }, /kind/],
    ['POST', '/api/v1/rooms', { kind: 'public', roomId: 'a\u0007' }, /roomId/], ['POST', '/api/v1/rooms', { kind: 'public', profile: 'x' }, /profile/],
    ['POST', '/api/v1/rooms', { kind: 'public', profile: { data: [] } }, /profile\.data/], ['POST', '/api/v1/rooms', { kind: 'public', members: [{ userId: '' }] }, /userId/],
    ['POST', '/api/v1/rooms', { kind: 'public', members: [{ userId: 'x', role: 'king' }] }, /role/], ['POST', '/api/v1/rooms', { kind: 'public', asUserId: 'system' }, /asUserId/],
    ['POST', path(id, 'members'), {}, /userIds/], ['POST', path(id, 'members'), { userIds: 'x' }, /userIds/], ['POST', path(id, 'members'), { userIds: ['x'], role: 'king' }, /role/],
    ['PATCH', path(id, 'members', 'x'), {}, /role/], ['POST', path(id, 'bans'), {}, /userId/], ['POST', path(id, 'bans'), { userId: 'x', until: 'soon' }, /until/],
    ['POST', path(id, 'bans'), { userId: 'x', until: '2020-01-01T00:00:00Z' }, /until/], ['POST', path(id, 'bans'), { userId: 'x', until: '0001-01-01T00:00:00Z' }, /until/],
    ['GET', `${path(id, 'bans')}?limit=0`, undefined, /limit/], ['GET', '/api/v1/audit?limit=x', undefined, /limit/], ['GET', '/api/v1/audit?since=x', undefined, /since/],
    ['GET', '/api/v1/audit?before=99999999999999999999', undefined, /before/], ['GET', '/api/v1/audit?byId=', undefined, /byId/],
  ]) {
    const reply = await call(method, where, { key, body });
    assert.deepEqual([reply.status, reply.body.code], [400, 'invalid'], `${method} ${where} ${JSON.stringify(body)}: ${JSON.stringify(reply.body)}`);
    assert.match(reply.body.message, field, `${method} ${where} ${JSON.stringify(body)}`);
  }
  refusedWith(await call('GET', path(roomId('none')), { key }), 404, 'not_found');
  refusedWith(await call('POST', path(roomId('none'), 'members'), { key, body: { userIds: ['x'] } }), 404, 'not_found');
  const wrong = await call('PUT', path(id), { key, body: {} });
  assert.equal(wrong.status, 405);
  assert.match(wrong.headers.get('allow'), /GET/);
});

test('the audit is read by pages, and by time', async () => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const id = roomId('pages');
  const began = new Date(Date.now() - 60_000).toISOString();
  done(await call('POST', '/api/v1/rooms', { key, body: { kind: 'public', roomId: id, members: [{ userId: ann.id }] } }), { room: room({}) });
  for (let i = 0; i < 3; i += 1) {
    done(await call('POST', path(id, 'mutes'), { key, body: { userId: bob.id } }), {});
    done(await call('DELETE', path(id, 'mutes', bob.id), { key }), {});
  }
  const all = [];
  for (let before; ;) {
    const { body } = await call('GET', `/api/v1/audit?${query({ roomId: id, limit: 3, ...(before && { before }) })}`, { key });
    all.push(...body.entries);
    assert.ok(body.entries.length <= 3);
    if ((before = body.next) === undefined) break;
  }
  assert.deepEqual(all.map((e) => e.act), ['unmute', 'mute', 'unmute', 'mute', 'unmute', 'mute', 'create']);
  assert.deepEqual((await call('GET', `/api/v1/audit?${query({ roomId: id, until: began })}`, { key })).body.entries, []);
  assert.equal((await call('GET', `/api/v1/audit?${query({ userId: bob.id, since: began })}`, { key })).body.entries.length, 6);
  assert.equal((await call('GET', `/api/v1/audit?${query({ byId: 'system', roomId: id, userId: bob.id })}`, { key })).body.entries.length, 6);
});

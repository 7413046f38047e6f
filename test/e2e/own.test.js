// What is a user's own of its rooms: preferences and markers, whom it blocks, and whom it invites.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { any, exact, iso, ok, refused, seq, text } from './expect.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId, unique } from './user.js';

const plain = { muted: false, hidden: false, pinned: false };

test('preferences and the marker of a room are a member\'s own, on all devices', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const [a, a2, b] = [await connect(t, ann), await connect(t, ann, { gateway: 1 }), await connect(t, bob)];
  const room = roomId();
  await a.join(room);
  await b.join(room);
  const sent = await b.emit('message:send', { roomId: room, content: 'hi' });
  ok(await a.emit('room:get', room), { room: any, role: 'owner', marker: { seq: 0, n: 0 }, prefs: plain });
  ok(await a.emit('message:read', { roomId: room, messageId: sent.id }), { marker: { seq: sent.seq, n: 1 }, unread: 0, mentions: 0 });
  for (const device of [a, a2]) exact(await device.take('me:marker'), { useq: 2, roomId: room, seq: sent.seq, n: 1, unread: 0, mentions: 0, at: sent.seq });
  ok(await a.emit('room:prefs', { roomId: room, muted: true, pinned: true }));
  ok(await a.emit('room:prefs', { roomId: room, pinned: true }), {}); // nothing new
  ok(await a2.emit('room:prefs', { roomId: room, pinned: false, hidden: true }));
  for (const device of [a, a2]) {
    exact(await device.take('me:prefs'), { useq: 3, roomId: room, prefs: { muted: true, hidden: false, pinned: true } });
    exact(await device.take('me:prefs'), { useq: 4, roomId: room, prefs: { muted: true, hidden: true, pinned: false } });
  }
  ok(await a2.emit('room:get', room), { room: any, role: 'owner', marker: { seq: sent.seq, n: 1 }, prefs: { muted: true, hidden: true, pinned: false } });
  ok(await b.emit('room:get', room), { room: any, role: 'member', marker: { seq: sent.seq, n: 1 }, prefs: plain });
  assert.deepEqual(b.seen('me:prefs'), []);

  ok(await a.emit('room:leave', { roomId: room }));
  ok(await a.emit('room:get', room), { room: any });
  refused(await a.emit('room:prefs', { roomId: room, muted: true }), 'forbidden');
  await a.join(room);
  assert.deepEqual((await a.emit('room:get', room)).prefs, plain, 'they end with the membership');
  refused(await a.emit('room:prefs', { roomId: room, muted: 'yes' }), 'invalid');
  const secret = (await b.emit('room:create', { kind: 'private' })).room.roomId;
  for (const id of [secret, roomId('nowhere')]) refused(await a.emit('room:prefs', { roomId: id, muted: true }), 'not_found');
});

test('preferences by REST are those of the event: of a user with a token, or of one whom a backend names', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const a = await connect(t, ann);
  const room = (await a.emit('room:create', { kind: 'private' })).room.roomId;
  const path = `/api/v1/rooms/${room}/prefs`;
  const patch = async (options, status = 200, headers = {}) => {
    const reply = await call('PATCH', path, { headers, ...options });
    assert.equal(reply.status, status, JSON.stringify(reply.body));
    return status === 200 ? exact(reply.body, {}, 'answer') : reply.body.code;
  };
  const told = async (useq, prefs) => exact(await a.take('me:prefs'), { useq, roomId: room, prefs });
  await patch({ token: ann.token, body: { muted: true, pinned: true } });
  await told(2, { muted: true, hidden: false, pinned: true });
  await patch({ token: ann.token, body: {} }); // nothing new
  await patch({ key, body: { asUserId: ann.id, pinned: false, hidden: true } });
  await told(3, { muted: true, hidden: true, pinned: false });
  const once = { 'idempotency-key': `once-${ann.id}` };
  await patch({ token: ann.token, body: { muted: false } }, 200, once);
  await told(4, { muted: false, hidden: true, pinned: false });
  ok(await a.emit('room:prefs', { roomId: room, muted: true }));
  await patch({ token: ann.token, body: { muted: false } }, 200, once); // the repeat of what was undone since
  assert.deepEqual((await call('GET', `/api/v1/rooms/${room}?asUserId=${ann.id}`, { key })).body.prefs, { muted: true, hidden: true, pinned: false });

  assert.equal(await patch({ key, body: { muted: true } }, 400), 'invalid', 'a backend as itself has none');
  assert.equal(await patch({ token: ann.token, body: { muted: 'yes' } }, 400), 'invalid');
  assert.equal(await patch({ token: eve.token, body: { muted: true } }, 404), 'not_found');
  assert.equal(await patch({ key, body: { asUserId: eve.id, muted: true } }, 404), 'not_found');
  assert.equal(await patch({ token: eve.token, body: { asUserId: ann.id, muted: true } }, 403), 'forbidden');
  assert.equal(await patch({ body: { muted: true } }, 401), 'unauthenticated');
  const { body: { key: moderation } } = await call('POST', '/api/v1/keys', { key, body: { name: unique('key'), scopes: ['moderation'] } });
  assert.equal(await patch({ key: moderation, body: { asUserId: ann.id, muted: true } }, 403), 'forbidden');
});

test('who is blocked opens no direct room, and neither speaks in the one that there is', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const [a, b, c] = [await connect(t, ann), await connect(t, bob, { gateway: 1 }), await connect(t, cid)];
  const blocked = (reply) => assert.equal(refused(reply, 'forbidden').reason, 'blocked');
  ok(await a.emit('user:block', cid.id));
  ok(await a.emit('user:block', { userId: cid.id }), {}); // twice
  blocked(await c.emit('room:open', { userIds: [ann.id] }));
  blocked(await a.emit('room:open', { userIds: [cid.id] }));
  blocked(await a.emit('room:open', { userIds: [bob.id, cid.id] }));
  ok(await b.emit('room:open', { userIds: [ann.id, cid.id] }), { room: any, created: true });

  const room = (await b.emit('room:open', { userIds: [ann.id] })).room.roomId;
  await a.join(room);
  await b.join(room);
  ok(await a.emit('user:block', bob.id));
  for (const client of [a, b]) {
    blocked(await client.emit('message:send', { roomId: room, content: 'hi' }));
    blocked(await client.emit('room:message', { roomId: room }));
    blocked(await client.emit('room:open', { userIds: [client === a ? bob.id : ann.id] }));
    assert.equal((await client.emit('message:history', { roomId: room })).ok, true, 'it can still be read');
  }
  ok(await b.emit('user:unblock', ann.id), {}); // it is ann's to end
  blocked(await b.emit('message:send', { roomId: room, content: 'hi' }));
  ok(await b.emit('user:block', ann.id));
  ok(await a.emit('user:unblock', bob.id));
  blocked(await a.emit('message:send', { roomId: room, content: 'hi' }));
  ok(await b.emit('user:unblock', { userId: ann.id }));
  assert.equal((await a.emit('message:send', { roomId: room, content: 'hi' })).ok, true);
  assert.equal((await b.take('message:new')).content, 'hi');
  ok(await b.emit('room:open', { userIds: [ann.id] }), { room: any, created: false });
  refused(await a.emit('user:block', ann.id), 'invalid');
  refused(await a.emit('user:block', ''), 'invalid');
  refused(await a.emit('user:block'), 'invalid');
});

test('an invite lets in as many as it says, until it ends, and tells a stranger nothing', async (t) => {
  const users = await Promise.all(['ann', 'mod', 'bob', 'cid', 'dan', 'eve'].map((name) => newUser(name)));
  const [ann, mod, bob, cid, dan, eve] = users;
  const [a, m, b, c, d, e] = await Promise.all(users.map((user, i) => connect(t, user, { gateway: i })));
  const room = (await a.emit('room:create', { kind: 'private', members: [{ userId: mod.id, role: 'moderator' }] })).room.roomId;
  const made = await m.emit('room:invite', { roomId: room, uses: 2, role: 'moderator' });
  ok(made, { invite: text, inviteId: text, expiresAt: iso });
  assert.ok(made.invite.length >= 20);
  assert.ok(Math.abs(Date.parse(made.expiresAt) - Date.now() - 7 * 86_400_000) < 600_000, made.expiresAt);
  const come = (client, invite, roomId = room) => client.emit('room:join', { roomId, invite });
  const expired = (reply) => assert.equal(refused(reply, 'forbidden').reason, 'invite_expired');

  expired(await come(b, 'wrong'));
  expired(await come(b, 'wrong', roomId('nowhere')));
  expired(await come(b, made.invite, roomId('elsewhere')));
  refused(await b.emit('room:join', room), 'not_found');
  const replies = await Promise.all([b, c, d, e].map((client) => come(client, made.invite)));
  assert.equal(replies.filter((r) => r.ok).length, 2, JSON.stringify(replies));
  for (const reply of replies) if (reply.ok) ok(reply, { roomId: room, seq, role: 'moderator', hasMore: false }); else expired(reply);
  const inside = [b, c, d, e].filter((_, i) => replies[i].ok);
  await inside[0].take('me:room-added', (event) => event.room.roomId === room);

  const [out, other] = [[b, bob], [c, cid], [d, dan], [e, eve]].filter((_, i) => !replies[i].ok);
  const brief = await a.emit('room:invite', { roomId: room, expiresInMs: 1, uses: 5 });
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  expired(await come(out[0], brief.invite));
  ok(await a.emit('room:ban', { roomId: room, userId: out[1].id }));
  const good = await m.emit('room:invite', { roomId: room, uses: 5 });
  assert.equal(refused(await come(out[0], good.invite), 'forbidden').reason, 'banned');
  ok(await a.emit('room:remove', { roomId: room, userIds: [mod.id] }), { done: [mod.id], failed: [] });
  expired(await come(other[0], good.invite)); // whoever invited has gone

  assert.equal(refused(await inside[0].emit('room:invite', { roomId: room, role: 'owner' }), 'forbidden').reason, 'not_allowed');
  refused(await other[0].emit('room:invite', { roomId: room }), 'not_found');
  for (const bad of [{ uses: 0 }, { uses: 1.5 }, { uses: 20_000 }, { expiresInMs: 0 }, { expiresInMs: 1e12 }, { role: 'king' }]) {
    refused(await a.emit('room:invite', { roomId: room, ...bad }), 'invalid');
  }
  const direct = (await a.emit('room:open', { userIds: [bob.id] })).room.roomId;
  refused(await a.emit('room:invite', { roomId: direct }), 'forbidden');
});

test('room:list in pages: every room once, in the order of the whole list, with what is the user\'s own', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann);
  const ids = [];
  for (let i = 0; i < 5; i += 1) ids.push((await a.emit('room:create', { kind: i % 2 ? 'private' : 'public' })).room.roomId);
  const direct = (await a.emit('room:open', { userIds: [bob.id] })).room.roomId;
  ok(await a.emit('room:prefs', { roomId: ids[1], pinned: true })); // the seventh event of ann's log
  for (const id of [ids[1], direct]) assert.equal((await a.patiently('message:send', { roomId: id, content: 'x' })).ok, true);

  const all = await a.emit('room:list');
  ok(all, { rooms: (rooms) => rooms.length === 6, useq: 7 });
  assert.deepEqual(all.rooms.slice(0, 2).map((r) => r.roomId), [direct, ids[1]]);
  assert.deepEqual(all.rooms[1].prefs, { ...plain, pinned: true });
  for (const limit of [1, 4, 5]) {
    const paged = [];
    for (let after; ;) {
      const page = await a.emit('room:list', { limit, after });
      ok(page, { rooms: (rooms) => rooms.length <= limit, useq: 7, 'next?': text });
      paged.push(...page.rooms);
      if (!page.next) break;
      after = page.next;
    }
    assert.deepEqual(paged, all.rooms, `pages of ${limit}`);
  }
  const kinds = async (...list) => (await a.emit('room:list', { kinds: list })).rooms.map((r) => r.roomId).sort();
  assert.deepEqual(await kinds('direct'), [direct]);
  assert.deepEqual(await kinds('direct', 'private'), [direct, ids[1], ids[3]].sort());
  for (const bad of [{ limit: 0 }, { after: 'x' }, { after: 1 }, { kinds: ['deleted'] }, { kinds: 'direct' }]) refused(await a.emit('room:list', bad), 'invalid');

  // A client that has had no event of the log begins behind the list.
  const made = (await a.emit('room:create', { kind: 'private' })).room.roomId;
  const late = await connect(t, ann, { gateway: 1, auth: { token: ann.token, useq: all.useq } });
  assert.equal((await late.take('me:room-added')).room.roomId, made);
  assert.equal(late.seen('me:room-added').length, 1);
});

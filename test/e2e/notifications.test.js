// Notifications: posted by another backend over REST, delivered and listed on /notifications.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { apiKey, call } from './rest.js';
import { newUser, unique } from './user.js';
import { any, array, count, exact, iso, ok, refused, text } from './expect.js';

const notify = (body, options) => call('POST', '/api/v1/notifications', { key: apiKey, body, ...options });
const shape = { id: text, type: text, title: text, body: any, data: any, createdAt: iso };

test('a notification reaches every socket of the user on /notifications, and nobody else', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { namespace: '/notifications' });
  const a2 = await connect(t, ann, { namespace: '/notifications', gateway: 1 });
  const root = await connect(t, ann, { gateway: 1 });
  const b = await connect(t, bob, { namespace: '/notifications', gateway: 2 });
  const data = { order: 17, deep: { er: [1, 'zwei', null, true] } };
  const { status, body } = await notify({ userId: ann.id, type: 'order', title: 'Shipped', body: 'On its way', data }, { gateway: 2 });
  assert.equal(status, 200, JSON.stringify(body));
  exact(body, { id: text });
  for (const s of [a, a2]) exact(await s.take('notification'), { ...shape, id: body.id, type: 'order', title: 'Shipped', body: 'On its way', data });

  await notify({ userId: bob.id, type: 'x', title: 'for Bob' });
  assert.equal((await b.take('notification')).title, 'for Bob');
  assert.equal(b.seen('notification').length, 1);
  assert.deepEqual(root.seen('notification'), []);
});

test('list and read; what came while away is kept', async (t) => {
  const ann = await newUser('ann');
  const first = await connect(t, ann, { namespace: '/notifications' });
  ok(await first.emit('notification:list'), { notifications: [], unread: 0 });
  first.close();
  const ids = [];
  for (let i = 0; i < 5; i += 1) ids.push((await notify({ userId: ann.id, type: 'n', title: `t${i}` })).body.id);

  const a = await connect(t, ann, { namespace: '/notifications', gateway: 1 });
  const all = await a.emit('notification:list', {});
  ok(all, { notifications: array, unread: 5 });
  assert.deepEqual(all.notifications.map((n) => n.title), ['t4', 't3', 't2', 't1', 't0'], 'newest first');
  // A listed notification may also tell when it was read.
  for (const n of all.notifications) exact(n, { ...shape, 'readAt?': any, 'read?': any });

  const page = await a.emit('notification:list', { limit: 2 });
  ok(page, { notifications: array, unread: 5 });
  assert.deepEqual(page.notifications.map((n) => n.id), [ids[4], ids[3]]);
  const next = await a.emit('notification:list', { before: page.notifications[1].id, limit: 2 });
  assert.deepEqual(next.notifications?.map((n) => n.id), [ids[2], ids[1]], JSON.stringify(next));

  ok(await a.emit('notification:read', { ids: [ids[0], ids[1]] }), { unread: 3 });
  ok(await a.emit('notification:read', { ids: [ids[0]] }), { unread: 3 });
  ok(await a.emit('notification:read', { ids: ids.slice(2) }), { unread: 0 });
  assert.equal((await a.emit('notification:list')).unread, 0);
});

test('what one device has read is told to the others', async (t) => {
  const ann = await newUser('ann');
  const [a, other] = [await connect(t, ann, { namespace: '/notifications' }), await connect(t, ann, { namespace: '/notifications', gateway: 1 })];
  const { body } = await notify({ userId: ann.id, type: 'n', title: 'one' });
  for (const s of [a, other]) await s.take('notification');
  ok(await a.emit('notification:read', { ids: [body.id] }), { unread: 0 });
  exact(await other.take('notification:read'), { ids: (ids) => ids.length === 1 && ids[0] === body.id, unread: 0 });
  assert.deepEqual(a.seen('notification:read'), []);
});

test('nobody reads another one\'s notifications', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const a = await connect(t, ann, { namespace: '/notifications' });
  const { body } = await notify({ userId: ann.id, type: 'n', title: 'private' });
  await a.take('notification');
  const e = await connect(t, eve, { namespace: '/notifications', gateway: 1 });
  ok(await e.emit('notification:list'), { notifications: [], unread: 0 });
  const reply = await e.emit('notification:read', { ids: [body.id] });
  if (!reply.ok) refused(reply, 'not_found', 'forbidden');
  assert.equal((await a.emit('notification:list')).unread, 1);
});

test('an idempotency key makes one notification of several calls', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann, { namespace: '/notifications' });
  const body = { userId: ann.id, type: 'n', title: 'once', idempotencyKey: unique('key') };
  const replies = await Promise.all([0, 1, 2, 0, 1, 2].map((gateway) => notify(body, { gateway })));
  for (const r of replies) assert.equal(r.status, 200, JSON.stringify(r.body));
  assert.equal(new Set(replies.map((r) => r.body.id)).size, 1);
  const last = (await notify({ ...body, title: 'last', idempotencyKey: unique('key') })).body.id;
  await a.take('notification', (n) => n.id === last);
  assert.deepEqual(a.seen('notification').map((n) => n.title), ['once', 'last']);
  assert.equal((await a.emit('notification:list')).unread, 2);
});

test('the call needs a key and the right fields', async () => {
  const ann = await newUser('ann');
  const good = { userId: ann.id, type: 'n', title: 't' };
  const cases = [
    [401, 'unauthenticated', good, { key: undefined }],
    [401, 'unauthenticated', good, { key: 'wrong' }],
    [401, 'unauthenticated', good, { key: undefined, token: ann.token }],
    [400, 'invalid', { ...good, userId: undefined }], [400, 'invalid', { ...good, title: undefined }],
    [400, 'invalid', { ...good, type: undefined }], [400, 'invalid', { ...good, title: 42 }],
    [400, 'invalid', { ...good, data: 'text' }], [400, 'invalid', []],
  ];
  for (const [status, code, body, options = {}] of cases) {
    const reply = await notify(body, options);
    assert.equal(reply.status, status, `${JSON.stringify(body)}: ${JSON.stringify(reply.body)}`);
    exact(reply.body, { code, message: text, 'retryAfterMs?': count });
  }
});

test('notification:list and :read refuse wrong fields', async (t) => {
  const a = await connect(t, await newUser('ann'), { namespace: '/notifications' });
  for (const bad of [{ limit: 'x' }, { limit: -1 }, { before: 42 }, 'x']) refused(await a.emit('notification:list', bad), 'invalid');
  for (const bad of [{}, { ids: 'x' }, { ids: [42] }, null]) refused(await a.emit('notification:read', bad), 'invalid');
});

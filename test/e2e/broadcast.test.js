// To everyone in a namespace: chat:message and announcement.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { newUser, unique } from './user.js';
import { any, exact, now, ok, refused } from './expect.js';

test('chat:message: the sender gets a receipt, everyone else the message', async (t) => {
  const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
  const a = await connect(t, ann);
  const a2 = await connect(t, ann, { gateway: 1 });
  const b = await connect(t, bob, { gateway: 1 });
  const c = await connect(t, cid, { gateway: 2 });
  const tag = unique('tag');
  const mine = (m) => m.tag === tag;
  ok(await a.emit('chat:message', { id: 'm-1', tag, text: 'hello', sender: 'forged', timestamp: 1 }));
  exact(await a.take('chat:message:received'), { id: 'm-1', status: 'delivered' });
  for (const s of [b, c, a2]) exact(await s.take('chat:message', mine), { id: 'm-1', tag, text: 'hello', sender: ann.id, timestamp: now });

  ok(await b.emit('chat:message', { id: 'm-2', tag }));
  await a.take('chat:message', mine);
  assert.equal(a.seen('chat:message', mine).length, 1, 'only that of Bob');
  assert.deepEqual(c.seen('chat:message:received'), []);
});

test('chat:message without an id, and with attachments', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann);
  const b = await connect(t, bob, { gateway: 1 });
  const tag = unique('tag');
  ok(await a.emit('chat:message', { tag, n: 1 }));
  const receipt = await a.take('chat:message:received');
  assert.equal(receipt.status, 'delivered');
  const got = await b.take('chat:message', (m) => m.tag === tag);
  exact(got, { tag, n: 1, sender: ann.id, timestamp: now, 'id?': any });

  ok(await a.emit('chat:message', { tag, file: Buffer.from([1, 2, 255]) }));
  const binary = await b.take('chat:message', (m) => m.tag === tag);
  assert.deepEqual(Buffer.from(binary.file), Buffer.from([1, 2, 255]));
  for (const bad of [null, 'x', 42, []]) refused(await a.emit('chat:message', bad), 'invalid');
});

test('chat:message stays in its namespace', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const a = await connect(t, ann, { namespace: '/chat' });
  const b = await connect(t, bob, { namespace: '/chat', gateway: 1 });
  const root = await connect(t, bob, { gateway: 1 });
  const sender = await connect(t, ann, { gateway: 2 });
  const tag = unique('tag');
  const mine = (m) => m.tag === tag;
  ok(await a.emit('chat:message', { tag, n: 1 }));
  await b.take('chat:message', mine);
  ok(await sender.emit('chat:message', { tag, n: 2 }));
  assert.equal((await root.take('chat:message', mine)).n, 2);
  assert.equal(root.seen('chat:message', mine).length, 1);
  assert.deepEqual(b.seen('chat:message', mine).map((m) => m.n), [1]);
});

test('announcement: admins only, to everyone with the sender', async (t) => {
  const [root, bob] = [await newUser('root', { role: 'admin' }), await newUser('bob')];
  const a = await connect(t, root);
  const b = await connect(t, bob, { gateway: 1 });
  const tag = unique('tag');
  for (const value of [{ tag, text: 'down at noon', nested: [1, null] }, `${tag} as text`, [tag, 1]]) {
    const mine = (v) => JSON.stringify(v).includes(tag);
    ok(await a.emit('announcement', value));
    for (const s of [a, b]) assert.deepEqual(await s.take('announcement', mine), value);
  }
  refused(await b.emit('announcement', { tag, text: 'from a user' }), 'forbidden');
  ok(await a.emit('announcement', { tag, barrier: true }));
  await b.take('announcement', (v) => v?.barrier);
  assert.deepEqual(b.seen('announcement', (v) => v?.text === 'from a user'), []);
});

test('a role that is no admin may not announce', async (t) => {
  for (const role of ['user', 'Admin', 'administrator', '']) {
    const s = await connect(t, await newUser('mod', { role }));
    refused(await s.emit('announcement', 'x'), 'forbidden');
  }
});

test('who is connected misses nothing, from the first moment on', { timeout: 180_000 }, async (t) => {
  const ann = await newUser('ann');
  const senders = [await connect(t, ann), await connect(t, ann, { gateway: 1 })];
  for (let i = 0; i < 60; i += 1) {
    const b = await connect(t, await newUser('bob'), { gateway: i });
    const tag = unique('tag');
    const [reply] = await Promise.all([senders[i % 2].patiently('chat:message', { tag }), b.take('chat:message', (m) => m.tag === tag)]);
    ok(reply);
    b.close();
  }
});

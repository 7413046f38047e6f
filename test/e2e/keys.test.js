// API keys made, used, listed and removed by REST.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from './client.js';
import { apiKey as key, call, register } from './rest.js';
import { unique } from './user.js';
import { array, count, exact, iso, text } from './expect.js';

const path = (name) => `/api/v1/keys/${encodeURIComponent(name)}`;

function refusedWith(reply, status, code) {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  exact(reply.body, { code, message: text, 'retryAfterMs?': count, 'reason?': text }, 'error');
}

test('a key with one scope does that and nothing else, is listed with its use, and is refused once removed', async () => {
  const name = unique('crm/backend');
  const made = await call('POST', '/api/v1/keys', { key, body: { name, scopes: ['presence'], expiresAt: '2100-01-01T00:00:00Z' } });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  exact(made.body, { key: (k) => /^starling_[\w-]{43}$/.test(k), about: (v) => v.name === name });
  const { key: secret, about } = made.body;
  exact(about, { name, scopes: ['presence'], createdAt: iso, expiresAt: '2100-01-01T00:00:00.000Z' });

  const ask = (gateway) => call('GET', '/api/v1/presence?userId=x', { key: secret, gateway });
  for (const gateway of [0, 1, 2]) assert.equal((await ask(gateway)).status, 200);
  refusedWith(await call('POST', '/api/v1/users:upsert', { key: secret, body: { users: [{ id: 'x' }] } }), 403, 'forbidden');
  refusedWith(await call('GET', '/api/v1/keys', { key: secret }), 403, 'forbidden');
  const { body: { keys } } = await call('GET', '/api/v1/keys', { key });
  exact(keys.find((k) => k.name === name), { ...about, usedAt: iso });
  assert.ok(keys.some((k) => k.name === 'default'));
  assert.ok(!JSON.stringify(keys).includes(secret), 'the list has the key itself');

  refusedWith(await call('POST', '/api/v1/keys', { key, body: { name, scopes: ['presence'] } }), 409, 'conflict');
  for (const bad of [{}, { scopes: [] }, { name: 'x' }, { name: 'x', scopes: ['root'] }, { name: '', scopes: ['emit'] }, { name: 'default', scopes: ['emit'] },
    { name: 'x'.repeat(65), scopes: ['emit'] }, { name: 'x', scopes: ['emit'], expiresAt: '2020-01-01T00:00:00Z' }, { name: 'x', scopes: ['emit'], expiresAt: 'soon' }]) {
    refusedWith(await call('POST', '/api/v1/keys', { key, body: bad }), 400, 'invalid');
  }
  const { token } = await register('ann');
  refusedWith(await call('GET', '/api/v1/keys', { token }), 401, 'unauthenticated');
  refusedWith(await call('GET', '/api/v1/keys'), 401, 'unauthenticated');

  assert.deepEqual((await call('DELETE', path(name), { key, gateway: 1 })).body, {});
  refusedWith(await call('DELETE', path(name), { key }), 404, 'not_found');
  await eventually(async () => refusedWith(await ask(2), 401, 'unauthenticated'));
});

test('a key makes no key that may do more', async () => {
  const { body: { key: few } } = await call('POST', '/api/v1/keys', { key, body: { name: unique('keys'), scopes: ['keys', 'emit'] } });
  refusedWith(await call('POST', '/api/v1/keys', { key: few, body: { name: unique('more'), scopes: ['emit', 'users'] } }), 403, 'forbidden');
  assert.equal((await call('POST', '/api/v1/keys', { key: few, body: { name: unique('less'), scopes: ['emit'] } })).status, 200);
});

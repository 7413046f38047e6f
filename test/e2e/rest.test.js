// REST for end users: accounts, tokens, rooms, history, keys; and what both kinds of callers get as errors.

import assert from 'node:assert/strict';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { test } from 'node:test';
import { connect, eventually, pause, refusal, url, urls } from './client.js';
import { own } from './contract.js';
import { apiKey, call, password, register } from './rest.js';
import { newUser, roomId, sign, unique } from './user.js';
import { any, array, boolean, count, exact, iso, message, seq, text, uuid7 } from './expect.js';

own('big');

const login = (username, secret = password, gateway = 0) => call('POST', '/api/v1/auth/login', { body: { username, password: secret }, gateway });
const refresh = (refreshToken, gateway = 0) => call('POST', '/api/v1/auth/refresh', { body: { refreshToken }, gateway });

function pairOfTokens(body, spec = {}) {
  exact(body, { accessToken: text, refreshToken: text, expiresIn: (v) => Number.isInteger(v) && v > 0, user: any }, 'answer');
  exact(body.user, { id: text, username: text, name: text, role: 'user', ...spec }, 'user');
}

function refusedWith(reply, status, code) {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  exact(reply.body, { code, message: text, 'retryAfterMs?': count, 'reason?': text }, 'error');
  assert.match(reply.headers.get('content-type'), /^application\/json/);
}

test('register and login', async () => {
  const username = unique('ann');
  const made = await call('POST', '/api/v1/auth/register', { body: { username, password, name: 'Ann A.' } });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  pairOfTokens(made.body, { username, name: 'Ann A.' });
  const again = await login(username, password, 1);
  assert.equal(again.status, 200);
  pairOfTokens(again.body, made.body.user);
  assert.notEqual(again.body.refreshToken, made.body.refreshToken);
  assert.equal((await login(username.toUpperCase())).status, 200, 'user names are not case-sensitive');
});

test('register without a name takes the username', async () => {
  const username = unique('bob');
  const { body } = await call('POST', '/api/v1/auth/register', { body: { username, password } });
  pairOfTokens(body, { username, name: username });
});

test('register takes names as people have them', async () => {
  for (const [name, want] of [['山田　太郎', '山田 太郎'], ['Anna 👩‍💻', 'Anna 👩‍💻'], ['x'.repeat(65), 'x'.repeat(64)], [' a\u202eb\u0000c ', 'abc']]) {
    const { body } = await call('POST', '/api/v1/auth/register', { body: { username: unique('cem'), password, name } });
    assert.equal(body.user?.name, want, JSON.stringify(body));
  }
});

test('register refuses a taken name and wrong fields', async () => {
  const ann = await register('ann');
  const post = (body) => call('POST', '/api/v1/auth/register', { body });
  refusedWith(await post({ username: ann.username, password }), 409, 'conflict');
  refusedWith(await post({ username: ann.username.toUpperCase(), password }), 409, 'conflict');
  const good = { username: unique('new'), password };
  for (const bad of [{ username: '' }, { username: 'ab' }, { username: 'x'.repeat(33) }, { username: 'with space' }, { username: 'ümlaut' }, { username: 42 },
    { username: undefined }, { password: 'short' }, { password: '' }, { password: undefined }, { password: 'x'.repeat(201) }, { name: 42 }]) {
    refusedWith(await post({ ...good, ...bad }), 400, 'invalid');
  }
});

test('login tells nothing about who exists', async () => {
  const ann = await register('ann');
  const wrong = await login(ann.username, 'not the password');
  const unknown = await login(unique('nobody'), 'not the password');
  refusedWith(wrong, 401, 'unauthenticated');
  refusedWith(unknown, 401, 'unauthenticated');
  assert.deepEqual(wrong.body, unknown.body);
});

test('access tokens are EdDSA and verify with the published keys', async () => {
  const ann = await register('ann');
  const { status, body, headers } = await call('GET', '/.well-known/jwks.json', { gateway: 1 });
  assert.equal(status, 200);
  assert.match(headers.get('content-type'), /json/);
  assert.ok(body.keys.length >= 1);
  for (const key of body.keys) {
    assert.deepEqual([key.kty, key.crv], ['OKP', 'Ed25519']);
    assert.ok(key.kid && key.x);
    assert.equal(key.d, undefined, 'the private key is public');
  }
  const { payload, protectedHeader } = await jwtVerify(ann.token, createLocalJWKSet(body), { algorithms: ['EdDSA'] });
  assert.equal(payload.sub, ann.id);
  assert.ok(payload.exp - payload.iat === ann.body.expiresIn, `${payload.exp - payload.iat} s, expiresIn ${ann.body.expiresIn}`);
  assert.ok(protectedHeader.kid);
});

test('refresh: a new pair; a lost answer may be asked for again', async () => {
  const ann = await register('ann');
  const second = await refresh(ann.refresh);
  assert.equal(second.status, 200, JSON.stringify(second.body));
  pairOfTokens(second.body, { id: ann.id });
  assert.notEqual(second.body.refreshToken, ann.refresh);

  const retried = await refresh(ann.refresh, 1);
  assert.equal(retried.status, 200, 'within 20 s of a lost answer');
  assert.equal(retried.body.refreshToken, second.body.refreshToken, 'the same successor');

  assert.equal((await refresh(second.body.refreshToken, 2)).status, 200);
  for (const bad of ['', 'garbage', `${ann.refresh}x`]) {
    const reply = await refresh(bad);
    assert.ok([400, 401].includes(reply.status), `${reply.status}`);
  }
});

test('a refresh token used again after 20 s ends the login and its sockets', { timeout: 180_000, skip: process.env.STARLING_SLOW !== '1' && 'takes 21 s; STARLING_SLOW=1' }, async (t) => {
  const ann = await register('ann');
  const socket = await connect(t, ann, { gateway: 1 });
  const second = (await refresh(ann.refresh)).body;
  await pause(21_000);
  refusedWith(await refresh(ann.refresh, 2), 401, 'unauthenticated');
  await socket.ended();
  refusedWith(await refresh(second.refreshToken), 401, 'unauthenticated');
  assert.equal((await refusal(t, { token: second.accessToken })).message, 'Invalid token');
});

test('refresh at the same time through two gateways gives one successor', async () => {
  const ann = await register('ann');
  const replies = await Promise.all([0, 1, 2, 0, 1].map((gateway) => refresh(ann.refresh, gateway)));
  for (const r of replies) assert.equal(r.status, 200, JSON.stringify(r.body));
  assert.equal(new Set(replies.map((r) => r.body.refreshToken)).size, 1);
});

test('logout ends that login and its sockets, and no other', async (t) => {
  const ann = await register('ann');
  const other = (await login(ann.username)).body;
  const a = await connect(t, ann);
  const a1 = await connect(t, ann, { gateway: 1, namespace: '/chat' });
  const keep = await connect(t, { token: other.accessToken }, { gateway: 2 });
  const reply = await call('POST', '/api/v1/auth/logout', { body: { refreshToken: ann.refresh } });
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  assert.deepEqual(reply.body, {});
  await Promise.all([a.ended(), a1.ended()]);
  refusedWith(await refresh(ann.refresh), 401, 'unauthenticated');
  assert.equal((await refusal(t, ann, { gateway: 2 })).message, 'Invalid token');
  assert.equal((await keep.emit('room:list')).ok, true);
  assert.equal(keep.closed.length, 0);
});

test('rooms and messages, as the acks of the socket', async (t) => {
  const ann = await register('ann');
  const a = await connect(t, ann);
  const room = roomId('with space & ünïcode');
  await a.join(room);
  const acks = [];
  for (let i = 0; i < 7; i += 1) acks.push(await a.emit('message:send', { roomId: room, content: `m${i}`, clientMsgId: `c${i}` }));

  const rooms = await call('GET', '/api/v1/rooms', { token: ann.token, gateway: 1 });
  assert.equal(rooms.status, 200, JSON.stringify(rooms.body));
  exact(rooms.body, { rooms: array, useq: 1, 'ok?': true });
  exact(rooms.body.rooms[0], { roomId: room, name: text, kind: 'public', role: 'owner', seq: acks[6].seq, unread: 0, mentions: 0, marker: { seq: acks[6].seq, n: 7 }, prefs: { muted: false, hidden: false, pinned: false }, lastMessage: any });
  message(rooms.body.rooms[0].lastMessage, { id: acks[6].id, reactions: [] });

  const page = async (query) => {
    const { status, body } = await call('GET', `/api/v1/rooms/${encodeURIComponent(room)}/messages${query}`, { token: ann.token, gateway: 2 });
    assert.equal(status, 200, JSON.stringify(body));
    exact(body, { messages: array, hasMore: boolean, 'ok?': true });
    for (const m of body.messages) message(m, { reactions: [], roomId: room, sender: { id: ann.id, name: ann.name } });
    return [body.messages.map((m) => m.content), body.hasMore];
  };
  assert.deepEqual(await page(''), [['m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6'], false]);
  assert.deepEqual(await page('?limit=2'), [['m5', 'm6'], true]);
  assert.deepEqual(await page(`?before=${acks[5].seq}&limit=2`), [['m3', 'm4'], true]);
  assert.deepEqual(await page(`?after=${acks[0].seq}&limit=2`), [['m1', 'm2'], true]);
  assert.deepEqual(await page(`?after=${acks[6].seq}`), [[], false]);
});

test('an HS256 token of the operator serves for REST as well', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  const room = roomId();
  await a.join(room);
  const { status, body } = await call('GET', '/api/v1/rooms', { token: ann.token });
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual(body.rooms.map((r) => r.roomId), [room]);
});

test('REST refuses strangers', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const a = await connect(t, ann);
  await connect(t, eve);
  const room = roomId();
  await a.join(room);
  const path = `/api/v1/rooms/${room}/messages`;
  refusedWith(await call('GET', path, { token: eve.token }), 403, 'forbidden');
  refusedWith(await call('GET', path), 401, 'unauthenticated');
  refusedWith(await call('GET', '/api/v1/rooms'), 401, 'unauthenticated');
  refusedWith(await call('GET', '/api/v1/rooms', { token: 'garbage' }), 401, 'unauthenticated');
  refusedWith(await call('GET', '/api/v1/rooms', { headers: { authorization: `Basic ${ann.token}` } }), 401, 'unauthenticated');
  refusedWith(await call('GET', `${path}?limit=many`, { token: ann.token }), 400, 'invalid');
  refusedWith(await call('POST', path, { token: ann.token, body: { content: 'x' } }), 401, 'unauthenticated');
  const nowhere = await call('GET', `/api/v1/rooms/${roomId('nowhere')}/messages`, { token: ann.token });
  assert.ok([403, 404].includes(nowhere.status), `${nowhere.status}`);
});

test('wrong requests: JSON errors with fitting status', async () => {
  refusedWith(await call('GET', '/api/v1/nothing'), 404, 'not_found');
  refusedWith(await call('POST', '/api/v1/auth/login', { raw: '{"username":', headers: { 'content-type': 'application/json' } }), 400, 'invalid');
  refusedWith(await call('POST', '/api/v1/auth/login', { raw: '[]', headers: { 'content-type': 'application/json' } }), 400, 'invalid');
  refusedWith(await call('POST', '/api/v1/auth/login', { body: { username: ['x'], password } }), 400, 'invalid');
  const wrongMethod = await call('GET', '/api/v1/auth/login');
  refusedWith(wrongMethod, 405, 'invalid');
  assert.equal(wrongMethod.headers.get('allow'), 'POST');
  for (const path of ['/api/v1/rooms/%FF/messages', '/api/v1/presence?userId=%FF', '/api/v1/users/%ED%A0%80/sockets']) {
    refusedWith(await call('GET', path, { key: apiKey }), 400, 'invalid');
  }
  const huge = await call('POST', '/api/v1/auth/login', { body: { username: 'x'.repeat(3_000_000), password } }).catch(() => ({ status: 413 }));
  assert.ok([400, 413].includes(huge.status), `${huge.status}`);
  const deep = await call('POST', '/api/v1/auth/login', { raw: '['.repeat(50_000), headers: { 'content-type': 'application/json' } });
  refusedWith(deep, 400, 'invalid');
});

test('ids with a slash are named with %2F', async (t) => {
  const id = `team/${unique('ann')}`;
  const ann = { id, token: await sign({ sub: id, name: 'Ann' }) };
  const a = await connect(t, ann);
  const room = `//${roomId('general')}/..`;
  await a.join(room);
  const [inPath, userPath] = [encodeURIComponent(room), `/api/v1/users/${encodeURIComponent(id)}`];
  const posted = await call('POST', `/api/v1/rooms/${inPath}/messages`, { key: apiKey, body: { content: 'half \u{d83d}', userId: id }, gateway: 1 });
  assert.equal(posted.status, 200, JSON.stringify(posted.body));
  const page = await call('GET', `/api/v1/rooms/${inPath}/messages`, { token: ann.token, gateway: 2 });
  assert.deepEqual(page.body.messages.map((m) => [m.roomId, m.content]), [[room, 'half \ufffd']]);
  const sockets = await call('GET', `${userPath}/sockets`, { key: apiKey });
  assert.deepEqual(sockets.body.sockets.map((s) => [s.userId, s.rooms]), [[id, [room]]]);
  const revoked = await call('POST', `${userPath}/revoke`, { key: apiKey, gateway: 1 });
  assert.equal(revoked.status, 200, JSON.stringify(revoked.body));
  exact(revoked.body, { closed: (n) => n === 0 || n === 1 }); // of the gateways that a busy machine has had answer in time
  await a.ended();
});

test('what clients are to get keeps every digit', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  const n = await connect(t, ann, { namespace: '/notifications' });
  const packets = [];
  for (const s of [a, n]) s.socket.io.engine.on('packet', ({ data }) => packets.push(String(data)));
  const big = '9007199254740993';
  const post = (path, raw) => call('POST', path, { key: apiKey, raw, headers: { 'content-type': 'application/json' }, gateway: 2 });
  assert.equal((await post('/api/v1/emit', `{"userId":"${ann.id}","event":"big","data":{"id":${big}}}`)).status, 200);
  const posted = await post('/api/v1/notifications', `{"userId":"${ann.id}","type":"t","title":"T","data":{"id":${big},"x":1.0}}`);
  assert.equal(posted.status, 200, JSON.stringify(posted.body));
  await Promise.all([a.take('big'), n.take('notification')]);
  assert.ok(packets.some((p) => p.includes(`["big",{"id":${big}}]`)), packets.join('\n'));
  assert.ok(packets.some((p) => p.includes(`"data":{"id":${big},"x":1.0}`)), packets.join('\n'));
  await n.emit('notification:list', {});
  assert.equal(packets.filter((p) => p.includes(`{"id":${big},"x":1.0}`)).length, 2, packets.join('\n'));
});

test('unknown fields are ignored', async () => {
  const ann = await register('ann');
  const { status } = await call('POST', '/api/v1/auth/login', { body: { username: ann.username, password, remember: true } });
  assert.equal(status, 200);
});

test('the OpenAPI document names every call', async () => {
  const { status, body, headers } = await call('GET', '/api/openapi.json');
  assert.equal(status, 200);
  assert.match(headers.get('content-type'), /json/);
  assert.ok(body.swagger || body.openapi);
  for (const path of ['/api/v1/auth/register', '/api/v1/auth/login', '/api/v1/auth/refresh', '/api/v1/auth/logout', '/api/v1/rooms',
    '/api/v1/rooms/{roomId}/messages', '/api/v1/rooms/{roomId}/readers', '/api/v1/notifications', '/api/v1/presence', '/api/v1/users/{userId}/revoke', '/.well-known/jwks.json']) {
    assert.ok(body.paths[path], `${path} is missing`);
  }
});

test('every gateway is healthy and shows the page', async () => {
  for (const [i] of urls.entries()) {
    assert.equal((await call('GET', '/healthz', { gateway: i })).status, 200);
    const page = await call('GET', '/', { gateway: i });
    assert.equal(page.status, 200, url(i));
    assert.match(page.headers.get('content-type'), /^text\/html/);
    assert.match(page.body, /<html/i);
  }
});

test('a user that logs in again after a logout is let in', async (t) => {
  const ann = await register('ann');
  await call('POST', '/api/v1/auth/logout', { body: { refreshToken: ann.refresh } });
  const { body } = await login(ann.username);
  await eventually(() => connect(t, { token: body.accessToken }));
  assert.equal(body.user.id, ann.id);
});

test('what REST says about times and numbers', async (t) => {
  const ann = await newUser('ann');
  const a = await connect(t, ann);
  const room = roomId();
  await a.join(room);
  const reply = await call('POST', `/api/v1/rooms/${room}/messages`, { key: apiKey, body: { userId: ann.id, content: 'x' } });
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  exact(reply.body, { id: uuid7, seq, createdAt: iso, n: seq });
});

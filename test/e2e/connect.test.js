// Connecting: tokens, refusals, namespaces, the socket's own context.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { io as io40 } from 'socket.io-client-4-0';
import { connect, connected, eventually, open, pair, refusal } from './client.js';
import { call, register } from './rest.js';
import { newUser, roomId, sign, signAt, unique } from './user.js';
import { any, iso, ok, sent } from './expect.js';

/** Fails unless the CONNECT was refused with exactly this message and carries a code. */
function refusedWith(err, message) {
  assert.equal(err.message, message);
  assert.equal(typeof err.data?.code, 'string', `data = ${JSON.stringify(err.data)}, want a code`);
  assert.notEqual(err.data.code, '');
  return err.data.code;
}

test('a token of the operator connects, and its subject is the user', async (t) => {
  const ann = await newUser('ann');
  const socket = await connect(t, ann);
  const room = roomId();
  assert.equal((await socket.join(room)).reply.ok, true);
  await socket.emit('message:send', { roomId: room, content: 'hi' });
  assert.deepEqual((await socket.take('message:new')).sender, { id: ann.id, name: ann.name });
});

test('a name that people have is shown, and made fit to be shown', async (t) => {
  const id = unique('yamada');
  for (const [name, want] of [['山田　太郎', '山田 太郎'], ['Anna 👩‍💻', 'Anna 👩‍💻'], ['é'.repeat(65), 'é'.repeat(64)],
    ['Jean\u00a0Luc\tP.', 'Jean Luc P.'], ['\u202eeve\u202c\u0007', 'eve'], ['می\u200cخواهم', 'می\u200cخواهم']]) {
    const user = { id: `${id}-${want.length}`, token: await sign({ sub: `${id}-${want.length}`, name }) };
    const socket = await connect(t, user);
    const room = roomId();
    await socket.join(room);
    await socket.emit('message:send', { roomId: room, content: 'x' });
    assert.deepEqual((await socket.take('message:new')).sender, { id: user.id, name: want });
  }
});

test('auth:refresh changes neither name nor role of a socket', async (t) => {
  const ann = await newUser('ann');
  const socket = await connect(t, ann);
  const room = roomId();
  await socket.join(room);
  ok(await socket.emit('auth:refresh', { token: await sign({ sub: ann.id, name: 'Eve', role: 'admin' }) }));
  assert.equal((await socket.emit('announcement', 'x')).error?.code, 'forbidden');
  await socket.emit('message:send', { roomId: room, content: 'hi' });
  assert.deepEqual((await socket.take('message:new')).sender, { id: ann.id, name: ann.name });
});

test('a token of register and one of login connect', async (t) => {
  const ann = await register('ann');
  await connect(t, ann, { gateway: 1 });
  const { status, body } = await call('POST', '/api/v1/auth/login', { body: { username: ann.username, password: 'correct horse battery staple' } });
  assert.equal(status, 200);
  const socket = await connect(t, { token: body.accessToken }, { gateway: 2 });
  const room = roomId();
  await socket.join(room);
  await socket.emit('message:send', { roomId: room, content: 'hi' });
  assert.deepEqual((await socket.take('message:new')).sender, { id: ann.id, name: ann.name });
});

test('both kinds of user meet in a room', async (t) => {
  const [ann, bob] = [await register('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  await b.emit('message:send', { roomId: room, content: 'hello' });
  assert.equal((await a.take('message:new')).sender.id, bob.id);
});

test('the Authorization header serves as well', async (t) => {
  const ann = await newUser('ann');
  const socket = await connect(t, null, { extraHeaders: { Authorization: `Bearer ${ann.token}` } });
  ok(await socket.emit('room:list'), { rooms: [], useq: 0 });
});

test('no token: Authentication required', async (t) => {
  for (const namespace of ['/', '/chat', '/notifications']) {
    refusedWith(await refusal(t, null, { namespace }), 'Authentication required');
  }
  refusedWith(await refusal(t, null, { auth: { token: '' } }), 'Authentication required');
});

test('Invalid token', async (t) => {
  const claims = { sub: unique('eve'), name: 'Eve' };
  const [head, body, signature] = (await sign(claims)).split('.');
  const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url');
  const [, admin] = (await sign({ ...claims, role: 'admin' })).split('.');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ed = generateKeyPairSync('ed25519').privateKey;
  const jwks = (await call('GET', '/.well-known/jwks.json')).body;
  const bad = {
    'expired': await sign(claims, { expires: Math.floor(Date.now() / 1000) - 120 }),
    'without expiry': await sign(claims, { expires: null }),
    'signed with another secret': await sign(claims, { key: 'another-secret-another-secret-another-secret' }),
    'HS512': await sign(claims, { alg: 'HS512', key: 'e2e-secret-e2e-secret-e2e-secret-0123456789-e2e-secret-e2e-secret-e2e' }),
    'RS256': await sign(claims, { alg: 'RS256', key: rsa }),
    'EdDSA of a stranger': await sign(claims, { alg: 'EdDSA', key: ed }),
    'algorithm none': `${none}.${body}.`,
    'HS256 with a public key as its secret': await sign(claims, { key: jwks.keys[0].x }),
    'another payload': `${head}.${admin}.${signature}`,
    'another signature': `${head}.${body}.${signature.slice(0, -4)}AAAA`,
    'without subject': await sign({ name: 'Eve' }),
    'garbage': 'garbage',
    'dots': '..',
    'not UTF-8 inside': `${Buffer.from([0xff, 0xfe]).toString('base64url')}.e30.e30`,
    'too long': 'x'.repeat(5000),
  };
  for (const [what, token] of Object.entries(bad)) {
    await t.test(what, async (st) => { refusedWith(await refusal(st, { token }), 'Invalid token'); });
  }
  for (const token of [42, true, ['x'], { a: 1 }]) {
    await t.test(`of type ${JSON.stringify(token)}`, async (st) => {
      const { message } = await refusal(st, null, { auth: { token } });
      assert.ok(['Invalid token', 'Authentication required'].includes(message), message);
    });
  }
});

test('a refresh token is no access token', async (t) => {
  const ann = await register('ann');
  refusedWith(await refusal(t, { token: ann.refresh }), 'Invalid token');
});

test('namespaces: only the known ones', async (t) => {
  const ann = await newUser('ann');
  for (const namespace of ['/', '/chat', '/notifications']) {
    const socket = await connect(t, ann, { namespace });
    assert.equal(typeof socket.id, 'string');
  }
  for (const namespace of ['/admin', '/Chat', '/chat2', '/chat/x', '/é']) {
    refusedWith(await refusal(t, ann, { namespace }), 'Invalid namespace');
  }
  refusedWith(await refusal(t, null, { namespace: '/admin' }), 'Invalid namespace');
});

test('codes of the refusals differ', async (t) => {
  const ann = await newUser('ann');
  const codes = [
    refusedWith(await refusal(t, null), 'Authentication required'),
    refusedWith(await refusal(t, ann, { namespace: '/nowhere' }), 'Invalid namespace'),
  ];
  assert.equal(new Set(codes).size, codes.length, codes.join(' '));
});

test('several namespaces over one connection', async (t) => {
  const ann = await newUser('ann');
  const root = await connect(t, ann);
  const chat = root.socket.io.socket('/chat', { auth: { token: ann.token } });
  await new Promise((resolve, reject) => { chat.once('connect', resolve).once('connect_error', reject); });
  assert.notEqual(chat.id, root.id);
  const refusedOne = root.socket.io.socket('/nope', { auth: { token: ann.token } });
  const err = await new Promise((resolve) => { refusedOne.once('connect_error', resolve); });
  assert.equal(err.message, 'Invalid namespace');
  chat.disconnect();
  ok(await root.emit('room:list'), { rooms: [], useq: 0 });
});

test('socket ids are unique and are not the transport\'s secret', async (t) => {
  const ann = await newUser('ann');
  const sockets = await Promise.all([0, 1, 2, 3].map((gateway) => connect(t, ann, { gateway })));
  assert.equal(new Set(sockets.map((s) => s.id)).size, 4);
  for (const s of sockets) assert.notEqual(s.id, s.socket.io.engine.id);
});

test('the client of version 4.0 connects and talks', async (t) => {
  const ann = await newUser('ann');
  const socket = open(t, ann, { make: io40 });
  await connected(socket);
  const room = roomId();
  const reply = await new Promise((resolve) => { socket.socket.emit('room:join', room, resolve); });
  assert.equal(reply.ok, true);
  socket.socket.emit('message:send', { roomId: room, content: 'old but well' });
  assert.equal((await socket.take('message:new')).content, 'old but well');
});

test('a disconnect by the client ends the socket', async (t) => {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  a.socket.disconnect();
  assert.equal(await a.ended(), 'io client disconnect');
  ok(await b.emit('message:send', { roomId: room, content: 'still here' }), sent);
  assert.equal((await b.take('message:new')).content, 'still here');
  assert.deepEqual(b.seen('room:user-left'), [], 'a disconnect does not end the membership');
});

test('the name of a later token is the name that others see', async (t) => {
  const ann = await newUser('ann');
  await connect(t, ann);
  const renamed = await connect(t, { token: await sign({ sub: ann.id, name: 'Anna' }) }, { gateway: 1 });
  const room = roomId();
  await renamed.join(room);
  await renamed.emit('message:send', { roomId: room, content: 'hi' });
  assert.deepEqual((await renamed.take('message:new')).sender, { id: ann.id, name: 'Anna' });
});


// 128 characters of three and of four bytes: more bytes than any plain id has.
const longest = (character) => {
  const name = unique('u');
  return character.repeat(128 - name.length) + name;
};

for (const character of ['星', '𠮷']) {
  test(`a subject of 128 characters like ${character} is a user everywhere`, { timeout: 180_000 }, async (t) => {
    const id = longest(character);
    const [ann, bob] = [{ id, token: await sign({ sub: id, name: 'Ann' }) }, await newUser('bob')];
    const room = roomId();
    const [a, b] = await pair(t, ann, bob, room);
    ok(await a.emit('message:send', { roomId: room, content: 'hi' }), sent);
    assert.deepEqual((await b.take('message:new')).sender, { id, name: 'Ann' });
    await b.take('users:online', (list) => list.includes(id));
    a.close();
    await eventually(async () => {
      const reply = await b.patiently('presence:get', { userIds: [id] });
      assert.match(String(reply.users[0].lastSeen), iso);
    }, 60_000);
  });

  test(`a subject of 129 characters like ${character} is refused at once, and says so`, async (t) => {
    const err = await refusal(t, { token: await sign({ sub: `${longest(character)}x`, name: 'Ann' }) });
    assert.equal(refusedWith(err, 'Invalid token'), 'invalid_user_id');
  });
}

test('an integer as subject is a user, and the System is none', async (t) => {
  const number = 9_000_000_000 + Math.floor(Math.random() * 1e9);
  const [ann, bob] = [{ id: String(number), token: await sign({ sub: number, name: 'Ann' }) }, await newUser('bob')];
  const room = roomId();
  const [a, b] = await pair(t, ann, bob, room);
  ok(await a.emit('message:send', { roomId: room, content: 'hi' }), sent);
  assert.deepEqual((await b.take('message:new')).sender, { id: ann.id, name: 'Ann' });
  assert.equal(refusedWith(await refusal(t, { token: await sign({ sub: 'system', name: 'System' }) }), 'Invalid token'), 'invalid_user_id');
});

test('a token for an audience that nobody here is, or of tomorrow, is refused', async (t) => {
  const tomorrow = Math.floor(Date.now() / 1000) + 86_400;
  for (const token of [await sign({ sub: unique('ann'), aud: 'somebody else' }), await signAt(tomorrow, { sub: unique('ann') })]) {
    assert.equal(refusedWith(await refusal(t, { token }), 'Invalid token'), 'invalid_token');
  }
});

// Who may do what: kinds of rooms × roles × what a token opens × bans and mutes × every event and every REST call about a room, against
// a table that was written by hand from the contract. What is refused to a stranger is answered like a room that there is not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { apiKey as key, call } from './rest.js';
import { newUser, roomId, sign, unique } from './user.js';

// What comes of an act: done, or the code and reason of the refusal.
const words = {
  '+': 'ok', nf: 'not_found', no: 'forbidden', na: 'forbidden not_allowed', mu: 'forbidden muted', ba: 'forbidden banned',
};

// The acts, from left to right: look at the room, read it, attend (say how far one has read), speak, moderate, archive, delete, enter. A
// token opens nothing (-), one right (join, read, send), or all of them; * is whichever of these. "token" is who became a member by a token
// that opened all.
const table = `
  kind     restriction  role             token           look  read  attend  speak  moderate  archive  delete  enter
  none     free         stranger         *               nf    nf    nf      nf     nf        nf       nf      nf
  public   free,muted   stranger         -,join,send     +     no    no      no     no        no       no      +
  public   free,muted   stranger         read,all        +     +     no      no     no        no       no      +
  public   free         member           *               +     +     +       +      na        na       na      +
  public   muted        member           *               +     +     +       mu     na        na       na      +
  public   free         moderator        *               +     +     +       +      +         +        na      +
  public   free         owner            *               +     +     +       +      +         +        +       +
  public   muted        moderator        *               +     +     +       mu     +         +        na      +
  public   muted        owner            *               +     +     +       mu     +         +        +       +
  public   banned       stranger         *               ba    ba    ba      ba     ba        ba       ba      ba
  private  free,muted   stranger         -               nf    nf    nf      nf     nf        nf       nf      nf
  private  free,muted   stranger         join            +     no    no      no     no        no       no      +
  private  free,muted   stranger         read            +     +     no      no     no        no       no      na
  private  free,muted   stranger         send            +     no    no      no     no        no       no      na
  private  free,muted   stranger         all             +     +     no      no     no        no       no      +
  private  free         member           *               +     +     +       +      na        na       na      +
  private  muted        member           *               +     +     +       mu     na        na       na      +
  private  free         moderator        *               +     +     +       +      +         +        na      +
  private  free         owner            *               +     +     +       +      +         +        +       +
  private  muted        moderator        *               +     +     +       mu     +         +        na      +
  private  muted        owner            *               +     +     +       mu     +         +        +       +
  private  free,muted   token            -               nf    nf    nf      nf     nf        nf       nf      nf
  private  free         token            join            +     +     +       na     na        na       na      +
  private  muted        token            join,all        +     +     +       mu     na        na       na      +
  private  free,muted   token            read            +     +     no      no     no        no       no      na
  private  free,muted   token            send            +     no    no      no     no        no       no      na
  private  free         token            all             +     +     +       +      na        na       na      +
  private  banned       stranger         *               ba    ba    ba      ba     ba        ba       ba      ba
  direct   free         stranger         *               nf    nf    nf      nf     nf        nf       nf      nf
  direct   free         member           *               +     +     +       +      na        na       na      +
`;

const tokens = { '-': [], join: ['join'], read: ['read'], send: ['send'], all: ['join', 'read', 'send'] };

/** The table's lines, one for each combination: { kind, restriction, role, token, look, … }. */
function combinations() {
  const [head, ...lines] = table.trim().split('\n').map((line) => line.trim().split(/\s+/));
  let all = [{}];
  return lines.flatMap((line) => {
    all = [{}];
    for (const [i, name] of head.entries()) {
      const values = line[i] === '*' && name === 'token' ? Object.keys(tokens) : line[i].split(',');
      all = all.flatMap((one) => values.map((value) => ({ ...one, [name]: value })));
    }
    return all;
  });
}

const path = (id, ...more) => ['/api/v1/rooms', encodeURIComponent(id), ...more.map(encodeURIComponent)].join('/');

// Every event about a room, by act.
const events = {
  look: (id) => [['room:get', id]],
  read: (id) => [['message:history', { roomId: id }], ['message:history', { roomId: id, after: 0 }], ['message:readers', { roomId: id }], ['presence:get', { roomId: id }],
    ['room:members', { roomId: id }]],
  attend: (id, { message }) => [['message:read', { roomId: id, messageId: message }], ['typing:stop', id]],
  speak: (id) => [['message:send', { roomId: id, content: 'x' }], ['room:message', { roomId: id, x: 1 }], ['typing:start', id]],
  moderate: (id, { target: userId }) => [
    ['room:update', { roomId: id, settings: { send: 'member' } }],
    ['room:add', { roomId: id, userIds: [userId] }], ['room:set-role', { roomId: id, userId, role: 'member' }], ['room:mute', { roomId: id, userId }],
    ['room:unmute', { roomId: id, userId }], ['room:remove', { roomId: id, userIds: [userId] }], ['room:ban', { roomId: id, userId }], ['room:unban', { roomId: id, userId }],
  ],
  archive: (id) => [['room:archive', id]],
  delete: (id) => [['room:delete', id]],
  enter: (id) => [['room:join', id]],
};

// Every REST call about a room, by act: method, path, body of a POST or PATCH.
const calls = {
  look: (id) => [['GET', path(id)]],
  read: (id, { known }) => [['GET', path(id, 'members')], ['GET', path(id, 'members', known)], ['GET', path(id, 'messages')], ['GET', path(id, 'readers')]],
  moderate: (id, { other: userId }) => [
    ['PATCH', path(id), { settings: { send: 'member' } }],
    ['POST', path(id, 'members'), { userIds: [userId] }], ['PATCH', path(id, 'members', userId), { role: 'member' }],
    ['POST', path(id, 'mutes'), { userId }], ['GET', path(id, 'mutes')], ['DELETE', path(id, 'mutes', userId)], ['DELETE', path(id, 'members', userId)],
    ['POST', path(id, 'bans'), { userId }], ['GET', path(id, 'bans')], ['DELETE', path(id, 'bans', userId)],
    ['GET', `/api/v1/audit?roomId=${encodeURIComponent(id)}`],
  ],
  archive: (id) => [['POST', path(id, 'archive'), {}]],
  delete: (id) => [['DELETE', path(id)]],
};

// What would end the room for the others: in the table who may not tries it, and who may in tests of its own, in rooms of its own.
const spares = (v, act) => ['archive', 'delete'].includes(act) && v[act] === '+';

/** An answer in a word; a refusal without more in it than there has to be. */
function word(error, what) {
  if (error === undefined) return 'ok';
  if (error.code === 'not_found') assert.deepEqual(error, { code: 'not_found', message: 'Room not found' }, what);
  return [error.code, error.reason].filter(Boolean).join(' ');
}

/** Runs f for each of the list, some at once. */
async function each(list, f) {
  const left = [...list];
  await Promise.all(Array.from({ length: 12 }, async () => {
    for (let one = left.shift(); one; one = left.shift()) await f(one);
  }));
}

async function done(reply) {
  const { status, body } = await reply;
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

/** Makes a room of a kind with those in it, whose messages have an id to name. */
async function furnish(kind, visitors) {
  const inside = visitors.filter((v) => v.role !== 'stranger' && v.role !== 'token');
  let id = roomId(`rights/${kind}`);
  let known = inside[0]?.user.id;
  if (kind === 'direct') {
    const bystander = await newUser();
    known = bystander.id;
    ({ room: { roomId: id } } = await done(call('POST', '/api/v1/rooms:open', { key, body: { userIds: [bystander.id, ...inside.map((v) => v.user.id)] } })));
  } else if (kind === 'none') {
    return { id: `direct:${'A'.repeat(42)}E`, message: '00000000-0000-7000-8000-000000000000', known: 'x' };
  } else {
    const members = inside.map((v) => ({ userId: v.user.id, role: v.role }));
    await done(call('POST', '/api/v1/rooms', { key, body: { kind, roomId: id, members } }));
  }
  return { id, known, message: (await done(call('POST', path(id, 'messages'), { key, body: { content: 'hello' } }))).id };
}

const claim = (id, can) => (can.length > 0 ? { starling: { rooms: [{ match: `${id.slice(0, 8)}*${id.slice(-3)}`, can }] } } : {});

test('every act on every kind of room has the answer of the table', async (t) => {
  const visitors = combinations();
  for (const v of visitors) v.user = await newUser('v');
  const rooms = {};
  for (const kind of ['none', 'public', 'private', 'direct']) rooms[kind] = await furnish(kind, visitors.filter((v) => v.kind === kind));

  let asked = 0;
  await each(visitors, async (v) => {
    const { id, message, known } = rooms[v.kind];
    const what = `${v.kind} room, ${v.restriction} ${v.role}, token opens ${v.token}`;
    const at = { message, known, target: unique('x'), other: unique('y') };
    if (v.role === 'token') {
      const guest = { ...v.user, token: await sign({ sub: v.user.id, ...claim(id, tokens.all) }) };
      assert.equal((await (await connect(t, guest)).emit('room:join', id)).ok, true, what);
    }
    if (v.restriction === 'muted') await done(call('POST', path(id, 'mutes'), { key, body: { userId: v.user.id } }));
    if (v.restriction === 'banned') await done(call('POST', path(id, 'bans'), { key, body: { userId: v.user.id } }));
    const token = await sign({ sub: v.user.id, name: 'V', ...claim(id, tokens[v.token]) });
    const socket = await connect(t, { token });

    const check = (act, doing, error) => {
      asked += 1;
      assert.equal(word(error, `${what}: ${doing}`), words[v[act]], `${what}: ${doing} ${JSON.stringify(error)}`);
    };
    for (const [act, list] of Object.entries(events)) { // entering is last: it changes who one is
      if (spares(v, act)) continue;
      for (const [event, argument] of list(id, at)) check(act, event, (await socket.patiently(event, argument)).error);
      if (act !== 'moderate') continue;
      for (const [restAct, restCalls] of Object.entries(calls)) {
        if (spares(v, restAct)) continue;
        for (const [method, where, body] of restCalls(id, at)) {
          const { status, body: answer } = await call(method, where, { token, body });
          check(restAct, `${method} ${where}`, status === 200 ? undefined : answer);
        }
      }
      if (v.token !== '-') continue;
      at.other = unique('z');
      for (const [restAct, restCalls] of Object.entries(calls)) { // a backend as the user, which shows no token
        if (spares(v, restAct)) continue;
        for (const [method, where, body] of restCalls(id, at)) {
          const as = body ? { key, body: { ...body, asUserId: v.user.id } } : { key };
          const query = body ? '' : `${where.includes('?') ? '&' : '?'}asUserId=${v.user.id}`;
          const { status, body: answer } = await call(method, where + query, as);
          check(restAct, `${method} ${where} as the user`, status === 200 ? undefined : answer);
        }
      }
    }
    socket.close();
  });
  assert.ok(asked > 3000, `${asked} acts were tried`);
  t.diagnostic(`${visitors.length} visitors, ${asked} acts`);
});

test('the table has every REST call about a room', async () => {
  const { body: { paths } } = await call('GET', '/api/openapi.json');
  const known = Object.values(calls).flatMap((f) => f('R', { known: 'U', other: 'U' })).map(([method, where]) => `${method} ${where.replace('/R', '/{roomId}').replace('/U', '/{userId}').replace(/\?.*/, '')}`);
  const apart = ['POST /api/v1/rooms/{roomId}/messages']; // of a user that the backend names, or of the system: see rest.test.js
  const there = Object.entries(paths).filter(([where]) => where.includes('{roomId}') || where === '/api/v1/audit')
    .flatMap(([where, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${where}`)).filter((one) => !apart.includes(one));
  assert.deepEqual(there.filter((one) => !known.includes(one)), [], 'nothing tries these calls');
});

test('archiving: who moderates, and nobody else; then it can be read and nothing more', async (t) => {
  const visitors = [{ role: 'member' }, { role: 'moderator' }];
  for (const v of visitors) v.user = await newUser('v');
  const [member, moderator] = visitors.map((v) => v.user);
  const eve = await newUser('eve');
  const sockets = new Map();
  for (const user of [member, moderator, eve]) sockets.set(user, await connect(t, user));
  const archive = async (id, { by, ...options }) => {
    if (by) return word((await sockets.get(by).emit('room:archive', id)).error);
    const { status, body } = await call('POST', path(id, 'archive'), options);
    return word(status === 200 ? undefined : body);
  };
  for (const how of ['event', 'token', 'key', 'as']) {
    const { id } = await furnish('private', visitors);
    const as = (user) => ({ event: { by: user }, token: { token: user.token, body: {} } }[how] ?? { key, body: { asUserId: user.id } });
    assert.equal(await archive(id, as(eve)), 'not_found');
    assert.equal(await archive(id, as(member)), 'forbidden not_allowed');
    assert.equal(await archive(id, how === 'key' ? { key, body: {} } : as(moderator)), 'ok');
    assert.equal(await archive(id, { key, body: {} }), 'ok', 'twice');
    const socket = sockets.get(moderator);
    for (const [event, argument, want] of [['message:send', { roomId: id, content: 'x' }, 'forbidden archived'], ['room:message', { roomId: id }, 'forbidden archived'], ['message:history', { roomId: id }, 'ok'], ['room:get', id, 'ok']]) {
      assert.equal(word((await socket.emit(event, argument)).error), want, event);
    }
    assert.equal((await call('GET', path(id), { key })).body.room.archivedAt?.length, 24);
  }
});

test('deleting: who owns, and nobody else; then there is no such room for anybody', async (t) => {
  const visitors = [{ role: 'member' }, { role: 'moderator' }, { role: 'owner' }];
  for (const v of visitors) v.user = await newUser('v');
  const [member, moderator, owner] = visitors.map((v) => v.user);
  const eve = await newUser('eve');
  const sockets = new Map();
  for (const user of [member, moderator, owner, eve]) sockets.set(user, await connect(t, user));
  for (const how of ['event', 'token', 'key', 'as']) {
    const remove = async (id, user) => {
      if (how === 'event') return word((await sockets.get(user).emit('room:delete', id)).error);
      const { status, body } = how === 'token' ? await call('DELETE', path(id), { token: user.token }) : await call('DELETE', path(id) + (user ? `?asUserId=${user.id}` : ''), { key });
      return word(status === 200 ? undefined : body);
    };
    for (const kind of ['public', 'private']) {
      const { id } = await furnish(kind, visitors);
      assert.equal(await remove(id, eve), kind === 'public' ? 'forbidden' : 'not_found', how);
      for (const user of [member, moderator]) assert.equal(await remove(id, user), 'forbidden not_allowed', how);
      assert.equal(await remove(id, how === 'key' ? undefined : owner), 'ok', how);
      for (const user of [how === 'key' ? undefined : owner, member, eve]) assert.equal(await remove(id, user), 'not_found', `${how}, twice`);
      for (const list of Object.values(calls)) {
        for (const [method, where, body] of list(id, { known: member.id, other: member.id })) {
          const { status, body: answer } = await call(method, where, { token: owner.token, body });
          assert.equal(word(status === 200 ? undefined : answer, `${method} ${where}`), 'not_found', `${method} ${where}`);
        }
      }
    }
  }
});

test('a private room and none give a stranger the same bytes by REST', async (t) => {
  const [eve, ann] = [await newUser('eve'), await newUser('ann')];
  const { id } = await furnish('private', [{ role: 'owner', user: ann }]);
  const none = roomId('rights/privat').slice(0, id.length).padEnd(id.length, 'x');
  const at = { target: 'x', other: 'y', known: ann.id };
  const raw = async ([method, where, body], options) => {
    const response = await call(method, where, { body, ...options });
    return [response.status, response.body, [...response.headers].filter(([name]) => name !== 'date')];
  };
  const lists = Object.values(calls);
  for (const f of lists) {
    const [there, nowhere] = [f(id, at), f(none, at)];
    for (const [i, one] of there.entries()) {
      const [x, y] = [await raw(one, { token: eve.token }), await raw(nowhere[i], { token: eve.token })];
      assert.equal(x[0], 404);
      assert.deepEqual(x, y, `${one[0]} ${one[1]}`);
    }
  }
  t.diagnostic(`compared ${lists.length} acts`);
});

// Who may do what: kinds of rooms × roles × what a token opens × bans and mutes × every event and every REST call about a room, against
// a table that was written by hand from the contract. What is refused to a stranger is answered like a room that there is not. Two more tables
// say whom an invite lets in, and what is left between two of whom one blocks the other.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, pause } from './client.js';
import { apiKey as key, call, newGuest } from './rest.js';
import { newUser, roomId, sign, unique } from './user.js';

// What comes of an act: done, or the code and reason of the refusal.
const words = {
  '+': 'ok', nf: 'not_found', no: 'forbidden', na: 'forbidden not_allowed', mu: 'forbidden muted', ba: 'forbidden banned',
  ie: 'forbidden invite_expired', bl: 'forbidden blocked', au: 'forbidden not_author',
};

// The acts, from left to right: look at the room, read it, attend (say how far one has read), speak, moderate, archive, delete, enter,
// edit and erase what somebody else said. A token opens nothing (-), one right (join, read, send), or all of them; * is whichever of these. "token" is who became a member by a token
// that opened all. A visitor is a guest, who has no account, and a guest one who is a member.
const table = `
  kind     restriction  role             token           look  read  attend  speak  moderate  archive  delete  enter  edit  erase
  none     free         stranger         *               nf    nf    nf      nf     nf        nf       nf      nf      nf    nf
  public   free,muted   stranger         -,join,send     +     no    no      no     no        no       no      +      no    no
  public   free,muted   stranger         read,all        +     +     no      no     no        no       no      +      au    au
  public   free         member           *               +     +     +       +      na        na       na      +      au    au
  public   muted        member           *               +     +     +       mu     na        na       na      +      au    au
  public   free         moderator        *               +     +     +       +      +         +        na      +      +     +
  public   free         owner            *               +     +     +       +      +         +        +       +      +     +
  public   muted        moderator        *               +     +     +       mu     +         +        na      +      +     +
  public   muted        owner            *               +     +     +       mu     +         +        +       +      +     +
  public   banned       stranger         *               ba    ba    ba      ba     ba        ba       ba      ba      ba    ba
  private  free,muted   stranger         -               nf    nf    nf      nf     nf        nf       nf      nf      nf    nf
  private  free,muted   stranger         join            +     no    no      no     no        no       no      +      no    no
  private  free,muted   stranger         read            +     +     no      no     no        no       no      na      au    au
  private  free,muted   stranger         send            +     no    no      no     no        no       no      na      no    no
  private  free,muted   stranger         all             +     +     no      no     no        no       no      +      au    au
  private  free         member           *               +     +     +       +      na        na       na      +      au    au
  private  muted        member           *               +     +     +       mu     na        na       na      +      au    au
  private  free         moderator        *               +     +     +       +      +         +        na      +      +     +
  private  free         owner            *               +     +     +       +      +         +        +       +      +     +
  private  muted        moderator        *               +     +     +       mu     +         +        na      +      +     +
  private  muted        owner            *               +     +     +       mu     +         +        +       +      +     +
  private  free,muted   token            -               nf    nf    nf      nf     nf        nf       nf      nf      nf    nf
  private  free         token            join            +     +     +       na     na        na       na      +      au    au
  private  muted        token            join,all        +     +     +       mu     na        na       na      +      au    au
  private  free,muted   token            read            +     +     no      no     no        no       no      na      au    au
  private  free,muted   token            send            +     no    no      no     no        no       no      na      no    no
  private  free         token            all             +     +     +       +      na        na       na      +      au    au
  private  banned       stranger         *               ba    ba    ba      ba     ba        ba       ba      ba      ba    ba
  direct   free         stranger         *               nf    nf    nf      nf     nf        nf       nf      nf      nf    nf
  direct   free         member           *               +     +     +       +      na        na       na      +      au    au
  none     free         visitor          -               nf    nf    nf      nf     nf        nf       nf      nf      nf    nf
  public   free,muted   visitor          -               +     no    no      no     no        no       no      +      no    no
  public   banned       visitor          -               ba    ba    ba      ba     ba        ba       ba      ba      ba    ba
  public   free         guest            -               +     +     +       +      na        na       na      +      au    au
  public   muted        guest            -               +     +     +       mu     na        na       na      +      au    au
  private  free,muted   visitor          -               nf    nf    nf      nf     nf        nf       nf      nf      nf    nf
  private  free         guest            -               +     +     +       +      na        na       na      +      au    au
  private  muted        guest            -               +     +     +       mu     na        na       na      +      au    au
  direct   free         visitor          -               nf    nf    nf      nf     nf        nf       nf      nf      nf    nf
  direct   free         guest            -               +     +     +       +      na        na       na      +      au    au
`;

const tokens = { '-': [], join: ['join'], read: ['read'], send: ['send'], all: ['join', 'read', 'send'] };

/** A table's lines, one for each combination of what stands in its cells: { kind, restriction, role, token, look, … }. */
function combinations(text) {
  const [head, ...lines] = text.trim().split('\n').map((line) => line.trim().split(/\s+/));
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

const noInvite = 'A'.repeat(43); // an id that no invite has

// Every event about a room, by act.
const events = {
  look: (id) => [['room:get', id]],
  read: (id, { message }) => [['message:history', { roomId: id }], ['message:history', { roomId: id, after: 0 }], ['message:readers', { roomId: id }], ['presence:get', { roomId: id }],
    ['room:members', { roomId: id }], ['message:pins', id], ['message:changes', { roomId: id, since: 0 }], ['message:get', { roomId: id, messageIds: [message] }]],
  attend: (id, { message }) => [['message:read', { roomId: id, messageId: message }], ['room:mark-unread', { roomId: id, seq: 0 }], ['typing:stop', id], ['room:prefs', { roomId: id, muted: true }]],
  speak: (id, { message: messageId }) => [['message:send', { roomId: id, content: 'x' }], ['room:message', { roomId: id, x: 1 }], ['typing:start', id],
    ['message:react', { roomId: id, messageId, key: 'x' }], ['message:unreact', { roomId: id, messageId, key: 'x' }]],
  moderate: (id, { target: userId, message: messageId, kind }) => [
    ...(kind === 'direct' ? [] : [['message:pin', { roomId: id, messageId }], ['message:unpin', { roomId: id, messageId }]]), // all may in a direct room
    ['room:update', { roomId: id, settings: { send: 'member' } }],
    ['room:add', { roomId: id, userIds: [userId] }], ['room:set-role', { roomId: id, userId, role: 'member' }], ['room:mute', { roomId: id, userId }],
    ['room:invite', { roomId: id }], ['room:invites', id], ['room:revoke-invite', { roomId: id, inviteId: noInvite }],
    ['room:unmute', { roomId: id, userId }], ['room:remove', { roomId: id, userIds: [userId] }], ['room:ban', { roomId: id, userId }], ['room:unban', { roomId: id, userId }],
  ],
  archive: (id) => [['room:archive', id]],
  delete: (id) => [['room:delete', id]],
  edit: (id, { message: messageId }) => [['message:edit', { roomId: id, messageId, content: 'edited' }]],
  erase: (id, { message: messageId }) => [['message:delete', { roomId: id, messageId }]],
  enter: (id) => [['room:join', id]],
};

// Every REST call about a room, by act: method, path, body of a POST or PATCH.
const calls = {
  look: (id) => [['GET', path(id)]],
  read: (id, { known, message }) => [['GET', path(id, 'members')], ['GET', path(id, 'members', known)], ['GET', path(id, 'messages')], ['GET', path(id, 'readers')],
    ['GET', path(id, 'messages', message)], ['GET', path(id, 'pins')], ['GET', path(id, 'changes')]],
  attend: (id, { message }) => [['PATCH', path(id, 'prefs'), { muted: true }], ['POST', path(id, 'read'), { messageId: message }], ['POST', path(id, 'unread'), { seq: 0 }]],
  speak: (id, { message }) => [['POST', path(id, 'messages', message, 'reactions'), { key: 'x' }], ['DELETE', path(id, 'messages', message, 'reactions', 'x')]],
  edit: (id, { message }) => [['PATCH', path(id, 'messages', message), { content: 'edited' }]],
  erase: (id, { message }) => [['DELETE', path(id, 'messages', message)]],
  moderate: (id, { other: userId, invite = noInvite, message, kind }) => [
    ...(kind === 'direct' ? [] : [['POST', path(id, 'pins'), { messageId: message }], ['DELETE', path(id, 'pins', message)]]),
    ['POST', path(id, 'invites'), {}], ['GET', path(id, 'invites')], ['DELETE', path(id, 'invites', invite)],
    ['PATCH', path(id), { settings: { send: 'member' } }],
    ['POST', path(id, 'members'), { userIds: [userId] }], ['PATCH', path(id, 'members', userId), { role: 'member' }],
    ['POST', path(id, 'mutes'), { userId }], ['GET', path(id, 'mutes')], ['DELETE', path(id, 'mutes', userId)], ['DELETE', path(id, 'members', userId)],
    ['POST', path(id, 'bans'), { userId }], ['GET', path(id, 'bans')], ['DELETE', path(id, 'bans', userId)],
    ['GET', `/api/v1/audit?roomId=${encodeURIComponent(id)}`],
  ],
  archive: (id) => [['POST', path(id, 'archive'), {}]],
  delete: (id) => [['DELETE', path(id)]],
};

// What would end the room, or the message, for the others: in the table who may not tries it, and who may in tests of its own, in rooms of its own.
const spares = (v, act) => ['archive', 'delete', 'erase'].includes(act) && v[act] === '+';

/** An answer in a word; a refusal without more in it than there has to be. */
function word(error, what) {
  if (error === undefined) return 'ok';
  if (error.code === 'not_found') assert.deepEqual(error, { code: 'not_found', message: 'Room not found' }, what);
  return [error.code, error.reason].filter(Boolean).join(' ');
}

/** Runs f for each of the list, some at once. When one fails, those under way are awaited, so that nothing is left open, and no more begin. */
async function each(list, f) {
  const left = [...list];
  const failures = [];
  await Promise.all(Array.from({ length: 12 }, async () => {
    for (let one = left.shift(); one; one = left.shift()) {
      await f(one).catch((err) => { failures.push(err); left.length = 0; });
    }
  }));
  if (failures.length > 0) throw failures[0];
}

async function done(reply) {
  const { status, body } = await reply;
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

/** Makes a room of a kind with those in it, whose messages have an id to name. */
async function furnish(kind, visitors) {
  const inside = visitors.filter((v) => !['stranger', 'token', 'visitor'].includes(v.role));
  let id = roomId(`rights/${kind}`);
  let known = inside[0]?.user.id;
  if (kind === 'direct') {
    const bystander = await newUser();
    known = bystander.id;
    ({ room: { roomId: id } } = await done(call('POST', '/api/v1/rooms:open', { key, body: { userIds: [bystander.id, ...inside.map((v) => v.user.id)] } })));
  } else if (kind === 'none') {
    return { id: `direct:${'A'.repeat(42)}E`, message: '00000000-0000-7000-8000-000000000000', known: 'x' };
  } else {
    const members = inside.map((v) => ({ userId: v.user.id, role: v.role === 'guest' ? undefined : v.role }));
    await done(call('POST', '/api/v1/rooms', { key, body: { kind, roomId: id, members } }));
  }
  return { id, known, message: (await done(call('POST', path(id, 'messages'), { key, body: { content: 'hello' } }))).id };
}

const claim = (id, can) => (can.length > 0 ? { starling: { rooms: [{ match: `${id.slice(0, 8)}*${id.slice(-3)}`, can }] } } : {});

test('every act on every kind of room has the answer of the table', async (t) => {
  const visitors = combinations(table);
  for (const v of visitors) v.user = ['guest', 'visitor'].includes(v.role) ? await newGuest('v') : await newUser('v');
  const rooms = {};
  for (const kind of ['none', 'public', 'private', 'direct']) rooms[kind] = await furnish(kind, visitors.filter((v) => v.kind === kind));

  let asked = 0;
  await each(visitors, async (v) => {
    const { id, message, known } = rooms[v.kind];
    const what = `${v.kind} room, ${v.restriction} ${v.role}, token opens ${v.token}`;
    const at = { message, known, kind: v.kind, target: unique('x'), other: unique('y') };
    if (v.role === 'token') {
      const guest = { ...v.user, token: await sign({ sub: v.user.id, ...claim(id, tokens.all) }) };
      assert.equal((await (await connect(t, guest)).emit('room:join', id)).ok, true, what);
    }
    if (v.restriction === 'muted') await done(call('POST', path(id, 'mutes'), { key, body: { userId: v.user.id } }));
    if (v.restriction === 'banned') await done(call('POST', path(id, 'bans'), { key, body: { userId: v.user.id } }));
    const token = v.user.guest ? v.user.token : await sign({ sub: v.user.id, name: 'V', ...claim(id, tokens[v.token]) });
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
  const known = Object.values(calls).flatMap((f) => f('R', { known: 'U', other: 'U', invite: 'I', message: 'M' })).map(([method, where]) => `${method} ${where.replace('/R', '/{roomId}').replace('/U', '/{userId}').replace('/I', '/{inviteId}').replace('/M', '/{messageId}').replace(/\/x$/, '/{key}').replace(/\?.*/, '')}`);
  const apart = [
    'POST /api/v1/rooms/{roomId}/messages', // of a user that the backend names, or of the system: see rest.test.js
    'GET /api/v1/rooms/{roomId}/messages/{messageId}/edits', // which the operator may turn off: see backendmessages.test.js
  ];
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
      const { id, message } = await furnish(kind, visitors);
      assert.equal(await remove(id, eve), kind === 'public' ? 'forbidden' : 'not_found', how);
      for (const user of [member, moderator]) assert.equal(await remove(id, user), 'forbidden not_allowed', how);
      assert.equal(await remove(id, how === 'key' ? undefined : owner), 'ok', how);
      for (const user of [how === 'key' ? undefined : owner, member, eve]) assert.equal(await remove(id, user), 'not_found', `${how}, twice`);
      for (const list of Object.values(calls)) {
        for (const [method, where, body] of list(id, { known: member.id, other: member.id, message })) {
          const { status, body: answer } = await call(method, where, { token: owner.token, body });
          assert.equal(word(status === 200 ? undefined : answer, `${method} ${where}`), 'not_found', `${method} ${where}`);
        }
      }
    }
  }
});

test('a private room and none give a stranger the same bytes by REST', async (t) => {
  const [eve, ann] = [await newUser('eve'), await newUser('ann')];
  const { id, message } = await furnish('private', [{ role: 'owner', user: ann }]);
  const none = roomId('rights/privat').slice(0, id.length).padEnd(id.length, 'x');
  const at = { message, target: 'x', other: 'y', known: ann.id };
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

// Who shows an invite: "-" stands for what is not said. good is an invite for two to the role of a moderator, used one that somebody has used
// up, over one whose time is over, revoked one that was ended, other one to another room, wrong none; of gone the maker has left, of demoted it
// is a moderator no more. "token" is who became a member by a token, and shows none now. as is the role that the joiner has then, left how
// many of a good invite's uses.
const invitations = `
  kind     restriction  role      invite                                       enter  as         left
  none     free         stranger  other,wrong                                  ie     -          -
  public   free,muted   stranger  good                                         +      moderator  1
  public   free,muted   stranger  used,over,revoked,other,wrong,gone,demoted   +      member     -
  public   free,muted   member    good                                         +      member     2
  public   free         member    used,revoked,wrong                           +      member     -
  public   banned       stranger  good                                         ba     -          2
  public   banned       stranger  used,wrong                                   ba     -          -
  private  free,muted   stranger  good                                         +      moderator  1
  private  free,muted   stranger  used,over,revoked,other,wrong,gone,demoted   ie     -          -
  private  free,muted   member    good                                         +      member     2
  private  free         member    used,revoked,wrong                           +      member     -
  private  free,muted   token     good                                         +      moderator  1
  private  free         token     used,over,revoked,other,wrong,gone,demoted   ie     -          -
  private  banned       stranger  good                                         ba     -          2
  private  banned       stranger  used,wrong                                   ba     -          -
  direct   free         stranger  other,wrong                                  ie     -          -
  direct   free         member    other,wrong                                  +      member     -
`;

/** Makes an invite to a room that has come to this, by a moderator of its own: the answer that it got. */
async function invited(t, state, id, elsewhere) {
  if (state === 'wrong') return { invite: 'wrong' };
  if (state === 'other') return done(call('POST', path(elsewhere, 'invites'), { key, body: {} }));
  const maker = await newUser('maker');
  await done(call('POST', path(id, 'members'), { key, body: { userIds: [maker.id], role: 'moderator' } }));
  const made = await done(call('POST', path(id, 'invites'), {
    token: maker.token, body: { role: 'moderator', uses: state === 'used' ? 1 : 2, ...(state === 'over' && { expiresInMs: 1 }) },
  }));
  if (state === 'used') assert.equal((await (await connect(t, await newUser('first'))).emit('room:join', { roomId: id, invite: made.invite })).ok, true);
  if (state === 'revoked') await done(call('DELETE', path(id, 'invites', made.inviteId), { key }));
  if (state === 'gone') await done(call('DELETE', path(id, 'members', maker.id), { key }));
  if (state === 'demoted') await done(call('PATCH', path(id, 'members', maker.id), { key, body: { role: 'member' } }));
  while (state === 'over' && Date.now() <= Date.parse(made.expiresAt)) await pause(5);
  return made;
}

test('an invite lets in whom the table says, and nobody else', async (t) => {
  const visitors = combinations(invitations);
  for (const v of visitors) v.user = await newUser('v');
  const rooms = {};
  for (const kind of ['none', 'public', 'private', 'direct']) rooms[kind] = await furnish(kind, visitors.filter((v) => v.kind === kind && v.role === 'member').slice(0, kind === 'direct' ? 8 : 100));
  const elsewhere = (await furnish('private', [])).id;
  await each(visitors, async (v) => {
    const { id } = rooms[v.kind];
    const what = `${v.kind} room, ${v.restriction} ${v.role}, ${v.invite} invite`;
    if (v.role === 'token') {
      const guest = { ...v.user, token: await sign({ sub: v.user.id, ...claim(id, tokens.all) }) };
      assert.equal((await (await connect(t, guest)).emit('room:join', id)).ok, true, what);
    }
    if (v.restriction !== 'free') await done(call('POST', path(id, v.restriction === 'muted' ? 'mutes' : 'bans'), { key, body: { userId: v.user.id } }));
    const { invite, inviteId } = await invited(t, v.invite, id, elsewhere);
    const socket = await connect(t, v.user);
    const { error, role = '-' } = await socket.patiently('room:join', { roomId: id, invite });
    assert.deepEqual([word(error, what), role], [words[v.enter], v.as], what);
    if (v.left !== '-') {
      const { invites } = await done(call('GET', path(id, 'invites'), { key }));
      assert.equal(String(invites.find((i) => i.inviteId === inviteId)?.uses), v.left, what);
    }
    socket.close();
  });
  t.diagnostic(`${visitors.length} visitors`);
});

// Two of whom one blocks the other, or both do: nobody, mine (who acts blocks), theirs, both, ended (both did, and do no more). pair is their
// direct room, late one that a backend opens after that; group is a direct room with a third user. In no pair and no group there is none yet.
const blocks = `
  room      blocks                         open  look  read  attend  speak  enter
  no-pair   nobody,ended                   +     -     -     -       -      -
  no-pair   mine,theirs,both               bl    -     -     -       -      -
  no-group  nobody,ended                   +     -     -     -       -      -
  no-group  mine,theirs,both               bl    -     -     -       -      -
  pair      nobody,ended                   +     +     +     +       +      +
  pair      mine,theirs,both               bl    +     +     +       bl     +
  late      nobody,ended                   +     +     +     +       +      +
  late      mine,theirs,both               bl    +     +     +       bl     +
  group     nobody,mine,theirs,both,ended  +     +     +     +       +      +
`;

test('who blocks whom: what is left between the two is what the table says', async (t) => {
  const openAs = (body) => done(call('POST', '/api/v1/rooms:open', { key, body }));
  const cases = combinations(blocks).flatMap((v) => ['event', 'token', 'as'].map((how) => ({ ...v, how })));
  await each(cases, async (v) => {
    const what = `${v.room}, ${v.blocks}, by ${v.how}`;
    const [ann, bob, cid] = [await newUser('ann'), await newUser('bob'), await newUser('cid')];
    const others = v.room.endsWith('group') ? [bob.id, cid.id] : [bob.id];
    const [a, b] = [await connect(t, ann), await connect(t, bob, { gateway: 1 })];
    let room;
    if (['pair', 'group'].includes(v.room)) ({ room } = await openAs({ userIds: [ann.id, ...others] }));
    const block = async (by, whom) => {
      if (v.how === 'event') assert.equal((await (by === ann ? a : b).patiently('user:block', whom.id)).ok, true, what);
      else await done(call('POST', '/api/v1/blocks', v.how === 'token' ? { token: by.token, body: { userId: whom.id } } : { key, body: { userId: whom.id, asUserId: by.id } }));
    };
    const mine = ['mine', 'both', 'ended'].includes(v.blocks);
    const theirs = ['theirs', 'both', 'ended'].includes(v.blocks);
    if (mine) await block(ann, bob);
    if (theirs) await block(bob, ann);
    if (v.blocks === 'ended') {
      await done(call('DELETE', `/api/v1/blocks/${bob.id}?asUserId=${ann.id}`, { key }));
      assert.equal((await b.patiently('user:unblock', ann.id)).ok, true, what);
    }
    if (v.room === 'late') ({ room } = await openAs({ userIds: [ann.id, ...others] }));
    for (const [by, whom] of [[ann, mine && v.blocks !== 'ended' ? [bob.id] : []], [bob, theirs && v.blocks !== 'ended' ? [ann.id] : []]]) {
      assert.deepEqual((await done(call('GET', '/api/v1/blocks', { token: by.token }))).blocks.map((one) => one.userId), whom, what);
    }

    const check = (act, doing, error) => assert.equal(word(error, `${what}: ${doing}`), words[v[act]], `${what}: ${doing} ${JSON.stringify(error)}`);
    const ask = async (act, method, where, body) => {
      const query = v.how === 'as' && !body ? `?asUserId=${ann.id}` : '';
      const { status, body: answer } = await call(method, where + query, v.how === 'as' ? { key, body: body && { ...body, asUserId: ann.id } } : { token: ann.token, body });
      check(act, `${method} ${where}`, status === 200 ? undefined : answer);
    };
    if (room) {
      const id = room.roomId;
      const { id: message } = await done(call('POST', path(id, 'messages'), { key, body: { content: 'of the backend' } }));
      for (const act of ['look', 'read', 'attend', 'speak', 'enter']) {
        if (v.how === 'event') for (const [event, argument] of events[act](id, { message })) check(act, event, (await a.patiently(event, argument)).error);
        else for (const [method, where, body] of calls[act]?.(id, { known: bob.id, message }) ?? []) await ask(act, method, where, body);
      }
      if (v.how === 'as') {
        const { status, body: answer } = await call('POST', path(id, 'messages'), { key, body: { content: 'x', userId: ann.id } });
        check('speak', 'POST messages as the user', status === 200 ? undefined : answer);
      }
    }
    if (v.how === 'event') check('open', 'room:open', (await a.patiently('room:open', { userIds: others })).error);
    else await ask('open', 'POST', '/api/v1/rooms:open', { userIds: others });
    for (const s of [a, b]) s.close();
  });
  t.diagnostic(`${cases.length} cases`);
});

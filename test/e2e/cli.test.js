// The commands of operators, called in a process of their own beside the running system.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect, eventually, refusal } from './client.js';
import { apiKey, call, password, register } from './rest.js';
import { newUser, sign, unique } from './user.js';

const binary = process.env.STARLING_BINARY;
const data = process.env.STARLING_DATA;
const skip = (!binary || !data) && 'the system was not started by run.js';

/** Runs a command: { code, out, errors }. */
async function starling(args, input = '') {
  const env = Object.fromEntries(['PATH', 'HOME'].map((name) => [name, process.env[name]]));
  const child = spawn(binary, [...args, `--data=${data}`], { env, stdio: 'pipe' });
  let out = '';
  let errors = '';
  child.stdout.on('data', (bytes) => { out += bytes; });
  child.stderr.on('data', (bytes) => { errors += bytes; });
  child.stdin.on('error', () => {}); // it may have ended without reading
  child.stdin.end(input);
  const [code] = await once(child, 'close');
  return { code, out, errors };
}

/** Wants exit code 0 and gives what was answered. */
async function done(args, input) {
  const { code, out, errors } = await starling(args, input);
  assert.deepEqual([code, errors.includes('starling:')], [0, false], `${args.join(' ')}: ${out}${errors}`);
  return out;
}

async function refused(code, why, args, input) {
  const reply = await starling(args, input);
  assert.deepEqual([reply.code, reply.out], [code, ''], `${args.join(' ')}: ${reply.errors}`);
  assert.match(reply.errors, why);
}

test('a user is disabled, enabled and deleted by commands, on every gateway', { skip }, async (t) => {
  const ann = await register('ann');
  const cem = await newUser('cem');
  const sockets = await Promise.all([ann, cem].flatMap((user) => [0, 1, 2].map((gateway) => connect(t, user, { gateway }))));
  assert.match(await done(['users', 'disable', ann.username]), new RegExp(`Disabled ${ann.username} \\(${ann.id}\\)`));
  const answer = JSON.parse(await done(['users', 'disable', cem.id, '--json']));
  assert.deepEqual(answer, (await call('GET', `/api/v1/users/${encodeURIComponent(cem.id)}`, { key: apiKey })).body);
  await Promise.all(sockets.map((s) => s.ended()));
  for (const token of [ann.token, await sign({ sub: cem.id })]) {
    assert.equal((await refusal(t, { token }, { gateway: 1 })).data?.code, 'user_disabled');
  }
  const disabled = await done(['users', 'list', '--disabled', '--limit=1000']);
  for (const id of [ann.id, cem.id]) assert.ok(disabled.includes(id), disabled);

  await done(['users', 'enable', ann.username]);
  const again = await call('POST', '/api/v1/auth/login', { body: { username: ann.username, password } });
  assert.equal(again.status, 200, JSON.stringify(again.body));
  const socket = await connect(t, { token: again.body.accessToken }, { gateway: 2 });
  await done(['users', 'delete', ann.id]);
  await socket.ended();
  assert.equal((await call('GET', `/api/v1/users/${ann.id}`, { key: apiKey })).status, 404);
  await refused(1, /User not found/, ['users', 'delete', ann.id]);
  await refused(2, /unexpected|expected/, ['users', 'remove', ann.id]);
});

test('a password is set by a command: it is read from standard input and never shown', { skip }, async (t) => {
  const ann = await register('ann');
  const socket = await connect(t, ann, { gateway: 1 });
  const secret = 'a new one, longer';
  const { code, out, errors } = await starling(['users', 'passwd', ann.username, '--verbose'], `${secret}\n`);
  assert.equal(code, 0, errors);
  assert.ok(!(out + errors).includes(secret), 'the password is shown');
  await socket.ended();
  const login = (typed) => call('POST', '/api/v1/auth/login', { body: { username: ann.username, password: typed } });
  assert.equal((await login(password)).status, 401);
  assert.equal((await login(secret)).status, 200);
  await refused(2, /password/, ['users', 'passwd', ann.username], 'password\n');
  await refused(2, /no password/, ['users', 'passwd', ann.username], '');
});

test('an API key is made, used, listed and removed by commands', { skip }, async () => {
  const name = unique('crm');
  const key = (await done(['keys', 'add', name, '--scopes=presence', '--expires=1h'])).trim();
  assert.match(key, /^starling_[\w-]{43}$/);
  const ask = () => call('GET', '/api/v1/presence?userId=x', { key, gateway: 1 });
  assert.equal((await ask()).status, 200);
  assert.equal((await call('GET', '/api/v1/keys', { key })).status, 403);
  const listed = await done(['keys', 'list', '--json', '--limit=1000']);
  assert.ok(!listed.includes(key), 'the list has the key itself');
  const about = JSON.parse(listed).keys.find((k) => k.name === name);
  assert.deepEqual(about, (await call('GET', '/api/v1/keys', { key: apiKey })).body.keys.find((k) => k.name === name));
  await done(['keys', 'rm', name]);
  await refused(1, /not found/, ['keys', 'rm', name]);
  await eventually(async () => assert.equal((await ask()).status, 401));
});

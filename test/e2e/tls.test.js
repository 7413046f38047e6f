// The services speak TLS with client certificates to each other (node run.js --faults), and each knows its callers: a chat works as
// ever, and whoever comes without a certificate is not answered.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect as connectTLS } from 'node:tls';
import { io } from 'socket.io-client';
import { Fleet, until } from './fleet.js';
import { scratch } from './system.js';
import { newUser, roomId } from './user.js';

let fleet;
let dir;
let skip = false;

function openssl(...args) {
  const { status, stderr } = spawnSync('openssl', args, { cwd: dir, encoding: 'utf8' });
  assert.equal(status, 0, `openssl ${args.join(' ')}: ${stderr}`);
}

/** A certificate for 127.0.0.1 of the authority, in NAME.crt and NAME.key. */
function certificate(name) {
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
  openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1', '-out', `${name}.crt`, '-extfile', 'names');
}

before(async () => {
  if (spawnSync('openssl', ['version']).status !== 0) { skip = 'openssl is not installed'; return; }
  dir = scratch();
  writeFileSync(join(dir, 'names'), 'subjectAltName=IP:127.0.0.1\n');
  openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=authority', '-days', '1');
  ['auth', 'chat', 'presence', 'gateway'].forEach(certificate);
  const file = (name) => join(dir, name);
  fleet = await Fleet.start(dir, join(process.env.STARLING_RESULTS ?? dir, `fleet-tls-${process.pid}.log`), (name) => {
    const [kind] = name.split('-');
    return { GRPC_TLS_CERT: file(`${kind}.crt`), GRPC_TLS_KEY: file(`${kind}.key`), GRPC_TLS_CA: file('ca.crt'), GRPC_TLS_CLIENT_CERTS: 'true' };
  });
}, { timeout: 240_000 });

after(async () => {
  await fleet?.stop();
  if (dir) rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

test('a chat between services that know each other', async (t) => {
  if (skip) { t.skip(skip); return; }
  const room = roomId('tls');
  const sockets = [];
  for (const gateway of [0, 1]) {
    const user = await newUser('user');
    const socket = io(fleet.urls[gateway], { auth: { token: user.token }, transports: ['websocket'], forceNew: true, reconnectionDelay: 200 });
    t.after(() => socket.close());
    await until(async () => (await socket.timeout(3000).emitWithAck('room:join', room).catch(() => ({}))).ok, 30_000, 'joined');
    sockets.push({ socket, user });
  }
  const [a, b] = sockets;
  const heard = new Promise((resolve) => { b.socket.on('message:new', resolve); });
  assert.equal((await a.socket.timeout(30_000).emitWithAck('message:send', { roomId: room, content: 'by TLS' })).ok, true);
  assert.equal((await heard).content, 'by TLS');
  // presence-service asks chat-service who is in the room, with a token of its own.
  await until(async () => {
    const reply = await a.socket.timeout(5000).emitWithAck('presence:get', { roomId: room }).catch(() => ({}));
    return reply.users?.length === 2 && reply.users.every((u) => u.online);
  }, 30_000, 'both are online in the room');
});

test('who has no certificate is not answered', async (t) => {
  if (skip) { t.skip(skip); return; }
  const [host, port] = fleet.environment('auth').GRPC_LISTEN.split(':');
  const answered = (options) => new Promise((resolve) => {
    const socket = connectTLS({ host, port: Number(port), ca: readFileSync(join(dir, 'ca.crt')), ALPNProtocols: ['h2'], ...options });
    socket.on('data', () => { socket.destroy(); resolve(true); }); // HTTP/2's first frame
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
  });
  const pair = (name) => ({ cert: readFileSync(join(dir, `${name}.crt`)), key: readFileSync(join(dir, `${name}.key`)) });
  assert.equal(await answered(pair('gateway')), true);
  assert.equal(await answered({}), false);
});

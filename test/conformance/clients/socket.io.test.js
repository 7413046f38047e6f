// Official Socket.IO clients, the newest and the oldest of version 4, over each transport.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as newest from 'socket.io-client';
import * as oldest from 'socket.io-client-4-0';
import { collect, heard, within } from './within.js';

const echo = process.env.CONFORMANCE_PROTOCOL_URL;
const support = process.env.CONFORMANCE_SOCKETIO_CLIENT_URL;

const clients = { 'socket.io-client 4.8.4': newest.io, 'socket.io-client 4.0.2': oldest.io };
const transports = { default: undefined, polling: ['polling'], websocket: ['websocket'] };

/** Runs a test for each client and transport; connect(url, options) gives a socket that is closed at the test's end. */
function each(name, run) {
  for (const [client, io] of Object.entries(clients)) {
    for (const [label, list] of Object.entries(transports)) {
      test(`${client}, ${label}: ${name}`, async (t) => {
        const connect = (url, options = {}) => {
          const socket = io(url, { forceNew: true, reconnectionDelay: 10, ...(list && { transports: list }), ...options });
          t.after(() => socket.io._close());
          return socket;
        };
        await run(connect, { io, upgrades: !list });
      });
    }
  }
}

each('connects with auth', async (connect) => {
  const socket = connect(echo, { auth: { token: '123' } });
  const greeted = heard(socket, 'auth');
  await heard(socket, 'connect');
  assert.ok(socket.id);
  assert.notEqual(socket.id, socket.io.engine.id);
  assert.deepEqual(await greeted, [{ token: '123' }]);
});

each('echoes events', async (connect) => {
  const socket = connect(echo);
  const args = [1, '2', { 3: [true] }, null, 'て € 𝄞 \u2028', -0.5, []];
  socket.emit('message', ...args);
  assert.deepEqual(await heard(socket, 'message-back'), args);
});

each('acknowledges', async (connect) => {
  const socket = connect(echo);
  const got = await within(new Promise((resolve) => { socket.emit('message-with-ack', 1, { 2: 'x' }, (...args) => resolve(args)); }), 'ack');
  assert.deepEqual(got, [1, { 2: 'x' }]);
});

each('carries binary both ways', async (connect) => {
  const socket = connect(echo);
  socket.emit('message', Buffer.from([1, 2, 3]), { deep: [Buffer.alloc(100_000, 7)] }, Buffer.alloc(0));
  const [first, second, third] = await heard(socket, 'message-back');
  assert.deepEqual(Buffer.from(first), Buffer.from([1, 2, 3]));
  assert.deepEqual(Buffer.from(second.deep[0]), Buffer.alloc(100_000, 7));
  assert.equal(third.byteLength, 0);
  const got = await within(new Promise((resolve) => { socket.emit('message-with-ack', Buffer.from('a'), Buffer.from('b'), (...args) => resolve(args)); }), 'ack');
  assert.deepEqual(got.map((b) => Buffer.from(b).toString()), ['a', 'b']);
});

each('keeps the order, whatever transport is on', async (connect, { upgrades }) => {
  const socket = connect(support); // its heartbeat leaves a busy machine more time
  const n = 600;
  const upgraded = upgrades && new Promise((resolve) => { socket.io.on('open', () => socket.io.engine.once('upgrade', resolve)); });
  const got = [];
  const all = new Promise((resolve) => {
    socket.on('connect', async () => {
      for (let i = 0; i < n; i++) {
        socket.emit('echo', i, (back) => { if (got.push(back) === n) resolve(); });
        if (i % 20 === 19) await new Promise((next) => setTimeout(next, 2)); // the upgrade comes in between
      }
    });
  });
  await within(all, `${n} acks`, 60_000);
  assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
  if (upgrades) {
    await within(upgraded, 'upgrade');
    assert.equal(socket.io.engine.transport.name, 'websocket');
  }
});

each('carries large events', async (connect) => {
  const socket = connect(echo);
  const text = '€'.repeat(300_000);
  socket.emit('message', text);
  assert.deepEqual(await heard(socket, 'message-back'), [text]);
});

each('stays through heartbeats', async (connect) => {
  const socket = connect(echo);
  await heard(socket, 'connect');
  socket.on('disconnect', (reason) => assert.fail(`disconnected: ${reason}`));
  let pings = 0;
  await within(new Promise((resolve) => { // 4.0 has no ping event
    socket.io.engine.on('packet', ({ type }) => { if (type === 'ping' && ++pings === 3) resolve(); });
  }), 'three pings');
  socket.emit('message', 'still here');
  assert.deepEqual(await heard(socket, 'message-back'), ['still here']);
  socket.off('disconnect');
});

each('enters namespaces over one connection', async (connect, { io }) => {
  const socket = connect(echo);
  const custom = socket.io.socket('/custom', { auth: {} });
  await Promise.all([heard(socket, 'connect'), heard(custom, 'connect')]);
  assert.notEqual(socket.id, custom.id);
  custom.emit('message', 'there');
  assert.deepEqual(await heard(custom, 'message-back'), ['there']);
  custom.disconnect();
  socket.emit('message', 'here');
  assert.deepEqual(await heard(socket, 'message-back'), ['here']);
  assert.ok(io);
});

each('is refused where there is nothing', async (connect) => {
  const socket = connect(`${echo}/random`);
  const [err] = await heard(socket, 'connect_error');
  assert.equal(err.message, 'Invalid namespace');
});

each('is refused with a message', async (connect) => {
  const socket = connect(`${support}/no`);
  const [err] = await heard(socket, 'connect_error');
  assert.equal(err.message, 'Auth failed (custom namespace)');
});

each('disconnects and connects again', async (connect) => {
  const socket = connect(echo);
  await heard(socket, 'connect');
  const first = socket.id;
  socket.disconnect();
  socket.connect();
  await heard(socket, 'connect');
  assert.notEqual(socket.id, first);
  socket.emit('message', 'again');
  assert.deepEqual(await heard(socket, 'message-back'), ['again']);
});

each('reconnects after a drop', async (connect) => {
  const socket = connect(echo);
  await heard(socket, 'connect');
  const again = heard(socket, 'connect');
  socket.io.engine.close();
  await again;
});

each('is closed for what is no packet, and comes back', async (connect) => {
  const socket = connect(echo);
  await heard(socket, 'connect');
  const gone = heard(socket, 'disconnect');
  const again = heard(socket.io, 'reconnect');
  socket.io.engine.write('abc');
  await gone;
  await again;
});

each('many connect at once', async (connect) => {
  await Promise.all(Array.from({ length: 30 }, async (_, i) => {
    const socket = connect(support);
    assert.equal(await within(new Promise((resolve) => { socket.emit('echo', i, resolve); }), 'ack'), i);
  }));
});

for (const [label, list] of Object.entries(transports)) {
  test(`recovery, ${label}: the same socket after a drop`, async (t) => {
    const socket = newest.io(support, { forceNew: true, reconnectionDelay: 10, ...(list && { transports: list }) });
    t.after(() => socket.io._close());
    socket.emit('hi');
    await heard(socket, 'hi');
    const { id } = socket;
    assert.equal(socket.recovered, false);
    const again = heard(socket, 'connect');
    socket.io.engine.close();
    await again;
    assert.equal(socket.id, id);
    assert.equal(socket.recovered, true);
    socket.emit('hi');
    await heard(socket, 'hi');
  });
}

test("Python's client", async (t) => {
  const python = process.env.PYTHON ?? ['/usr/bin/python3', 'python3'].find((p) => spawnSync(p, ['-c', 'import socketio, websocket, requests']).status === 0);
  if (!python) { t.skip('python3-socketio is not installed'); return; }
  const { spawn } = await import('node:child_process');
  const client = spawn(python, [join(dirname(fileURLToPath(import.meta.url)), 'client.py'), support], { stdio: 'inherit' });
  const [code] = await within(once(client, 'exit'), 'the end of client.py', 240_000);
  assert.equal(code, 0);
});

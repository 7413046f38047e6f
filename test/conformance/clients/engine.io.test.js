// The official Engine.IO client: sessions without Socket.IO.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Socket } from 'engine.io-client';
import { collect, heard, within } from './within.js';

const url = process.env.CONFORMANCE_ENGINEIO_CLIENT_URL;
const echo = process.env.CONFORMANCE_PROTOCOL_URL;
const transports = { default: undefined, polling: ['polling'], websocket: ['websocket'] };

function each(name, run) {
  for (const [label, list] of Object.entries(transports)) {
    test(`engine.io-client, ${label}: ${name}`, async (t) => {
      await run((to = url, options = {}) => {
        const socket = new Socket(to, { ...(list && { transports: list }), ...options });
        t.after(() => socket.close());
        return socket;
      }, label);
    });
  }
}

each('is greeted and echoed', async (open) => {
  const socket = open();
  const got = collect(socket, 'message', 4);
  await heard(socket, 'open');
  for (const text of ['cash money €€€', '\uD800\uDC00-\uDB7F\uDFFF\uDB80\uDC00-\uDBFF\uDFFF\uE000-\uF8FF', 'give utf8']) socket.send(text);
  assert.deepEqual(await got, ['hi', 'cash money €€€', '\uD800\uDC00-\uDB7F\uDFFF\uDB80\uDC00-\uDBFF\uDFFF\uE000-\uF8FF',
    'пойду спать всем спокойной ночи']);
});

each('carries binary', async (open) => {
  const socket = open();
  const got = collect(socket, 'message', 3);
  await heard(socket, 'open');
  socket.send('give binary');
  socket.send(Buffer.from([9, 8]));
  const [, given, back] = await got;
  assert.deepEqual([...Buffer.from(given)], [0, 1, 2, 3, 4]);
  assert.deepEqual([...Buffer.from(back)], [9, 8]);
});

each('keeps the order through the upgrade', async (open) => {
  const socket = open(echo);
  const n = 500;
  const got = collect(socket, 'message', n);
  await heard(socket, 'open');
  for (let i = 0; i < n; i++) {
    socket.send(String(i));
    if (i % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.deepEqual(await got, Array.from({ length: n }, (_, i) => String(i)));
});

each('closes', async (open) => {
  const socket = open();
  await heard(socket, 'open');
  const [reason] = await new Promise((resolve) => { socket.once('close', (...args) => resolve(args)); socket.close(); });
  assert.equal(reason, 'forced close');
});

test('engine.io-client: closing waits for the upgrade', async (t) => {
  const socket = new Socket(url);
  t.after(() => socket.close());
  await heard(socket, 'upgrading');
  let upgraded = false;
  socket.on('upgrade', () => { upgraded = true; });
  const closed = heard(socket, 'close');
  socket.close();
  await closed;
  assert.ok(upgraded);
});

test('engine.io-client: payloads as large as maxPayload, no larger', async (t) => {
  const socket = new Socket(url, { transports: ['polling'] });
  t.after(() => socket.close());
  const sent = ['a'.repeat(99), 'b'.repeat(30), 'c'.repeat(30), 'd'.repeat(35), '€'.repeat(33), 'f'.repeat(99)];
  const got = collect(socket, 'message', 7);
  await heard(socket, 'open');
  for (const text of sent) socket.send(text);
  assert.deepEqual((await got).slice(1), sent);
});

test('engine.io-client: an oversize message over polling is 413', async (t) => {
  const socket = new Socket(url, { transports: ['polling'] });
  t.after(() => socket.close());
  await heard(socket, 'open');
  const failed = new Promise((resolve) => {
    socket.once('error', (err) => resolve([err.description, err.context.responseText]));
  });
  const closed = heard(socket, 'close');
  socket.send('a'.repeat(101));
  assert.deepEqual(await within(failed, 'error'), [413, '']);
  assert.equal((await closed)[0], 'transport error');
});

test('engine.io-client: an oversize message over WebSocket is 1009', async (t) => {
  const socket = new Socket(url, { transports: ['websocket'] });
  t.after(() => socket.close());
  await heard(socket, 'open');
  const closed = heard(socket, 'close');
  socket.send('a'.repeat(101));
  const [reason, details] = await closed;
  assert.equal(reason, 'transport close');
  assert.equal(details.context.code, 1009);
  assert.equal(details.context.reason, '');
});

test('engine.io-client: an unknown session is refused', async (t) => {
  const socket = new Socket(url, { transports: ['polling'], query: { sid: 'abc' } });
  t.after(() => socket.close());
  const failed = new Promise((resolve) => { // the request's text is gone after the event
    socket.once('error', (err) => resolve([err.description, err.context.responseText]));
  });
  assert.deepEqual(await within(failed, 'error'), [400, '{"code":1,"message":"Session ID unknown"}']);
});

for (const [denied, other] of [['websocket', 'polling'], ['polling', 'websocket']]) {
  test(`engine.io-client: ${denied} denied, ${other} is tried`, async (t) => {
    const socket = new Socket(url, {
      transports: [denied, other], transportOptions: { [denied]: { query: { deny: 1 } } }, tryAllTransports: true,
    });
    t.after(() => socket.close());
    await heard(socket, 'open');
    assert.equal(socket.transport.name, other);
  });
}

for (const withCredentials of [true, false]) {
  test(`engine.io-client: withCredentials ${withCredentials}`, async (t) => {
    const socket = new Socket(url, { transports: ['polling'], withCredentials });
    t.after(() => socket.close());
    const got = collect(socket, 'message', 2);
    await heard(socket, 'open');
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.send('sendHeaders');
    const [, headers] = await got;
    assert.equal(JSON.parse(headers).cookie, withCredentials ? '1=1; 2=2' : undefined);
  });
}

each('lives through heartbeats', async (open) => {
  const socket = open();
  await heard(socket, 'open');
  await collect(socket, 'ping', 3);
  const got = within(new Promise((resolve) => { socket.on('message', (text) => { if (text === 'still here') resolve(); }); }), 'echo');
  socket.send('still here');
  await got;
});

// The HTTP face of the gateway: the error JSON of Engine.IO, CORS, Origin.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { test } from 'node:test';
import WebSocket from 'ws';
import { call } from './rest.js';
import { url } from './client.js';

const polling = '/socket.io/?EIO=4&transport=polling';
const allowed = (process.env.FRONTEND_URL ?? '').split(',')[0];

test('wrong requests get the error JSON of Engine.IO', async () => {
  const cases = [
    ['GET', '/socket.io/?EIO=4', 400, 0, 'Transport unknown'],
    ['GET', '/socket.io/?EIO=4&transport=carrier-pigeon', 400, 0, 'Transport unknown'],
    ['GET', `${polling}&sid=unknown`, 400, 1, 'Session ID unknown'],
    ['POST', `${polling}&sid=unknown`, 400, 1, 'Session ID unknown'],
    ['POST', polling, 400, 2, 'Bad handshake method'],
    ['PUT', polling, 400, 2, 'Bad handshake method'],
    ['GET', '/socket.io/?EIO=3&transport=polling', 400, 5, 'Unsupported protocol version'],
    ['GET', '/socket.io/?transport=polling', 400, 5, 'Unsupported protocol version'],
    ['GET', '/socket.io/?EIO=abc&transport=polling', 400, 5, 'Unsupported protocol version'],
  ];
  for (const [method, path, status, code, message] of cases) {
    const reply = await call(method, path, method === 'GET' ? {} : { raw: 'x' });
    assert.equal(reply.status, status, `${method} ${path}: ${JSON.stringify(reply.body)}`);
    assert.deepEqual(reply.body, { code, message }, `${method} ${path}`);
    assert.match(reply.headers.get('content-type'), /^application\/json/);
  }
});

test('other paths', async () => {
  assert.equal((await call('GET', '/socket.io?EIO=4&transport=polling')).status, 404);
  assert.equal((await call('GET', '/no/such/page')).status, 404);
});

test('the client for browsers is that of the npm package', async () => {
  const dist = new URL('./dist/', import.meta.resolve('socket.io-client/package.json'));
  for (const name of ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js'].flatMap((n) => [n, `${n}.map`])) {
    const { status, body } = await fetch(`${url(0)}/socket.io/${name}`).then(async (r) => ({ status: r.status, body: await r.text() }));
    assert.equal(status, 200, name);
    assert.equal(body, readFileSync(new URL(name, dist), 'utf8'), name);
  }
});

test('a subprotocol that a client offers is answered, 16 KiB of cookies pass, EIO may be there twice', async (t) => {
  const cookie = `a=${'x'.repeat(16 << 10)}`;
  const ws = new WebSocket(`${url(0).replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket&EIO=4`, ['chat', 'other'], { headers: { cookie } });
  t.after(() => ws.terminate());
  await new Promise((resolve, reject) => { ws.on('open', resolve).on('error', reject); });
  assert.equal(ws.protocol, 'chat');
  const reply = await call('GET', `${polling}&EIO=4`, { headers: { cookie } });
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
});

test('CORS: headers of tracing libraries may be sent, Retry-After be read, and the Origin counts with a sid', { skip: !allowed && 'FRONTEND_URL is not set' }, async () => {
  const preflight = await call('OPTIONS', '/api/v1/auth/login', { headers: { origin: allowed, 'access-control-request-method': 'POST', 'access-control-request-headers': 'sentry-trace,baggage' } });
  assert.equal(preflight.headers.get('access-control-allow-headers'), 'sentry-trace,baggage');
  const open = await call('GET', polling, { headers: { origin: allowed } });
  assert.equal(open.headers.get('access-control-expose-headers'), 'Retry-After');
  const { sid } = JSON.parse(open.body.slice(1));
  for (const method of ['GET', 'POST']) {
    for (const gateway of [0, 1]) {
      const refused = await call(method, `${polling}&sid=${sid}`, { gateway, headers: { origin: 'http://evil.test' }, ...(method === 'POST' && { raw: '40' }) });
      assert.deepEqual([refused.status, refused.body], [403, { code: 4, message: 'Origin not allowed' }], method);
    }
  }
  assert.equal((await call('POST', `${polling}&sid=${sid}`, { raw: '40', headers: { origin: allowed } })).body, 'ok');
});

test('CORS: allowed origins, on errors and on preflights too', { skip: !allowed && 'FRONTEND_URL is not set' }, async () => {
  const cases = [
    ['GET', '/healthz', 200], ['GET', '/socket.io/?EIO=4&transport=none', 400], ['GET', `${polling}&sid=unknown`, 400],
    ['GET', '/api/v1/rooms', 401], ['GET', '/api/v1/nothing', 404],
  ];
  for (const [method, path, status] of cases) {
    const reply = await call(method, path, { headers: { origin: allowed } });
    assert.equal(reply.status, status, path);
    assert.equal(reply.headers.get('access-control-allow-origin'), allowed, path);
  }
  for (const path of [polling, '/api/v1/auth/login']) {
    const preflight = await call('OPTIONS', path, { headers: { origin: allowed, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } });
    assert.equal(preflight.status, 204, path);
    assert.equal(preflight.headers.get('access-control-allow-origin'), allowed);
    const methods = preflight.headers.get('access-control-allow-methods')?.split(/,\s*/) ?? [];
    assert.ok(methods.includes('GET') && methods.includes('POST'), `${path}: ${methods}`);
  }
  const second = process.env.FRONTEND_URL.split(',')[1];
  if (second) assert.equal((await call('GET', '/socket.io/?EIO=4', { headers: { origin: second } })).headers.get('access-control-allow-origin'), second);
});

test('CORS: other origins are not let in', { skip: !allowed && 'FRONTEND_URL is not set' }, async () => {
  for (const origin of ['http://evil.test', `${allowed}.evil.test`, allowed.replace('http', 'https'), `${allowed}:81`, 'null']) {
    const reply = await call('GET', '/socket.io/?EIO=4', { headers: { origin } });
    const shown = reply.headers.get('access-control-allow-origin');
    assert.ok(shown === null || (shown !== '*' && shown !== origin), `${origin} → ${shown}`);
  }
});

/** Tries a WebSocket upgrade: gives 'open' or the status of the refusal. */
function upgrade(t, origin, gateway = 0) {
  const ws = new WebSocket(`${url(gateway).replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, origin === undefined ? {} : { origin });
  t.after(() => ws.terminate());
  return new Promise((resolve, reject) => {
    ws.on('open', () => resolve('open')).on('unexpected-response', (_, res) => { res.resume(); resolve(res.statusCode); }).on('error', reject);
  });
}

test('Origin is checked on the WebSocket upgrade', { skip: !allowed && 'FRONTEND_URL is not set' }, async (t) => {
  assert.equal(await upgrade(t, undefined), 'open');
  assert.equal(await upgrade(t, allowed), 'open');
  for (const origin of ['http://evil.test', `${allowed}.evil.test`, 'null', 'garbage']) {
    const got = await upgrade(t, origin);
    assert.ok([400, 403].includes(got), `${origin} → ${got}`);
  }
});

test('requests that are no HTTP harm nobody', async () => {
  const { hostname, port } = new URL(url(0));
  for (const headers of [{ 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }, { 'X-Long': 'x'.repeat(100_000) }]) {
    await new Promise((resolve) => {
      const req = request({ hostname, port, path: polling, method: 'POST', headers }, (res) => { res.resume(); res.on('end', resolve).on('error', resolve); });
      req.on('error', resolve);
      req.end('hello');
    });
  }
  assert.equal((await call('GET', '/healthz')).status, 200);
});

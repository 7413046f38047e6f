// The HTTP face of the gateway: the error JSON of Engine.IO, CORS, Origin.

import assert from 'node:assert/strict';
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

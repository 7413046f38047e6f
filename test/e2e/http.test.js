// The HTTP face of /socket.io/: error JSON, CORS, Origin, polling through any gateway.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import WebSocket from 'ws';
import { call } from './rest.js';
import { url, urls } from './client.js';
import { newUser, roomId } from './user.js';

const polling = '/socket.io/?EIO=4&transport=polling';
const allowed = (process.env.FRONTEND_URL ?? '').split(',')[0];

async function handshake(gateway = 0) {
  const { status, body } = await call('GET', polling, { gateway });
  assert.equal(status, 200);
  return JSON.parse(body.slice(1));
}

test('the open packet over polling', async () => {
  const { status, headers, body } = await call('GET', polling);
  assert.equal(status, 200);
  assert.match(headers.get('content-type'), /^text\/plain; charset=utf-8$/i);
  assert.equal(headers.get('cache-control'), 'no-store');
  assert.equal(body[0], '0');
  const open = JSON.parse(body.slice(1));
  assert.deepEqual(Object.keys(open).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
  assert.deepEqual({ ...open, sid: 'x' }, { sid: 'x', upgrades: ['websocket'], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1_000_000 });
});

test('wrong requests get the error JSON of Engine.IO', async () => {
  const { sid } = await handshake();
  const cases = [
    ['GET', '/socket.io/?EIO=4', 400, 0, 'Transport unknown'],
    ['GET', '/socket.io/?EIO=4&transport=carrier-pigeon', 400, 0, 'Transport unknown'],
    ['GET', `${polling}&sid=unknown`, 400, 1, 'Session ID unknown'],
    ['POST', `${polling}&sid=unknown`, 400, 1, 'Session ID unknown'],
    ['POST', polling, 400, 2, 'Bad handshake method'],
    ['PUT', polling, 400, 2, 'Bad handshake method'],
    ['GET', `/socket.io/?EIO=4&transport=websocket&sid=${sid}`, 400, 3, 'Bad request'],
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

test('POST of a session: ok as text/html; binary is refused; too large is 413', async () => {
  const { sid } = await handshake();
  const ok = await call('POST', `${polling}&sid=${sid}`, { raw: '40{"token":"garbage"}', headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  assert.deepEqual([ok.status, ok.body], [200, 'ok']);
  assert.match(ok.headers.get('content-type'), /^text\/html/);
  const other = (await handshake()).sid;
  assert.equal((await call('POST', `${polling}&sid=${other}`, { raw: '40', headers: { 'content-type': 'application/octet-stream' } })).status, 400);
  const third = (await handshake()).sid;
  const big = await call('POST', `${polling}&sid=${third}`, { raw: 'x'.repeat(1_000_001), headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  assert.deepEqual([big.status, big.body], [413, '']);
});

test('polling through any gateway: each request may land on another one', async () => {
  const ann = await newUser('ann');
  const room = roomId();
  const { sid } = await handshake(0);
  const post = (gateway, raw) => call('POST', `${polling}&sid=${sid}`, { gateway, raw, headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  let turn = 0;
  const packets = [];
  const read = async (prefix) => {
    for (;;) {
      const at = packets.findIndex((p) => p.startsWith(prefix));
      if (at >= 0) return packets.splice(at, 1)[0];
      const { status, body } = await call('GET', `${polling}&sid=${sid}`, { gateway: turn += 1 });
      assert.equal(status, 200, JSON.stringify(body));
      for (const packet of String(body).split('\x1e')) {
        if (packet === '2') await post(turn, '3');
        else packets.push(packet);
      }
    }
  };
  assert.deepEqual((await post(1, `40${JSON.stringify({ token: ann.token })}`)).body, 'ok');
  await read('40{');
  await post(2, `420["room:join",${JSON.stringify(room)}]`);
  assert.equal(JSON.parse((await read('430')).slice(3))[0].ok, true);
  for (let i = 1; i <= 9; i += 1) {
    assert.equal((await post(i, `42${i}["message:send",${JSON.stringify({ roomId: room, content: `m${i}` })}]`)).status, 200);
    assert.equal(JSON.parse((await read(`43${i}`)).slice(3))[0].ok, true);
  }
});

test('a sid that was made up is unknown, also when it looks like a real one', async () => {
  const { sid } = await handshake();
  const last = sid.at(-1) === 'A' ? 'B' : 'A';
  for (const made of [`${sid.slice(0, -1)}${last}`, `${sid}x`, sid.slice(1), sid.toLowerCase() === sid ? sid.toUpperCase() : sid.toLowerCase(), '*', '>', encodeURIComponent('a.b')]) {
    for (const [gateway] of urls.entries()) {
      const reply = await call('GET', `${polling}&sid=${made}`, { gateway });
      assert.deepEqual(reply.body, { code: 1, message: 'Session ID unknown' }, made);
    }
  }
});

test('CORS: allowed origins, on errors and on preflights too', { skip: !allowed && 'FRONTEND_URL is not set' }, async () => {
  const cases = [
    ['GET', polling, 200], ['GET', '/socket.io/?EIO=4&transport=none', 400], ['GET', `${polling}&sid=unknown`, 400],
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
  if (second) assert.equal((await call('GET', polling, { headers: { origin: second } })).headers.get('access-control-allow-origin'), second);
});

test('CORS: other origins are not let in', { skip: !allowed && 'FRONTEND_URL is not set' }, async () => {
  for (const origin of ['http://evil.test', `${allowed}.evil.test`, allowed.replace('http', 'https'), `${allowed}:81`, 'null']) {
    const reply = await call('GET', polling, { headers: { origin } });
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
  assert.equal((await call('GET', polling)).status, 200);
});

// Full clients behind the proxies that people have (make proxies): a page in a browser, Node and Python. All are in one room, each
// says something, and each has to see it all, in one order. What is not installed is skipped.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { Browser, chromium } from './chromium.js';
import { NoWebSocket } from './nowebsocket.js';
import { Proxy, documented, installed } from './proxies.js';
import { python } from './python.js';
import { System, build, here, remove, scratch } from './system.js';
import { newUser, roomId } from './user.js';

for (const [what, there] of Object.entries({ 'a browser (chromium)': chromium, 'python3-socketio': python, haproxy: installed('haproxy'), nginx: installed('nginx') })) {
  if (!there) console.log(`not installed, and left out: ${what}`);
}

const patience = 60_000; // of one proxy; nothing here is fast beside other work
let dir;
let binary;
let system;
let browser;
let pages; // serves a page of another origin

before(async () => {
  dir = scratch();
  binary = process.env.STARLING_BINARY ?? build(dir);
  pages = createServer((req, res) => {
    const gateway = new URL(req.url, 'http://localhost').searchParams.get('gateway');
    res.writeHead(200, { 'content-type': 'text/html' }).end(gateway ? `<script src="${gateway}/socket.io/socket.io.min.js"></script>` : '');
  }).listen(0, '127.0.0.1');
  await once(pages, 'listening');
  system = await System.start({
    binary, data: join(dir, 'data'), gateways: 2, admin: true, log: join(process.env.STARLING_RESULTS ?? dir, `proxies-${process.pid}.log`),
    env: { TRUSTED_PROXIES: '127.0.0.0/8', FRONTEND_URL: `https://app.example.test, ${origin()}` },
  });
  if (chromium) browser = await Browser.start();
}, { timeout: 240_000 });

// What cannot be stopped keeps nothing else running: the file would never end.
after(async () => {
  const ends = await Promise.allSettled([browser?.stop(), system?.stop()]);
  pages?.closeAllConnections();
  pages?.close();
  if (binary) remove(dir, binary);
  for (const { reason } of ends) if (reason) throw reason;
}, { timeout: 180_000 });

const origin = () => `http://127.0.0.1:${pages.address().port}`;

// Each kind of client opens a connection and joins; chat() then sends and gives { transport, seen } when it has seen count messages.

async function node(url, room, content, count, options = {}) {
  const socket = io(url, { auth: { token: (await newUser()).token }, forceNew: true, reconnection: false, timeout: patience, ...options });
  const seen = new Map();
  await new Promise((resolve, reject) => { socket.once('connect', resolve).once('connect_error', reject); });
  const complete = new Promise((resolve) => {
    const note = (m) => { if (seen.set(m.seq, m.content).size === count) resolve(); };
    socket.on('message:new', note).on('room:history', (messages) => messages.forEach(note));
  });
  assert.equal((await socket.emitWithAck('room:join', room)).ok, true);
  return {
    async chat() {
      assert.equal((await socket.emitWithAck('message:send', { roomId: room, content })).ok, true);
      await complete;
      return { transport: socket.io.engine.transport.name, seen: [...seen].sort(([a], [b]) => a - b).map(([, c]) => c) };
    },
    settle: (transport) => upgraded(() => socket.io.engine.transport.name, transport),
    close: () => socket.close(),
  };
}

async function page(address, url, room, content, count) {
  const tab = await browser.open(address);
  await tab.call(async () => { // the gateway's own page keeps its client to itself, or has none
    globalThis.io ??= (await import(new URL('socket.io/socket.io.esm.min.js', document.baseURI).href)).io;
  });
  await tab.call((server, token, where) => new Promise((resolve, reject) => {
    const { io: connect } = globalThis;
    const about = JSON.parse(document.querySelector('meta[name=starling]')?.content ?? '{}');
    const path = about.path ? new URL(about.path, document.baseURI).pathname : undefined;
    const socket = connect(server, { path, auth: { token }, forceNew: true, reconnection: false });
    const seen = new Map();
    const note = (m) => seen.set(m.seq, m.content);
    Object.assign(globalThis, { socket, seen });
    socket.on('message:new', note).on('room:history', (messages) => messages.forEach(note));
    socket.once('connect', () => socket.emit('room:join', where, (reply) => (reply.ok ? resolve() : reject(new Error(JSON.stringify(reply))))));
    socket.once('connect_error', (err) => reject(new Error(`${err.message} ${JSON.stringify(err.description?.target?.status ?? '')}`)));
  }), url, (await newUser()).token, room);
  return {
    chat: () => tab.call(async (where, text, all) => {
      const { socket, seen } = globalThis;
      const reply = await socket.emitWithAck('message:send', { roomId: where, content: text });
      if (!reply.ok) throw new Error(JSON.stringify(reply));
      while (seen.size < all) await new Promise((resolve) => { socket.once('message:new', resolve); });
      return { transport: socket.io.engine.transport.name, seen: [...seen].sort(([a], [b]) => a - b).map(([, c]) => c) };
    }, room, content, count),
    settle: (transport) => upgraded(() => tab.call(() => globalThis.socket.io.engine.transport.name), transport),
    close: () => tab.close(),
  };
}

async function pythonClient(url, room, content, count) {
  const child = spawn(python, [join(here, 'chat.py'), url, (await newUser()).token, room, content, String(count)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async () => (await lines.next()).value ?? '(nothing)';
  assert.equal(await said(), 'joined', 'Python');
  return {
    chat: async () => {
      child.stdin.write('go\n');
      return JSON.parse(await said());
    },
    close: () => child.kill(),
  };
}

/** Waits for an upgrade, which goes on beside everything else. */
async function upgraded(transport, want) {
  for (const end = Date.now() + patience; await transport() !== want;) {
    assert.ok(Date.now() < end, `the transport is ${await transport()}, want ${want}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/**
 * Has all clients chat through a proxy. Those of the gateway's own page take part where the proxy tells the gateway the host that the
 * browser asked for. transport is what they end on.
 */
async function everybody(t, url, { transport, ownPage = true, webSocketFirst = true }) {
  const room = roomId('proxied');
  const kinds = {
    'Node': (...a) => node(url, ...a),
    ...(webSocketFirst && { 'Node, WebSocket first': (...a) => node(url, ...a, { transports: ['websocket', 'polling'], tryAllTransports: true }) }),
    ...(transport === 'websocket' && { 'Node, WebSocket only': (...a) => node(url, ...a, { transports: ['websocket'] }) }),
    'Node, polling only': (...a) => node(url, ...a, { transports: ['polling'] }),
    ...(python && { Python: (...a) => pythonClient(url, ...a) }),
    ...(browser && { 'a page of another origin': (...a) => page(`${origin()}/?gateway=${url}`, url, ...a) }),
    ...(browser && ownPage && { 'the gateway\'s own page': (...a) => page(url, url, ...a) }),
  };
  const count = Object.keys(kinds).length;
  const clients = await Promise.all(Object.entries(kinds).map(async ([name, connect]) => {
    try {
      const client = await connect(room, `from ${name}`, count);
      t.after(() => client.close());
      return client;
    } catch (err) {
      throw new Error(`${name}: ${err.message}`, { cause: err });
    }
  }));
  for (const [i, name] of Object.keys(kinds).entries()) if (name !== 'Node, polling only') await clients[i].settle?.(transport);
  const results = await Promise.all(clients.map((client) => client.chat()));
  const want = Object.keys(kinds).map((name) => `from ${name}`).sort();
  for (const [i, name] of Object.keys(kinds).entries()) {
    assert.deepEqual([...results[i].seen].sort(), want, name);
    assert.deepEqual(results[i].seen, results[0].seen, `${name} sees another order`);
    assert.equal(results[i].transport, name === 'Node, polling only' ? 'polling' : transport, name);
  }
}

/** The page of the gateway comes whole, the web app or what stands in for it: it has a heading, and all its styles. */
async function seePage(t, url) {
  if (!browser) return;
  const tab = await browser.open(url);
  t.after(() => tab.close());
  for (const end = Date.now() + patience; ;) {
    const [heading, styles] = await tab.call(() => [document.querySelector('h1')?.textContent ?? '', document.styleSheets.length]);
    if (heading && styles > 0) return;
    assert.ok(Date.now() < end, `the page has the heading ${JSON.stringify(heading)} and ${styles} style sheets`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** A site with many cookies, of which a browser sends all. */
async function manyCookies(url) {
  const cookie = `a=${'x'.repeat(8 << 10)}; b=${'y'.repeat((8 << 10) - 6)}`;
  const reply = await fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers: { cookie } });
  assert.equal(reply.status, 200, `16 KiB of cookies: ${reply.status}`);
}

test('HAProxy as it is shipped', { skip: !installed('haproxy') && 'haproxy is not installed', timeout: 3 * patience }, async (t) => {
  const proxy = await Proxy.haproxy(dir, system);
  t.after(() => proxy.remove());
  await everybody(t, proxy.url, { transport: 'websocket' });
  await manyCookies(proxy.url);
  await seePage(t, proxy.url);
});

const nginx = !installed('nginx') && 'nginx is not installed';

/** A server of nginx before both gateways, with these directives in its location. */
const server = (...directives) => `upstream gateways { ${system.urls.map((url) => `server ${new URL(url).host};`).join(' ')} }
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server { listen 80; location / { proxy_pass http://gateways; ${directives.map((d) => `${d};`).join(' ')} } }`;
const upgrade = ['proxy_set_header Upgrade $http_upgrade', 'proxy_set_header Connection $connection_upgrade'];

test('nginx as docs/operations/install.md shows it', { skip: nginx, timeout: 3 * patience }, async (t) => {
  const proxy = await Proxy.nginx(dir, 'documented', documented(system.urls[0]));
  t.after(() => proxy.remove());
  await everybody(t, proxy.url, { transport: 'websocket' });
  await manyCookies(proxy.url);
});

test('nginx that tells the host by X-Forwarded-Host only', { skip: nginx, timeout: 3 * patience }, async (t) => {
  const proxy = await Proxy.nginx(dir, 'forwarded', server('proxy_http_version 1.1', ...upgrade, 'proxy_set_header X-Forwarded-Host $http_host'));
  t.after(() => proxy.remove());
  await everybody(t, proxy.url, { transport: 'websocket' });
});

test('nginx without proxy_http_version: it speaks HTTP/1.0', { skip: nginx, timeout: 3 * patience }, async (t) => {
  const proxy = await Proxy.nginx(dir, 'old', server(...upgrade, 'proxy_set_header Host $http_host'));
  t.after(() => proxy.remove());
  await everybody(t, proxy.url, { transport: 'websocket' });
});

test('nginx with proxy_pass and nothing else', { skip: nginx, timeout: 3 * patience }, async (t) => {
  const proxy = await Proxy.nginx(dir, 'bare', server());
  t.after(() => proxy.remove());
  await everybody(t, proxy.url, { transport: 'polling', ownPage: false });
});

for (const how of ['refuse', 'drop', 'strip', 'swallow']) {
  test(`a proxy that blocks WebSockets: ${how}`, { timeout: 3 * patience }, async (t) => {
    const proxy = await NoWebSocket.to(system.urls[0], how);
    t.after(() => proxy.remove());
    // A WebSocket without any answer looks like a slow network to clients: those that try it first wait for it.
    await everybody(t, proxy.url, { transport: 'polling', webSocketFirst: how !== 'swallow' });
    assert.ok(proxy.blocked > 0, 'nobody tried a WebSocket');
    if (how !== 'swallow') await seePage(t, proxy.url);
  });
}

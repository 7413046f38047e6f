// Every block of code in the README and in docs/ is run, in the condition that its comments name, or by the test that is named for it
// here. A block that nothing runs is a failure.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { io } from 'socket.io-client';
import { connect } from './client.js';
import { NoWebSocket } from './nowebsocket.js';
import { answers, freePorts, here, root, scratch } from './system.js';
import { until } from './fleet.js';
import { noPython, python } from './python.js';
import { apiKey } from './rest.js';
import { compile, project } from './typescript.js';
import { newUser, roomId } from './user.js';

const urls = (process.env.STARLING_URLS ?? '').split(',');
const own = process.env.STARLING_BINARY; // set by run.js for the system that it started, with the demo accounts of `make run`
const patience = 60_000;

/** All fenced blocks: { file, line, language, code }. */
function blocks() {
  const files = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...readdirSync(join(root, 'docs'), { recursive: true }).filter((f) => f.endsWith('.md')).map((f) => `docs/${f}`)];
  return files.flatMap((file) => {
    const found = [];
    let block;
    readFileSync(join(root, file), 'utf8').split('\n').forEach((text, i) => {
      const [, indent, language] = /^( *)```(\S*)$/.exec(text) ?? [];
      if (indent === undefined) {
        block?.lines.push(text.slice(block.indent));
      } else if (block) {
        found.push({ ...block, code: block.lines.join('\n') });
        block = undefined;
      } else {
        block = { file, line: i + 1, language, indent: indent.length, lines: [] };
      }
    });
    assert.equal(block, undefined, `${file} has a block that does not end`);
    return found;
  });
}

// Blocks that other tests run. That they are there, with what is named, is looked at here.
const elsewhere = [
  { file: 'docs/operations/install.md', language: 'nginx', by: 'test/e2e/proxies.js', that: 'docs/operations/install.md' },
  { file: 'docs/operations/install.md', language: 'ini', has: 'ignore_startup_parameters = search_path', by: 'platform/pg/pooler_test.go', that: '"pool_mode = session", "ignore_startup_parameters = search_path"' },
  ...['# a backup, beside the running system', '# the backup, into an empty folder', '# the backup, into a PostgreSQL of its own'].map((has) => (
    { language: 'sh', has, by: 'deploy/local/move_test.go', that: `"${has}"` })),
  { file: 'docs/operations/secure.md', language: 'json', has: '"issuer"', by: 'auth-service/issuers_test.go', that: 'docs/operations/secure.md' },
  { file: 'docs/operations/install.md', language: 'yaml', by: 'deploy/helmtest/docs_test.go', that: 'docs/operations/install.md' },
  { file: 'docs/web.md', language: 'ts', by: 'web/docs.test.js', that: "['ts', 'store.ts']" },
  { file: 'docs/web.md', language: 'tsx', by: 'web/docs.test.js', that: "['tsx', 'Room.tsx']" },
  { file: 'docs/rooms.md', language: 'json', has: '"match"', by: 'test/e2e/claims.test.js', that: 'docs/rooms.md' },
  { file: 'docs/extending.md', language: 'go', by: 'platform/eventserver/docs_test.go', that: 'func TestDocsHaveTheSample' },
  { file: 'docs/extending.md', language: '', has: 'permissions:', by: 'platform/eventserver/docs_test.go', that: 'func TestPermissions' },
];

// What runs the others: a block that fits language, file and a piece of its text.
const runners = [
  { file: 'README.md', language: 'js', has: 'room:join', run: readmeClient },
  { file: 'README.md', language: 'sh', has: 'make run', run: makeRun },
  { file: 'docs/events.md', language: 'js', has: 'currentToken()', run: connecting },
  { file: 'docs/events.md', language: 'js', has: 'room:create', run: askingAgain },
  { file: 'docs/events.md', language: 'js', has: 'inbox:state', run: conversations },
  { file: 'docs/events.md', language: 'python', has: "'since': seq", run: withoutRecovery },
  { file: 'docs/extending.md', language: 'js', has: 'order:create', run: ownEvent },
  { file: 'docs/extending.md', language: 'sh', has: 'go mod tidy', run: ownModule },
  { file: 'docs/rooms.md', language: 'sh', has: 'curl', run: roomsByREST },
  { file: 'docs/frontend.md', language: 'sh', run: () => {} }, // frontEnd does
  { file: 'docs/frontend.md', language: 'ts', has: "'room:join'", run: frontEnd },
  { file: 'docs/frontend.md', language: 'ts', has: 'clientMsgId', run: sendOnce },
  { file: 'CONTRIBUTING.md', language: 'yaml', has: 'event: room:knock', run: newEvent },
  { language: 'sh', run: commands },
  { language: '', has: /[│┌└▼◀]/, run: () => {} }, // a drawing
];

const fits = (block) => ({ file, language, has }) => (file === undefined || file === block.file) && language === block.language &&
  (has === undefined || (has instanceof RegExp ? has.test(block.code) : block.code.includes(has)));

const temporary = mkdtempSync(join(tmpdir(), 'starling-docs-'));
after(() => rmSync(temporary, { recursive: true, force: true }));

for (const block of blocks()) {
  const place = `${block.file}:${block.line}`;
  const other = elsewhere.find(fits(block));
  if (other) {
    test(`${place} is run by ${other.by}`, () => assert.ok(readFileSync(join(root, other.by), 'utf8').includes(other.that)));
    continue;
  }
  const runner = runners.find(fits(block));
  test(`${place} ${block.language}`, { timeout: 12 * patience, skip: !own && 'the system has no demo accounts' }, async (t) => {
    assert.ok(runner, `nothing runs this block; say in docs.test.js how:\n${block.code}`);
    await runner.run(t, block.code);
  });
}

/** README: beside `make run`, whose gateways have other ports here. */
async function readmeClient(t, code) {
  const file = join(here, `chat-${randomUUID()}.mjs`); // here, where it finds the package
  t.after(() => rmSync(file, { force: true }));
  writeFileSync(file, at(code, urls[0]));
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (bytes) => { said += bytes; });
  const [exit] = await once(child, 'close');
  assert.equal(exit, 0, said);
  for (const want of [/^in the lobby as (owner|member), which stands at \d+$/m, /^\d+ Alice: Hello$/m, /ok: true,\s+status: 'delivered',\s+id: '[0-9a-f-]{36}',\s+seq: \d+,\s+createdAt: '/]) assert.match(said, want);
}

/** The code with another address; that it names the usual one is part of what is tested. */
function at(code, url) {
  assert.ok(code.includes('http://localhost:3000'), code);
  return code.replaceAll('http://localhost:3000', url);
}

/** docs/events.md: a fresh token at every connection; WebSocket first; polling where it is blocked. */
async function connecting(t, code) {
  const { token } = await newUser();
  const open = async (url, source = code) => {
    let asked = 0;
    const currentToken = () => { asked += 1; return token; };
    const socket = new Function('io', 'currentToken', `${at(source, url)}; return socket;`)(io, currentToken);
    t.after(() => { socket.close(); socket.io.engine?.close(); });
    await until(() => socket.connected, patience, `connected to ${url}`);
    return { socket, asked: () => asked, transport: () => socket.io.engine.transport.name };
  };

  const direct = await open(urls[0]);
  assert.deepEqual([direct.transport(), direct.asked()], ['websocket', 1]);
  direct.socket.io.engine.close(); // as a network does
  await once(direct.socket, 'connect');
  assert.equal(direct.asked(), 2, 'the token is asked for at every connection');

  for (const how of ['refuse', 'drop', 'strip']) {
    const proxy = await NoWebSocket.to(urls[0], how);
    t.after(() => proxy.remove());
    const blocked = await open(proxy.url);
    assert.equal(blocked.transport(), 'polling', how);
    assert.ok(proxy.blocked > 0, `${how}: no WebSocket was tried first`);
  }

  // The text below it: where WebSockets get no answer at all, leave both options out.
  const without = code.split('\n').filter((line) => !/^ *(transports|tryAllTransports):/.test(line)).join('\n');
  const swallowing = await NoWebSocket.to(urls[0], 'swallow');
  t.after(() => swallowing.remove());
  assert.equal((await open(swallowing.url, without)).transport(), 'polling');
  const plain = await open(urls[0], without);
  await until(() => plain.transport() === 'websocket', patience, 'the client goes over to WebSocket');
}

/** docs/events.md: what is asked again with its key is the same room. */
async function askingAgain(t, code) {
  const { socket } = await connect(t, await newUser('ann'));
  const { request, room } = await new Function('socket', `return (async () => { ${code}\nreturn { request, room }; })()`)(socket);
  assert.deepEqual((await socket.emitWithAck('room:create', request)).room, room);
  assert.equal(room.memberCount, 2);
}

/** docs/events.md: a list of conversations that keeps itself up to date. */
async function conversations(t, code) {
  const [ann, bob] = [await newUser('ann'), await newUser('bob')];
  const sender = await connect(t, ann);
  const { room } = await sender.emit('room:create', { kind: 'private', members: [{ userId: bob.id }] });
  const here = (options) => io(urls[0], { ...options, forceNew: true });
  const { socket, rooms } = new Function('io', 'token', `${code}; return { socket, rooms };`)(here, bob.token);
  t.after(() => { socket.close(); socket.io.engine?.close(); });
  await until(() => rooms.has(room.roomId), patience, 'the room is in the list');
  for (const content of ['one', 'two']) assert.equal((await sender.emit('message:send', { roomId: room.roomId, content })).ok, true);
  await until(() => rooms.get(room.roomId).last?.preview === 'two', patience, 'the last message is in the list');
  assert.equal(rooms.get(room.roomId).unread, 2);
}

/** docs/events.md: a client without recovery reads what it missed, once, and goes on with what comes. */
async function withoutRecovery(t, code) {
  if (!python) { t.skip(noPython); return; }
  const [ann, bob, room] = [await newUser('ann'), await newUser('bob'), roomId()];
  const sender = await connect(t, ann);
  await sender.join(room);
  assert.ok(code.includes("'lobby'"), code);
  const client = spawn(python, ['-u', '-c', [
    'import socketio, sys', 'client = socketio.Client(reconnection=False)', code.replace("'lobby'", `'${room}'`),
    'for line in sys.stdin:', // a line connects, and the next one disconnects
    // The threads of the connection that ends would take the next one's queue for theirs.
    `    if client.connected: client.disconnect(); client.eio.read_loop_task.join(); client.eio.write_loop_task.join(); print('gone')`,
    `    else: client.connect('${urls[0]}', auth={'token': '${bob.token}'}, wait_timeout=30)`,
  ].join('\n')], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => client.kill('SIGKILL'));
  const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
  const says = async (...want) => { for (const line of want) assert.equal((await lines.next()).value, line); };
  const say = (content) => sender.emit('message:send', { roomId: room, content });
  const joined = () => sender.take('room:user-joined', (e) => e.userId === bob.id);

  client.stdin.write('connect\n');
  await joined();
  await say('first');
  await says('Ann first');
  client.stdin.write('disconnect\n');
  await says('gone');
  await say('missed');
  await say('missed too');
  client.stdin.write('connect\n');
  await says('Ann missed', 'Ann missed too');
  await say('live');
  await says('Ann live');
  client.stdin.end();
}

/** docs/rooms.md: each command makes something, in a room that no other run has. */
async function roomsByREST(_, code) {
  assert.ok(code.includes('team/general') && code.includes('team%2Fgeneral'), code);
  const id = roomId('team');
  const lines = code.replaceAll('localhost:3000', urls[0]).replaceAll('team/general', id).replaceAll('team%2Fgeneral', id).trim().split('\n');
  for (const line of lines) {
    const answer = JSON.parse(bash(line.replace(/^curl /, 'curl -sS '), { env: { ...process.env, API_KEY: apiKey } }));
    assert.equal(answer.code, undefined, `${line}\n${JSON.stringify(answer)}`);
  }
  assert.equal(lines.length, 2);
}

/** docs/frontend.md: its commands as they stand, and the chat between them; it greets, and hears others. */
async function frontEnd(t, code) {
  const dir = project(t, {}); // as npm install leaves it in an empty folder, whose packages are this suite's
  const [before, after] = blocks().filter((b) => b.file === 'docs/frontend.md' && b.language === 'sh').map((b) => b.code.trim().split('\n'));
  const packages = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
  for (const line of before) {
    const installed = /^npm install (?:--save-dev )?(.+)$/.exec(line)?.[1].split(' ');
    if (installed) for (const name of installed) assert.ok(name in { ...packages.dependencies, ...packages.devDependencies }, name);
    else bash(line.replace('curl', 'curl -sS').replace('http://localhost:3000', urls[0]), { cwd: dir });
  }
  writeFileSync(join(dir, 'chat.ts'), at(code, urls[0]));
  const [check, run, ...more] = after;
  assert.deepEqual([run, ...more], ['node chat.js']);
  assert.match(check, /^npx tsc .* chat\.ts$/);
  for (const options of [check.split(' ').slice(2, -1), undefined]) assert.equal(compile(dir, options, 'chat.ts'), '', check); // and as strictly as can be
  const child = spawn(process.execPath, ['chat.js'], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (bytes) => { said += bytes; });
  const says = (want) => until(() => { assert.equal(child.exitCode, null, said); return want.test(said); }, patience, `${want}`);
  for (const want of [/^in the lobby as (owner|member|moderator)$/m, /^stored as number \d+$/m, /^Alice: Hello$/m]) await says(want);
  const bob = await connect(t, await newUser('bob'));
  await bob.join('lobby');
  const heard = `heard ${randomUUID()}`;
  await bob.emit('message:send', { roomId: 'lobby', content: heard });
  await says(new RegExp(`^Bob: ${heard}$`, 'm'));
}

/** docs/frontend.md: one message, whatever becomes of the answers. */
async function sendOnce(t, code) {
  const dir = project(t);
  writeFileSync(join(dir, 'send.ts'), code);
  writeFileSync(join(dir, 'starling.d.ts'), await (await fetch(`${urls[0]}/api/starling.d.ts`)).text());
  assert.equal(compile(dir, undefined, 'send.ts'), '');
  const { send } = await import(join(dir, 'send.js'));
  const [ann, room] = [await connect(t, await newUser('ann')), roomId()];
  await ann.join(room);
  const keys = new Set();
  let tries = 0;
  const lossy = { // the first answer is lost, and the second is a refusal that passes
    timeout: (ms) => ({
      emitWithAck: async (event, message) => {
        keys.add(message.clientMsgId);
        const answer = await ann.socket.timeout(ms).emitWithAck(event, message);
        tries += 1;
        if (tries === 1) throw new Error('lost');
        return tries === 2 ? { ok: false, error: { code: 'unavailable', message: 'No', retryAfterMs: 1 } } : answer;
      },
    }),
  };
  const sent = await send(lossy, room, 'once');
  assert.deepEqual([sent.ok, tries, keys.size], [true, 3, 1]);
  const { messages } = await ann.emit('message:history', { roomId: room });
  assert.deepEqual(messages.map((m) => m.content), ['once']);
  await assert.rejects(send(ann.socket, `${room}-none`, 'nothing'), /Room not found/);
}

/** CONTRIBUTING.md: the sample of an event is taken as it stands. */
async function newEvent(t, code) {
  const dir = project(t);
  for (const path of ['proto/events', 'docs/events.md']) cpSync(join(root, path), join(dir, path), { recursive: true });
  const file = join(dir, 'proto/events/source/rooms.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace('\nclient:\n', `\nclient:\n${code}\n`));
  const binary = join(temporary, 'contract');
  bash(`go build -o '${binary}' ./deploy/contract`, { cwd: root });
  bash(binary, { cwd: dir });
  assert.ok(readFileSync(join(dir, 'docs/events.md'), 'utf8').includes('| `room:knock` | `{ roomId, words? }` | `{ ok, asked }` | `banned` `muted` |'));
  assert.match(readFileSync(join(dir, 'proto/events/gen/starling.d.ts'), 'utf8'), /'room:knock': \(argument: { roomId: RoomId; words\?: string }, ack: AckCallback<{ asked: number }>\) => void;/);
}

/** docs/extending.md: what the sample service, which is tested beside its source, reads of the event. */
async function ownEvent(_, code) {
  const calls = [];
  const socket = { emitWithAck: async (...args) => { calls.push(args); return { ok: true, orderId: 1 }; } };
  const orderId = await new Function('socket', `return (async () => { ${code}; return orderId; })()`)(socket);
  assert.equal(orderId, 1);
  assert.deepEqual(calls, [['order:create', { key: calls[0][1].key, table: 7 }]]);
  assert.match(calls[0][1].key, /^\S{36}$/);
}

/** docs/extending.md: a module of one's own, with the sample service in it. */
async function ownModule(_, code) {
  const dir = join(temporary, 'orders');
  const sample = /```go\n([^]*?)```/.exec(readFileSync(join(root, 'docs/extending.md'), 'utf8'))[1];
  const source = readFileSync(join(root, 'platform/eventserver/example_service_test.go'), 'utf8');
  const imports = /import \([^]*?\n\)/.exec(source)[0].split('\n').filter((line) => {
    const name = /"(?:[^"]*\/)?([a-z]+)"$/.exec(line)?.[1];
    return name === undefined || new RegExp(`\\b${name}\\.`).test(sample);
  }).join('\n');
  const prepare = `mkdir ${dir} && cd ${dir} && cat > orders.go && `;
  bash(`${prepare}${code.replaceAll('/path/to/starling', root).trim().split('\n').join(' && ')} && go vet .`, {
    input: `package orders\n\n${imports}\n\n${sample}`, env: { ...process.env, GOWORK: 'off', GOFLAGS: '-mod=mod' },
  });
}

function bash(script, { input = '', env = process.env, cwd = temporary } = {}) {
  const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', script], { input, env, cwd, encoding: 'utf8', timeout: 4 * patience });
  assert.equal(status, 0, `${script}\n${stdout}\n${stderr}`);
  return stdout;
}

/** README: what its comments say of make run and make clean; the rest is commands like others. */
async function makeRun(t, code) {
  await commands(t, code);
  const lines = code.split('\n').filter((line) => /^make (run|clean)/.test(line));
  assert.equal(lines.length, 3);
  const dir = scratch();
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  const data = join(dir, 'data');
  for (const [line, gateways] of [[lines[0], 1], [lines[1], 3]]) {
    const first = await freePorts(gateways, 30_000, 32_000); // the build comes first
    const env = { ...process.env, LISTEN: `127.0.0.1:${first}`, STARLING_DATA: data };
    for (const name of ['ADMIN', 'DATABASE_URL', 'NATS_URL']) delete env[name];
    const child = spawn('bash', ['-c', line], { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'], detached: true }); // a group of its own, as a terminal makes one
    const kill = (signal) => { try { process.kill(-child.pid, signal); } catch { /* all of it has ended */ } };
    t.after(() => kill('SIGKILL'));
    const ended = once(child, 'close');
    let said = '';
    child.stdout.on('data', (bytes) => { said += bytes; });
    await until(() => {
      assert.equal(child.exitCode, null, said);
      return /is ready: http:\/\/localhost:/.test(said);
    }, 5 * patience, `${line} is ready`); // it builds the web app and the program
    assert.match(said, /alice .*alice-demo-password/);
    assert.match(said, /API key +\S+/);
    for (let i = 0; i < gateways; i += 1) await until(() => answers(`http://127.0.0.1:${first + i}/healthz`), patience, `${line}: port ${i + 1} answers`);
    kill('SIGINT'); // Ctrl-C
    await ended;
    assert.equal(await answers(`http://127.0.0.1:${first}/healthz`), false, `${line} runs on after Ctrl-C`);
  }
  assert.ok(existsSync(data));
  bash(lines[2], { cwd: root, env: { ...process.env, STARLING_DATA: data } });
  assert.equal(existsSync(data), false, 'make clean leaves the data');
}

// The programs behind targets of the Makefile that pass ARGS on.
const programs = { run: './deploy/local', clean: './deploy/local', chaos: './test/chaos', bench: './test/bench', 'bench-million': './test/bench/million' };

/**
 * Shell commands: bash reads them with stand-ins for the programs, which note how they are called, so that quotes, pipes and redirects
 * are those of the block. What they name has to exist: targets, flags, services, charts. `make compose-test` runs compose for real.
 */
async function commands(_, code) {
  const calls = join(temporary, `calls-${randomUUID()}`);
  const standIns = ['make', 'docker', 'helm', 'go', 'npm', 'kubectl', 'tools/images.sh'].map((name) => `${name}() { { printf '%s\\x1f' ${name} "$@"; printf '\\n'; } >> '${calls}'; }`).join('\n');
  bash(`${standIns}\n${code.replaceAll('FILE', '/dev/null')}`);
  const noted = readFileSync(calls, 'utf8').trimEnd().split('\n').map((line) => line.split('\x1f').slice(0, -1));
  assert.ok(noted.length > 0, code);
  for (const call of noted) {
    const [program, ...args] = call;
    switch (program) {
      case 'make': checkMake(args); break;
      case 'tools/images.sh': checkCase(program, args[0] ?? 'list'); break;
      case 'docker': checkCompose(args); break;
      case 'go': checkGo(args); break;
      case 'helm': checkHelm(args); break;
      case 'kubectl': checkKubectl(args); break;
      default: assert.fail(`nothing checks ${call.join(' ')}`);
    }
  }
}

const help = new Map(); // of a program

/** Fails unless a program of this repository has all flags among args. */
function checkFlags(pkg, args) {
  if (!help.has(pkg)) {
    const binary = join(temporary, pkg.replaceAll('/', '-'));
    const { stdout, stderr } = spawnSync('bash', ['-c', `go build -o '${binary}' ${pkg} && '${binary}' -help`], { cwd: root, encoding: 'utf8' });
    help.set(pkg, stdout + stderr);
  }
  for (const arg of args.filter((a) => /^--?[a-z]/.test(a) && !/^--?help$/.test(a))) {
    const name = arg.replace(/^-+/, '').replace(/=.*/, '');
    assert.match(help.get(pkg), new RegExp(`(^|\\s)--?${name}\\b`), `${pkg} has no flag ${arg}`);
  }
}

function checkMake(args) {
  const { status, stderr } = spawnSync('make', ['-n', ...args], { cwd: root, encoding: 'utf8' });
  assert.equal(status, 0, `make ${args.join(' ')}: ${stderr}`);
  const passed = args.find((a) => a.startsWith('ARGS='))?.slice('ARGS='.length).split(/\s+/) ?? [];
  if (passed.length > 0) checkFlags(programs[args[0]] ?? assert.fail(`nothing is known of ARGS of make ${args[0]}`), passed);
}

/** Fails unless a shell script has a branch for its first argument. */
function checkCase(script, arg) {
  assert.match(readFileSync(join(root, script), 'utf8'), new RegExp(`^\\s*${arg}\\)`, 'm'), `${script} knows no ${arg}`);
}

function checkGo([verb, pkg, ...args]) {
  assert.equal(verb, 'run');
  checkFlags(pkg, args);
}

const compose = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
const services = new Set(compose.slice(compose.indexOf('\nservices:\n'), compose.indexOf('\nnetworks:\n')).match(/^ {2}[a-z-]+(?=:$)/gm).map((s) => s.trim()));
const volumes = new Set(compose.slice(compose.indexOf('\nvolumes:\n')).match(/^ {2}[a-z-]+(?=:$)/gm).map((s) => `starling_${s.trim()}`));

function checkCompose([tool, ...args]) {
  if (tool === 'volume') {
    assert.ok(volumes.has(args.at(-1)), `compose has no volume ${args.at(-1)}`);
    return;
  }
  assert.equal(tool, 'compose');
  while (args[0] === '-f') assert.ok(existsSync(join(root, args.splice(0, 2)[1])), 'the files of compose are there');
  const profile = args.indexOf('--profile');
  if (profile >= 0) assert.ok(compose.includes(`profiles: [${args.splice(profile, 2)[1]}]`));
  const [verb, ...rest] = args;
  assert.ok(['up', 'down', 'logs', 'exec', 'stop', 'rm', 'ps', 'build', 'pull'].includes(verb), verb);
  for (const [i, arg] of rest.entries()) {
    if (rest[i - 1] === '--scale') assert.ok(services.has(arg.split('=')[0]), `compose has no service ${arg}`);
    else if (!arg.startsWith('-')) {
      assert.ok(services.has(arg), `compose has no service ${arg}`);
      if (verb === 'exec') { // the rest runs in the service
        checkInside(arg, rest.slice(i + 1));
        return;
      }
    }
  }
}

/** Fails unless a service has the command of operators that runs in its container, with these flags. */
function checkInside(service, [program, ...args]) {
  if (program !== '/app') return;
  const pkg = `./${service}/cmd/${service}`;
  const binary = join(temporary, pkg.replaceAll('/', '-'));
  checkFlags(pkg, []);
  const { status, stdout } = spawnSync(binary, [...args.slice(0, 2), '--help'], { encoding: 'utf8' });
  assert.equal(status, 0, `${service} has no command ${args.slice(0, 2).join(' ')}`);
  for (const arg of args.filter((a) => a.startsWith('--'))) assert.ok(stdout.includes(arg.replace(/=.*/, '')), `${args.join(' ')} has no flag ${arg}`);
}

/** exec in a Deployment of the chart, by the name that it has when the release is called starling. */
function checkKubectl(args) {
  const [target, separator, ...command] = args.slice(args.indexOf('exec') + 1);
  assert.equal(separator, '--', args.join(' '));
  const service = target.replace('deploy/starling-', '');
  assert.ok(services.has(service), `the chart has no Deployment ${target}`);
  checkInside(service, command);
}

function checkHelm([verb, , chart, ...args]) {
  assert.ok(['install', 'upgrade', 'template'].includes(verb), verb);
  const values = readFileSync(join(root, chart, 'values.yaml'), 'utf8');
  for (const [i, arg] of args.entries()) {
    if (args[i - 1] !== '--set') continue;
    const [top, name] = arg.split('=')[0].split('.');
    assert.match(values, new RegExp(`^${top}:\\n(?: .*\\n|\\n)*? {2}${name}:`, 'm'), `${chart} has no value ${arg}`);
  }
}

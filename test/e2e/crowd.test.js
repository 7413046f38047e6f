// The crowd of clients that judges deployments (crowd.js): what it tells of a system that keeps its promises, and of a server that lies.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { WebSocketServer } from 'ws';
import { url } from './client.js';
import { here } from './system.js';

/** Runs a crowd at a URL through the commands: { code, said, results, table }. between is called before the command of that number. */
async function crowd(t, at, commands, { between = () => {}, ...options } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'starling-crowd-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'crowd.json');
  const flags = Object.entries({ url: at, clients: 4, rooms: 2, rate: 40, results: file, ...options }).map(([name, value]) => `--${name}=${value}`);
  const child = spawn(process.execPath, [join(here, 'crowd.js'), ...flags], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = [(await lines.next()).value];
  for (const [i, command] of commands.entries()) {
    await between(i);
    child.stdin.write(`${command}\n`);
    said.push((await lines.next()).value);
  }
  const [code] = await exited;
  const table = spawn(process.execPath, [join(here, 'crowd.js'), `--table=${file}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  table.stdout.on('data', (bytes) => { text += bytes; });
  await once(table, 'close');
  return { code, said, results: JSON.parse(readFileSync(file, 'utf8')), table: text };
}

test('a crowd of clients tells of each phase, and finds nothing lost or repeated', { timeout: 120_000 }, async (t) => {
  const { code, said, results, table } = await crowd(t, url(0), ['phase one', 'outage two', 'end']);
  assert.equal(code, 0, said.join('\n'));
  assert.deepEqual(results.phases.map((p) => [p.name, p.outage]), [['start', false], ['one', false], ['two', true]]);
  assert.ok(results.phases.every((p) => p.acked > 0), JSON.stringify(results.phases));
  assert.deepEqual({ ...results.counts, acked: 0 }, { acked: 0, lost: 0, undelivered: 0, repeated: 0 });
  assert.match(said[2], /^one: .* messages acked/);
  assert.match(table, /^\| two \| .*\|$/m);
});

/**
 * A server of the contract that keeps rooms in memory and lies about messages by their number: "undelivered" is delivered to nobody but in the
 * history, "lost" is delivered but kept nowhere, "repeated" is delivered twice, "stored" kept twice. It closes every connection when asked to.
 */
async function liar(t) {
  const rooms = new Map();
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  let sent = 0;
  sockets.on('connection', (ws) => {
    const say = (packet, body) => ws.send(packet + (body === undefined ? '' : JSON.stringify(body)));
    say('0', { sid: 'sid', upgrades: [], pingInterval: 60_000, pingTimeout: 60_000, maxPayload: 1_000_000 });
    const events = {
      'room:join': ({ roomId, since }, ack) => {
        if (!rooms.has(roomId)) rooms.set(roomId, { seq: 0, kept: [], acks: new Map(), members: new Set() });
        const room = rooms.get(roomId);
        room.members.add(say);
        ws.on('close', () => room.members.delete(say));
        say('42', ['room:history', since === undefined ? [] : room.kept.filter((m) => m.seq > since)]);
        ack({ ok: true, roomId, seq: room.seq, role: 'member', hasMore: false });
      },
      'message:send': ({ roomId, clientMsgId }, ack) => {
        const room = rooms.get(roomId);
        if (room.acks.has(clientMsgId)) return ack(room.acks.get(clientMsgId));
        const lie = { 20: 'undelivered', 30: 'lost', 40: 'repeated', 50: 'stored' }[sent += 1];
        const message = { id: `m${sent}`, roomId, seq: room.seq += 1, clientMsgId };
        if (lie !== 'lost') room.kept.push(message);
        if (lie === 'stored') room.kept.push({ ...message, id: 'again' });
        for (let times = { undelivered: 0, repeated: 2 }[lie] ?? 1; times > 0; times -= 1) room.members.forEach((tell) => tell('42', ['message:new', message]));
        room.acks.set(clientMsgId, { ok: true, id: message.id, seq: message.seq });
        return ack(room.acks.get(clientMsgId));
      },
    };
    ws.on('message', (bytes) => {
      const [, type, id, body] = String(bytes).match(/^(\d\d?)(\d*)(.*)$/s);
      if (type === '40') say('40', { sid: 'socket' });
      if (type === '42') {
        const [event, argument] = JSON.parse(body);
        events[event](argument, (answer) => say(`43${id}`, [answer]));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { sockets.clients.forEach((ws) => ws.terminate()); server.close(); });
  return { url: `http://127.0.0.1:${server.address().port}`, closeAll: () => sockets.clients.forEach((ws) => ws.terminate()), sent: () => sent };
}

test('a crowd of clients finds what a server lost, repeated and did not deliver', { timeout: 120_000 }, async (t) => {
  const server = await liar(t);
  const until = async (n) => { while (server.sent() < n) await new Promise((resolve) => { setTimeout(resolve, 20); }); };
  const between = async (i) => {
    if (i === 1) await until(60);
    if (i === 2) server.closeAll();
  };
  const { code, said, results, table } = await crowd(t, server.url, ['phase lies', 'phase away', 'end'], { between, patience: 10 });
  assert.equal(code, 1);
  // A room has two members: one message was told to neither, one twice to both, and one was stored twice.
  assert.deepEqual({ ...results.counts, acked: 0 }, { acked: 0, lost: 1, undelivered: 2, repeated: 3 }, said.join('\n'));
  assert.equal(results.violations.length, 4, results.violations.join('\n'));
  const away = results.phases.find((p) => p.name === 'away');
  assert.ok(away.disconnects >= 4 && away.fresh >= 4, JSON.stringify(away));
  assert.match(table, /\*\*Broken\*\*/);
});

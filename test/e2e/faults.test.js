// The whole system is killed in the middle of work (node run.js --faults). Faults of single processes are the Go fault rig's.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { System, remove, scratch } from './system.js';
import { newUser, roomId } from './user.js';

const binary = process.env.STARLING_BINARY;

test('a kill -9 of everything loses nothing that was acknowledged', { timeout: 240_000, skip: !binary && 'needs a system of its own (STARLING_BINARY)' }, async (t) => {
  const dir = scratch();
  const log = join(process.env.STARLING_RESULTS ?? dir, `faults-${process.pid}.log`);
  const options = { binary, data: join(dir, 'data'), gateways: 2, log };
  let system = await System.start(options);
  t.after(async () => { await system.kill(); remove(dir, binary); });
  const ann = await newUser('ann');
  const room = roomId();
  const sockets = system.urls.map((base) => io(base, { auth: { token: ann.token }, transports: ['websocket'], forceNew: true, reconnectionDelay: 200, reconnectionDelayMax: 1000 }));
  t.after(() => sockets.forEach((s) => s.close()));
  for (const s of sockets) assert.equal((await s.timeout(30_000).emitWithAck('room:join', room)).ok, true);

  const acked = new Map(); // content → { id, seq }
  const unknown = new Set();
  for (let round = 0; round < 2; round += 1) {
    let stop = false;
    const work = sockets.map(async (s, n) => {
      for (let i = 0; !stop; i += 1) {
        const content = `${round}:${n}:${i}`;
        unknown.add(content);
        const reply = await s.timeout(400).emitWithAck('message:send', { roomId: room, content, clientMsgId: content }).catch(() => ({ ok: false }));
        if (reply.ok) { acked.set(content, reply); unknown.delete(content); } else await new Promise((resolve) => { setTimeout(resolve, 50); });
      }
    });
    await new Promise((resolve) => { setTimeout(resolve, 1500); });
    await system.kill();
    stop = true;
    await Promise.all(work);
    system = await System.start({ ...options, port: system.port });
    await Promise.all(sockets.map((s) => s.connected || new Promise((resolve) => { s.once('connect', resolve); })));
  }

  // Every message whose fate is unknown is sent again: it exists once afterwards, like those that were acknowledged.
  for (const content of unknown) {
    const reply = await sockets[0].timeout(30_000).emitWithAck('message:send', { roomId: room, content, clientMsgId: content });
    if (reply.ok) acked.set(content, reply);
    else { assert.equal(reply.error.code, 'rate_limited'); await new Promise((resolve) => { setTimeout(resolve, 100); }); }
  }
  const stored = new Map();
  for (let after = 0; ;) {
    const { messages, hasMore } = await sockets[1].timeout(30_000).emitWithAck('message:history', { roomId: room, after, limit: 100 });
    for (const m of messages) {
      assert.ok(!stored.has(m.content), `${m.content} is stored twice`);
      stored.set(m.content, m);
    }
    if (!hasMore) break;
    after = messages.at(-1).seq;
  }
  for (const [content, { id, seq }] of acked) assert.deepEqual([stored.get(content)?.id, stored.get(content)?.seq], [id, seq], content);
  const seqs = [...stored.values()].map((m) => m.seq).sort((x, y) => x - y);
  assert.deepEqual(seqs, Array.from(seqs, (_, i) => seqs[0] + i), 'sequences have no holes');
  t.diagnostic(`${acked.size} acknowledged, ${stored.size} stored`);
  await system.stop();
});

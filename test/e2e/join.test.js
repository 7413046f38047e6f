// Joining while others send: history and live events together have no gap, no repeat and no wrong order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually, pause } from './client.js';
import { newUser, roomId } from './user.js';

const senders = 13; // at 40 messages/s each, below the rate limit of a socket: about 500 messages/s
const perSecond = 40;
const seconds = 4; // longer where the machine is so busy that fewer joiners came
const enough = 6;

test('joiners under 500 messages/s see history and live events without gap or repeat', { timeout: 600_000 }, async (t) => {
  const room = roomId('busy');
  const users = await Promise.all(Array.from({ length: senders }, () => newUser('sender')));
  const sockets = await Promise.all(users.map((u, i) => connect(t, u, { gateway: i })));
  for (const s of sockets) await s.join(room);

  const acked = new Map(); // seq → id
  const failed = [];
  let sending = true;
  const sends = [];
  const joiners = [];
  const busy = async (reply) => {
    if (!['unavailable', 'timeout'].includes(reply.error?.code)) return false;
    t.diagnostic(JSON.stringify(reply));
    await pause(reply.error.retryAfterMs || 50);
    return true;
  };
  // A machine that stands has the senders catch up, faster than their rate.
  const send = async (s, content) => {
    for (;;) {
      const reply = await s.patiently('message:send', { roomId: room, content, clientMsgId: content });
      if (!await busy(reply)) return reply;
    }
  };
  const work = sockets.map(async (s, n) => {
    const began = performance.now();
    const own = [];
    for (let i = 0; i < perSecond * seconds || joiners.length < enough; i += 1) {
      own.push(send(s, `${n}:${i}`)
        .then((r) => (r.ok ? acked.set(r.seq, r.id) : failed.push(r.error)), (err) => failed.push(err)));
      sends.push(own[i]);
      await own[i - 10]; // who is slow is not asked for more
      const early = began + (i + 1) * (1000 / perSecond) - performance.now();
      if (early > 0) await pause(early);
    }
  });

  // Joiners come one after the other on all gateways while that goes on; the third of each gateway asks for everything since 0.
  const joining = (async () => {
    for (let i = 0; sending && i < 12; i += 1) {
      const s = await connect(t, await newUser('joiner'), { gateway: i });
      const began = performance.now();
      let joined;
      do joined = await s.join(i % 4 === 3 ? { roomId: room, since: 0, limit: 500 } : room); while (await busy(joined.reply));
      joiners.push({ s, ...joined, took: performance.now() - began });
      await pause(150);
    }
  })();
  await Promise.all(work);
  sending = false;
  await Promise.all(sends);
  await joining;
  assert.equal(failed.length, 0, `${failed.length} sends failed, the first with ${failed[0]?.message ?? JSON.stringify(failed[0])}`);
  assert.equal(acked.size, sends.length);
  t.diagnostic(`${acked.size} messages, ${joiners.length} joiners, the slowest join took ${Math.round(Math.max(...joiners.map((j) => j.took)))} ms`);

  const head = Math.max(...acked.keys());
  const all = [...acked.keys()].sort((x, y) => x - y);
  for (const [i, { s, reply, history }] of joiners.entries()) {
    assert.equal(reply.ok, true, JSON.stringify(reply));
    await eventually(() => assert.ok(s.seen('message:new', (m) => m.seq === head).length === 1 || history.at(-1)?.seq === head || reply.seq === head,
      `joiner ${i}, ${s.socket.connected ? 'connected' : 'disconnected'}, has ${s.seen('message:new').at(-1)?.seq} of ${head}`));
    const live = s.seen('message:new');
    assert.ok(live.every((m) => m.seq > reply.seq || reply.hasMore), `joiner ${i}: a live event that the history covers`);
    const got = [...history, ...live];
    const seqs = got.map((m) => m.seq);
    // With more history than asked for after since, the page ends before the live events: that gap is the asker's to fill.
    const honest = reply.hasMore && i % 4 === 3;
    const from = honest ? reply.seq + 1 : seqs[0];
    assert.deepEqual(honest ? live.map((m) => m.seq) : seqs, all.filter((q) => q >= from), `joiner ${i}`);
    for (const m of got) assert.equal(m.id, acked.get(m.seq), `joiner ${i}, seq ${m.seq}`);
  }
  for (const s of sockets) {
    await eventually(() => assert.equal(s.seen('message:new').length, all.length));
    assert.deepEqual(s.seen('message:new').map((m) => m.seq), all);
  }
});

test('many sockets join and leave one room at once', { timeout: 180_000 }, async (t) => {
  const room = roomId('crowd');
  const users = await Promise.all(Array.from({ length: 20 }, () => newUser('crowd')));
  const sockets = await Promise.all(users.map((u, i) => connect(t, u, { gateway: i })));
  const replies = await Promise.all(sockets.map((s) => s.emit('room:join', room)));
  for (const r of replies) assert.equal(r.ok, true, JSON.stringify(r));
  assert.equal(replies.filter((r) => r.role === 'owner').length, 1, 'one owner');
  // What the sockets saw of each other's arrival: every membership has a sequence of its own. The head of an ack may cover several.
  const seqs = new Set(sockets.flatMap((s) => s.seen('room:user-joined').map((e) => e.seq)));
  assert.equal(Math.max(...replies.map((r) => r.seq)), 20);
  assert.ok([...seqs].every((q) => q >= 1 && q <= 20), [...seqs].join(' '));
  await Promise.all(sockets.slice(1).map((s) => s.emit('room:leave', room)));
  const { seq } = await sockets[0].emit('message:send', { roomId: room, content: 'alone' });
  assert.equal(seq, 40, '20 joins, 19 leaves, then the message');
  const left = sockets[0];
  await left.take('message:new');
  const order = left.events.filter((e) => e.data?.roomId === room && e.data.seq).map((e) => e.data.seq);
  assert.deepEqual(order, order.toSorted((x, y) => x - y), 'events come in the order of their sequences');
  assert.equal(order.at(-1), 40);
  assert.equal(new Set(order).size, order.length);
  assert.equal(left.seen('room:user-left').length, 19);
});

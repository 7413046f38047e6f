// Somebody is away for longer than any recovery reaches while a room has two thousand facts: afterwards all show the same room.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, eventually } from './client.js';
import { ok } from './expect.js';
import { newUser, roomId } from './user.js';

const facts = 2000;
const authors = 20;
const version = (m) => m.changed ?? m.seq;

/** What docs/events.md tells a client to keep of a room, with a note of every fact that changed something. */
class Room {
  messages = new Map();
  applied = [];

  #put(m, by) {
    this.messages.set(m.id, m);
    this.applied.push(`${m.id} ${by}`);
  }

  whole(m) {
    const known = this.messages.get(m.id);
    if (!known || version(m) > version(known)) this.#put({ ...m, ...(m.reactions && { reactions: m.reactions.map(({ key, count }) => ({ key, count })) }) }, version(m));
  }

  apply(event, f) {
    if (event === 'message:new') this.whole(f);
    if (event === 'message:edited') this.whole(f.message);
    const known = this.messages.get(f?.messageId);
    if (!known || f.seq <= version(known)) return;
    const { reactions, pinnedAt, ...rest } = known;
    const { data, format, replyTo, mentions, editedAt, ...place } = rest;
    switch (event) {
      case 'message:deleted': this.#put({ ...place, content: '', changed: f.seq, deletedAt: f.deletedAt, deletedBy: f.by }, f.seq); break;
      case 'message:reactions': this.#put({ ...rest, ...(pinnedAt && { pinnedAt }), changed: f.seq, ...(f.counts.length > 0 && { reactions: f.counts }) }, f.seq); break;
      case 'message:pinned': this.#put({ ...rest, ...(reactions && { reactions }), changed: f.seq, pinnedAt: f.pinnedAt }, f.seq); break;
      case 'message:unpinned': this.#put({ ...rest, ...(reactions && { reactions }), changed: f.seq }, f.seq); break;
      default:
    }
  }

  /** The messages as one shows them, by seq. */
  shown() { return [...this.messages.values()].sort((a, b) => a.seq - b.seq); }

  once() { assert.equal(new Set(this.applied).size, this.applied.length, 'no fact was applied twice'); }
}

const canonical = (value) => {
  if (Array.isArray(value)) return value.map(canonical);
  return value && typeof value === 'object' ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, canonical(value[key])])) : value;
};

/** Fails with the first message that two rooms do not have alike. */
function same(a, b) {
  const [x, y] = [a, b].map((room) => room.shown().map((m) => JSON.stringify(canonical(m))));
  const at = x.findIndex((m, i) => m !== y[i]);
  assert.equal(x[at], y[at]);
  assert.equal(x.length, y.length);
}

/** Has a socket feed a room. */
function follow(client, room) {
  client.socket.onAny((event, f) => room.apply(event, f));
  return room;
}

/** Reads what a room has after a sequence, page by page, and what became of what there was before. */
async function catchUp(client, id, room, since) {
  for (let after = since, more = true; more;) {
    const page = await client.patiently('message:history', { roomId: id, after, limit: 100 });
    assert.equal(page.ok, true, JSON.stringify(page));
    page.messages.forEach((m) => room.whole(m));
    after = page.messages.at(-1)?.seq ?? after;
    more = page.hasMore;
  }
  for (let from = since, more = true; more;) {
    const page = await client.patiently('message:changes', { roomId: id, since: from });
    assert.equal(page.ok, true, JSON.stringify(page));
    page.messages.forEach((m) => room.whole(m));
    from = page.upTo;
    more = page.hasMore;
  }
}

test('who was away for two thousand facts, who was there, and who comes new show the same room, and apply nothing twice', async (t) => {
  const id = roomId();
  const users = await Promise.all(Array.from({ length: authors }, (_, i) => newUser(`author${i}`)));
  const sockets = [];
  for (const [i, user] of users.entries()) {
    sockets.push(await connect(t, user, { gateway: i }));
    await sockets[i].join(id); // the first one owns the room, and pins
  }
  const bob = await newUser('bob');
  const before = await connect(t, bob);
  const online = follow(sockets[1], new Room());
  const away = follow(before, new Room());
  await before.join(id);

  const said = []; // { id, author, secret, gone }
  let [seq, made] = [0, 0];
  const act = async (i, n) => {
    const dice = (i * 7919 + n * 104729) % 100;
    const target = said[(i * 31 + n * 17) % Math.max(1, said.length)];
    const mine = said.filter((m) => m.author === i && !m.gone);
    const own = mine[n % Math.max(1, mine.length)];
    const emit = async (event, more, m) => {
      const ack = await sockets[i].patiently(event, { roomId: id, messageId: m.id, ...more });
      if (!ack.ok) assert.equal(ack.error.reason, 'deleted', JSON.stringify(ack)); // somebody else was faster
      seq = Math.max(seq, ack.seq ?? 0);
    };
    if (dice < 35 || !target || !own) {
      const secret = `said-${id}-${made += 1}-`;
      const ack = await sockets[i].patiently('message:send', { roomId: id, content: secret, ...(dice % 5 === 0 && { data: { n } }) });
      ok({ ok: ack.ok }, {});
      seq = Math.max(seq, ack.seq);
      said.push({ id: ack.id, author: i, secret });
    } else if (dice < 60) {
      await emit('message:edit', { content: `${own.secret}edit${n}` }, own);
    } else if (dice < 68) {
      own.gone = true;
      await emit('message:delete', {}, own);
    } else if (i === 0 && dice < 80) {
      await emit(dice % 3 ? 'message:pin' : 'message:unpin', {}, target);
    } else {
      await emit(dice % 4 ? 'message:react' : 'message:unreact', { key: ['👍', 'ok', '<3'][dice % 3] }, target);
    }
  };
  const all = (until) => Promise.all(sockets.map(async (_, i) => { for (let n = 0; seq < until; n += 1) await act(i, n); }));

  await all(seq + 100); // of these the one who goes away knows
  await before.take('message:new', (m) => m.id === said.at(-1).id);
  await eventually(() => assert.ok(before.events.some((e) => e.data?.seq === seq && e.data.roomId === id)));
  const since = Math.max(...before.events.filter((e) => e.data?.roomId === id && e.event !== 'message:read').map((e) => e.data.seq ?? 0));
  before.close(); // for good: nothing recovers this session
  const start = seq;
  await all(start + facts);

  const back = await connect(t, bob, { gateway: 2 });
  follow(back, away);
  ok({ ok: (await back.join({ roomId: id, since, limit: 100 })).reply.ok }, {});
  await catchUp(back, id, away, since);
  const cid = await connect(t, await newUser('cid'), { gateway: 1 });
  const fresh = follow(cid, new Room());
  const { history } = await cid.join(id);
  history.forEach((m) => fresh.whole(m));
  await catchUp(cid, id, fresh, 0);

  const count = said.length;
  await eventually(() => assert.equal(online.shown().length, count));
  await eventually(() => same(online, fresh));
  await eventually(() => same(away, fresh));
  for (const room of [online, away, fresh]) room.once();
  assert.ok(seq - start >= facts, `${seq - start} facts`);
  const kinds = { edited: 'editedAt', deleted: 'deletedAt', reacted: 'reactions', pinned: 'pinnedAt' };
  for (const [kind, field] of Object.entries(kinds)) assert.ok(fresh.shown().some((m) => field in m), `some message is ${kind}`);

  // The same again, in whatever order and however often: nothing changes.
  const seen = JSON.stringify(away.shown());
  await catchUp(back, id, away, 0);
  for (const e of [...back.events, ...before.events]) away.apply(e.event, e.data);
  assert.equal(JSON.stringify(away.shown()), seen);
  away.once();

  const gone = said.filter((m) => m.gone);
  assert.ok(gone.length > 0);
  for (const room of [online, away, fresh]) {
    const text = JSON.stringify(room.shown());
    for (const m of gone) assert.ok(!text.includes(m.secret), `nothing is left of ${m.secret}`);
  }
});

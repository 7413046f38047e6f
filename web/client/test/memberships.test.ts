// Which rooms the user is in, and what they are to the user: the log of the user and lists that have a part of it in them, in any order
// that docs/events.md allows. The server of these tests is a script, for a real one cannot be told when to say what.

import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MemoryCache } from '../src/cache.ts';
import { Starling, type Connect } from '../src/index.ts';
import type { ListedRoom, RoomInfo } from '../src/types.ts';

type Entry = { kind: 'added'; room: string } | { kind: 'removed'; room: string } | { kind: 'prefs'; room: string; muted: boolean } | { kind: 'marker'; room: string; seq: number };
type Standing = Record<string, { muted: boolean; marker: number }>;

const said = 20; // messages of a room
const info = (roomId: string): RoomInfo => ({ roomId, kind: 'private', profile: { name: roomId }, settings: {}, version: 1, createdAt: '2026-01-01T00:00:00Z', memberCount: 2 });

/** How the rooms are to the user after an entry of the log. */
function standing(log: Entry[], useq: number): Standing {
  const rooms: Standing = {};
  for (const entry of log.slice(0, useq)) {
    if (entry.kind === 'added') rooms[entry.room] = { muted: false, marker: 0 };
    else if (entry.kind === 'removed') delete rooms[entry.room];
    else if (entry.kind === 'prefs') rooms[entry.room]!.muted = entry.muted;
    else rooms[entry.room]!.marker = entry.seq;
  }
  return rooms;
}

/** A socket whose server says what a test lets it say, and answers what a test has an answer to. */
class Script {
  tell!: (event: string, ...args: unknown[]) => void;
  answers: Record<string, (arg: never) => object> = {};
  asked: string[] = [];

  connect: Connect = () => {
    const manager = { on: () => undefined, socket: () => this.#socket(() => undefined) };
    const heard = new Map<string, () => void>();
    const socket = this.#socket((event, fn) => heard.set(event, fn), manager);
    socket.onAny = (fn) => { this.tell = fn; };
    socket.connect = () => heard.get('connect')!();
    return socket;
  };

  #socket(on: (event: string, fn: () => void) => void, io: object = {}): ReturnType<Connect> {
    return {
      id: 'one', connected: true, active: true, recovered: false, io: io as never, on, onAny: () => undefined, connect: () => undefined, disconnect: () => undefined,
      timeout: () => ({ emit: (event: string, ...args: unknown[]) => {
        this.asked.push(event);
        const answer = this.answers[event];
        if (answer) (args.at(-1) as (err: null, reply: object) => void)(null, answer(args[0] as never));
      } }),
    };
  }

  /** Tells an entry of the log. */
  entry(log: Entry[], useq: number): void {
    const entry = log[useq - 1]!;
    const { room: roomId } = entry;
    if (entry.kind === 'added') this.tell('me:room-added', { useq, room: info(roomId) });
    else if (entry.kind === 'removed') this.tell('me:room-removed', { useq, roomId, reason: 'removed' });
    else if (entry.kind === 'prefs') this.tell('me:prefs', { useq, roomId, prefs: { muted: entry.muted } });
    else this.tell('me:marker', { useq, roomId, seq: entry.seq, n: entry.seq, unread: said - entry.seq, mentions: 0, at: said });
  }

  /** The inbox as of an entry of the log. */
  inbox(log: Entry[], useq: number): void {
    const rooms = Object.entries(standing(log, useq)).map(([roomId, { muted, marker }]): ListedRoom => ({
      roomId, name: roomId, kind: 'private', role: 'member', seq: said, n: said, unread: said - marker, mentions: 0, marker: { seq: marker, n: marker }, prefs: { muted }, last: null,
    }));
    this.tell('inbox:state', { rooms, useq });
  }
}

const open: Starling[] = [];
afterEach(async () => { await Promise.all(open.splice(0).map((s) => s.close())); });

async function start(): Promise<{ script: Script; ann: Starling }> {
  const script = new Script();
  const user = { id: 'ann', name: 'Ann', role: 'user' };
  const ann = await Starling.open({ io: script.connect, tokens: { user, token: () => Promise.resolve('a token') }, cache: new MemoryCache(), shared: false });
  open.push(ann);
  return { script, ann };
}

const until = (what: () => boolean) => vi.waitFor(() => { if (!what()) throw new Error('not yet'); }, { timeout: 60_000, interval: 5 });
const answered = () => new Promise((resolve) => { setImmediate(resolve); }); // what was asked
const shown = (ann: Starling): Standing => Object.fromEntries(ann.rooms.map((r) => [r.id, { muted: r.prefs.muted ?? false, marker: ann.room(r.id)!.marker }]));
const memberships = (rooms: Standing) => Object.entries(rooms).map(([id, { muted }]) => `${id} ${muted}`).sort();

describe('Memberships', () => {
  it('never go back to what was before, however lists and the log of the user come', async () => {
    const act = fc.record({ room: fc.constantFrom('a', 'b'), what: fc.nat(3), value: fc.nat(said) });
    const told = fc.array(fc.oneof(fc.constant('next' as const), fc.nat(30)), { maxLength: 30 });
    await fc.assert(fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 15 }), told, async (acts, order) => {
      const log: Entry[] = [];
      for (const { room, what, value } of acts) {
        const there = standing(log, log.length)[room];
        if (!there) log.push({ kind: 'added', room });
        else if (what === 0) log.push({ kind: 'removed', room });
        else if (what === 1) log.push({ kind: 'prefs', room, muted: !there.muted });
        else log.push({ kind: 'marker', room, seq: value });
      }
      const { script, ann } = await start();
      let [heard, known] = [0, 0];
      script.answers = { 'room:get': (roomId: string) => {
        const { muted, marker } = standing(log, known)[roomId] ?? {};
        return { room: info(roomId), ...(marker === undefined ? {} : { role: 'member', prefs: { muted }, marker: { seq: marker, n: marker } }) };
      } };
      for (const step of [...order, ...log.map(() => 'next' as const)]) {
        if (step === 'next') {
          if (heard === log.length) continue;
          heard += 1;
          known = Math.max(known, heard);
          script.entry(log, heard);
        } else {
          known = Math.max(known, step % (log.length + 1));
          script.inbox(log, step % (log.length + 1));
        }
        await answered();
        expect(memberships(shown(ann))).toEqual(memberships(standing(log, known)));
        if (heard === known) expect(shown(ann)).toEqual(standing(log, known));
      }
      await ann.close();
    }), { numRuns: 300 });
  }, 300_000);

  const twice: Entry[] = ['added', 'removed', 'added'].map((kind) => ({ kind, room: 'a' }) as Entry);
  const answers = {
    'room:join': () => ({ roomId: 'a', seq: said, role: 'member', hasMore: false }),
    'message:history': () => ({ messages: [], hasMore: false }),
  };

  it('a room that is shown is entered again when the user is in it again', async () => {
    const { script, ann } = await start();
    script.answers = answers;
    script.inbox(twice, 1);
    await ann.show('a');
    script.entry(twice, 2);
    expect([ann.room('a')?.errorReason, ann.rooms.length]).toEqual(['removed', 0]);
    script.entry(twice, 3);
    await until(() => ann.room('a')?.complete === true);
    expect([ann.room('a')?.errorReason, ann.rooms.length, script.asked.filter((e) => e === 'room:join').length]).toEqual([undefined, 1, 2]);
  });

  it('the room says late that the user was removed, who is back by then', async () => {
    const { script, ann } = await start();
    script.answers = answers;
    script.inbox(twice, 1);
    await ann.join('a');
    script.entry(twice, 2);
    script.entry(twice, 3);
    script.tell('room:user-left', { roomId: 'a', userId: 'ann', seq: said - 1, reason: 'removed' });
    expect(ann.rooms.map((r) => r.id)).toEqual(['a']);
  });

  it('an answer that is older than what the log said since it was asked for is asked for again', async () => {
    const { script, ann } = await start();
    const muted: Entry[] = [{ kind: 'added', room: 'a' }, { kind: 'prefs', room: 'a', muted: true }];
    let asked = 0;
    script.answers = { 'room:get': () => ({ room: info('a'), role: 'owner', prefs: { muted: (asked += 1) > 1 } }) };
    script.entry(muted, 1);
    script.entry(muted, 2);
    await until(() => ann.rooms[0]?.role === 'owner');
    expect([asked, shown(ann).a!.muted]).toEqual([2, true]);
  });

  it('a room that was marked unread here stays so until it is read elsewhere', async () => {
    const { script, ann } = await start();
    const read: Entry[] = [{ kind: 'added', room: 'a' }, ...[18, 9, 20].map((seq) => ({ kind: 'marker', room: 'a', seq }) as Entry)];
    script.inbox(read, 2);
    script.answers = { ...answers, 'room:get': () => ({ room: info('a'), marker: { seq: 9, n: 9 } }) };
    await ann.show('a');
    script.entry(read, 3);
    await answered();
    expect([ann.room('a')!.held, ann.room('a')!.unread]).toEqual([true, 11]);
    script.entry(read, 4);
    expect([ann.room('a')!.held, ann.room('a')!.unread]).toEqual([false, 0]);
  });

  it('what was read and answered is not unread again by what the log says late', async () => {
    const { script, ann } = await start();
    const read: Entry[] = [{ kind: 'added', room: 'a' }, ...[9, 18, 9].map((seq) => ({ kind: 'marker', room: 'a', seq }) as Entry)];
    script.inbox(read, 1);
    const last = { id: 'm', roomId: 'a', seq: said, n: said, sender: { id: 'ben', name: 'Ben' }, content: 'the last', type: 'text', createdAt: '2026-01-01T00:00:00Z' };
    let marker = 0;
    script.answers = {
      ...answers, 'message:history': () => ({ messages: [last], hasMore: false }), 'message:read': () => { marker = said; return {}; }, 'room:get': () => ({ room: info('a'), marker: { seq: marker, n: marker } }),
    };
    await ann.show('a');
    ann.markRead('a');
    await until(() => script.asked.includes('message:read'));
    await answered();
    const views: unknown[] = [];
    ann.subscribe('room:a', () => views.push([ann.room('a')!.held, ann.room('a')!.unread]));
    for (const useq of [2, 3]) {
      script.entry(read, useq);
      await answered();
    }
    expect(views.filter((view) => String(view) !== 'false,0')).toEqual([]);
    marker = 9; // on another device it was marked unread
    script.entry(read, 4);
    await answered();
    expect(views.at(-1)).toEqual([true, 11]);
  });
});

// The store against a real Starling with two gateways: what only the official client and a server can show.

import 'fake-indexeddb/auto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { io } from 'socket.io-client';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
// @ts-expect-error plain JavaScript
import { System, build, remove, scratch, settings } from '../../../test/e2e/system.js';
import { Session, Starling, type Connect } from '../src/index.ts';

const patience = 60_000;
const until = (what: () => boolean) => vi.waitFor(() => { if (!what()) throw new Error('not yet'); }, { timeout: patience, interval: 30 });

/** localStorage of a browser. */
class Memory {
  #kept = new Map<string, string>();
  getItem(key: string): string | null { return this.#kept.get(key) ?? null; }
  setItem(key: string, value: string): void { this.#kept.set(key, value); }
  removeItem(key: string): void { this.#kept.delete(key); }
}

describe('Starling', () => {
  let system: { urls: string[]; stop(): Promise<void> };
  let dir: string;
  let binary: string;
  const open: Starling[] = [];
  let users = 0;

  beforeAll(async () => {
    const there = process.env.STARLING_SYSTEM; // web/test.js has started one
    if (there) {
      system = { ...JSON.parse(there) as { urls: string[] }, stop: () => Promise.resolve() };
      return;
    }
    dir = scratch();
    binary = process.env.STARLING_BINARY ?? build(dir);
    system = await System.start({ binary, data: join(dir, 'data'), gateways: 2, log: join(dir, 'log') });
  }, 300_000);
  afterEach(async () => { await Promise.all(open.splice(0).map((s) => s.close())); });
  afterAll(async () => {
    await system.stop();
    if (process.env.STARLING_SYSTEM) return;
    remove(dir, binary);
    rmSync(dir, { recursive: true, force: true });
  }, 150_000);

  const session = async (name: string) => {
    users += 1;
    const made = new Session({ url: system.urls[0], storage: new Memory() });
    await made.signUp(`${name}-${Date.now().toString(36)}-${users}`, 'a-long-pass-phrase', name);
    return made;
  };
  const store = async (tokens: Session, gateway = 0) => {
    const opened = await Starling.open({ io: io as unknown as Connect, url: system.urls[gateway], tokens, name: `test:${tokens.user.id}` });
    open.push(opened);
    await until(() => opened.connection.status === 'online');
    return opened;
  };
  const contents = (s: Starling, room: string) => s.room(room)?.messages.map((m) => m.content) ?? [];
  const post = async (room: string, content: string, userId?: string) => {
    const response = await fetch(`${system.urls[0]}/api/v1/rooms/${room}/messages`, { method: 'POST', headers: { 'x-api-key': settings.API_KEY, 'content-type': 'application/json' }, body: JSON.stringify({ content, userId }) });
    expect(response.status).toBe(200);
  };

  it('shows in one store what another one sends, over two gateways', async () => {
    const ann = await store(await session('ann'));
    const ben = await store(await session('ben'), 1);
    expect(ann.connection.gateway).toBe('local-1');
    expect(ben.connection.gateway).toBe('local-2');
    await ann.join('hall');
    await ben.join('hall');
    await Promise.all([ann.show('hall'), ben.show('hall')]);
    for (let i = 0; i < 5; i += 1) await ann.send('hall', `line ${i}`);
    await until(() => contents(ben, 'hall').length === 5 && ann.counts.waiting === 0);
    expect(contents(ben, 'hall')).toEqual([0, 1, 2, 3, 4].map((i) => `line ${i}`));
    expect(contents(ann, 'hall')).toEqual(contents(ben, 'hall'));
    ben.markRead('hall');
    await until(() => (ann.room('hall')?.readUpTo ?? 0) === ann.room('hall')?.messages.at(-1)?.seq);
  }, 2 * patience);

  it('sends once what was written without a connection, from the store that comes after', async () => {
    const tokens = await session('ann');
    const first = await store(tokens);
    await first.join('attic');
    await first.show('attic');
    first.trouble('away', 600_000);
    for (let i = 0; i < 20; i += 1) await first.send('attic', `queued ${i}`);
    expect(first.counts.waiting).toBe(20);
    await first.close();
    const second = await store(tokens);
    await second.show('attic');
    await until(() => second.counts.waiting === 0 && contents(second, 'attic').length === 20);
    expect(contents(second, 'attic')).toEqual(Array.from({ length: 20 }, (_, i) => `queued ${i}`));
  }, 2 * patience);

  it('has everything after a cut in the midst of sending, though answers are lost', async () => {
    const ann = await store(await session('ann'));
    const ben = await store(await session('ben'), 1);
    await ann.join('cellar');
    await ben.join('cellar');
    await Promise.all([ann.show('cellar'), ben.show('cellar')]);
    for (let i = 0; i < 12; i += 1) {
      if (i === 3) ann.trouble('drop', 'message:send');
      await ann.send('cellar', `a${i}`);
      await ben.send('cellar', `b${i}`);
      if (i === 5) ann.trouble('cut');
      if (i === 8) ben.trouble('cut');
    }
    await until(() => ann.counts.waiting === 0 && ben.counts.waiting === 0 && contents(ann, 'cellar').length >= 24 && contents(ben, 'cellar').length >= 24);
    expect(contents(ann, 'cellar')).toEqual(contents(ben, 'cellar'));
    expect(contents(ann, 'cellar').filter((c) => c.startsWith('a'))).toEqual(Array.from({ length: 12 }, (_, i) => `a${i}`));
    expect(ann.counts.twice + ben.counts.twice).toBe(0);
  }, 2 * patience);

  it('starts from what the device has, and fetches what was missed', async () => {
    const tokens = await session('ann');
    const first = await store(tokens);
    await first.join('loft');
    await first.show('loft');
    await first.send('loft', 'before');
    await until(() => first.counts.waiting === 0);
    await first.close();
    for (let i = 0; i < 130; i += 1) await post('loft', `missed ${i}`);
    const second = await Starling.open({ io: io as unknown as Connect, url: system.urls[0], tokens, name: `test:${tokens.user.id}` });
    open.push(second);
    expect(second.rooms.map((r) => r.id)).toEqual(['loft']); // before there is a connection
    await second.show('loft');
    await until(() => contents(second, 'loft').length === 131);
    expect(contents(second, 'loft')).toEqual(['before', ...Array.from({ length: 130 }, (_, i) => `missed ${i}`)]);
  }, 2 * patience);

  it('asks for a fresh token when the server does not take the one that it has', async () => {
    const ann = await store(await session('ann'));
    await ann.join('hut');
    await ann.show('hut');
    const before = ann.connection.connects;
    ann.trouble('expire');
    await ann.send('hut', 'with a fresh one');
    await until(() => ann.connection.connects > before && ann.connection.status === 'online' && ann.counts.waiting === 0);
    expect(contents(ann, 'hut')).toEqual(['with a fresh one']);
  }, 2 * patience);

  it('enters and fills a room again when answers are lost, though the connection stays', async () => {
    const tokens = await session('ann');
    const first = await store(tokens);
    await first.join('nook');
    await first.close();
    await post('nook', 'a line');
    const second = await Starling.open({ io: io as unknown as Connect, url: system.urls[0], tokens, name: `test:${tokens.user.id}` });
    open.push(second);
    for (const event of ['room:list', 'room:join', 'message:history']) second.trouble('drop', event);
    await second.show('nook');
    await until(() => second.listed && contents(second, 'nook').length === 1 && second.room('nook')?.joined === true);
    expect(second.connection.connects).toBe(1);
    await post('nook', 'another');
    await until(() => contents(second, 'nook').length === 2);
  }, 2 * patience);

  it('counts what is unread until it is read', async () => {
    const ann = await store(await session('ann'));
    const ben = await store(await session('ben'), 1);
    await ann.join('porch');
    await ben.join('porch');
    for (let i = 0; i < 3; i += 1) await ben.send('porch', `line ${i}`);
    await until(() => ann.rooms.find((r) => r.id === 'porch')?.unread === 3);
    await ann.show('porch');
    await until(() => contents(ann, 'porch').length === 3);
    ann.markRead('porch');
    expect(ann.rooms.find((r) => r.id === 'porch')?.unread).toBe(0);
  }, 2 * patience);

  it('knows how all rooms stand without entering them, also what happened while it was away', async () => {
    const tokens = await session('ann');
    const ann = await store(tokens);
    const ben = await store(await session('ben'), 1);
    const ids: string[] = [];
    for (const name of ['One', 'Two', 'Three']) {
      const made = await ben.create('private', name, { members: [{ userId: ann.me.id }] });
      if (!made.ok) throw new Error(made.error.message);
      ids.push(made.room.roomId);
    }
    const [one, two, three] = ids as [string, string, string];
    const of = (id: string) => ann.rooms.find((r) => r.id === id);
    await until(() => ids.every((id) => of(id)?.unread === 0));
    await ben.show(one);
    await ben.send(one, 'first');
    await ben.send(one, 'second', { mentions: { users: [ann.me.id] } });
    await until(() => ben.counts.waiting === 0);
    await ben.send(two, 'third');
    await until(() => of(one)?.unread === 2 && of(one)?.mentions === 1 && of(one)?.last?.content === 'second' && of(two)?.unread === 1);
    expect(ann.rooms.map((r) => r.name)).toEqual(['Two', 'One', 'Three']); // the last active first
    await until(() => contents(ben, one).length === 2 && ben.counts.waiting === 0);
    await ben.edit(ben.room(one)!.messages[1]!, 'changed');
    await until(() => of(one)?.last?.content === 'changed');
    expect([of(one)?.unread, of(one)?.mentions]).toEqual([2, 1]);

    ann.trouble('away', 1000);
    await until(() => ann.connection.status === 'offline');
    await ben.send(two, 'missed');
    await ben.call('room:remove', { roomId: three, userIds: [ann.me.id] });
    await until(() => of(two)?.unread === 2 && of(two)?.last?.content === 'missed' && of(three) === undefined);
    expect(ann.rooms.map((r) => r.joined)).toEqual([false, false]);

    const other = await Starling.open({ io: io as unknown as Connect, url: system.urls[1], tokens, name: `test:${tokens.user.id}:other` });
    open.push(other);
    await other.show(one);
    await until(() => contents(other, one).length === 2 && other.room(one)!.unread === 2);
    other.markRead(one);
    await until(() => of(one)?.unread === 0 && of(one)?.mentions === 0);
    await other.send(two, 'and I'); // which has read what was said before
    await until(() => of(two)?.last?.content === 'and I' && of(two)?.unread === 0);
    await ann.show(two);
    await until(() => contents(ann, two).length === 3);
    expect(contents(ann, two)).toEqual(['third', 'missed', 'and I']);
  }, 2 * patience);

  it('lists the rooms, and is right in those that are shown, where a server has no inbox', async () => {
    const plain = ((url: string, options: { auth: (give: (auth: object) => void) => void }) => io(url, {
      ...options, auth: (give) => options.auth((auth) => give({ ...auth, inbox: undefined })),
    })) as unknown as Connect;
    const tokens = await session('ann');
    const first = await store(tokens);
    for (const room of ['cabin', 'deck']) await first.join(room);
    await first.close();
    for (const room of ['cabin', 'deck', 'deck']) await post(room, 'while she was away');
    const second = await Starling.open({ io: plain, url: system.urls[0], tokens, name: `test:${tokens.user.id}` });
    open.push(second);
    await until(() => second.listed && second.rooms.map((r) => r.unread).sort().join() === '1,2');
    await second.show('cabin');
    await until(() => contents(second, 'cabin').length === 1);
    await post('cabin', 'live');
    await until(() => contents(second, 'cabin').length === 2);
    second.markRead('cabin');
    expect(second.rooms.map((r) => r.unread)).toEqual([0, 2]);
  }, 2 * patience);

  it('opens a room more than a socket may be in', async () => {
    const ann = await store(await session('ann'));
    for (const part of ['a', 'b']) {
      const entered = await ann.call('room:enter', { rooms: Array.from({ length: 50 }, (_, i) => ({ roomId: `wing-${part}${i}` })) });
      expect(entered.ok && entered.rooms.every((r) => r.ok)).toBe(true);
    }
    await ann.show('attic-of-the-wing');
    await until(() => ann.room('attic-of-the-wing')?.complete === true);
    await post('attic-of-the-wing', 'up here');
    await until(() => contents(ann, 'attic-of-the-wing').length === 1);
    expect(ann.rooms.length).toBe(101);
  }, 2 * patience);

  it('marks unread on all devices, and is told only by the server that a marker goes back', async () => {
    const tokens = await session('ann');
    const ann = await store(tokens);
    const open2 = await Starling.open({ io: io as unknown as Connect, url: system.urls[1], tokens, name: `test:${tokens.user.id}:other` });
    open.push(open2);
    const ben = await store(await session('ben'), 1);
    await ann.join('loggia');
    await ben.join('loggia');
    for (let i = 0; i < 4; i += 1) await ben.send('loggia', `line ${i}`);
    for (const device of [ann, open2]) await device.show('loggia');
    await until(() => [ann, open2].every((s) => contents(s, 'loggia').length === 4));
    ann.markRead('loggia');
    const { messages } = ann.room('loggia')!;
    await until(() => open2.room('loggia')!.marker === messages.at(-1)!.seq);
    const reply = await ann.markUnread(messages[2]!);
    expect(reply.ok).toBe(true);
    await until(() => [ann, open2].every((s) => s.room('loggia')!.unread === 2 && s.room('loggia')!.held));
    ann.markRead('loggia'); // what is shown was marked unread on purpose
    expect(ann.room('loggia')!.unread).toBe(2);
    await ben.send('loggia', 'one more');
    await until(() => [ann, open2].every((s) => s.room('loggia')!.unread === 3));
    await ann.show(undefined);
    await ann.show('loggia');
    ann.markRead('loggia');
    await until(() => [ann, open2].every((s) => s.room('loggia')!.unread === 0 && s.room('loggia')!.marker > messages.at(-1)!.seq));
  }, 2 * patience);

  it('tells what was read without a connection when it is back', async () => {
    const tokens = await session('ann');
    const ann = await store(tokens);
    const other = await Starling.open({ io: io as unknown as Connect, url: system.urls[1], tokens, name: `test:${tokens.user.id}:other` });
    open.push(other);
    await ann.join('stairs');
    await ann.show('stairs');
    await until(() => other.rooms.some((r) => r.id === 'stairs'));
    await post('stairs', 'read on the train');
    await until(() => contents(ann, 'stairs').length === 1 && other.rooms.find((r) => r.id === 'stairs')?.unread === 1);
    ann.trouble('away', 2000);
    await until(() => ann.connection.status === 'offline');
    ann.markRead('stairs');
    await until(() => other.rooms.find((r) => r.id === 'stairs')?.unread === 0);
  }, 2 * patience);

  it('tells again what was read when the server could not take it, though the connection stays', async () => {
    const [tokens, ben] = [await session('ann'), await store(await session('ben'), 1)];
    let refused = 0;
    const refusing = (url: string, options: object) => {
      const socket = io(url, options);
      const emit = socket.emit.bind(socket);
      socket.emit = (event, ...args) => {
        if (event !== 'message:read' || refused > 0) return emit(event, ...args);
        refused += 1;
        args.at(-1)(null, { ok: false, error: { code: 'unavailable', message: 'Service unavailable', retryAfterMs: 50 } });
        return socket;
      };
      return socket;
    };
    const ann = await Starling.open({ io: refusing as unknown as Connect, url: system.urls[0], tokens, name: `test:${tokens.user.id}` });
    open.push(ann);
    await until(() => ann.connection.status === 'online');
    await ann.join('stile');
    await ben.join('stile');
    await Promise.all([ann.show('stile'), ben.show('stile')]);
    await ben.send('stile', 'once more');
    await until(() => contents(ann, 'stile').length === 1);
    ann.markRead('stile');
    await until(() => (ben.room('stile')?.readUpTo ?? 0) === ben.room('stile')?.messages.at(-1)?.seq);
    expect([refused, ann.connection.connects]).toEqual([1, 1]);
  }, 2 * patience);

  it('deletes what was deleted before the store was closed, unless that was undone', async () => {
    const tokens = await session('ann');
    const ann = await store(tokens);
    const ben = await store(await session('ben'), 1);
    await ann.join('shed');
    await ben.join('shed');
    await Promise.all([ann.show('shed'), ben.show('shed')]);
    for (const text of ['stays', 'goes', 'undone']) await ann.send('shed', text);
    await until(() => contents(ben, 'shed').length === 3 && ann.counts.waiting === 0);
    const [, goes, undone] = ann.room('shed')!.messages;
    void ann.remove(goes!, 1000);
    const kept = ann.remove(undone!, 1000);
    await until(() => ann.room('shed')!.removing.size === 2);
    await ann.restore(undone!);
    expect((await kept).ok).toBe(true);
    expect([...ann.room('shed')!.removing]).toEqual([goes!.id]);
    await ann.close();
    const again = await store(tokens);
    await again.show('shed');
    await until(() => contents(ben, 'shed')[1] === '' && contents(again, 'shed')[1] === '' && again.counts.waiting === 0);
    expect(contents(ben, 'shed')).toEqual(['stays', '', 'undone']);
    const refused = await ben.remove(again.room('shed')!.messages[0]!);
    expect(refused.ok ? '' : refused.error.reason).toBe('not_author');
    expect([ben.counts.waiting, ben.room('shed')!.removing.size]).toEqual([0, 0]);
  }, 2 * patience);

  it('is told at once that a room was added and that it was removed', async () => {
    const ann = await store(await session('ann'));
    const ben = await store(await session('ben'), 1);
    const made = await ann.create('private', 'Plans');
    if (!made.ok) throw new Error(made.error.message);
    const { roomId } = made.room;
    await ann.call('room:add', { roomId, userIds: [ben.me.id] });
    await until(() => ben.rooms.some((r) => r.id === roomId && r.kind === 'private'));
    await ann.call('room:remove', { roomId, userIds: [ben.me.id] });
    await until(() => !ben.rooms.some((r) => r.id === roomId));
    const direct = await ann.openDirect([ben.me.id]);
    if (!direct.ok) throw new Error(direct.error.message);
    await until(() => ben.rooms.some((r) => r.id === direct.room.roomId && r.kind === 'direct' && r.partners[0] === ann.me.id));
  }, 2 * patience);

  it('says no more than the server allows, and lets a refused message be tried again', async () => {
    const ann = await store(await session('ann'));
    const ben = await store(await session('ben'), 1);
    await ann.join('yard');
    await ben.join('yard');
    await ben.show('yard');
    await ann.call('room:mute', { roomId: 'yard', userId: ben.me.id });
    const pending = await ben.send('yard', 'may I?');
    await until(() => ben.room('yard')?.pending[0]?.state === 'failed');
    expect(ben.room('yard')?.pending[0]?.error?.reason).toBe('muted');
    await ann.call('room:unmute', { roomId: 'yard', userId: ben.me.id });
    await ben.retry(pending);
    await until(() => contents(ben, 'yard').includes('may I?'));
    expect(ben.room('yard')?.pending).toEqual([]);
  }, 2 * patience);
});

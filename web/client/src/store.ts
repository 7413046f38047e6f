// The store: rooms, messages and what else a chat shows, kept on the device, in step with the server and with the other tabs.

import { openCache, type Cache } from './cache.ts';
import { Topics } from './emitter.ts';
import { SocketLink, type Connect, type Link, type LinkState, type Note, type Trace } from './link.ts';
import { Outbox, isFinal, type Sent } from './outbox.ts';
import { Room, type RoomSummary, type RoomView } from './room.ts';
import type { TokenSource } from './session.ts';
import { TabLink, canShare, randomId } from './tabs.ts';
import { factOf, type Wire } from './wire.ts';
import type { Ack, Fact, Fault, Kind, ListedRoom, Member, MemberRole, Message, Notification, Pending, Prefs, Presence, RoomInfo, User } from './types.ts';

export interface StoreOptions {
  /** `io` of socket.io-client 4. */
  io: Connect;
  tokens: TokenSource;
  /** The gateway; '' or nothing is where the page comes from. */
  url?: string;
  /** Path of Socket.IO. */
  path?: string;
  /** Names what is kept on the device; by default gateway and user. */
  name?: string;
  cache?: Cache;
  /** One connection for all tabs; where the browser can, unless false. */
  shared?: boolean;
  /** Messages of an open room that are held in memory. */
  maxMessages?: number;
  /** Messages of a room that are kept on the device. */
  keptMessages?: number;
}

/** What a server can do that not every one can; found out by asking. */
export const abilities = ['message:edit', 'message:delete', 'message:react', 'message:pin', 'message:changes', 'message:get', 'mention:list', 'room:mark-unread'] as const;
export type Ability = (typeof abilities)[number];

export interface SendOptions { format?: 'markdown'; replyTo?: Message; mentions?: Pending['mentions'] }

/** Messages that wait to be sent, at most: who writes more is told. */
const maxWaiting = 1000;
const page = 50;
const maxJoined = 90; // of the 100 that a socket may be in: some are left for rooms that the user opens
const typingEvery = 3000;

/** Topics: rooms, room:<id>, connection, presence, notifications, outbox, abilities, trace. */
export class Starling {
  readonly me: User;
  readonly #options: StoreOptions;
  readonly #topics = new Topics();
  readonly #rooms = new Map<string, Room>();
  readonly #presence = new Map<string, Presence>();
  readonly #names = new Map<string, string>();
  readonly #tab = randomId();
  #link!: Link;
  #cache!: Cache;
  #outbox!: Outbox;
  #useq: number | undefined;
  #session = '';
  #connects = 0;
  #summaries: readonly RoomSummary[] | undefined;
  #presenceView: ReadonlyMap<string, Presence> | undefined;
  #open: string | undefined;
  #listed = false;
  /** Listings on their way, and the rooms that one came into or left since the first of them was asked for: there they know less than the store. */
  #listings = 0;
  readonly #moved = new Set<string>();
  #abilities = new Set<string>();
  #notifications: { list: readonly Notification[]; unread: number } = { list: [], unread: 0 };
  #drafts = new Map<string, string>();
  #typedAt = new Map<string, number>();
  #readDue = new Map<string, ReturnType<typeof setTimeout>>();
  #watched = new Map<string, readonly string[]>();
  #watches = new Map<string, string[]>();
  #watchDue: ReturnType<typeof setTimeout> | undefined;
  readonly #entering = new Map<string, ReturnType<typeof setTimeout>>();
  #dirtyRooms = new Set<string>();
  #goneRooms = new Set<string>();
  #dirtyTimelines = new Set<string>();
  #saving: ReturnType<typeof setTimeout> | undefined;
  #sweep: ReturnType<typeof setInterval> | undefined;
  #counts = { sent: 0, committed: 0, delivered: 0, twice: 0 };
  #closed = false;
  #forgotten = false;
  #order = 0;
  ontrace: ((trace: Trace) => void) | undefined;

  private constructor(options: StoreOptions) {
    this.#options = options;
    this.me = options.tokens.user;
    this.#names.set(this.me.id, this.me.name);
  }

  /** Opens what the device has, then connects; what is kept can be shown at once. */
  static async open(options: StoreOptions): Promise<Starling> {
    const store = new Starling(options);
    const name = options.name ?? `starling:${options.url ?? ''}:${options.tokens.user.id}`;
    store.#cache = options.cache ?? await openCache(name);
    store.#outbox = new Outbox(store.#cache, {
      ready: () => store.#link.state.leader && store.#link.state.status === 'online',
      send: (p) => store.#sendNow(p),
      changed: (p) => {
        store.#pendingChanged(p);
        if (store.#link.state.leader) store.#note({ kind: 'pending', pending: p });
      },
      written: (p) => { if (!store.#link.state.leader) store.#note({ kind: 'pending', pending: p }); },
      committed: (p, sent) => store.#committed(p, sent),
    });
    store.#link = store.#makeLink(name);
    await store.#restore();
    store.#link.onstate = () => store.#stateChanged();
    store.#link.onevent = (event, args, namespace) => store.#event(event, args, namespace);
    store.#link.onnote = (note) => store.#noted(note);
    store.#link.ontrace = (trace) => store.ontrace?.(trace);
    store.#sweep = setInterval(() => store.#expireTypists(), 1000);
    (store.#sweep as { unref?: () => void }).unref?.();
    store.#link.start();
    return store;
  }

  #makeLink(name: string): Link {
    const { io, url, path, tokens, shared } = this.#options;
    const make = () => new SocketLink({ io, url, path, tokens, namespaces: ['/notifications'], useq: () => this.#useq });
    return shared !== false && canShare() ? new TabLink(name, make) : make();
  }

  async #restore(): Promise<void> {
    const [rooms, useq, drafts, names] = await Promise.all([
      this.#cache.rooms(), this.#cache.value<number>('useq'), this.#cache.value<[string, string][]>('drafts'), this.#cache.value<[string, string][]>('names'),
    ]);
    for (const kept of rooms) this.#room(kept.roomId).listed(kept);
    this.#useq = useq;
    for (const [id, text] of drafts ?? []) this.#drafts.set(id, text);
    for (const [id, name] of names ?? []) this.#names.set(id, name);
    await this.#outbox.load();
    this.#roomsChanged();
  }

  // Reading

  subscribe(topic: string, listener: () => void): () => void { return this.#topics.subscribe(topic, listener); }

  get connection(): LinkState { return this.#link.state; }

  /** The user's rooms, the last active first. */
  get rooms(): readonly RoomSummary[] {
    this.#summaries ??= [...this.#rooms.values()].filter((r) => r.role !== undefined).map((r) => r.summary())
      .sort((a, b) => Number(b.prefs.pinned ?? false) - Number(a.prefs.pinned ?? false) || b.at.localeCompare(a.at) || a.id.localeCompare(b.id));
    return this.#summaries;
  }

  /** Whether the server has said which rooms there are; before, it is what the device kept. */
  get listed(): boolean { return this.#listed; }

  room(roomId: string): RoomView | undefined { return this.#rooms.get(roomId)?.view(); }

  get presence(): ReadonlyMap<string, Presence> {
    this.#presenceView ??= new Map(this.#presence);
    return this.#presenceView;
  }

  get notifications(): { list: readonly Notification[]; unread: number } { return this.#notifications; }

  get counts(): Readonly<{ sent: number; committed: number; delivered: number; twice: number; waiting: number }> { return { ...this.#counts, waiting: this.#outbox.size }; }

  get abilities(): ReadonlySet<string> { return this.#abilities; }

  can(ability: Ability): boolean { return this.#abilities.has(ability); }

  /** The name under which a user was seen last, or the id. */
  nameOf(userId: string): string { return this.#names.get(userId) ?? userId; }

  /** Everybody but the user who was seen, the last ones first. */
  get people(): { id: string; name: string }[] { return [...this.#names].filter(([id]) => id !== this.me.id && id !== 'system').map(([id, name]) => ({ id, name })).reverse(); }

  knows(userId: string): boolean { return this.#names.has(userId); }

  draft(roomId: string): string { return this.#drafts.get(roomId) ?? ''; }

  // Rooms

  /** Shows a room: its messages are loaded and kept in step until another one is shown. */
  async show(roomId: string | undefined): Promise<void> {
    const before = this.#open;
    this.#open = roomId;
    if (before && before !== roomId) this.#rooms.get(before)?.trim(this.#kept());
    if (roomId) await this.#load(this.#room(roomId));
  }

  async #load(room: Room): Promise<void> {
    if (!room.loaded && !room.fromCache) {
      room.fromCache = true;
      const kept = await this.#cache.timeline(room.id).catch(() => undefined);
      if (kept && !room.loaded) {
        room.restore(kept);
        for (const { base } of kept.entries) if (base) this.#learn(base.sender.id, base.sender.name);
        this.#roomChanged(room);
      }
    }
    await this.#enter(room);
  }

  /** Hears the room and fills what is missing before what it hears. */
  async #enter(room: Room, invite?: string): Promise<Ack<{ roomId: string }>> {
    const { session, status } = this.#link.state;
    if (status !== 'online') {
      this.#enterLater(room, session);
      return { ok: false, error: { code: 'offline', message: 'There is no connection' } };
    }
    const since = room.loaded && !room.hasNewer ? room.to : room.seq || undefined;
    const reply = await this.#link.join(room.id, since, invite);
    if (session !== this.#link.state.session) return reply;
    if (!reply.ok) {
      room.error = isFinal(reply.error) ? { message: reply.error.message, reason: reply.error.reason } : undefined;
      room.loading = undefined;
      if (!room.error) this.#enterLater(room, session, reply.error.retryAfterMs);
      this.#roomChanged(room);
      return reply;
    }
    room.joined = true;
    room.error = undefined;
    room.role = reply.role as MemberRole;
    this.#moved.add(room.id);
    room.seq = Math.max(room.seq, reply.seq);
    if (room.info?.kind !== 'direct') room.entered(reply.seq); // of a direct room all is news
    if (this.#open === room.id || room.loaded) {
      await this.#fill(room, session);
      if (this.#open === room.id) void this.#details(room);
      if (!room.complete && !room.hasNewer && !room.error) this.#enterLater(room, session);
    }
    if (room.complete) room.tries = 0;
    this.#roomChanged(room);
    return reply;
  }

  /** Tries again what had no answer: the session is still the one in which it was asked, so that nothing else would. */
  #enterLater(room: Room, session: string, afterMs = Math.min(500 * 2 ** room.tries, 15_000)): void {
    if (this.#closed || this.#entering.has(room.id)) return;
    room.tries += 1;
    this.#entering.set(room.id, setTimeout(() => {
      this.#entering.delete(room.id);
      if (session !== this.#link.state.session || (this.#open !== room.id && room.role === undefined)) return;
      if (this.#link.state.status === 'online') void this.#enter(room); else this.#enterLater(room, session);
    }, afterMs));
  }

  async #fill(room: Room, session: string): Promise<void> {
    if (room.complete || room.hasNewer) return;
    if (room.loaded && await this.#catchUp(room, session)) return;
    if (this.#open !== room.id && !room.loaded) return;
    room.loading = 'first';
    this.#roomChanged(room);
    const reply = await this.#link.call<{ messages: Message[]; hasMore: boolean }>('message:history', { roomId: room.id, limit: page });
    room.loading = undefined;
    if (reply.ok) {
      const first = reply.messages[0]?.seq ?? 0;
      const last = reply.messages.at(-1)?.seq ?? 0;
      // What came live since then continues the page; what was here before is too far back to be continued.
      const live = room.timeline.messages().filter((m) => m.seq > last);
      room.clear();
      for (const message of [...reply.messages, ...live]) this.#apply(room, { kind: 'message', message, personal: true });
      Object.assign(room, {
        from: first, to: Math.max(room.seq, last), hasOlder: reply.hasMore, hasNewer: false, loaded: true, complete: session === this.#link.state.session,
      });
    } else if (isFinal(reply.error)) {
      room.error = { message: reply.error.message, reason: reply.error.reason };
    }
    this.#roomChanged(room);
  }

  /** Brings a segment that ends somewhere in the past up to date; false: it is too far back. */
  async #catchUp(room: Room, session: string): Promise<boolean> {
    const changes = this.can('message:changes');
    for (let pages = 0; pages < 5; pages += 1) {
      const reply = changes
        ? await this.#link.call<{ messages: Message[]; hasMore: boolean; upTo?: number }>('message:changes', { roomId: room.id, since: room.to, limit: 100 })
        : await this.#link.call<{ messages: Message[]; hasMore: boolean; upTo?: number }>('message:history', { roomId: room.id, after: room.to, limit: 100 });
      if (!reply.ok) return !isFinal(reply.error);
      const oldest = room.timeline.messages()[0]?.seq ?? 0;
      for (const message of reply.messages) if (message.seq >= oldest) this.#apply(room, { kind: 'message', message, personal: true });
      room.to = Math.max(room.to, reply.upTo ?? reply.messages.at(-1)?.seq ?? 0);
      if (!reply.hasMore) {
        room.to = Math.max(room.to, room.seq);
        room.complete = session === this.#link.state.session;
        this.#roomChanged(room);
        return true;
      }
    }
    return false;
  }

  async #details(room: Room): Promise<void> {
    const [got, readers] = await Promise.all([
      this.#link.call<{ room: RoomInfo; role?: MemberRole; marker?: { seq: number }; prefs?: Prefs }>('room:get', room.id),
      this.#link.call<{ readers: { userId: string; seq: number }[] }>('message:readers', { roomId: room.id, limit: 200 }),
    ]);
    if (got.ok) {
      room.info = got.room;
      room.role = got.role ?? room.role;
      room.prefs = got.prefs ?? room.prefs;
      if (got.marker) room.read(got.marker.seq);
    }
    if (readers.ok) for (const { userId, seq } of readers.readers) this.#receipt(room, userId, seq);
    this.#roomChanged(room);
  }

  async loadOlder(roomId: string): Promise<void> {
    const room = this.#rooms.get(roomId);
    if (!room?.loaded || !room.hasOlder || room.loading) return;
    const first = room.timeline.messages()[0]?.seq ?? room.from;
    await this.#page(room, 'older', { before: first, limit: 100 }, (messages, hasMore) => {
      room.from = messages[0]?.seq ?? room.from;
      room.hasOlder = hasMore;
      const max = this.#options.maxMessages ?? 100_000;
      if (room.timeline.size > max) {
        room.timeline.keepOldest(max);
        Object.assign(room, { hasNewer: true, complete: false, to: room.timeline.messages().at(-1)?.seq ?? room.to });
      }
    });
  }

  async loadNewer(roomId: string): Promise<void> {
    const room = this.#rooms.get(roomId);
    if (!room?.loaded || !room.hasNewer || room.loading) return;
    const after = room.timeline.messages().at(-1)?.seq ?? room.to;
    await this.#page(room, 'newer', { after, limit: 100 }, (messages, hasMore) => {
      Object.assign(room, { to: messages.at(-1)?.seq ?? room.to, hasNewer: hasMore, complete: false });
    });
    if (!room.hasNewer) await this.#enter(room); // what came live meanwhile was not taken
  }

  async #page(room: Room, which: 'older' | 'newer', cursor: object, done: (messages: Message[], hasMore: boolean) => void): Promise<void> {
    room.loading = which;
    this.#roomChanged(room);
    const { segment } = room;
    const reply = await this.#link.call<{ messages: Message[]; hasMore: boolean }>('message:history', { roomId: room.id, ...cursor });
    room.loading = undefined;
    if (reply.ok && segment === room.segment) {
      for (const message of reply.messages) this.#apply(room, { kind: 'message', message, personal: true });
      done(reply.messages, reply.hasMore);
    }
    this.#roomChanged(room);
  }

  /** Makes a message of the past visible, by its id or sequence, with what is around it. */
  async jump(roomId: string, to: { id?: string; seq?: number }): Promise<Message | undefined> {
    const room = this.#room(roomId);
    const there = () => room.timeline.messages().find((m) => m.id === to.id || m.seq === to.seq);
    if (!room.loaded) await this.#load(room);
    if (there()) return there();
    let seq = to.seq;
    if (seq === undefined && to.id && this.can('message:get')) {
      const got = await this.#link.call<{ messages: Message[] }>('message:get', { roomId, messageIds: [to.id] });
      seq = got.ok ? got.messages[0]?.seq : undefined;
    }
    if (seq === undefined) return undefined;
    const [older, newer] = await Promise.all([
      this.#link.call<{ messages: Message[]; hasMore: boolean }>('message:history', { roomId, before: seq + 1, limit: 50 }),
      this.#link.call<{ messages: Message[]; hasMore: boolean }>('message:history', { roomId, after: seq, limit: 50 }),
    ]);
    if (!older.ok || !newer.ok) return undefined;
    room.clear();
    for (const message of [...older.messages, ...newer.messages]) this.#apply(room, { kind: 'message', message, personal: true });
    Object.assign(room, {
      from: older.messages[0]?.seq ?? seq, to: newer.messages.at(-1)?.seq ?? seq, hasOlder: older.hasMore, hasNewer: newer.hasMore, loaded: true, complete: false,
    });
    if (!room.hasNewer) await this.#enter(room);
    this.#roomChanged(room);
    return there();
  }

  /** Goes back to the newest messages. */
  async toNewest(roomId: string): Promise<void> {
    const room = this.#room(roomId);
    if (!room.hasNewer) return;
    room.clear();
    Object.assign(room, { loaded: false, complete: false, hasNewer: false, hasOlder: false, from: 0, to: 0 });
    await this.#enter(room);
  }

  async join(roomId: string, invite?: string): Promise<Ack<{ roomId: string }>> {
    const room = this.#room(roomId);
    const reply = await this.#enter(room, invite);
    if (!reply.ok && room.role === undefined) this.#rooms.delete(roomId);
    this.#roomsChanged();
    return reply;
  }

  async leave(roomId: string, successor?: string): Promise<Ack> {
    const reply = await this.#link.call('room:leave', successor ? { roomId, successor } : roomId);
    if (reply.ok) this.#gone(roomId);
    return reply;
  }

  async create(kind: Exclude<Kind, 'direct'>, name: string, more: { topic?: string; roomId?: string; members?: { userId: string }[] } = {}): Promise<Ack<{ room: RoomInfo }>> {
    const reply = await this.call<{ room: RoomInfo }>('room:create', { kind, roomId: more.roomId, profile: { name, topic: more.topic }, members: more.members });
    if (reply.ok) this.#added(reply.room, 'owner');
    return reply;
  }

  async openDirect(userIds: string[]): Promise<Ack<{ room: RoomInfo }>> {
    const reply = await this.call<{ room: RoomInfo }>('room:open', { userIds });
    if (reply.ok) this.#added(reply.room, 'member');
    return reply;
  }

  members(roomId: string, query?: string, after?: string): Promise<Ack<{ members: Member[]; count: number; next?: string }>> {
    return this.call<{ members: Member[]; count: number; next?: string }>('room:members', { roomId, query: query || undefined, after, limit: 100 }).then((reply) => {
      if (reply.ok) for (const m of reply.members) this.#learn(m.userId, m.name);
      return reply;
    });
  }

  setPrefs(roomId: string, prefs: Prefs): Promise<Ack> {
    const room = this.#room(roomId);
    room.prefs = { ...room.prefs, ...prefs };
    this.#roomChanged(room);
    return this.call('room:prefs', { roomId, ...prefs });
  }

  /** Any event of the contract: what a moderator does, for one. */
  call<T = object>(event: string, arg?: unknown, namespace?: string): Promise<Ack<T>> { return this.#link.call<T>(event, arg, { namespace }); }

  // Messages

  /** Sends a message: it is written down first, shown at once, and goes out once, whatever happens to the connection or the tab. */
  async send(roomId: string, content: string, options: SendOptions = {}): Promise<Pending> {
    if (this.#outbox.size >= maxWaiting) throw new RangeError(`${maxWaiting} messages wait to be sent already`);
    this.#order += 1;
    const { replyTo } = options;
    const pending: Pending = {
      clientMsgId: `${Date.now().toString(36)}-${randomId()}`, roomId, content, at: Date.now() + (this.#order % 1000) / 1000, state: 'queued', tries: 0,
      format: options.format, mentions: options.mentions, replyTo: replyTo?.id,
      quote: replyTo && { id: replyTo.id, sender: replyTo.sender, preview: replyTo.content.slice(0, 140) },
    };
    const draft = this.draft(roomId);
    this.typing(roomId, false, false);
    this.setDraft(roomId, '');
    try {
      await this.#outbox.add(pending);
    } catch (err) {
      if (!this.draft(roomId)) this.setDraft(roomId, draft); // a full disk takes nothing away
      throw err;
    }
    this.#counts.sent += 1;
    return pending;
  }

  retry(pending: Pending): Promise<void> { return this.#outbox.retry(pending.roomId, pending.clientMsgId); }

  async discard(pending: Pending): Promise<void> {
    await this.#outbox.discard(pending.roomId, pending.clientMsgId);
    this.#unpend(pending.roomId, pending.clientMsgId);
    this.#note({ kind: 'discarded', roomId: pending.roomId, id: pending.clientMsgId });
  }

  async edit(message: Message, content: string): Promise<Ack> {
    return this.call('message:edit', { roomId: message.roomId, messageId: message.id, content });
  }

  async remove(message: Message): Promise<Ack> { return this.call('message:delete', { roomId: message.roomId, messageId: message.id }); }

  async react(message: Message, key: string, on: boolean): Promise<Ack> {
    return this.call(on ? 'message:react' : 'message:unreact', { roomId: message.roomId, messageId: message.id, key });
  }

  async pin(message: Message, on: boolean): Promise<Ack> { return this.call(on ? 'message:pin' : 'message:unpin', { roomId: message.roomId, messageId: message.id }); }

  #sendNow(p: Pending): Promise<Ack<Sent>> {
    const { roomId, content, clientMsgId, format, replyTo, mentions } = p;
    return this.#link.call<Sent>('message:send', { roomId, content, clientMsgId, format, replyTo, mentions });
  }

  #committed(p: Pending, sent: Sent): void {
    const message: Message = {
      id: sent.id, roomId: p.roomId, seq: sent.seq, n: sent.n, sender: { id: this.me.id, name: this.me.name }, content: p.content, type: 'text', createdAt: sent.createdAt,
      clientMsgId: p.clientMsgId, format: p.format, replyTo: p.quote, mentions: p.mentions,
    };
    this.#counts.committed += 1;
    this.#confirmed(message);
    this.#note({ kind: 'committed', message });
  }

  #confirmed(message: Message): void {
    const room = this.#room(message.roomId);
    room.noticed(message, this.me.id);
    if (room.loaded && !room.hasNewer) this.#apply(room, { kind: 'message', message, guess: true });
    this.#unpend(message.roomId, message.clientMsgId!);
    this.#roomChanged(room);
  }

  #pendingChanged(p: Pending): void {
    const room = this.#room(p.roomId);
    room.pending.set(p.clientMsgId, p);
    room.changed();
    this.#topics.changed(`room:${p.roomId}`, 'outbox');
  }

  #unpend(roomId: string, id: string): void {
    const room = this.#rooms.get(roomId);
    if (!room?.pending.delete(id)) return;
    room.changed();
    this.#topics.changed(`room:${roomId}`, 'outbox');
  }

  setDraft(roomId: string, text: string): void {
    if ((this.#drafts.get(roomId) ?? '') === text) return;
    if (text) this.#drafts.set(roomId, text); else this.#drafts.delete(roomId);
    this.#topics.changed('drafts');
    void this.#cache.putValue('drafts', [...this.#drafts]).catch(() => undefined);
  }

  /** Says that the user types, as often as it is to be renewed; tell: whether the others are to hear of a stop. */
  typing(roomId: string, on: boolean, tell = true): void {
    const at = this.#typedAt.get(roomId) ?? 0;
    if (on) {
      if (Date.now() - at < typingEvery) return;
      this.#typedAt.set(roomId, Date.now());
      void this.call('typing:start', roomId);
    } else if (at > 0) {
      this.#typedAt.delete(roomId);
      if (tell) void this.call('typing:stop', roomId);
    }
  }

  /** The user has seen a room up to here. */
  markRead(roomId: string): void {
    const room = this.#rooms.get(roomId);
    const last = room?.timeline.messages().at(-1);
    if (!room || !last || room.hasNewer || !room.read(last.seq)) return;
    this.#roomChanged(room);
    this.#note({ kind: 'marker', roomId, seq: last.seq });
    // Own messages move the marker by themselves; of many that arrive at once only the last is told.
    if (this.#readDue.has(roomId)) return;
    this.#readDue.set(roomId, setTimeout(() => {
      this.#readDue.delete(roomId);
      const newest = room.timeline.messages().findLast((m) => m.seq <= room.marker && m.sender.id !== this.me.id);
      if (newest) void this.call('message:read', { roomId, messageId: newest.id });
    }, 300));
  }

  async markUnread(message: Message): Promise<Ack> { return this.call('room:mark-unread', { roomId: message.roomId, seq: message.seq - 1 }); }

  // Presence

  /** The users that a part of this tab shows; an empty list ends it. */
  watch(part: string, userIds: readonly string[]): void {
    if (userIds.length > 0) this.#watched.set(part, userIds); else if (!this.#watched.delete(part)) return;
    const ids = [...new Set([...this.#watched.values()].flat())];
    this.#note({ kind: 'watch', tab: this.#tab, ids });
    this.#watching(this.#tab, ids);
  }

  #watching(tab: string, ids: string[]): void {
    if (ids.length > 0) this.#watches.set(tab, ids); else this.#watches.delete(tab);
    if (!this.#link.state.leader || this.#watchDue) return;
    this.#watchDue = setTimeout(() => {
      this.#watchDue = undefined;
      void this.#watchNow();
    }, 250);
  }

  async #watchNow(): Promise<void> {
    const userIds = [...new Set([...this.#watches.values()].flat())].slice(0, 500);
    if (this.#link.state.status !== 'online' || !this.#link.state.leader) return;
    const reply = await this.call<{ users: Presence[] }>('presence:watch', { userIds });
    if (!reply.ok) return;
    this.#present(reply.users);
    this.#note({ kind: 'present', users: reply.users });
  }

  #present(users: Presence[]): void {
    for (const user of users) this.#presence.set(user.userId, user);
    if (this.#presence.size > 5000) for (const id of [...this.#presence.keys()].slice(0, 1000)) this.#presence.delete(id);
    this.#presenceView = undefined;
    this.#topics.changed('presence');
  }

  // Notifications

  async loadNotifications(): Promise<void> {
    const reply = await this.call<{ notifications: Notification[]; unread: number }>('notification:list', { limit: 50 }, '/notifications');
    if (reply.ok) this.#setNotifications(reply.notifications, reply.unread);
  }

  async readNotifications(ids: string[]): Promise<void> {
    const reply = await this.call<{ unread: number }>('notification:read', { ids }, '/notifications');
    if (!reply.ok) return;
    this.#notificationsRead(ids, reply.unread);
    this.#note({ kind: 'notifications-read', ids, unread: reply.unread });
  }

  #setNotifications(list: readonly Notification[], unread: number): void {
    this.#notifications = { list: list.slice(0, 200), unread };
    this.#topics.changed('notifications');
  }

  #notificationsRead(ids: string[], unread: number): void {
    this.#setNotifications(this.#notifications.list.map((n) => (ids.includes(n.id) ? { ...n, read: true, readAt: n.readAt ?? new Date().toISOString() } : n)), unread);
  }

  // For whoever tries out what happens

  cut(): void { this.#link.cut(); }

  expireToken(): void { this.#link.expire(); }

  away(ms: number): void { this.#link.away(ms); }

  readSlowly(ms: number): void { this.#link.slow(ms); }

  dropNextAck(event = 'message:send'): void {
    const link = this.#link;
    if (link instanceof TabLink) link.dropAck(event); else if (link instanceof SocketLink) link.dropAcks.set(event, 1);
  }

  /** Ends; what is kept on the device stays. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#note({ kind: 'watch', tab: this.#tab, ids: [] });
    clearInterval(this.#sweep);
    clearTimeout(this.#watchDue);
    for (const timer of this.#entering.values()) clearTimeout(timer);
    for (const timer of this.#readDue.values()) clearTimeout(timer);
    this.#outbox.close();
    this.#link.close();
    await this.#save();
    this.#cache.close();
  }

  /** Forgets what is kept on the device, at the end of a login. */
  async forget(): Promise<void> {
    this.#forgotten = true;
    this.#dirtyRooms.clear();
    this.#dirtyTimelines.clear();
    clearTimeout(this.#saving);
    this.#saving = undefined;
    await this.#cache.clear();
  }

  // What the server says

  #stateChanged(): void {
    const { status, session, connects, leader } = this.#link.state;
    this.#topics.changed('connection');
    if (status !== 'online') {
      if (session !== this.#session) this.#session = '';
      return;
    }
    if (session !== this.#session) {
      this.#session = session;
      this.#connects = -1;
      for (const room of this.#rooms.values()) Object.assign(room, { complete: false, joined: false });
      void this.#resume(session);
    }
    if (connects !== this.#connects) {
      this.#connects = connects;
      if (leader) void this.#watchNow();
      for (const [id, timer] of this.#entering) {
        clearTimeout(timer);
        this.#entering.delete(id);
        void this.#enter(this.#room(id));
      }
      this.#outbox.hurry();
    }
    if (leader) this.#outbox.pump();
  }

  /** A session that knows nothing of this tab: rooms are listed and entered, from where this device is. */
  async #resume(session: string): Promise<void> {
    const current = () => !this.#closed && this.#session === session;
    if (this.#link.state.leader) {
      await this.#outbox.load().catch(() => undefined);
      this.#outbox.hurry();
    }
    const open = this.#open ? this.#rooms.get(this.#open) : undefined;
    if (open) void this.#load(open);
    let list = await this.#listRooms();
    for (let tries = 0; !list && current(); tries += 1) {
      await new Promise((resolve) => { setTimeout(resolve, Math.min(500 * 2 ** tries, 15_000)); });
      if (current()) list = await this.#listRooms();
    }
    if (!current()) return;
    this.#listed = true;
    void this.#ask();
    void this.loadNotifications();
    const others = this.rooms.filter((r) => r.id !== this.#open && !r.prefs.hidden).slice(0, maxJoined);
    for (let i = 0; i < others.length && current(); i += 4) {
      await Promise.all(others.slice(i, i + 4).map((r) => this.#enter(this.#room(r.id))));
    }
    this.#roomsChanged();
  }

  async #listRooms(): Promise<boolean> {
    if (this.#listings === 0) this.#moved.clear();
    this.#listings += 1;
    try {
      return await this.#listAll();
    } finally {
      this.#listings -= 1;
    }
  }

  async #listAll(): Promise<boolean> {
    const rooms: ListedRoom[] = [];
    let after: string | undefined;
    do {
      const reply = await this.#link.call<{ rooms: ListedRoom[]; next?: string; useq?: number }>('room:list', after === undefined ? undefined : { after });
      if (!reply.ok) return false;
      rooms.push(...reply.rooms);
      if (this.#useq === undefined && reply.useq !== undefined) this.#setUseq(reply.useq);
      after = reply.next;
    } while (after !== undefined && rooms.length < 2000);
    const there = new Set(rooms.map((r) => r.roomId));
    for (const room of this.#rooms.values()) {
      if (!there.has(room.id) && !this.#moved.has(room.id) && room.role !== undefined && room.pending.size === 0 && room.id !== this.#open) this.#gone(room.id);
    }
    for (const listed of rooms) {
      if (this.#moved.has(listed.roomId) && !this.#rooms.get(listed.roomId)?.role) continue; // left meanwhile
      const room = this.#room(listed.roomId);
      room.listed(listed);
      if (listed.lastMessage) this.#learn(listed.lastMessage.sender.id, listed.lastMessage.sender.name);
      this.#dirtyRooms.add(room.id);
    }
    this.#roomsChanged();
    // Kinds and names of rooms that the list does not tell are asked for, of those that are shown first.
    for (const listed of rooms.slice(0, 50)) if (!listed.room && this.#rooms.get(listed.roomId)?.info === undefined) void this.#about(listed.roomId);
    return true;
  }

  async #about(roomId: string): Promise<void> {
    const got = await this.#link.call<{ room: RoomInfo; role?: MemberRole; prefs?: Prefs; marker?: { seq: number } }>('room:get', roomId);
    const room = this.#rooms.get(roomId);
    if (!got.ok || !room) return;
    Object.assign(room, { info: got.room, prefs: got.prefs ?? room.prefs });
    if (got.marker) room.marker = Math.max(room.marker, got.marker.seq);
    if (got.room.kind === 'direct') void this.#partners(room);
    this.#roomChanged(room);
  }

  async #partners(room: Room): Promise<void> {
    const reply = await this.members(room.id);
    if (!reply.ok) return;
    room.partners = reply.members.map((m) => m.userId).filter((id) => id !== this.me.id);
    this.#roomChanged(room);
  }

  /** Finds out what the server can do: an event that it does not know is refused in another way than a call without its fields. */
  async #ask(): Promise<void> {
    if (!this.#link.state.leader) {
      this.#note({ kind: 'abilities?' });
      return;
    }
    const known = await Promise.all(abilities.map(async (event) => {
      const reply = await this.#link.call(event, {});
      return !reply.ok && (reply.error.code === 'unknown_event' || reply.error.code === 'offline' || reply.error.code === 'timeout') ? undefined : event;
    }));
    this.#setAbilities(known.filter((a) => a !== undefined));
    this.#note({ kind: 'abilities', list: [...this.#abilities] });
  }

  #setAbilities(list: string[]): void {
    this.#abilities = new Set(list);
    this.#topics.changed('abilities');
  }

  #event(event: string, args: unknown[], namespace: string): void {
    const arg = (args[0] ?? {}) as Wire;
    if (namespace === '/notifications') return this.#notification(event, arg);
    if (event === 'room:history') {
      for (const message of args[0] as Message[]) this.#message(message, true);
      return undefined;
    }
    if (event === 'message:new') return this.#message(arg as unknown as Message, false);
    const fact = factOf(event, arg);
    if (fact) {
      const room = this.#rooms.get(arg.roomId ?? '');
      if (room) this.#durable(room, event, arg, fact);
      return undefined;
    }
    if (event.startsWith('me:')) return this.#mine(event, arg);
    if (event.startsWith('room:')) return this.#roomEvent(event, arg);
    return this.#passing(event, arg, args);
  }

  #message(message: Message, old: boolean): void {
    const room = this.#room(message.roomId);
    this.#learn(message.sender.id, message.sender.name);
    if (!old) {
      this.#counts.delivered += 1;
      if (message.seq <= room.liveSeq) this.#counts.twice += 1;
      room.liveSeq = Math.max(room.liveSeq, message.seq);
    }
    room.noticed(message, this.me.id);
    if (message.clientMsgId && message.sender.id === this.me.id) this.#unpend(room.id, message.clientMsgId);
    // Of a page of the past nothing is appended: what is between is not here.
    if ((room.loaded || room.loading === 'first') && !room.hasNewer) this.#apply(room, { kind: 'message', message, personal: old });
    if (room.complete) room.to = Math.max(room.to, message.seq);
    this.#dirtyTimelines.add(room.id);
    this.#roomChanged(room);
  }

  #durable(room: Room, event: string, arg: Wire, fact: Fact): void {
    const seq = typeof arg.seq === 'number' ? arg.seq : 0;
    room.seq = Math.max(room.seq, seq);
    if (room.complete) room.to = Math.max(room.to, seq);
    const known = fact.kind !== 'message' || room.timeline.has(fact.message.id);
    if (known) this.#apply(room, fact);
    if (fact.kind === 'message' && room.last?.id === fact.message.id) room.last = fact.message;
    if (event === 'message:deleted' && fact.kind === 'deleted' && room.last?.id === fact.messageId) room.last = { ...room.last, content: '', deletedAt: new Date().toISOString() };
    this.#dirtyTimelines.add(room.id);
    this.#roomChanged(room);
  }

  #apply(room: Room, fact: Fact): void {
    if (fact.kind === 'message') this.#learn(fact.message.sender.id, fact.message.sender.name);
    room.timeline.apply(fact);
    this.#dirtyTimelines.add(room.id);
  }

  #mine(event: string, arg: Wire): void {
    const useq = typeof arg.useq === 'number' ? arg.useq : undefined;
    if (useq !== undefined && (event === 'me:reset' || useq > (this.#useq ?? 0))) {
      this.#setUseq(useq);
    }
    const roomId = arg.roomId ?? '';
    const room = this.#rooms.get(roomId);
    switch (event) {
      case 'me:room-added': if (arg.room) this.#added(arg.room as RoomInfo, undefined); break;
      case 'me:room-removed': if (arg.reason !== 'left' || room?.role) this.#gone(roomId, String(arg.reason ?? '')); break;
      case 'me:prefs': if (room) { room.prefs = arg.prefs as Prefs; this.#roomChanged(room); } break;
      case 'me:marker': if (room) { room.marked(Number(arg.seq), Number(arg.unread ?? 0), Number(arg.mentions ?? 0)); this.#roomChanged(room); } break;
      case 'me:reset': void this.#listRooms(); break;
    }
  }

  #setUseq(useq: number): void {
    this.#useq = useq;
    void this.#cache.putValue('useq', useq).catch(() => undefined);
  }

  #added(info: RoomInfo, role: MemberRole | undefined): void {
    const room = this.#room(info.roomId);
    this.#moved.add(room.id);
    room.info = info;
    room.role ??= role ?? 'member';
    room.joined ||= false;
    this.#roomChanged(room);
    this.#roomsChanged();
    if (info.kind === 'direct') void this.#partners(room);
    if (!room.joined && this.rooms.length <= maxJoined) void this.#enter(room);
  }

  #gone(roomId: string, reason = ''): void {
    const room = this.#rooms.get(roomId);
    this.#moved.add(roomId);
    if (!room) return;
    this.#link.left(roomId);
    this.#goneRooms.add(roomId);
    if (this.#open === roomId) {
      Object.assign(room, { role: undefined, joined: false, complete: false, loaded: false, error: { message: reason || 'left', reason: reason || 'left' } });
      room.clear();
      this.#roomChanged(room);
    } else if (room.pending.size === 0) {
      this.#rooms.delete(roomId);
    } else {
      room.role = undefined;
    }
    this.#topics.changed(`room:${roomId}`);
    this.#roomsChanged();
    this.#saveSoon();
  }

  #roomEvent(event: string, arg: Wire): void {
    const room = this.#rooms.get(arg.roomId ?? '');
    if (!room) return;
    const seq = typeof arg.seq === 'number' ? arg.seq : 0;
    room.seq = Math.max(room.seq, seq);
    if (room.complete) room.to = Math.max(room.to, seq);
    const userId = String(arg.userId ?? '');
    switch (event) {
      case 'room:updated':
        if (room.info && Number(arg.version) >= room.info.version) room.info = { ...room.info, profile: arg.profile as RoomInfo['profile'], settings: arg.settings as RoomInfo['settings'], version: Number(arg.version) };
        break;
      case 'room:archived': if (room.info) room.info = { ...room.info, archivedAt: String(arg.archivedAt) }; break;
      case 'room:user-joined':
        this.#learn(userId, String(arg.userName ?? userId));
        if (room.info) room.info = { ...room.info, memberCount: room.info.memberCount + 1 };
        break;
      case 'room:user-left':
        if (userId === this.me.id) return this.#gone(room.id, String(arg.reason ?? 'left'));
        room.typists.delete(userId);
        room.readers.delete(userId);
        if (room.info) room.info = { ...room.info, memberCount: Math.max(1, room.info.memberCount - 1) };
        break;
      case 'room:role': if (userId === this.me.id) room.role = arg.role as MemberRole; break;
      case 'room:deleted': return this.#gone(room.id, 'deleted');
    }
    this.#topics.changed(`members:${room.id}`);
    this.#roomChanged(room);
  }

  #passing(event: string, arg: Wire, args: unknown[]): void {
    const room = this.#rooms.get(arg.roomId ?? '');
    const userId = String(arg.userId ?? '');
    switch (event) {
      case 'message:read': if (room) { this.#receipt(room, userId, Number(arg.seq)); this.#roomChanged(room); } break;
      case 'typing:start':
        this.#learn(userId, String(arg.userName ?? userId));
        if (room && userId !== this.me.id) {
          room.typists.set(userId, { name: String(arg.userName ?? userId), until: Date.now() + Number(arg.expiresInMs ?? 8000) });
          this.#typistsChanged(room);
        }
        break;
      case 'typing:stop': if (room?.typists.delete(userId)) this.#typistsChanged(room); break;
      case 'users:online': {
        const online = new Set(args[0] as string[]);
        this.#present([...[...this.#presence.values()].filter((p) => p.online && !online.has(p.userId)).map((p) => ({ ...p, online: false })),
          ...[...online].map((id) => ({ userId: id, online: true }))]);
        break;
      }
      case 'presence:changed': this.#present((arg.users ?? []) as Presence[]); break;
    }
  }

  #receipt(room: Room, userId: string, seq: number): void {
    if (userId === this.me.id) room.read(seq);
    else if (seq > (room.readers.get(userId) ?? 0)) room.readers.set(userId, seq);
    if (room.readers.size > 1000) room.readers.delete(room.readers.keys().next().value!);
  }

  #notification(event: string, arg: Wire): void {
    if (event === 'connect') void this.loadNotifications();
    else if (event === 'notification') {
      const note = arg as unknown as Notification;
      if (this.#notifications.list.some((n) => n.id === note.id)) return;
      this.#setNotifications([note, ...this.#notifications.list], this.#notifications.unread + 1);
      this.#topics.changed('notification');
    } else if (event === 'notification:read') this.#notificationsRead((arg.ids ?? []) as string[], Number(arg.unread ?? 0));
  }

  // What other tabs say

  #note(note: Note): void { this.#link?.note(note); }

  #noted(note: Note): void {
    switch (note.kind) {
      case 'pending': {
        const p = note.pending as Pending;
        this.#outbox.update(p);
        this.#pendingChanged(p);
        if (p.state === 'queued') this.#outbox.pump();
        break;
      }
      case 'committed': {
        const message = note.message as Message;
        this.#outbox.forget(message.roomId, message.clientMsgId!);
        this.#confirmed(message);
        break;
      }
      case 'discarded':
        this.#outbox.forget(String(note.roomId), String(note.id));
        this.#unpend(String(note.roomId), String(note.id));
        break;
      case 'marker': { const room = this.#rooms.get(String(note.roomId)); if (room?.read(Number(note.seq))) this.#roomChanged(room); break; }
      case 'watch': this.#watching(String(note.tab), note.ids as string[]); break;
      case 'present': this.#present(note.users as Presence[]); break;
      case 'notifications-read': this.#notificationsRead(note.ids as string[], Number(note.unread)); break;
      case 'abilities': this.#setAbilities(note.list as string[]); break;
      case 'abilities?': if (this.#link.state.leader) this.#note({ kind: 'abilities', list: [...this.#abilities] }); break;
    }
  }

  // Upkeep

  #room(roomId: string): Room {
    let room = this.#rooms.get(roomId);
    if (!room) {
      room = new Room(roomId, this.me.id);
      this.#rooms.set(roomId, room);
    }
    return room;
  }

  #learn(userId: string, name: string): void {
    if (!name || this.#names.get(userId) === name) return;
    if (this.#names.size > 5000) this.#names.delete(this.#names.keys().next().value!);
    this.#names.set(userId, name);
    this.#topics.changed('names');
  }

  #roomChanged(room: Room): void {
    room.changed();
    this.#summaries = undefined;
    this.#dirtyRooms.add(room.id);
    this.#topics.changed('rooms', `room:${room.id}`);
    this.#saveSoon();
  }

  #roomsChanged(): void {
    this.#summaries = undefined;
    this.#topics.changed('rooms');
  }

  #typistsChanged(room: Room): void {
    room.changed();
    this.#topics.changed(`room:${room.id}`);
  }

  #expireTypists(): void {
    const now = Date.now();
    for (const room of this.#rooms.values()) {
      for (const [id, { until }] of room.typists) {
        if (until > now) continue;
        room.typists.delete(id);
        this.#typistsChanged(room);
      }
    }
  }

  #kept(): number { return this.#options.keptMessages ?? 200; }

  #saveSoon(): void {
    if (this.#saving || this.#closed) return;
    this.#saving = setTimeout(() => {
      this.#saving = undefined;
      void this.#save();
    }, 700);
    (this.#saving as { unref?: () => void }).unref?.();
  }

  /** Writes what has changed; one tab does it for all. */
  async #save(): Promise<void> {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    if (this.#forgotten || (!this.#link.state.leader && !this.#closed)) return;
    const rooms = [...this.#dirtyRooms].map((id) => this.#rooms.get(id)).filter((r) => r?.role !== undefined).map((r) => r!.keep());
    const gone = [...this.#goneRooms].filter((id) => !this.#rooms.get(id)?.role);
    const timelines = [...this.#dirtyTimelines].map((id) => this.#rooms.get(id)?.keepTimeline(this.#kept())).filter((t) => t !== undefined);
    this.#dirtyRooms.clear();
    this.#goneRooms.clear();
    this.#dirtyTimelines.clear();
    try {
      await this.#cache.putRooms(rooms, gone);
      for (const timeline of timelines) await this.#cache.putTimeline(timeline);
      if (rooms.length > 0) await this.#cache.putValue('names', [...this.#names].slice(-1000));
    } catch { /* a full disk: the server has it all */ }
  }
}

export type { Fault };

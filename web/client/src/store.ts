// The store: rooms, messages and what else a chat shows, kept on the device, in step with the server and with the other tabs. What it
// consists of is in the files beside this one, around what they share (state.ts).

import { openCache, type Cache } from './cache.ts';
import { Entering } from './entering.ts';
import { Incoming } from './incoming.ts';
import { SocketLink, type Connect, type Link, type LinkState, type Note, type Trace, type Troubles } from './link.ts';
import { Memberships } from './memberships.ts';
import { Notifications, type NotificationsView } from './notifications.ts';
import { Paging } from './paging.ts';
import { PresenceWatch } from './presence.ts';
import type { RoomSummary, RoomView } from './room.ts';
import { Sending, removal, type SendOptions } from './sending.ts';
import type { TokenSource } from './session.ts';
import { State } from './state.ts';
import { TabLink, canShare, randomId } from './tabs.ts';
import type { Answer, Argument, EventName } from './contract.ts';
import type { Ack, Kind, Message, Pending, Prefs, Presence, User } from './types.ts';

export type { SendOptions };

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

const inboxPatience = 2000; // milliseconds

/** Topics: rooms, room:<id>, connection, presence, notifications, drafts, names, outbox, members:<id>. */
export class Starling {
  readonly me: User;
  readonly #state: State;
  readonly #entering: Entering;
  readonly #paging: Paging;
  readonly #memberships: Memberships;
  readonly #presence: PresenceWatch;
  readonly #notifications: Notifications;
  readonly #sending: Sending;
  readonly #incoming: Incoming;
  readonly #sweep: ReturnType<typeof setInterval>;
  /** The session in which the rooms were entered, and how often it was connected. */
  #session = '';
  #connects = 0;
  ontrace: ((trace: Trace) => void) | undefined;

  private constructor(state: State) {
    this.me = state.me;
    this.#state = state;
    this.#entering = new Entering(state);
    this.#paging = new Paging(state, this.#entering);
    this.#memberships = new Memberships(state, this.#entering);
    this.#presence = new PresenceWatch(state, randomId());
    this.#notifications = new Notifications(state);
    this.#sending = new Sending(state);
    this.#incoming = new Incoming(state, { memberships: this.#memberships, notifications: this.#notifications, presence: this.#presence, sending: this.#sending });
    this.#sweep = setInterval(() => this.#incoming.expireTypists(), 1000);
    (this.#sweep as { unref?: () => void }).unref?.();
  }

  /** Opens what the device has, then connects; what is kept can be shown at once. */
  static async open(options: StoreOptions): Promise<Starling> {
    const state = new State(options);
    const name = options.name ?? `starling:${options.url ?? ''}:${options.tokens.user.id}`;
    state.cache = options.cache ?? await openCache(name);
    state.link = makeLink(state, name);
    const store = new Starling(state);
    await store.#restore();
    state.link.onstate = () => store.#stateChanged();
    state.link.onevent = (event, args, namespace) => store.#incoming.event(event, args, namespace);
    state.link.onnote = (note) => store.#noted(note);
    state.link.ontrace = (trace) => store.ontrace?.(trace);
    state.link.start();
    return store;
  }

  async #restore(): Promise<void> {
    const state = this.#state;
    const { cache } = state;
    const [rooms, useq, drafts, names] = await Promise.all([
      cache.rooms(), cache.value<number>('useq'), cache.value<[string, string][]>('drafts'), cache.value<[string, string][]>('names'),
    ]);
    for (const kept of rooms) state.room(kept.roomId).listed(kept);
    state.useq = useq;
    this.#sending.loadDrafts(drafts ?? []);
    for (const [id, name] of names ?? []) state.names.set(id, name);
    await this.#sending.outbox.load();
    state.roomsChanged();
  }

  // Reading

  subscribe(topic: string, listener: () => void): () => void { return this.#state.topics.subscribe(topic, listener); }

  get connection(): LinkState { return this.#state.link.state; }

  /** The user's rooms, the last active first. */
  get rooms(): readonly RoomSummary[] { return this.#state.summaries; }

  /** Whether the server has said which rooms there are; before, it is what the device kept. */
  get listed(): boolean { return this.#memberships.listed; }

  room(roomId: string): RoomView | undefined { return this.#state.rooms.get(roomId)?.view(); }

  get presence(): ReadonlyMap<string, Presence> { return this.#presence.view; }

  get notifications(): NotificationsView { return this.#notifications.view; }

  get counts(): Readonly<{ sent: number; committed: number; delivered: number; twice: number; waiting: number }> { return { ...this.#state.counts, waiting: this.#sending.outbox.size }; }

  /** The name under which a user was seen last, or the id. */
  nameOf(userId: string): string { return this.#state.names.get(userId) ?? userId; }

  /** Everybody but the user who was seen, the last ones first. */
  get people(): { id: string; name: string }[] { return [...this.#state.names].filter(([id]) => id !== this.me.id && id !== 'system').map(([id, name]) => ({ id, name })).reverse(); }

  draft(roomId: string): string { return this.#sending.draft(roomId); }

  // Rooms

  /** Shows a room: its messages are loaded and kept in step until another one is shown. */
  async show(roomId: string | undefined): Promise<void> {
    const state = this.#state;
    const before = state.open;
    state.open = roomId;
    const left = before && before !== roomId ? state.rooms.get(before) : undefined;
    if (left) {
      left.held = false;
      left.trim(state.keeper.kept);
      state.roomChanged(left);
    }
    if (roomId) await this.#entering.load(state.room(roomId));
  }

  loadOlder(roomId: string): Promise<void> { return this.#paging.older(roomId); }

  loadNewer(roomId: string): Promise<void> { return this.#paging.newer(roomId); }

  /**
   * Makes a message of the past visible, by its id or sequence, with what is around it, as soon as there is a connection where that takes
   * one. undefined: there is no such message; null: another room is shown by then.
   */
  jump(roomId: string, to: { id?: string; seq?: number }): Promise<Message | null | undefined> { return this.#paging.jump(roomId, to); }

  /** Goes back to the newest messages. */
  toNewest(roomId: string): Promise<void> { return this.#paging.toNewest(roomId); }

  async join(roomId: string, invite?: string): Promise<Ack<{ roomId: string }>> {
    const room = this.#state.room(roomId);
    const reply = await this.#entering.enter(room, invite);
    if (!reply.ok && room.role === undefined) this.#state.rooms.delete(roomId);
    this.#state.roomsChanged();
    return reply;
  }

  async leave(roomId: string, successor?: string): Promise<Ack> {
    const reply = await this.call('room:leave', successor ? { roomId, successor } : roomId);
    if (reply.ok) this.#memberships.gone(roomId);
    return reply;
  }

  async create(kind: Exclude<Kind, 'direct'>, name: string, more: { topic?: string; roomId?: string; members?: { userId: string }[] } = {}): Promise<Answer<'room:create'>> {
    const reply = await this.call('room:create', { kind, roomId: more.roomId, profile: { name, topic: more.topic }, members: more.members });
    if (reply.ok) this.#memberships.added(reply.room, 'owner');
    return reply;
  }

  async openDirect(userIds: string[]): Promise<Answer<'room:open'>> {
    const reply = await this.call('room:open', { userIds });
    if (reply.ok) this.#memberships.added(reply.room, 'member');
    return reply;
  }

  members(roomId: string, query?: string, after?: string): Promise<Answer<'room:members'>> { return this.#memberships.members(roomId, query, after); }

  setPrefs(roomId: string, prefs: Prefs): Promise<Ack> {
    const room = this.#state.room(roomId);
    room.prefs = { ...room.prefs, ...prefs };
    this.#state.roomChanged(room);
    return this.call('room:prefs', { roomId, ...prefs });
  }

  /** Any event of the contract, with its argument and its answer: what a moderator does, for one. */
  call<E extends EventName>(event: E, ...[arg, namespace]: undefined extends Argument<E> ? [arg?: Argument<E>, namespace?: string] : [arg: Argument<E>, namespace?: string]): Promise<Answer<E>> {
    return this.#state.link.call(event, arg, { namespace });
  }

  // Messages

  /** Sends a message: it is written down first, shown at once, and goes out once, whatever happens to the connection or the tab. */
  send(roomId: string, content: string, options: SendOptions = {}): Promise<Pending> { return this.#sending.send(roomId, content, options); }

  retry(pending: Pending): Promise<void> { return this.#sending.outbox.retry(pending.clientMsgId); }

  discard(pending: Pending): Promise<void> { return this.#sending.discard(pending); }

  edit({ roomId, id }: Message, content: string): Promise<Ack> { return this.call('message:edit', { roomId, messageId: id, content }); }

  /**
   * Deletes a message once undoMs are over: until then restore brings it back. It is written down like a message that is sent, so that a
   * closed tab changes nothing. The answer comes when it is deleted, restored or refused.
   */
  remove(message: Message, undoMs = 0): Promise<Ack> { return this.#sending.remove(message, undoMs); }

  /** Takes the deletion of a message back, if it is not sent yet. */
  restore({ roomId, id }: Message): Promise<void> { return this.#sending.discard({ roomId, clientMsgId: removal(id) }); }

  react({ roomId, id }: Message, key: string, on: boolean): Promise<Ack> { return this.call(on ? 'message:react' : 'message:unreact', { roomId, messageId: id, key }); }

  pin({ roomId, id }: Message, on: boolean): Promise<Ack> { return this.call(on ? 'message:pin' : 'message:unpin', { roomId, messageId: id }); }

  setDraft(roomId: string, text: string): void { this.#sending.setDraft(roomId, text); }

  /** Says that the user types, as often as it is to be renewed. */
  typing(roomId: string, on: boolean): void { this.#sending.typing(roomId, on); }

  /** The user has seen a room up to here. */
  markRead(roomId: string): void { this.#sending.markRead(roomId); }

  /** This message and those after it are unread, on all devices, until the room is left and opened again. */
  markUnread(message: Message): Promise<Ack> { return this.#sending.markUnread(message); }

  // Presence and notifications

  /** The users that a part of this tab shows; an empty list ends it. */
  watch(part: string, userIds: readonly string[]): void { this.#presence.watch(part, userIds); }

  readNotifications(ids: string[]): Promise<void> { return this.#notifications.read(ids); }

  // For whoever tries out what happens

  /** Makes something go wrong on the connection: trouble('cut'), trouble('away', 30_000), trouble('drop', 'message:send'). */
  trouble<T extends keyof Troubles>(what: T, ...args: Parameters<Troubles[T]>): void { this.#state.link.trouble(what, ...args); }

  // The end

  /** Ends; what is kept on the device stays. */
  async close(): Promise<void> {
    const state = this.#state;
    if (state.closed) return;
    state.closed = true;
    clearInterval(this.#sweep);
    this.#presence.close();
    this.#entering.close();
    this.#sending.close();
    state.link.close();
    await state.keeper.save();
    state.cache.close();
  }

  /** Forgets what is kept on the device, at the end of a login. */
  forget(): Promise<void> { return this.#state.keeper.forget(); }

  // The connection, and the other tabs

  #stateChanged(): void {
    const state = this.#state;
    const { status, session, connects, leader } = state.link.state;
    state.topics.changed('connection');
    if (status !== 'online') {
      if (session !== this.#session) this.#session = '';
      return;
    }
    if (session !== this.#session) {
      this.#session = session;
      this.#connects = -1;
      for (const room of state.rooms.values()) Object.assign(room, { complete: false, joined: false });
      void this.#resume();
    }
    if (connects !== this.#connects) {
      this.#connects = connects;
      void this.#presence.ask();
      this.#entering.hurry();
      this.#sending.outbox.hurry();
      if (leader) this.#sending.tellMarkers();
    }
    if (leader) this.#sending.outbox.pump();
  }

  /** A session that knows nothing of this tab: the room that is shown is entered, from where this device is. */
  async #resume(): Promise<void> {
    const state = this.#state;
    const { leader } = state.link.state;
    void this.#memberships.list(leader ? inboxPatience : 0); // an inbox tells it to the tab with the connection
    void this.#notifications.load();
    if (leader) {
      await this.#sending.outbox.load().catch(() => undefined);
      this.#sending.outbox.hurry();
    }
    const open = state.open ? state.rooms.get(state.open) : undefined;
    if (open) void this.#entering.load(open);
  }

  #noted(note: Note): void {
    const state = this.#state;
    const { outbox } = this.#sending;
    switch (note.kind) {
      case 'pending': {
        const p = note.pending as Pending;
        outbox.update(p);
        this.#sending.changed(p);
        if (p.state === 'queued') outbox.pump();
        break;
      }
      case 'committed': {
        const message = note.message as Message;
        outbox.forget(message.clientMsgId!);
        this.#sending.confirmed(message);
        break;
      }
      case 'discarded':
        outbox.forget(note.id as string);
        this.#sending.done(note.roomId as string, note.id as string, note.answer as Ack | undefined);
        break;
      case 'marker': { const room = state.rooms.get(note.roomId as string); if (room?.read(note.seq as number, note.n as number | undefined)) state.roomChanged(room); break; }
      case 'watch': this.#presence.watching(note.tab as string, note.ids as string[]); break;
      case 'present': this.#presence.are(note.users as Presence[]); break;
      case 'notifications-read': this.#notifications.wereRead(note.ids as string[], note.unread as number); break;
    }
  }
}

function makeLink(state: State, name: string): Link {
  const { io, url, path, tokens, shared } = state.options;
  const make = () => new SocketLink({ io, url, path, tokens, namespaces: ['/notifications'], useq: () => state.useq });
  return shared !== false && canShare() ? new TabLink(name, make) : make();
}

// One room as this device knows it: what it is, which messages are here, who reads and types, and what is on its way.

import { Timeline, type Entry } from './merge.ts';
import type { KeptRoom, KeptTimeline } from './cache.ts';
import type { LastMessage, ListedRoom, MemberRole, Message, Pending, Prefs, RoomInfo } from './types.ts';

/** What a list of rooms shows. Another object after each change. */
export interface RoomSummary {
  id: string;
  name: string;
  kind: RoomInfo['kind'];
  topic?: string;
  role?: MemberRole;
  unread: number;
  mentions: number;
  last?: Message;
  at: string;
  prefs: Prefs;
  archived: boolean;
  joined: boolean;
  /** Marked unread while it is shown: it stays so until it is left, or something is said. */
  held: boolean;
  /** The others of a direct room. */
  partners: readonly string[];
}

/** What the page of a room shows. Another object after each change. */
export interface RoomView extends RoomSummary {
  info?: RoomInfo;
  messages: readonly Message[];
  pending: readonly Pending[];
  /** The ids of messages that are about to be deleted. */
  removing: ReadonlySet<string>;
  hasOlder: boolean;
  hasNewer: boolean;
  loaded: boolean;
  loading: 'older' | 'newer' | 'first' | undefined;
  error?: string;
  errorReason?: string;
  /** Up to where the user has read, by sequence. */
  marker: number;
  /** Up to where each of the others has read. */
  readers: ReadonlyMap<string, number>;
  /** The furthest of them. */
  readUpTo: number;
  typists: readonly { id: string; name: string }[];
  /** Whether nothing up to now is missing at the end of the messages. */
  complete: boolean;
}

/** A marker, and how many mentions are behind it, as of an event of the room. */
export interface MarkerState { seq: number; n?: number; mentions: number; at?: number }

const maxReaders = 1000;

export class Room {
  readonly id: string;
  readonly #me: string;
  readonly timeline: Timeline;
  // What is known of it.
  name: string;
  kind: RoomInfo['kind'] | undefined;
  info: RoomInfo | undefined;
  role: MemberRole | undefined;
  prefs: Prefs = {};
  partners: string[] = [];
  /** Up to where the socket has heard the room; and how far somebody else, a list or the inbox, said that it is. */
  seq = 0;
  at = 0;
  /** How many messages there are. */
  n = 0;
  /** Of the last message that came live. */
  liveSeq = 0;
  last: Message | undefined;
  // Unread is what is not read: a subtraction. Mentions are counted: those that a list had, as of a sequence, and later ones.
  marker = 0;
  markerN: number | undefined;
  #mentions = { unread: 0, at: 0 };
  #mentioned: number[] = [];
  /** The marker as the server has it. */
  told = 0;
  held = false;
  /** The entry of the user's log up to which role, preferences and marker are known, and the marker in the list that said so. */
  useq = 0;
  listedMarker: MarkerState | undefined;
  // The segment of the timeline, which is another one after each clear: a page that was asked for before does not belong to it.
  segment = 0;
  from = 0;
  to = 0;
  hasOlder = false;
  hasNewer = false;
  loaded = false;
  /** Whether the socket of this session hears the room, and nothing is missing before what it hears. */
  complete = false;
  joined = false;
  fromCache = false;
  loading: RoomView['loading'];
  error: { message: string; reason?: string } | undefined;
  /** How often it was entered in vain since the last time that worked. */
  tries = 0;
  // What passes.
  readonly readers = new Map<string, number>();
  readonly typists = new Map<string, { name: string; until: number }>();
  readonly pending = new Map<string, Pending>();
  #view: RoomView | undefined;
  #summary: RoomSummary | undefined;

  constructor(id: string, me: string) {
    this.id = id;
    this.name = id;
    this.#me = me;
    this.timeline = new Timeline(me);
  }

  changed(): void {
    this.#view = undefined;
    this.#summary = undefined;
  }

  /** What the room is, as of now. */
  is(info: RoomInfo): void {
    this.info = info;
    this.kind = info.kind;
    this.name = info.profile.name || this.id;
  }

  /** What a list says, which has the user's log up to useq in it. */
  listed({ seq, marker, mentions = 0, ...room }: ListedRoom, useq = 0): void {
    this.info = room.room ?? this.info;
    this.name = room.name || this.id;
    this.kind = room.kind ?? this.kind;
    this.partners = room.partners ?? this.partners;
    this.newest(room.lastMessage ?? undefined);
    this.stands(seq, room.n ?? (marker?.n ?? 0) + room.unread, room.last);
    if (useq < this.useq) return;
    this.useq = useq;
    this.role = room.role;
    this.prefs = room.prefs ?? this.prefs;
    if (seq >= this.#mentions.at) {
      this.#mentions = { unread: this.marker > (marker?.seq ?? 0) ? 0 : mentions, at: seq };
      this.#mentioned = this.#mentioned.filter((s) => s > seq);
    }
    if (!marker) return;
    this.reached(marker, room.told);
    this.listedMarker = { ...marker, mentions, at: seq };
  }

  /** How the room stands as of a sequence, by somebody who has entered it or keeps the user's inbox. */
  stands(seq: number, n: number, last?: LastMessage | null): void {
    this.n = Math.max(this.n, n);
    const known = this.last?.seq ?? 0;
    if (last && seq >= Math.max(this.at, known)) this.last = { ...last, roomId: this.id, content: last.preview, seq: this.last?.id === last.id ? known : seq };
    this.at = Math.max(this.at, seq);
    this.changed();
  }

  /** The socket has heard the room up to here. */
  heard(seq: number): void {
    this.seq = Math.max(this.seq, seq);
    this.at = Math.max(this.at, seq);
    if (this.complete) this.to = Math.max(this.to, seq);
  }

  /** A message, or the last one as it is now. */
  newest(message: Message | undefined): void {
    if (message && (!this.last || message.seq >= this.last.seq || message.id === this.last.id)) this.last = message;
  }

  /** Takes notice of a message for counts and the list, whether the timeline takes it or not. */
  noticed(message: Message): void {
    this.n = Math.max(this.n, message.n ?? 0);
    this.newest(message);
    this.typists.delete(message.sender.id);
    if (message.sender.id === this.#me) return this.said(message.seq, message.n);
    if (!message.system) this.receipt(message.sender.id, message.seq); // who says something has read what was said
    if (message.mentions?.room || message.mentions?.users?.includes(this.#me)) this.mentioned(message);
    return this.changed();
  }

  /** A message mentions the user, or does so since it was edited. */
  mentioned({ seq, changed = seq }: Message): void {
    if (changed > this.#mentions.at && seq > this.marker && !this.#mentioned.includes(seq)) this.#mentioned.push(seq);
  }

  /** Own messages move the marker by themselves. */
  said(seq: number, n?: number): void {
    this.told = Math.max(this.told, seq);
    this.held = false;
    this.read(seq, n);
    this.changed();
  }

  /** The marker as the server has it, which may be behind what this device has read. */
  reached({ seq, n }: { seq: number; n?: number }, told = seq): void {
    this.told = Math.max(this.told, told);
    if (seq === this.marker) this.markerN ??= n;
    this.read(seq, n);
  }

  /** Moves the marker to a message, the n-th of the room; never back. */
  read(seq: number, n = this.n): boolean {
    if (seq <= this.marker) return false;
    Object.assign(this, { marker: seq, markerN: n });
    if (seq >= this.#mentions.at || n >= this.n) this.#mentions.unread = 0;
    this.#mentioned = this.#mentioned.filter((s) => s > seq);
    this.changed();
    return true;
  }

  /** Somebody has read up to here. */
  receipt(userId: string, seq: number): void {
    if (userId !== this.#me && seq > (this.readers.get(userId) ?? 0)) this.readers.set(userId, seq);
    if (this.readers.size > maxReaders) this.readers.delete(this.readers.keys().next().value!);
    this.changed();
  }

  /**
   * The server's word about the marker, as of the sequence at; true: it went back. One that is behind what this device has read is old news,
   * unless it is behind what the server had: only a room that is marked unread does that.
   */
  marked({ seq, n, mentions, at = this.at }: MarkerState): boolean {
    const back = seq < this.told;
    this.told = seq;
    if (seq > this.marker) this.held = false; // it was read on another device
    if (back || seq >= this.marker) {
      Object.assign(this, { marker: seq, markerN: n });
      this.#mentions = { unread: mentions, at };
      this.#mentioned = this.#mentioned.filter((s) => s > at);
      this.changed();
    }
    return back;
  }

  keep(): KeptRoom {
    return {
      roomId: this.id, name: this.name, kind: this.kind, role: this.role ?? 'member', seq: this.at, n: this.n, unread: this.unread, mentions: this.mentions, lastMessage: this.last,
      room: this.info, marker: { seq: this.marker, n: this.markerN }, told: this.told, prefs: this.prefs, partners: this.partners, at: Date.now(),
    };
  }

  keepTimeline(count: number): KeptTimeline | undefined {
    if (!this.loaded || this.hasNewer || this.timeline.size === 0) return undefined;
    const entries: Entry[] = this.timeline.entries(count);
    const from = entries.length < this.timeline.size ? entries[0]?.base?.seq ?? this.from : this.from;
    return { roomId: this.id, from, to: this.to, hasOlder: this.hasOlder || from > this.from, entries };
  }

  restore(kept: KeptTimeline): void {
    for (const entry of kept.entries) if (entry.base) this.timeline.adopt(entry);
    Object.assign(this, { from: kept.from, to: kept.to, hasOlder: kept.hasOlder, hasNewer: false, loaded: true, complete: false });
    this.changed();
  }

  /** Forgets the messages. */
  clear(): void {
    this.timeline.clear();
    this.segment += 1;
    Object.assign(this, { from: 0, to: 0, hasOlder: false, hasNewer: false, loaded: false, complete: false });
  }

  /** Drops what is not near the end, for memory. */
  trim(count: number): void {
    if (this.hasNewer) {
      this.clear();
    } else if (this.timeline.size > count) {
      this.timeline.keepNewest(count);
      this.from = this.timeline.messages()[0]?.seq ?? this.from;
      this.hasOlder = true;
    }
    this.changed();
  }

  get unread(): number { return Math.max(0, this.n - (this.markerN ?? this.n)); }

  get mentions(): number { return this.#mentions.unread + this.#mentioned.length; }

  summary(): RoomSummary {
    this.#summary ??= {
      id: this.id, name: this.name, kind: this.kind ?? 'public', topic: this.info?.profile.topic, role: this.role,
      unread: this.unread, mentions: this.mentions, last: this.last, at: this.last?.createdAt ?? this.info?.createdAt ?? '', prefs: this.prefs,
      archived: this.info?.archivedAt !== undefined, joined: this.joined, held: this.held, partners: this.partners,
    };
    return this.#summary;
  }

  view(): RoomView {
    const pending = [...this.pending.values()].sort((a, b) => a.at - b.at);
    this.#view ??= {
      ...this.summary(), info: this.info, messages: this.timeline.messages(), pending: pending.filter((p) => !p.remove),
      removing: new Set(pending.map((p) => p.remove).filter((id) => id !== undefined)),
      hasOlder: this.hasOlder, hasNewer: this.hasNewer, loaded: this.loaded, loading: this.loading, error: this.error?.message, errorReason: this.error?.reason,
      marker: this.marker, readers: new Map(this.readers), readUpTo: Math.max(0, ...this.readers.values()),
      typists: [...this.typists].map(([id, t]) => ({ id, name: t.name })), complete: this.complete,
    };
    return this.#view;
  }
}

// One room as this device knows it: what it is, which messages are here, who reads and types, and what is on its way.

import { Timeline, type Entry } from './merge.ts';
import type { KeptRoom, KeptTimeline } from './cache.ts';
import type { ListedRoom, MemberRole, Message, Pending, Prefs, RoomInfo } from './types.ts';

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
  seq: number;
}

/** The longest list of others' messages after the listed sequence; unread counts are shown as 99+ long before. */
const maxNews = 1000;
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
  seq = 0;
  /** Of the last message that came live. */
  liveSeq = 0;
  last: Message | undefined;
  // Unread: what the list said as of a sequence, and others' messages after it.
  #base = { unread: 0, mentions: 0, at: 0 };
  #news: { seq: number; mention: boolean }[] = [];
  marker = 0;
  /** The marker as the server has it. */
  told = 0;
  held = false;
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

  listed(room: ListedRoom): void {
    this.name = room.name || room.roomId;
    this.role = room.role;
    this.kind = room.kind ?? this.kind;
    this.prefs = room.prefs ?? this.prefs;
    this.info = room.room ?? this.info;
    this.partners = room.partners ?? this.partners;
    this.seq = Math.max(this.seq, room.seq);
    this.#newest(room.lastMessage ?? undefined);
    if (room.marker) this.told = Math.max(this.told, room.told ?? room.marker.seq);
    if (room.marker) this.marker = Math.max(this.marker, room.marker.seq);
    if (room.seq >= this.#base.at) {
      this.#base = { unread: room.unread, mentions: room.mentions ?? 0, at: room.seq };
      this.#news = this.#news.filter((n) => n.seq > room.seq);
      if (this.marker >= room.seq) this.#base = { ...this.#base, unread: 0, mentions: 0 };
    }
    this.changed();
  }

  #newest(message: Message | undefined): void {
    if (message && (!this.last || message.seq >= this.last.seq)) this.last = message;
  }

  /** Takes notice of a message for counts and the list, whether the timeline takes it or not. */
  noticed(message: Message, me: string): void {
    this.seq = Math.max(this.seq, message.seq);
    this.#newest(message);
    this.typists.delete(message.sender.id);
    if (message.sender.id === me) {
      // Own messages move the marker by themselves.
      this.told = Math.max(this.told, message.seq);
      this.held = false;
      this.read(message.seq);
      this.changed();
      return;
    }
    if (!message.system) this.receipt(message.sender.id, message.seq); // who says something has read what was said
    if (message.seq > this.#base.at && message.seq > this.marker && !this.#news.some((n) => n.seq === message.seq)) {
      this.#news.push({ seq: message.seq, mention: message.mentions?.room === true || (message.mentions?.users ?? []).includes(me) });
      if (this.#news.length > maxNews) this.#news.shift();
    }
    this.changed();
  }

  /** Moves the marker; never back. */
  read(seq: number): boolean {
    if (seq <= this.marker) return false;
    this.marker = seq;
    if (seq >= this.#base.at || seq >= (this.last?.seq ?? Infinity)) this.#base = { ...this.#base, unread: 0, mentions: 0 };
    this.#news = this.#news.filter((n) => n.seq > seq);
    this.changed();
    return true;
  }

  /** The user has come to the room when it stood at seq: what was said before is no news. */
  entered(seq: number): void {
    if (this.#base.at > 0) return;
    this.#base = { unread: 0, mentions: 0, at: seq };
    this.#news = this.#news.filter((n) => n.seq > seq);
    this.changed();
  }

  /** Somebody has read up to here. */
  receipt(userId: string, seq: number): void {
    if (userId === this.#me) this.read(seq);
    else if (seq > (this.readers.get(userId) ?? 0)) this.readers.set(userId, seq);
    if (this.readers.size > maxReaders) this.readers.delete(this.readers.keys().next().value!);
    this.changed();
  }

  /**
   * The server's word about the marker, as of the sequence at; true: it went back. One that is behind what this device has read is old news,
   * unless it is behind what the server had: only a room that is marked unread does that.
   */
  marked(seq: number, unread: number, mentions: number, at = this.seq): boolean {
    const back = seq < this.told;
    this.told = seq;
    if (back || seq >= this.marker) {
      this.marker = seq;
      this.#base = { unread, mentions, at };
      this.#news = this.#news.filter((n) => n.seq > at);
      this.changed();
    }
    return back;
  }

  keep(): KeptRoom {
    return {
      roomId: this.id, name: this.name, kind: this.info?.kind ?? this.kind, role: this.role ?? 'member', seq: this.seq, unread: this.unread, mentions: this.mentions, lastMessage: this.last,
      room: this.info, marker: { seq: this.marker }, told: this.told, prefs: this.prefs, partners: this.partners, at: Date.now(),
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

  clear(): void {
    this.timeline.clear();
    this.segment += 1;
  }

  /** Drops what is not near the end, for memory. */
  trim(count: number): void {
    if (this.hasNewer) {
      this.clear();
      Object.assign(this, { from: 0, to: 0, hasOlder: false, hasNewer: false, loaded: false, complete: false });
    } else if (this.timeline.size > count) {
      this.timeline.keepNewest(count);
      this.from = this.timeline.messages()[0]?.seq ?? this.from;
      this.hasOlder = true;
    }
    this.changed();
  }

  get unread(): number { return this.#base.unread + this.#news.length; }

  get mentions(): number { return this.#base.mentions + this.#news.filter((n) => n.mention).length; }

  summary(): RoomSummary {
    this.#summary ??= {
      id: this.id, name: this.info?.profile.name || this.name, kind: this.info?.kind ?? this.kind ?? 'public', topic: this.info?.profile.topic, role: this.role,
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
      typists: [...this.typists].map(([id, t]) => ({ id, name: t.name })), seq: this.seq,
    };
    return this.#view;
  }
}

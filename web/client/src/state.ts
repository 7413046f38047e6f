// What the parts of the store share: rooms, names, the connection, the device's memory, and who is told when something has changed.

import type { Cache } from './cache.ts';
import { Topics } from './emitter.ts';
import { Keeper } from './keeper.ts';
import type { Link, Note } from './link.ts';
import { Room, type RoomSummary } from './room.ts';
import type { StoreOptions } from './store.ts';
import type { Fact, User } from './types.ts';

const maxNames = 5000;

export class State {
  readonly me: User;
  readonly options: StoreOptions;
  readonly topics = new Topics();
  readonly rooms = new Map<string, Room>();
  readonly names = new Map<string, string>();
  readonly keeper: Keeper;
  readonly counts = { sent: 0, committed: 0, delivered: 0, twice: 0 };
  // Set once, before anything else happens.
  link!: Link;
  cache!: Cache;
  /** The room that is shown. */
  open: string | undefined;
  /** How far the user's log was heard. */
  useq: number | undefined;
  closed = false;
  #summaries: readonly RoomSummary[] | undefined;

  constructor(options: StoreOptions) {
    this.options = options;
    this.me = options.tokens.user;
    this.names.set(this.me.id, this.me.name);
    this.keeper = new Keeper(this);
  }

  /** The user's rooms, the last active first. */
  get summaries(): readonly RoomSummary[] {
    this.#summaries ??= [...this.rooms.values()].filter((r) => r.role !== undefined).map((r) => r.summary())
      .sort((a, b) => Number(b.prefs.pinned ?? false) - Number(a.prefs.pinned ?? false) || b.at.localeCompare(a.at) || a.id.localeCompare(b.id));
    return this.#summaries;
  }

  room(roomId: string): Room {
    let room = this.rooms.get(roomId);
    if (!room) {
      room = new Room(roomId, this.me.id);
      this.rooms.set(roomId, room);
    }
    return room;
  }

  learn(userId: string, name: string): void {
    if (!name || name === userId || this.names.get(userId) === name) return; // an id in the place of a name is none
    if (this.names.size > maxNames) this.names.delete(this.names.keys().next().value!);
    this.names.set(userId, name);
    this.topics.changed('names');
  }

  setUseq(useq: number): void {
    this.useq = useq;
    void this.cache.putValue('useq', useq).catch(() => undefined);
  }

  /** Lets a room's messages take a fact. */
  apply(room: Room, fact: Fact): void {
    if (fact.kind === 'message') this.learn(fact.message.sender.id, fact.message.sender.name);
    room.timeline.apply(fact);
    this.keeper.timeline(room.id);
  }

  roomChanged(room: Room): void {
    room.changed();
    this.#summaries = undefined;
    this.keeper.room(room.id);
    this.topics.changed('rooms', `room:${room.id}`);
  }

  roomsChanged(): void {
    this.#summaries = undefined;
    this.topics.changed('rooms');
  }

  /** Something of a room that is not kept on the device: who types, what waits to be sent. */
  passingChanged(room: Room, ...topics: string[]): void {
    room.changed();
    this.topics.changed(`room:${room.id}`, ...topics);
  }

  /** Tells the other tabs. */
  note(note: Note): void { this.link.note(note); }
}

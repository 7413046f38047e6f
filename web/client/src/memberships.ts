// Which rooms the user is in: what a list of the server says, and what happened since it was asked for.

import { longestPause, type Entering } from './entering.ts';
import type { Room } from './room.ts';
import type { State } from './state.ts';
import type { Answer } from './contract.ts';
import type { ListedRoom, MemberRole, RoomInfo } from './types.ts';

export class Memberships {
  readonly #state: State;
  readonly #entering: Entering;
  /** Whether the server has said which rooms there are; before, it is what the device kept. */
  listed = false;
  /** The session in which it has. */
  #session = '';
  /** The entry of the user's log up to which it is known where the user is a member: a list that is older is not believed. */
  known = 0;

  constructor(state: State, entering: Entering) {
    this.#state = state;
    this.#entering = entering;
    entering.onentered = (room) => void this.about(room);
  }

  /** Learns which rooms there are, if the inbox does not say it within a while: not all servers have one. It is asked until there is an answer. */
  async list(wait: number): Promise<void> {
    const state = this.#state;
    const { session } = state.link.state;
    const due = () => !state.closed && session === state.link.state.session && session !== this.#session;
    do {
      await new Promise((resolve) => { setTimeout(resolve, wait); });
      wait = Math.min(2 * wait || 500, longestPause);
    } while (due() && !await this.#pages());
  }

  /** The user's log has begun anew. */
  reset(): void {
    this.known = 0;
    for (const room of this.#state.rooms.values()) Object.assign(room, { marker: 0, markerN: undefined, told: 0, useq: 0 }); // it may have gone back
    this.#anew();
  }

  #anew(): void {
    this.#session = '';
    void this.list(0);
  }

  /** The server says how the rooms are that were active last. */
  inbox({ rooms, useq, next }: { rooms: ListedRoom[]; useq: number; next?: string }): void {
    if (!this.#take(rooms, useq, !next)) this.#anew();
    else if (next) void this.#pages(rooms, useq, next);
  }

  async #pages(rooms: ListedRoom[] = [], useq = Infinity, after?: string): Promise<boolean> {
    do {
      const reply = await this.#state.link.call('room:list', after === undefined ? undefined : { after });
      if (!reply.ok) return false;
      rooms.push(...reply.rooms);
      useq = Math.min(useq, reply.useq);
      after = reply.next;
    } while (after !== undefined && rooms.length < 2000);
    return this.#take(rooms, useq, true);
  }

  /** Takes a list, which may be all rooms; false: it is old. */
  #take(rooms: ListedRoom[], useq: number, all: boolean): boolean {
    const state = this.#state;
    if (useq < this.known) return false;
    if (state.useq === undefined) state.setUseq(useq);
    const there = new Set(rooms.map((r) => r.roomId));
    for (const room of state.rooms.values()) {
      if (all && !there.has(room.id) && !room.joined && room.role !== undefined && room.pending.size === 0 && room.id !== state.open) this.gone(room.id);
    }
    for (const [i, listed] of rooms.entries()) {
      const room = state.room(listed.roomId);
      room.listed(listed, useq);
      const last = listed.lastMessage ?? listed.last;
      if (last) state.learn(last.sender.id, last.sender.name);
      state.keeper.room(room.id);
      if (i < 50) void this.#partners(room); // of those that are shown first
    }
    this.listed = true;
    if (all) {
      this.#session = state.link.state.session;
      this.known = useq;
    }
    state.roomsChanged();
    return true;
  }

  /** What a list does not tell of a room. */
  async about(room: Room): Promise<void> {
    const { useq } = room;
    const got = await this.#state.link.call('room:get', room.id);
    if (!got.ok) return;
    if (useq < room.useq) return this.about(room); // the answer may be older than what the user's log said meanwhile
    room.is(got.room);
    Object.assign(room, { role: got.role ?? room.role, prefs: got.prefs ?? room.prefs });
    if (got.marker) room.reached(got.marker);
    this.#state.roomChanged(room);
    return this.#partners(room);
  }

  async #partners(room: Room): Promise<void> {
    if (room.kind !== 'direct' || room.partners.length > 0) return;
    const reply = await this.members(room.id);
    if (!reply.ok) return;
    room.partners = reply.members.map((m) => m.userId).filter((id) => id !== this.#state.me.id);
    this.#state.roomChanged(room);
  }

  async members(roomId: string, query?: string, after?: string): Promise<Answer<'room:members'>> {
    const reply = await this.#state.link.call('room:members', { roomId, query: query || undefined, after, limit: 100 });
    if (reply.ok) for (const m of reply.members) this.#state.learn(m.userId, m.name);
    return reply;
  }

  /** The user is in a room now. */
  added(info: RoomInfo, role: MemberRole = 'member'): Room {
    const room = this.#state.room(info.roomId);
    room.is(info);
    room.role ??= role;
    this.#state.roomChanged(room);
    if (room.error && this.#state.open === room.id) void this.#entering.load(room);
    return room;
  }

  /** The user is not in a room any more. */
  gone(roomId: string, reason = 'left'): void {
    const state = this.#state;
    const room = state.rooms.get(roomId);
    if (!room) return;
    state.link.left(roomId);
    Object.assign(room, { role: undefined, joined: false });
    if (state.open === roomId) {
      room.clear();
      room.error = { message: reason, reason };
    } else if (room.pending.size === 0) {
      state.rooms.delete(roomId);
    }
    state.keeper.gone(roomId);
    state.roomChanged(room);
  }
}

// Which rooms the user is in: what a list of the server says, and what happened since it was asked for.

import { longestPause, type Entering } from './entering.ts';
import type { Room } from './room.ts';
import type { State } from './state.ts';
import type { Answer } from './contract.ts';
import type { ListedRoom, MemberRole, RoomInfo } from './types.ts';

export class Memberships {
  readonly #state: State;
  /** Whether the server has said which rooms there are; before, it is what the device kept. */
  listed = false;
  /** The session in which it has. */
  #session = '';
  /** The last word of the user's log about where the user is a member: a list that is older is not believed. */
  #moved = 0;

  constructor(state: State, entering: Entering) {
    this.#state = state;
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

  /** What is known is old: it is asked for anew. */
  reset(): void {
    this.#session = '';
    this.#moved = 0;
    void this.list(0);
  }

  /** The server says how the rooms are that were active last. */
  inbox({ rooms, useq, next }: { rooms: ListedRoom[]; useq: number; next?: string }): void {
    if (!this.#take(rooms, useq, !next)) this.reset();
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
    if (useq < this.#moved) return false;
    if (state.useq === undefined) state.setUseq(useq);
    const there = new Set(rooms.map((r) => r.roomId));
    for (const room of state.rooms.values()) {
      if (all && !there.has(room.id) && !room.joined && room.role !== undefined && room.pending.size === 0 && room.id !== state.open) this.gone(room.id);
    }
    for (const [i, listed] of rooms.entries()) {
      const room = state.room(listed.roomId);
      room.listed(listed);
      const last = listed.lastMessage ?? listed.last;
      if (last) state.learn(last.sender.id, last.sender.name);
      state.keeper.room(room.id);
      if (i < 50) void this.#partners(room); // of those that are shown first
    }
    this.listed = true;
    if (all) this.#session = state.link.state.session;
    state.roomsChanged();
    return true;
  }

  /** What a list does not tell of a room. */
  async about(room: Room): Promise<void> {
    const got = await this.#state.link.call('room:get', room.id);
    if (!got.ok) return;
    room.is(got.room);
    Object.assign(room, { role: got.role ?? room.role, prefs: got.prefs ?? room.prefs });
    if (got.marker) room.reached(got.marker);
    this.#state.roomChanged(room);
    await this.#partners(room);
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
  added(info: RoomInfo, role: MemberRole = 'member', useq = 0): void {
    const room = this.#state.room(info.roomId);
    this.#moved = Math.max(this.#moved, useq);
    room.is(info);
    room.role ??= role;
    this.#state.roomChanged(room);
    if (useq) void this.about(room);
  }

  /** The user is not in a room any more. */
  gone(roomId: string, reason = '', useq = 0): void {
    const state = this.#state;
    const room = state.rooms.get(roomId);
    this.#moved = Math.max(this.#moved, useq);
    if (!room) return;
    state.link.left(roomId);
    if (state.open === roomId) {
      room.clear();
      Object.assign(room, { role: undefined, joined: false, error: { message: reason || 'left', reason: reason || 'left' } });
      state.roomChanged(room);
    } else if (room.pending.size === 0) {
      state.rooms.delete(roomId);
    } else {
      room.role = undefined;
    }
    state.keeper.gone(roomId);
    state.topics.changed(`room:${roomId}`);
    state.roomsChanged();
  }
}

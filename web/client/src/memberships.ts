// Which rooms the user is in: what a list of the server says, and what happened since it was asked for.

import { longestPause, type Entering } from './entering.ts';
import type { Room } from './room.ts';
import type { State } from './state.ts';
import type { Answer } from './contract.ts';
import type { ListedRoom, MemberRole, RoomInfo } from './types.ts';

/** Of the 100 rooms that a socket may be in: some are left for those that the user opens. */
export const maxJoined = 90;

export class Memberships {
  readonly #state: State;
  readonly #entering: Entering;
  /** Whether the server has said which rooms there are; before, it is what the device kept. */
  listed = false;
  /** Listings on their way, and the rooms that one came into or left since the first of them was asked for: there they know less than the store. */
  #listings = 0;
  readonly #moved = new Set<string>();

  constructor(state: State, entering: Entering) {
    this.#state = state;
    this.#entering = entering;
    entering.onentered = (room) => this.#moved.add(room.id);
  }

  /** Lists the rooms until there is an answer, as long as current holds. */
  async list(current: () => boolean): Promise<void> {
    let done = await this.#list();
    for (let tries = 0; !done && current(); tries += 1) {
      await new Promise((resolve) => { setTimeout(resolve, Math.min(500 * 2 ** tries, longestPause)); });
      if (current()) done = await this.#list();
    }
    if (current()) this.listed = true;
  }

  /** Enters the rooms that were active last, for what is unread in them. */
  async enterAll(current: () => boolean): Promise<void> {
    const others = this.#state.summaries.filter((r) => r.id !== this.#state.open && !r.prefs.hidden).slice(0, maxJoined);
    for (let i = 0; i < others.length && current(); i += 4) {
      await Promise.all(others.slice(i, i + 4).map((r) => this.#entering.enter(this.#state.room(r.id))));
    }
    this.#state.roomsChanged();
  }

  async #list(): Promise<boolean> {
    if (this.#listings === 0) this.#moved.clear();
    this.#listings += 1;
    try {
      return await this.#pages();
    } finally {
      this.#listings -= 1;
    }
  }

  async #pages(): Promise<boolean> {
    const state = this.#state;
    const rooms: ListedRoom[] = [];
    let after: string | undefined;
    do {
      const reply = await state.link.call('room:list', after === undefined ? undefined : { after });
      if (!reply.ok) return false;
      rooms.push(...reply.rooms);
      if (state.useq === undefined) state.setUseq(reply.useq);
      after = reply.next;
    } while (after !== undefined && rooms.length < 2000);
    this.#take(rooms);
    return true;
  }

  #take(rooms: ListedRoom[]): void {
    const state = this.#state;
    const there = new Set(rooms.map((r) => r.roomId));
    for (const room of state.rooms.values()) {
      if (!there.has(room.id) && !this.#moved.has(room.id) && room.role !== undefined && room.pending.size === 0 && room.id !== state.open) this.gone(room.id);
    }
    for (const listed of rooms) {
      if (this.#moved.has(listed.roomId) && !state.rooms.get(listed.roomId)?.role) continue; // left meanwhile
      const room = state.room(listed.roomId);
      room.listed(listed);
      if (listed.lastMessage) state.learn(listed.lastMessage.sender.id, listed.lastMessage.sender.name);
      state.keeper.room(room.id);
    }
    state.roomsChanged();
    // Kinds and names of rooms that the list does not tell are asked for, of those that are shown first.
    for (const listed of rooms.slice(0, 50)) if (!listed.room && state.rooms.get(listed.roomId)?.info === undefined) void this.#about(listed.roomId);
  }

  async #about(roomId: string): Promise<void> {
    const got = await this.#state.link.call('room:get', roomId);
    const room = this.#state.rooms.get(roomId);
    if (!got.ok || !room) return;
    Object.assign(room, { info: got.room, prefs: got.prefs ?? room.prefs });
    if (got.marker) room.marker = Math.max(room.marker, got.marker.seq);
    if (got.room.kind === 'direct') void this.#partners(room);
    this.#state.roomChanged(room);
  }

  async #partners(room: Room): Promise<void> {
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
  added(info: RoomInfo, role?: MemberRole): void {
    const state = this.#state;
    const room = state.room(info.roomId);
    this.#moved.add(room.id);
    room.info = info;
    room.role ??= role ?? 'member';
    state.roomChanged(room);
    if (info.kind === 'direct') void this.#partners(room);
    if (!room.joined && state.summaries.length <= maxJoined) void this.#entering.enter(room);
  }

  /** The user is not in a room any more. */
  gone(roomId: string, reason = ''): void {
    const state = this.#state;
    const room = state.rooms.get(roomId);
    this.#moved.add(roomId);
    if (!room) return;
    state.link.left(roomId);
    if (state.open === roomId) {
      Object.assign(room, { role: undefined, joined: false, complete: false, loaded: false, error: { message: reason || 'left', reason: reason || 'left' } });
      room.clear();
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

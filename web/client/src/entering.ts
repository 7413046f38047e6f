// Entering rooms: the socket hears a room from a sequence on, and what is missing before that is filled in. What had no answer is tried
// again for as long as the session is the one in which it was asked.

import { offline } from './link.ts';
import { isFinal } from './outbox.ts';
import type { Room } from './room.ts';
import type { State } from './state.ts';
import type { Ack } from './types.ts';

const page = 50;
const furthest = 5; // pages that a room may be behind and still be continued
export const longestPause = 15_000; // milliseconds between tries

export class Entering {
  readonly #state: State;
  readonly #later = new Map<string, ReturnType<typeof setTimeout>>();
  /** Told of a room that was entered, of which more is to be known now. */
  onentered: ((room: Room) => void) | undefined;

  constructor(state: State) { this.#state = state; }

  /** Shows what the device has of a room, and enters it. */
  async load(room: Room): Promise<void> {
    const state = this.#state;
    if (!room.loaded && !room.fromCache) {
      room.fromCache = true;
      const kept = await state.cache.timeline(room.id).catch(() => undefined);
      if (kept && !room.loaded) {
        room.restore(kept);
        for (const { base } of kept.entries) if (base) state.learn(base.sender.id, base.sender.name);
        state.roomChanged(room);
      }
    }
    await this.enter(room);
  }

  /** Hears the room and fills what is missing before what it hears. */
  async enter(room: Room, invite?: string): Promise<Ack<{ roomId: string }>> {
    const state = this.#state;
    const { session, status } = state.link.state;
    if (status !== 'online') {
      this.#again(room, session);
      return offline();
    }
    const since = room.loaded && !room.hasNewer ? room.to : room.at || undefined;
    const reply = await state.link.join(room.id, since, invite);
    if (session !== state.link.state.session) return reply;
    if (!reply.ok) {
      const full = reply.error.code === 'too_large'; // the socket is in as many rooms as it may be: a fresh one is in none
      room.error = isFinal(reply.error) && !full ? reply.error : undefined;
      if (full) state.link.trouble('renew');
      room.loading = undefined;
      if (!room.error) this.#again(room, session, reply.error.retryAfterMs);
      state.roomChanged(room);
      return reply;
    }
    room.joined = true;
    room.error = undefined;
    room.role = reply.role;
    room.heard(reply.seq);
    if (state.open === room.id || room.loaded) {
      await this.#fill(room, session);
      if (state.open === room.id) void this.#readers(room);
      if (!room.complete && !room.hasNewer && !room.error) this.#again(room, session);
    }
    this.onentered?.(room);
    if (room.complete) room.tries = 0;
    state.roomChanged(room);
    return reply;
  }

  /** Tries again what had no answer: the session is still the one in which it was asked, so that nothing else would. */
  #again(room: Room, session: string, afterMs = Math.min(500 * 2 ** room.tries, longestPause)): void {
    const state = this.#state;
    if (state.closed || this.#later.has(room.id)) return;
    room.tries += 1;
    this.#later.set(room.id, setTimeout(() => {
      this.#later.delete(room.id);
      if (session !== state.link.state.session || (state.open !== room.id && room.role === undefined)) return;
      if (state.link.state.status === 'online') void this.enter(room); else this.#again(room, session);
    }, afterMs));
  }

  /** Tries at once what waits for a pause: the connection is back. */
  hurry(): void {
    for (const [id, timer] of this.#later) {
      clearTimeout(timer);
      this.#later.delete(id);
      void this.enter(this.#state.room(id));
    }
  }

  close(): void { for (const timer of this.#later.values()) clearTimeout(timer); }

  async #fill(room: Room, session: string): Promise<void> {
    const state = this.#state;
    if (room.complete || room.hasNewer) return;
    if (room.loaded && await this.#catchUp(room, session)) return;
    if (state.open !== room.id && !room.loaded) return;
    room.loading = 'first';
    state.roomChanged(room);
    const reply = await state.link.call('message:history', { roomId: room.id, limit: page });
    room.loading = undefined;
    if (reply.ok) {
      const first = reply.messages[0]?.seq ?? 0;
      const last = reply.messages.at(-1)?.seq ?? 0;
      // What came live since then continues the page; what was here before is too far back to be continued.
      const live = room.timeline.messages().filter((m) => m.seq > last);
      room.clear();
      for (const message of [...reply.messages, ...live]) state.apply(room, { kind: 'message', message, personal: true });
      Object.assign(room, {
        from: first, to: Math.max(room.seq, last), hasOlder: reply.hasMore, loaded: true, complete: session === state.link.state.session,
      });
    } else if (isFinal(reply.error)) {
      room.error = reply.error;
    }
    state.roomChanged(room);
  }

  /** Brings a segment that ends somewhere in the past up to date; false: it is too far back. */
  async #catchUp(room: Room, session: string): Promise<boolean> {
    const { link } = this.#state;
    for (let pages = 0; pages < furthest; pages += 1) {
      const reply = await link.call('message:changes', { roomId: room.id, since: room.to, limit: 100 });
      if (!reply.ok) return !isFinal(reply.error);
      const oldest = room.timeline.messages()[0]?.seq ?? 0;
      for (const message of reply.messages) if (message.seq >= oldest) this.#state.apply(room, { kind: 'message', message, personal: true });
      room.to = Math.max(room.to, reply.upTo);
      if (reply.hasMore) continue;
      room.to = Math.max(room.to, room.seq);
      room.complete = session === link.state.session;
      this.#state.roomChanged(room);
      return true;
    }
    return false;
  }

  async #readers(room: Room): Promise<void> {
    const reply = await this.#state.link.call('message:readers', { roomId: room.id, limit: 200 });
    if (!reply.ok) return;
    for (const { userId, seq } of reply.readers) room.receipt(userId, seq);
    this.#state.roomChanged(room);
  }
}

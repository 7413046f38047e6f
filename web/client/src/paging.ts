// Pages of a room's past: further up, further down, around a message somewhere, and back to the newest.

import type { Entering } from './entering.ts';
import { isFinal } from './outbox.ts';
import type { Room } from './room.ts';
import type { State } from './state.ts';
import type { Message } from './types.ts';

/** Messages of an open room that are held in memory. */
export const maxMessages = 100_000;

export class Paging {
  readonly #state: State;
  readonly #entering: Entering;

  constructor(state: State, entering: Entering) {
    this.#state = state;
    this.#entering = entering;
  }

  async older(roomId: string): Promise<void> {
    const room = this.#state.rooms.get(roomId);
    if (!room?.loaded || !room.hasOlder || room.loading) return;
    const first = room.timeline.messages()[0]?.seq ?? room.from;
    await this.#page(room, 'older', { before: first, limit: 100 }, (messages, hasMore) => {
      room.from = messages[0]?.seq ?? room.from;
      room.hasOlder = hasMore;
      const max = this.#state.options.maxMessages ?? maxMessages;
      if (room.timeline.size > max) {
        room.timeline.keepOldest(max);
        Object.assign(room, { hasNewer: true, complete: false, to: room.timeline.messages().at(-1)?.seq ?? room.to });
      }
    });
  }

  async newer(roomId: string): Promise<void> {
    const room = this.#state.rooms.get(roomId);
    if (!room?.loaded || !room.hasNewer || room.loading) return;
    const after = room.timeline.messages().at(-1)?.seq ?? room.to;
    await this.#page(room, 'newer', { after, limit: 100 }, (messages, hasMore) => {
      Object.assign(room, { to: messages.at(-1)?.seq ?? room.to, hasNewer: hasMore, complete: false });
    });
    if (!room.hasNewer) await this.#entering.enter(room); // what came live meanwhile was not taken
  }

  async #page(room: Room, which: 'older' | 'newer', cursor: object, done: (messages: Message[], hasMore: boolean) => void): Promise<void> {
    const state = this.#state;
    room.loading = which;
    state.roomChanged(room);
    const { segment } = room;
    const reply = await state.link.call('message:history', { roomId: room.id, ...cursor });
    room.loading = undefined;
    if (reply.ok && segment === room.segment) {
      for (const message of reply.messages) state.apply(room, { kind: 'message', message, personal: true });
      done(reply.messages, reply.hasMore);
    }
    state.roomChanged(room);
  }

  /**
   * Makes a message of the past visible, by its id or sequence, with what is around it; it may take a connection. undefined: there is none;
   * null: the user has gone elsewhere before that was known.
   */
  async jump(roomId: string, to: { id?: string; seq?: number }): Promise<Message | null | undefined> {
    const state = this.#state;
    const room = state.room(roomId);
    const there = () => room.timeline.messages().find((m) => m.id === to.id || m.seq === to.seq);
    if (!room.loaded) await this.#entering.load(room);
    let page;
    for (;;) {
      if (there()) return there();
      page = await state.link.call('message:history', { roomId, around: to.id ?? to.seq, limit: 100 });
      if (page.ok) break;
      if (isFinal(page.error)) return undefined;
      await new Promise((resolve) => { setTimeout(resolve, 500); });
      if (state.open !== roomId || state.closed) return null;
    }
    room.clear();
    for (const message of page.messages) state.apply(room, { kind: 'message', message, personal: true });
    Object.assign(room, {
      from: page.messages[0]?.seq ?? 0, to: page.messages.at(-1)?.seq ?? 0, hasOlder: page.hasMore, hasNewer: page.hasNewer ?? false, loaded: true,
    });
    if (!room.hasNewer) await this.#entering.enter(room);
    state.roomChanged(room);
    return there();
  }

  async toNewest(roomId: string): Promise<void> {
    const room = this.#state.room(roomId);
    if (!room.hasNewer) return;
    room.clear();
    await this.#entering.enter(room);
  }
}

// What the user says: written down, shown at once, sent once, and shown as said when the server has it. Drafts, and the word that one types,
// belong to it.

import { isFinal, Outbox, type Sent } from './outbox.ts';
import type { MarkerState, Room } from './room.ts';
import { randomId } from './tabs.ts';
import type { State } from './state.ts';
import type { Ack, Message, Pending } from './types.ts';

export interface SendOptions { format?: 'markdown'; replyTo?: Message; mentions?: Pending['mentions'] }

/** Messages that wait to be sent, at most: who writes more is told. */
const maxWaiting = 1000;
const typingEvery = 3000;
const readPause = 300; // milliseconds in which markers are gathered

/** Names the deletion of a message in the outbox. */
export const removal = (messageId: string): string => `remove-${messageId}`;

export class Sending {
  readonly #state: State;
  readonly outbox: Outbox;
  readonly #drafts = new Map<string, string>();
  readonly #typedAt = new Map<string, number>();
  readonly #readDue = new Map<string, ReturnType<typeof setTimeout>>();
  /** Who waits for the end of a deletion, by its clientMsgId. */
  readonly #removing = new Map<string, (answer: Ack) => void>();
  #order = 0;

  constructor(state: State) {
    this.#state = state;
    this.outbox = new Outbox(state.cache, {
      ready: () => state.link.state.leader && state.link.state.status === 'online',
      send: (p) => this.#sendNow(p),
      changed: (p) => {
        this.changed(p);
        if (state.link.state.leader) state.note({ kind: 'pending', pending: p });
      },
      written: (p) => { if (!state.link.state.leader) state.note({ kind: 'pending', pending: p }); },
      answered: (p, answer) => this.#answered(p, answer),
    });
    globalThis.addEventListener?.('pagehide', this.#leaving);
  }

  /** A page that is left can undo nothing any more; what does not get out now is sent at the next start. */
  readonly #leaving = (): void => this.outbox.hurry(true);

  /** Sends a message: it is written down first, shown at once, and goes out once, whatever happens to the connection or the tab. */
  async send(roomId: string, content: string, { format, mentions, replyTo }: SendOptions): Promise<Pending> {
    if (this.outbox.size >= maxWaiting) throw new RangeError(`${maxWaiting} messages wait to be sent already`);
    this.#order += 1;
    const pending: Pending = {
      clientMsgId: `${Date.now().toString(36)}-${randomId()}`, roomId, content, at: Date.now() + (this.#order % 1000) / 1000, state: 'queued', tries: 0,
      format, mentions, replyTo: replyTo?.id, quote: replyTo && { id: replyTo.id, sender: replyTo.sender, preview: replyTo.content.slice(0, 140) },
    };
    const draft = this.draft(roomId);
    this.typing(roomId, false, false);
    this.setDraft(roomId, '');
    try {
      await this.outbox.add(pending);
    } catch (err) {
      if (!this.draft(roomId)) this.setDraft(roomId, draft); // a full disk takes nothing away
      throw err;
    }
    this.#state.counts.sent += 1;
    return pending;
  }

  /** Deletes a message once the time for undoing it is over: hidden at once, written down, and sent like a message. */
  async remove({ roomId, id }: Message, undoMs: number): Promise<Ack> {
    const clientMsgId = removal(id);
    const end = new Promise<Ack>((resolve) => { this.#removing.set(clientMsgId, resolve); });
    const at = Date.now();
    await this.outbox.add({ clientMsgId, roomId, content: '', at, state: 'queued', tries: 0, remove: id, notBefore: at + undoMs });
    return end;
  }

  async discard({ roomId, clientMsgId }: Pick<Pending, 'roomId' | 'clientMsgId'>): Promise<void> {
    await this.outbox.discard(clientMsgId);
    this.#end(roomId, clientMsgId);
  }

  #sendNow({ roomId, content, clientMsgId, format, replyTo, mentions, remove }: Pending): Promise<Ack<Sent>> {
    const { link } = this.#state;
    return remove ? link.call('message:delete', { roomId, messageId: remove }) : link.call('message:send', { roomId, content, clientMsgId, format, replyTo, mentions });
  }

  #answered(p: Pending, answer: Ack<Sent>): void {
    const { me, rooms, counts } = this.#state;
    const { roomId, remove } = p;
    if (remove) {
      const room = rooms.get(roomId);
      if (answer.ok && room?.timeline.has(remove)) {
        this.#state.apply(room, { kind: 'deleted', roomId, seq: answer.seq, messageId: remove, by: me.id, at: new Date().toISOString() });
        this.#state.roomChanged(room);
      }
      this.#end(roomId, p.clientMsgId, answer);
    } else if (answer.ok) {
      const message: Message = {
        id: answer.id!, roomId, seq: answer.seq, n: answer.n, sender: { id: me.id, name: me.name }, content: p.content, type: 'text', createdAt: answer.createdAt!,
        clientMsgId: p.clientMsgId, format: p.format, replyTo: p.quote, mentions: p.mentions,
      };
      counts.committed += 1;
      this.confirmed(message);
      this.#state.note({ kind: 'committed', message });
    }
  }

  /** An entry is no more, without a message. */
  #end(roomId: string, id: string, answer?: Ack): void {
    this.done(roomId, id, answer);
    this.#state.note({ kind: 'discarded', roomId, id, answer });
  }

  /** The server has a message of the user. */
  confirmed(message: Message): void {
    const room = this.#state.room(message.roomId);
    room.noticed(message);
    if (room.loaded && !room.hasNewer) this.#state.apply(room, { kind: 'message', message, guess: true });
    this.done(message.roomId, message.clientMsgId!);
    this.#state.roomChanged(room);
  }

  changed(p: Pending): void {
    const room = this.#state.room(p.roomId);
    room.pending.set(p.clientMsgId, p);
    this.#state.passingChanged(room, 'outbox');
  }

  /** An entry does not wait any more. */
  done(roomId: string, id: string, answer: Ack = { ok: true }): void {
    this.#removing.get(id)?.(answer);
    this.#removing.delete(id);
    const room = this.#state.rooms.get(roomId);
    if (room?.pending.delete(id)) this.#state.passingChanged(room, 'outbox');
  }

  loadDrafts(drafts: [string, string][]): void { for (const [id, text] of drafts) this.#drafts.set(id, text); }

  draft(roomId: string): string { return this.#drafts.get(roomId) ?? ''; }

  setDraft(roomId: string, text: string): void {
    if (this.draft(roomId) === text) return;
    if (text) this.#drafts.set(roomId, text); else this.#drafts.delete(roomId);
    this.#state.topics.changed('drafts');
    void this.#state.cache.putValue('drafts', [...this.#drafts]).catch(() => undefined);
  }

  /** Says that the user types, as often as it is to be renewed; tell: whether the others are to hear of a stop. */
  typing(roomId: string, on: boolean, tell = true): void {
    const at = this.#typedAt.get(roomId) ?? 0;
    if (on) {
      if (Date.now() - at < typingEvery) return;
      this.#typedAt.set(roomId, Date.now());
      void this.#state.link.call('typing:start', roomId);
    } else if (at > 0) {
      this.#typedAt.delete(roomId);
      if (tell) void this.#state.link.call('typing:stop', roomId);
    }
  }

  /** The user has seen a room up to here, unless it was marked unread since it was opened. */
  markRead(roomId: string): void {
    const state = this.#state;
    const room = state.rooms.get(roomId);
    const last = room?.timeline.messages().at(-1);
    if (!room || !last || room.hasNewer || room.held || !room.read(last.seq, last.n)) return;
    state.roomChanged(room);
    state.note({ kind: 'marker', roomId, seq: last.seq, n: last.n });
    // Of many messages that arrive at once only the last is told.
    this.#tellSoon(room, readPause);
  }

  #tellSoon(room: Room, pause: number): void {
    if (!this.#readDue.has(room.id)) this.#readDue.set(room.id, setTimeout(() => this.#tell(room), pause));
  }

  /** Tells the server how far the user has read, also what it could not be told before. */
  tellMarkers(): void { for (const room of this.#state.rooms.values()) if (room.role) this.#tell(room); }

  // What stays without an answer is told again; what could not be sent, when there is a connection.
  #tell(room: Room): void {
    this.#readDue.delete(room.id);
    const seq = room.marker;
    if (seq > room.told) void this.#state.link.call('message:read', { roomId: room.id, seq }).then((reply) => {
      if (reply.ok) room.told = Math.max(room.told, seq);
      else if (!isFinal(reply.error) && reply.error.code !== 'offline') this.#tellSoon(room, reply.error.retryAfterMs ?? readPause);
    });
  }

  /** The marker goes back, on all devices of the user. */
  async markUnread({ roomId, seq }: Message): Promise<Ack> {
    const { link, rooms } = this.#state;
    const reply = await link.call('room:mark-unread', { roomId, seq: seq - 1 });
    const room = rooms.get(roomId);
    if (!reply.ok || !room) return reply;
    room.told = Math.max(room.told, room.marker); // that it was read is of no interest any more, though it may be on its way
    this.marked(room, { ...reply.marker, mentions: reply.mentions });
    return reply;
  }

  /** The server's word about the marker of a room. */
  marked(room: Room, marker: MarkerState): void {
    if (room.marked(marker)) room.held = this.#state.open === room.id;
    this.#state.roomChanged(room);
  }

  close(): void {
    globalThis.removeEventListener?.('pagehide', this.#leaving);
    for (const timer of this.#readDue.values()) clearTimeout(timer);
    this.outbox.close();
  }
}

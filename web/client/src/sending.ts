// What the user says: written down, shown at once, sent once, and shown as said when the server has it. Drafts, and the word that one types,
// belong to it.

import { Outbox, type Sent } from './outbox.ts';
import { randomId } from './tabs.ts';
import type { State } from './state.ts';
import type { Ack, Message, Pending } from './types.ts';

export interface SendOptions { format?: 'markdown'; replyTo?: Message; mentions?: Pending['mentions'] }

/** Messages that wait to be sent, at most: who writes more is told. */
const maxWaiting = 1000;
const typingEvery = 3000;
const readPause = 300; // milliseconds in which markers are gathered

export class Sending {
  readonly #state: State;
  readonly outbox: Outbox;
  readonly #drafts = new Map<string, string>();
  readonly #typedAt = new Map<string, number>();
  readonly #readDue = new Map<string, ReturnType<typeof setTimeout>>();
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
      committed: (p, sent) => this.#committed(p, sent),
    });
  }

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

  async discard({ roomId, clientMsgId }: Pending): Promise<void> {
    await this.outbox.discard(roomId, clientMsgId);
    this.done(roomId, clientMsgId);
    this.#state.note({ kind: 'discarded', roomId, id: clientMsgId });
  }

  #sendNow({ roomId, content, clientMsgId, format, replyTo, mentions }: Pending): Promise<Ack<Sent>> {
    return this.#state.link.call<Sent>('message:send', { roomId, content, clientMsgId, format, replyTo, mentions });
  }

  #committed(p: Pending, sent: Sent): void {
    const { me } = this.#state;
    const message: Message = {
      id: sent.id, roomId: p.roomId, seq: sent.seq, n: sent.n, sender: { id: me.id, name: me.name }, content: p.content, type: 'text', createdAt: sent.createdAt,
      clientMsgId: p.clientMsgId, format: p.format, replyTo: p.quote, mentions: p.mentions,
    };
    this.#state.counts.committed += 1;
    this.confirmed(message);
    this.#state.note({ kind: 'committed', message });
  }

  /** The server has a message of the user. */
  confirmed(message: Message): void {
    const room = this.#state.room(message.roomId);
    room.noticed(message, this.#state.me.id);
    if (room.loaded && !room.hasNewer) this.#state.apply(room, { kind: 'message', message, guess: true });
    this.done(message.roomId, message.clientMsgId!);
    this.#state.roomChanged(room);
  }

  changed(p: Pending): void {
    const room = this.#state.room(p.roomId);
    room.pending.set(p.clientMsgId, p);
    this.#state.passingChanged(room, 'outbox');
  }

  /** A message does not wait any more. */
  done(roomId: string, id: string): void {
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

  /** The user has seen a room up to here. */
  markRead(roomId: string): void {
    const state = this.#state;
    const room = state.rooms.get(roomId);
    const last = room?.timeline.messages().at(-1);
    if (!room || !last || room.hasNewer || !room.read(last.seq)) return;
    state.roomChanged(room);
    state.note({ kind: 'marker', roomId, seq: last.seq });
    // Own messages move the marker by themselves; of many that arrive at once only the last is told.
    if (this.#readDue.has(roomId)) return;
    this.#readDue.set(roomId, setTimeout(() => {
      this.#readDue.delete(roomId);
      const newest = room.timeline.messages().findLast((m) => m.seq <= room.marker && m.sender.id !== state.me.id);
      if (newest) void state.link.call('message:read', { roomId, messageId: newest.id });
    }, readPause));
  }

  close(): void {
    for (const timer of this.#readDue.values()) clearTimeout(timer);
    this.outbox.close();
  }
}

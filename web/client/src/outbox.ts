// The outbox: what the user has sent and the server has not committed yet. Each message is written down before anything else, so that a
// tab may be closed at any time, and is sent until there is an answer, with the same clientMsgId, so that it is there once. The tab that
// holds the connection sends, one message of a room after the other, in the order in which they were written.

import type { Cache } from './cache.ts';
import type { Ack, Fault, Pending } from './types.ts';

export interface Sent { id: string; seq: number; n?: number; createdAt: string }

interface OutboxHost {
  /** Whether this tab is to send now. */
  ready(): boolean;
  send(pending: Pending): Promise<Ack<Sent>>;
  changed(pending: Pending): void;
  /** It is on the device as it is now: other tabs may be told. */
  written(pending: Pending): void;
  committed(pending: Pending, sent: Sent): void;
}

const undecided = new Set(['offline', 'timeout', 'internal', 'unavailable', 'rate_limited', 'unauthenticated', 'conflict']);

/** Whether a refusal may be another answer next time. */
export function isFinal(fault: Fault): boolean { return !undecided.has(fault.code); }

const pauses = [500, 1000, 2000, 4000, 8000, 15_000];

export class Outbox {
  readonly #cache: Cache;
  readonly #host: OutboxHost;
  readonly #rooms = new Map<string, Pending[]>();
  readonly #sending = new Set<string>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #writing = 0; // not written down yet
  #closed = false;

  constructor(cache: Cache, host: OutboxHost) {
    this.#cache = cache;
    this.#host = host;
  }

  get size(): number { return [...this.#rooms.values()].reduce((sum, list) => sum + list.length, this.#writing); }

  /** Takes everything that was written down, also by tabs that are gone. */
  async load(): Promise<void> {
    const kept = await this.#cache.pending();
    for (const pending of kept.sort((a, b) => a.at - b.at)) this.take(pending);
  }

  /** Writes a message down, shows it, and sends it as soon as this tab may: what is seen outlives the tab. */
  async add(pending: Pending): Promise<void> {
    this.#writing += 1;
    try {
      await this.#cache.putPending(pending);
    } finally {
      this.#writing -= 1;
    }
    this.take(pending);
    this.#host.written(pending);
    this.pump();
  }

  /** Knows of a message that is written down. */
  take(pending: Pending): void {
    const list = this.#list(pending.roomId);
    if (list.some((p) => p.clientMsgId === pending.clientMsgId)) return;
    list.push(pending.state === 'sent' ? { ...pending, state: 'queued' } : pending);
    list.sort((a, b) => a.at - b.at);
    this.#host.changed(list.find((p) => p.clientMsgId === pending.clientMsgId)!);
  }

  /** Another tab has said how it stands with a message. */
  update(pending: Pending): void {
    const list = this.#list(pending.roomId);
    const at = list.findIndex((p) => p.clientMsgId === pending.clientMsgId);
    if (at < 0) this.take(pending); else list[at] = pending;
  }

  forget(roomId: string, clientMsgId: string): void {
    const left = this.#list(roomId).filter((p) => p.clientMsgId !== clientMsgId);
    if (left.length > 0) this.#rooms.set(roomId, left); else this.#rooms.delete(roomId);
  }

  async retry(roomId: string, clientMsgId: string): Promise<void> {
    const pending = this.#list(roomId).find((p) => p.clientMsgId === clientMsgId);
    if (pending) await this.#set(pending, { state: 'queued', error: undefined, notBefore: undefined, tries: 0 });
    this.pump();
  }

  async discard(roomId: string, clientMsgId: string): Promise<void> {
    this.forget(roomId, clientMsgId);
    await this.#cache.deletePending(clientMsgId);
    this.pump();
  }

  /** Sends what can be sent now. */
  pump(): void {
    if (this.#closed || !this.#host.ready()) return;
    for (const [roomId, list] of this.#rooms) {
      if (this.#sending.has(roomId)) continue;
      const next = list.find((p) => p.state !== 'failed');
      if (!next) continue;
      const wait = (next.notBefore ?? 0) - Date.now();
      if (wait > 0) this.#later(wait); else void this.#send(next);
    }
  }

  /** Tries at once what waits for a pause: the connection is back. */
  hurry(): void {
    for (const list of this.#rooms.values()) for (const p of list) if (p.error?.code !== 'rate_limited') p.notBefore = undefined;
    this.pump();
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #later(ms: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.pump();
    }, Math.min(ms, 60_000));
    this.#timers.add(timer);
  }

  async #send(pending: Pending): Promise<void> {
    const { roomId, clientMsgId } = pending;
    this.#sending.add(roomId);
    try {
      const sent = await this.#set(pending, { state: 'sent', tries: pending.tries + 1 }, false);
      const answer = await this.#host.send(sent);
      if (this.#closed) return;
      if (answer.ok) {
        this.#host.committed(sent, answer);
        this.forget(roomId, clientMsgId);
        await this.#cache.deletePending(clientMsgId);
      } else if (isFinal(answer.error)) {
        await this.#set(sent, { state: 'failed', error: answer.error });
      } else {
        const pause = answer.error.retryAfterMs ?? (answer.error.code === 'offline' ? 250 : pauses[Math.min(sent.tries, pauses.length) - 1] ?? 500);
        await this.#set(sent, { state: 'queued', error: answer.error.code === 'offline' ? undefined : answer.error, notBefore: pause ? Date.now() + pause : undefined });
      }
    } finally {
      this.#sending.delete(roomId);
    }
    this.pump();
  }

  /** Changes an entry; what is only for show is not written down. */
  async #set(pending: Pending, change: Partial<Pending>, keep = true): Promise<Pending> {
    const list = this.#list(pending.roomId);
    const at = list.findIndex((p) => p.clientMsgId === pending.clientMsgId);
    const next = { ...pending, ...change };
    if (at < 0) return next; // discarded meanwhile
    list[at] = next;
    this.#host.changed(next);
    if (keep) {
      await this.#cache.putPending(next);
      this.#host.written(next);
    }
    return next;
  }

  #list(roomId: string): Pending[] {
    let list = this.#rooms.get(roomId);
    if (!list) {
      list = [];
      this.#rooms.set(roomId, list);
    }
    return list;
  }
}

// The outbox: what the user has sent or deleted and the server has not committed yet. Each entry is written down before anything else, so
// that a tab may be closed at any time, and is sent until there is an answer, a message with the same clientMsgId, so that it is there
// once. The tab that holds the connection sends, one message of a room after the other, in the order in which they were written.

import type { Cache } from './cache.ts';
import type { Ack, Fault, Pending } from './types.ts';

/** The answer to a message, or to a deletion, which has its sequence only. */
export interface Sent { seq: number; id?: string; n?: number; createdAt?: string }

interface OutboxHost {
  /** Whether this tab is to send now. */
  ready(): boolean;
  send(pending: Pending): Promise<Ack<Sent>>;
  changed(pending: Pending): void;
  /** It is on the device as it is now: other tabs may be told. */
  written(pending: Pending): void;
  /** It is committed, or a deletion that is refused for good. */
  answered(pending: Pending, answer: Ack<Sent>): void;
}

const undecided = new Set(['offline', 'timeout', 'internal', 'unavailable', 'rate_limited', 'unauthenticated', 'conflict']);

/** Whether a refusal may be another answer next time. */
export function isFinal(fault: Fault): boolean { return !undecided.has(fault.code); }

const pauses = [500, 1000, 2000, 4000, 8000, 15_000];

export class Outbox {
  readonly #cache: Cache;
  readonly #host: OutboxHost;
  /** What is written down, by clientMsgId. */
  readonly #all = new Map<string, Pending>();
  readonly #sending = new Set<string>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #writing = 0; // not written down yet
  #closed = false;

  constructor(cache: Cache, host: OutboxHost) {
    this.#cache = cache;
    this.#host = host;
  }

  get size(): number { return this.#all.size + this.#writing; }

  /** Takes everything that was written down, also by tabs that are gone. */
  async load(): Promise<void> { for (const pending of await this.#cache.pending()) this.#take(pending); }

  /** Writes an entry down, shows it, and sends it as soon as this tab may: what is seen outlives the tab. */
  async add(pending: Pending): Promise<void> {
    this.#writing += 1;
    try {
      await this.#cache.putPending(pending);
    } finally {
      this.#writing -= 1;
    }
    this.#take(pending);
    this.#host.written(pending);
    this.pump();
  }

  /** Knows of an entry that is written down. */
  #take(pending: Pending): void {
    if (this.#all.has(pending.clientMsgId)) return;
    const taken: Pending = pending.state === 'sent' ? { ...pending, state: 'queued' } : pending;
    this.#all.set(taken.clientMsgId, taken);
    this.#host.changed(taken);
  }

  /** Another tab has said how it stands with an entry. */
  update(pending: Pending): void {
    if (this.#all.has(pending.clientMsgId)) this.#all.set(pending.clientMsgId, pending); else this.#take(pending);
  }

  forget(id: string): void { this.#all.delete(id); }

  async retry(id: string): Promise<void> {
    const pending = this.#all.get(id);
    if (pending) await this.#set(pending, { state: 'queued', error: undefined, notBefore: undefined, tries: 0 });
    this.pump();
  }

  async discard(id: string): Promise<void> {
    this.forget(id);
    await this.#cache.deletePending(id);
    this.pump();
  }

  /** Sends what can be sent now: of each room the first message, and deletions for themselves. */
  pump(): void {
    if (this.#closed || !this.#host.ready()) return;
    const busy = new Set(this.#sending);
    for (const pending of [...this.#all.values()].sort((a, b) => a.at - b.at)) {
      const lane = laneOf(pending);
      if (pending.state === 'failed' || busy.has(lane)) continue;
      busy.add(lane);
      const wait = (pending.notBefore ?? 0) - Date.now();
      if (wait > 0) this.#later(wait); else void this.#send(pending);
    }
  }

  /** Tries at once what waits for a pause: the connection is back. leaving: also what could still be undone. */
  hurry(leaving = false): void {
    for (const p of this.#all.values()) if (leaving ? p.remove : p.tries && p.error?.code !== 'rate_limited') p.notBefore = undefined;
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
    const id = pending.clientMsgId;
    const lane = laneOf(pending);
    this.#sending.add(lane);
    try {
      const sent = await this.#set(pending, { state: 'sent', tries: pending.tries + 1 }, false);
      const answer = await this.#host.send(sent);
      if (this.#closed) return;
      if (answer.ok || (sent.remove && isFinal(answer.error))) {
        this.#host.answered(sent, answer);
        this.forget(id);
        await this.#cache.deletePending(id);
      } else if (isFinal(answer.error)) {
        await this.#set(sent, { state: 'failed', error: answer.error });
      } else {
        const pause = answer.error.retryAfterMs ?? (answer.error.code === 'offline' ? 250 : pauses[Math.min(sent.tries, pauses.length) - 1] ?? 500);
        await this.#set(sent, { state: 'queued', error: answer.error.code === 'offline' ? undefined : answer.error, notBefore: pause ? Date.now() + pause : undefined });
      }
    } finally {
      this.#sending.delete(lane);
    }
    this.pump();
  }

  /** Changes an entry; what is only for show is not written down. */
  async #set(pending: Pending, change: Partial<Pending>, keep = true): Promise<Pending> {
    const next = { ...pending, ...change };
    if (!this.#all.has(next.clientMsgId)) return next; // discarded meanwhile
    this.#all.set(next.clientMsgId, next);
    this.#host.changed(next);
    if (keep) {
      await this.#cache.putPending(next);
      this.#host.written(next);
    }
    return next;
  }
}

/** What is sent one after the other. */
function laneOf({ remove, roomId }: Pending): string { return remove ?? roomId; }

// The merge function: facts about the messages of a room, in any order and however often each comes, end in the same state.
//
// Every durable fact of a room has a sequence of its own, and that is its version. A message is kept as a few groups of fields (what was
// said, the reactions, the pin), each with the version of the fact that set it last; a fact sets a group if it is newer. A whole message
// is as new as its `changed`, or its `seq` while nothing has changed it. Facts about a message that is not known yet wait for it.

import type { Fact, Message, Reaction } from './types.ts';

/** A message as it is kept: plain data, so that IndexedDB takes it as it is. */
export interface Entry {
  id: string;
  /** The message as first sent; undefined while only facts about it are known. */
  base?: Message;
  baseAt: number;
  body: Pick<Message, 'content' | 'data' | 'format' | 'mentions' | 'editedAt' | 'deletedAt' | 'deletedBy'>;
  bodyAt: number;
  counts: { key: string; count: number }[];
  countsAt: number;
  /** Which reactions are the reader's own: all as of mineAt, and single ones that are newer. */
  mine: string[];
  mineAt: number;
  mineLater: Record<string, { on: boolean; at: number }>;
  pinnedAt?: string;
  pinAt: number;
}

const none = -1;

function fresh(id: string): Entry {
  return { id, baseAt: none, body: { content: '' }, bodyAt: none, counts: [], countsAt: none, mine: [], mineAt: none, mineLater: {}, pinAt: none };
}

/** Facts about unknown messages that a timeline keeps at most; the oldest go first. What they said comes with the message itself. */
const maxWaiting = 500;

/** The messages of a room that are known, without holes between the first and the last of a segment that its owner keeps. */
export class Timeline {
  readonly #me: string;
  readonly #entries = new Map<string, Entry>();
  readonly #views = new Map<string, Message>();
  #sorted: Message[] = [];
  #snapshot: readonly Message[] | undefined;
  #waiting = new Set<string>();

  constructor(me: string) { this.#me = me; }

  /** Takes an entry that was kept; one that is here and newer stays. */
  adopt(entry: Entry): void {
    const there = this.#entries.get(entry.id);
    if (!there?.base) {
      this.#entries.set(entry.id, entry);
      this.#show(entry);
    }
  }

  get size(): number { return this.#sorted.length; }

  /** Messages and what waits for one. */
  get entryCount(): number { return this.#entries.size; }

  has(id: string): boolean { return this.#views.has(id); }

  get(id: string): Message | undefined { return this.#views.get(id); }

  /** All messages by sequence. The array is another one after each change. */
  messages(): readonly Message[] {
    this.#snapshot ??= this.#sorted.slice();
    return this.#snapshot;
  }

  entries(last: number): Entry[] {
    return this.#sorted.slice(-last).map((m) => this.#entries.get(m.id)).filter((e) => e !== undefined);
  }

  /** Applies a fact and tells whether anything became different. */
  apply(fact: Fact): boolean {
    const id = fact.kind === 'message' ? fact.message.id : fact.messageId;
    let entry = this.#entries.get(id);
    if (!entry) {
      entry = fresh(id);
      this.#entries.set(id, entry);
    }
    const was = entry.body.deletedAt;
    const changed = applyTo(entry, fact, this.#me);
    if (!entry.base) this.#wait(id);
    else if (changed) this.#show(entry);
    if (entry.body.deletedAt !== was) this.#forgetQuotes(id);
    return changed && entry.base !== undefined;
  }

  /** A deleted message is quoted no more. */
  #forgetQuotes(id: string): void {
    for (const { id: reply, replyTo } of this.#sorted) {
      const entry = replyTo?.id === id ? this.#entries.get(reply) : undefined;
      if (entry) this.#show(entry);
    }
  }

  /** Forgets all but the newest messages. */
  keepNewest(count: number): void {
    this.#drop(this.#sorted.splice(0, this.#sorted.length - count));
  }

  /** Forgets all but the oldest messages. */
  keepOldest(count: number): void {
    this.#drop(this.#sorted.splice(count));
  }

  clear(): void {
    this.#entries.clear();
    this.#views.clear();
    this.#waiting.clear();
    this.#sorted = [];
    this.#snapshot = undefined;
  }

  #drop(gone: Message[]): void {
    for (const { id } of gone) {
      this.#entries.delete(id);
      this.#views.delete(id);
    }
    this.#snapshot = undefined;
  }

  #wait(id: string): void {
    this.#waiting.add(id);
    if (this.#waiting.size <= maxWaiting) return;
    for (const oldest of this.#waiting) {
      this.#waiting.delete(oldest);
      this.#entries.delete(oldest);
      break;
    }
  }

  #show(entry: Entry): void {
    const quoted = entry.base?.replyTo;
    if (quoted?.preview && this.#entries.get(quoted.id)?.body.deletedAt !== undefined) entry.base = { ...entry.base!, replyTo: { ...quoted, preview: '' } };
    const view = viewOf(entry);
    if (!view) return;
    this.#waiting.delete(entry.id);
    const at = position(this.#sorted, view.seq);
    const there = this.#views.has(entry.id);
    this.#views.set(entry.id, view);
    if (there) {
      const old = this.#sorted[at]?.id === entry.id ? at : this.#sorted.findIndex((m) => m.id === entry.id);
      this.#sorted[old] = view;
    } else {
      this.#sorted.splice(at, 0, view);
    }
    this.#snapshot = undefined;
  }
}

/** Where a sequence is, or belongs, among messages in order. */
export function position(sorted: readonly Message[], seq: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.seq < seq) low = middle + 1; else high = middle;
  }
  return low;
}

function applyTo(entry: Entry, fact: Fact, me: string): boolean {
  const changed = applyGroups(entry, fact, me);
  if (entry.body.deletedAt !== undefined && entry.base) entry.base = bare(entry.base); // what it said leaves the device
  return changed;
}

function bare(m: Message): Message {
  return { ...m, content: '', data: undefined, format: undefined, replyTo: undefined, mentions: undefined, reactions: undefined, editedAt: undefined };
}

function applyGroups(entry: Entry, fact: Fact, me: string): boolean {
  switch (fact.kind) {
    case 'message': return applyWhole(entry, fact);
    case 'deleted':
      if (fact.seq <= entry.bodyAt) return false;
      entry.body = { content: '', deletedAt: fact.at ?? entry.base?.createdAt ?? new Date(0).toISOString(), deletedBy: fact.by };
      entry.bodyAt = fact.seq;
      return true;
    case 'reactions': return applyReactions(entry, fact, me);
    case 'pinned':
      if (fact.seq <= entry.pinAt) return false;
      entry.pinnedAt = fact.on ? (fact.at ?? new Date(0).toISOString()) : undefined;
      entry.pinAt = fact.seq;
      return true;
  }
}

function applyWhole(entry: Entry, { message, personal, guess }: Extract<Fact, { kind: 'message' }>): boolean {
  // What an ack makes us guess is a little older than the message itself, which may say more.
  const at = (message.changed ?? message.seq) - (guess ? 0.5 : 0);
  let changed = false;
  if (at >= entry.baseAt) {
    // Another copy of the same version says the same; only the first one is news.
    changed = at > entry.baseAt;
    entry.base = message;
    entry.baseAt = at;
  }
  if (at >= entry.bodyAt) {
    changed ||= at > entry.bodyAt;
    const { content, data, format, mentions, editedAt, deletedAt, deletedBy } = message;
    entry.body = { content: deletedAt ? '' : content, data, format, mentions, editedAt, deletedAt, deletedBy };
    entry.bodyAt = at;
  }
  if (at >= entry.countsAt) {
    changed ||= at > entry.countsAt;
    entry.counts = (message.reactions ?? []).map(({ key, count }) => ({ key, count }));
    entry.countsAt = at;
  }
  if (personal && at >= entry.mineAt) {
    changed ||= at > entry.mineAt;
    entry.mine = (message.reactions ?? []).filter((r) => r.mine).map((r) => r.key);
    entry.mineAt = at;
    for (const [key, later] of Object.entries(entry.mineLater)) if (later.at <= at) delete entry.mineLater[key];
  }
  if (at >= entry.pinAt) {
    changed ||= at > entry.pinAt;
    entry.pinnedAt = message.pinnedAt;
    entry.pinAt = at;
  }
  return changed;
}

function applyReactions(entry: Entry, fact: Extract<Fact, { kind: 'reactions' }>, me: string): boolean {
  let changed = false;
  if (fact.seq > entry.countsAt) {
    entry.counts = fact.counts.filter((c) => c.count > 0);
    entry.countsAt = fact.seq;
    changed = true;
  }
  for (const { key, userId, on } of fact.changes ?? []) {
    if (userId !== me || fact.seq <= entry.mineAt || fact.seq <= (entry.mineLater[key]?.at ?? none)) continue;
    entry.mineLater[key] = { on, at: fact.seq };
    changed = true;
  }
  return changed;
}

function viewOf(entry: Entry): Message | undefined {
  const { base, body } = entry;
  if (!base) return undefined;
  const changed = Math.max(Math.floor(entry.baseAt), entry.bodyAt, entry.countsAt, entry.pinAt);
  return {
    ...base, ...body,
    reactions: body.deletedAt ? undefined : reactions(entry),
    pinnedAt: body.deletedAt ? undefined : entry.pinnedAt,
    changed: changed > base.seq ? changed : undefined,
  };
}

function reactions(entry: Entry): Reaction[] | undefined {
  if (entry.counts.length === 0) return undefined;
  const mine = new Set(entry.mine);
  for (const [key, { on }] of Object.entries(entry.mineLater)) if (on) mine.add(key); else mine.delete(key);
  return entry.counts.map((c) => (mine.has(c.key) ? { ...c, mine: true } : { ...c }));
}

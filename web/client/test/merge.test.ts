import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Timeline } from '../src/merge.ts';
import type { Fact, Message } from '../src/types.ts';

const me = 'ann';
const at = (seq: number) => new Date(seq * 1000).toISOString();

/** A room as the server has it: acts change it, and each act is a fact with the room's next sequence. */
class Model {
  seq = 0;
  messages = new Map<string, Message & { votes: Map<string, Set<string>> }>();
  facts: Fact[] = [];

  send(): void {
    this.seq += 1;
    const id = `m${this.seq}`;
    this.messages.set(id, { id, roomId: 'r', seq: this.seq, sender: { id: 'bob', name: 'Bob' }, content: `said ${this.seq}`, type: 'text', createdAt: at(this.seq), votes: new Map() });
    this.facts.push({ kind: 'message', message: this.whole(id, false) });
  }

  act(which: number, what: number, user: string): void {
    const message = [...this.messages.values()][which % Math.max(1, this.messages.size)];
    if (!message) return this.send();
    this.seq += 1;
    const { id } = message;
    message.changed = this.seq;
    if (message.deletedAt !== undefined || what === 0) {
      Object.assign(message, { content: '', deletedAt: at(this.seq), deletedBy: user, editedAt: undefined, pinnedAt: undefined });
      this.facts.push({ kind: 'deleted', roomId: 'r', seq: this.seq, messageId: id, by: user, at: at(this.seq) });
    } else if (what === 1) {
      Object.assign(message, { content: `edited ${this.seq}`, editedAt: at(this.seq) });
      this.facts.push({ kind: 'message', message: this.whole(id, false) });
    } else if (what < 5) {
      const key = ['👍', '🎉', '😀'][what - 2]!;
      const users = message.votes.get(key) ?? new Set();
      message.votes.set(key, users);
      const on = !users.has(user);
      if (on) users.add(user); else users.delete(user);
      const counts = [...message.votes].map(([k, u]) => ({ key: k, count: u.size })).filter((c) => c.count > 0);
      this.facts.push({ kind: 'reactions', roomId: 'r', seq: this.seq, messageId: id, changes: [{ key, userId: user, on }], counts });
    } else {
      message.pinnedAt = message.pinnedAt ? undefined : at(this.seq);
      this.facts.push({ kind: 'pinned', roomId: 'r', seq: this.seq, messageId: id, on: message.pinnedAt !== undefined, at: at(this.seq) });
    }
    return undefined;
  }

  whole(id: string, personal: boolean): Message {
    const { votes, ...message } = this.messages.get(id)!;
    const reactions = [...votes].filter(([, users]) => users.size > 0)
      .map(([key, users]) => ({ key, count: users.size, ...(personal && users.has(me) ? { mine: true } : {}) }));
    return { ...message, ...(reactions.length > 0 ? { reactions } : {}) };
  }

  /** What a reader sees in the end. */
  state(): unknown[] {
    return [...this.messages.keys()].map((id) => {
      const m = this.whole(id, true);
      return plain({ ...m, reactions: m.deletedAt ? undefined : m.reactions });
    });
  }
}

/** Without the fields that are undefined, and reactions by key. */
function plain(message: Message): unknown {
  const copy = JSON.parse(JSON.stringify(message)) as Message;
  copy.reactions?.sort((a, b) => a.key.localeCompare(b.key));
  return copy;
}

const acts = fc.array(fc.record({ send: fc.boolean(), which: fc.nat(20), what: fc.nat(5), user: fc.constantFrom('ann', 'bob', 'cid') }), { minLength: 1, maxLength: 60 });

describe('Timeline', () => {
  it('ends in the state of the server, whatever the order and however often facts come', () => {
    fc.assert(fc.property(acts, fc.infiniteStream(fc.nat()), fc.nat(100), (list, random, answers) => {
      const model = new Model();
      for (const { send, which, what, user } of list) if (send) model.send(); else model.act(which, what, user);
      // Answers made for the reader at the end are among what comes, and so are facts twice.
      const facts: Fact[] = [...model.facts, ...model.facts.filter((_, i) => i % 3 === 0)];
      if (answers % 2 === 0) for (const id of model.messages.keys()) facts.push({ kind: 'message', message: model.whole(id, true), personal: true });
      const shuffled = facts.map((fact) => ({ fact, key: random.next().value as number })).sort((a, b) => a.key - b.key).map(({ fact }) => fact);
      const timeline = new Timeline(me);
      for (const fact of shuffled) timeline.apply(structuredClone(fact));
      expect(timeline.messages().map(plain)).toEqual(model.state());
    }), { numRuns: 200 });
  }, 300_000);

  it('keeps what an ack made up only until the message itself is there, in either order', () => {
    const whole: Message = { id: 'a', roomId: 'r', seq: 3, n: 2, sender: { id: me, name: 'Ann Really' }, content: 'x', type: 'text', createdAt: at(3) };
    const guess: Message = { ...whole, n: undefined, sender: { id: me, name: 'Ann' } };
    for (const facts of [[whole, guess], [guess, whole]]) {
      const timeline = new Timeline(me);
      for (const message of facts) timeline.apply({ kind: 'message', message, guess: message === guess });
      expect(timeline.messages().map((m) => [m.sender.name, m.n])).toEqual([['Ann Really', 2]]);
    }
  });

  it('tells of a repeat that nothing changed', () => {
    const model = new Model();
    model.send();
    model.act(0, 2, 'bob');
    const timeline = new Timeline(me);
    expect(model.facts.map((f) => timeline.apply(f))).toEqual([true, true]);
    const before = timeline.messages();
    expect(model.facts.map((f) => timeline.apply(f))).toEqual([false, false]);
    expect(timeline.messages()).toBe(before);
  });

  it('keeps nothing of a deleted message, nor of quotes of it, in either order', () => {
    const said: Message = { id: 'a', roomId: 'r', seq: 1, sender: { id: 'bob', name: 'Bob' }, content: 'a secret', type: 'text', createdAt: at(1), data: { s: 'a secret' } };
    const reply: Message = { ...said, id: 'b', seq: 2, content: 'oh', data: undefined, replyTo: { id: 'a', sender: said.sender, preview: 'a secret' } };
    const facts: Fact[] = [{ kind: 'message', message: said }, { kind: 'message', message: reply }, { kind: 'deleted', roomId: 'r', seq: 3, messageId: 'a', at: at(3) }];
    for (const order of [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]]) {
      const timeline = new Timeline(me);
      for (const i of order) timeline.apply(structuredClone(facts[i]!));
      expect(JSON.stringify([timeline.messages(), timeline.entries(10)])).not.toContain('secret');
      expect(timeline.get('b')?.content).toBe('oh');
    }
  });

  it('does not grow with facts about messages that never come', () => {
    const timeline = new Timeline(me);
    for (let seq = 1; seq <= 5000; seq += 1) timeline.apply({ kind: 'deleted', roomId: 'r', seq, messageId: `gone${seq}` });
    expect(timeline.size).toBe(0);
    expect(timeline.entryCount).toBeLessThanOrEqual(500);
  }, 300_000);

  it('keeps one end when it is trimmed', () => {
    const model = new Model();
    for (let i = 0; i < 10; i += 1) model.send();
    const timeline = new Timeline(me);
    for (const fact of model.facts) timeline.apply(fact);
    timeline.keepNewest(4);
    expect(timeline.messages().map((m) => m.seq)).toEqual([7, 8, 9, 10]);
    timeline.keepOldest(2);
    expect(timeline.messages().map((m) => m.seq)).toEqual([7, 8]);
    expect(timeline.get('m9')).toBeUndefined();
  });
});

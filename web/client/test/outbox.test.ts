import { afterEach, describe, expect, it, vi } from 'vitest';
import { MemoryCache } from '../src/cache.ts';
import { Outbox, type Sent } from '../src/outbox.ts';
import type { Ack, Pending } from '../src/types.ts';

function pending(n: number, more: Partial<Pending> = {}): Pending {
  return { clientMsgId: `c${n}`, roomId: 'r', content: `text ${n}`, at: n, state: 'queued', tries: 0, ...more };
}

/** A server that answers as it is told, and commits a clientMsgId once. */
class Server {
  ready = true;
  log: string[] = [];
  calls: string[] = [];
  answers: (Ack<Sent> | 'lost' | undefined)[] = [];

  async send(p: Pending): Promise<Ack<Sent>> {
    this.calls.push(p.clientMsgId);
    const told = this.answers.shift();
    if (told && told !== 'lost') return told;
    if (!this.log.includes(p.clientMsgId)) this.log.push(p.clientMsgId);
    if (told === 'lost') return { ok: false, error: { code: 'timeout', message: 'No answer in time' } };
    return { ok: true, id: p.clientMsgId, seq: this.log.indexOf(p.clientMsgId) + 1, createdAt: '' };
  }
}

function make(cache: MemoryCache, server: Server): { outbox: Outbox; states: Map<string, Pending>; committed: string[] } {
  const states = new Map<string, Pending>();
  const committed: string[] = [];
  const outbox = new Outbox(cache, {
    ready: () => server.ready, send: (p) => server.send(p), changed: (p) => states.set(p.clientMsgId, p), written: () => undefined, answered: (p) => committed.push(p.clientMsgId),
  });
  return { outbox, states, committed };
}

describe('Outbox', () => {
  afterEach(() => { vi.useRealTimers(); });

  it('sends in order what was written before there was a connection, also in another tab', async () => {
    const cache = new MemoryCache();
    const server = new Server();
    server.ready = false;
    const first = make(cache, server);
    for (let n = 0; n < 20; n += 1) await first.outbox.add(pending(n));
    first.outbox.close(); // the tab is gone

    const second = make(cache, server);
    await second.outbox.load();
    server.ready = true;
    second.outbox.pump();
    await vi.waitFor(() => expect(second.committed).toHaveLength(20));
    expect(server.log).toEqual(Array.from({ length: 20 }, (_, n) => `c${n}`));
    await vi.waitFor(async () => expect(await cache.pending()).toEqual([]));
  });

  it('repeats with the same id when the answer is lost, and commits once', async () => {
    vi.useFakeTimers();
    const server = new Server();
    server.answers = ['lost', 'lost'];
    const { outbox, committed } = make(new MemoryCache(), server);
    await outbox.add(pending(1));
    await outbox.add(pending(2));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(server.calls).toEqual(['c1', 'c1', 'c1', 'c2']);
    expect(server.log).toEqual(['c1', 'c2']);
    expect(committed).toEqual(['c1', 'c2']);
  });

  it('waits as long as it is told to', async () => {
    vi.useFakeTimers();
    const server = new Server();
    server.answers = [{ ok: false, error: { code: 'rate_limited', message: '', reason: 'slow_mode', retryAfterMs: 30_000 } }];
    const { outbox, states, committed } = make(new MemoryCache(), server);
    await outbox.add(pending(1));
    await vi.advanceTimersByTimeAsync(29_000);
    expect(committed).toEqual([]);
    expect(states.get('c1')?.error?.reason).toBe('slow_mode');
    outbox.hurry(); // a connection that is back changes nothing about it
    await vi.advanceTimersByTimeAsync(500);
    expect(committed).toEqual([]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(committed).toEqual(['c1']);
  });

  it('stops at a refusal that is final, lets the next ones through, and tries again when told', async () => {
    const server = new Server();
    server.answers = [{ ok: false, error: { code: 'forbidden', message: 'muted', reason: 'muted' } }];
    const cache = new MemoryCache();
    const { outbox, states, committed } = make(cache, server);
    await outbox.add(pending(1));
    await vi.waitFor(() => expect(states.get('c1')?.state).toBe('failed'));
    await outbox.add(pending(2));
    await vi.waitFor(() => expect(committed).toEqual(['c2']));
    expect((await cache.pending()).map((p) => [p.clientMsgId, p.state])).toEqual([['c1', 'failed']]);
    await outbox.retry('c1');
    await vi.waitFor(() => expect(committed).toEqual(['c2', 'c1']));
  });

  it('shows nothing before it is written down, and nothing that cannot be', async () => {
    const server = new Server();
    const cache = new MemoryCache();
    const { outbox, states } = make(cache, server);
    let write: (() => void) | undefined;
    cache.putPending = (p) => new Promise((resolve) => { write = () => resolve(MemoryCache.prototype.putPending.call(cache, p)); });
    const adding = outbox.add(pending(1));
    expect([states.size, server.calls.length, outbox.size]).toEqual([0, 0, 1]);
    write!();
    await adding;
    expect(states.has('c1')).toBe(true);
    cache.putPending = () => Promise.reject(new Error('the disk is full'));
    await expect(outbox.add(pending(2))).rejects.toThrow('full');
    await vi.waitFor(() => expect(outbox.size).toBe(0));
    expect(states.has('c2')).toBe(false);
    expect(server.calls).not.toContain('c2');
  });

  it('sends a deletion when it cannot be undone any more, beside what is said, and is done with one that is refused', async () => {
    vi.useFakeTimers();
    const server = new Server();
    const cache = new MemoryCache();
    const { outbox, committed } = make(cache, server);
    const later = () => ({ remove: 'm', notBefore: Date.now() + 5000 });
    await outbox.add(pending(1, later()));
    await outbox.add(pending(2));
    outbox.hurry(); // a connection that is back takes no time from who may want to undo
    await vi.advanceTimersByTimeAsync(4500);
    expect(committed).toEqual(['c2']);
    expect((await cache.pending()).map((p) => p.clientMsgId)).toEqual(['c1']);
    server.answers = [{ ok: false, error: { code: 'forbidden', message: 'too late', reason: 'edit_window' } }];
    await vi.advanceTimersByTimeAsync(1000);
    expect(committed).toEqual(['c2', 'c1']); // answered, that is
    expect([outbox.size, await cache.pending()]).toEqual([0, []]);

    await outbox.add(pending(3, later()));
    await outbox.discard('c3');
    await vi.advanceTimersByTimeAsync(6000);
    expect(server.calls).toEqual(['c2', 'c1']);
  });

  it('sends a deletion when the page is left, and else at the next start', async () => {
    const cache = new MemoryCache();
    const server = new Server();
    const first = make(cache, server);
    await first.outbox.add(pending(1, { remove: 'm', notBefore: Date.now() + 600_000 }));
    first.outbox.hurry(true);
    await vi.waitFor(() => expect(first.committed).toEqual(['c1']));
    await first.outbox.add(pending(2, { remove: 'n', notBefore: Date.now() + 100 }));
    first.outbox.close(); // without a word
    const second = make(cache, server);
    await second.outbox.load();
    second.outbox.pump();
    await vi.waitFor(() => expect(second.committed).toEqual(['c2']));
  });

  it('forgets what is discarded', async () => {
    const server = new Server();
    server.ready = false;
    const cache = new MemoryCache();
    const { outbox } = make(cache, server);
    await outbox.add(pending(1));
    await outbox.discard('c1');
    server.ready = true;
    outbox.pump();
    expect(outbox.size).toBe(0);
    expect(server.calls).toEqual([]);
    expect(await cache.pending()).toEqual([]);
  });
});

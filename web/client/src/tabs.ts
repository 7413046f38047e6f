// One connection for all tabs of a browser. The tab that holds a Web Lock leads: it has the connection, passes on what the server says,
// and asks for the others. When it is closed the lock goes to another tab, which connects anew and takes up where the state of that tab
// is. Browsers do not freeze a tab that holds a lock. Where there are no locks (a page that is not secure, Node) each tab connects.

import type { Answer, Argument, EventName } from './contract.ts';
import { late, offline, type Call, type Joined, type Link, type LinkState, type Note, type SocketLink, type Trace, type Troubles } from './link.ts';
import type { Ack } from './types.ts';

type Wire =
  | { t: 'hello' }
  | { t: 'state'; state: LinkState }
  | { t: 'event'; event: string; args: unknown[]; namespace: string }
  | { t: 'note'; note: Note }
  | { t: 'trace'; trace: Trace }
  | { id: number; from: string } & Question
  | { t: 'left'; roomId: string }
  | { t: 'trouble'; what: keyof Troubles; args: unknown[] }
  | { t: 'reply'; id: number; to: string; ack: unknown };

type Question = { t: 'call'; event: EventName; arg: unknown; options: Call } | { t: 'join'; roomId: string; since?: number; invite?: string };

export function canShare(): boolean {
  return typeof BroadcastChannel !== 'undefined' && typeof navigator !== 'undefined' && (navigator.locks as LockManager | undefined) !== undefined;
}

export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class TabLink implements Link {
  readonly #name: string;
  readonly #make: () => SocketLink;
  readonly #channel: BroadcastChannel;
  readonly #me = randomId();
  readonly #waiting = new Map<number, { resolve: (ack: Ack) => void; timer: ReturnType<typeof setTimeout> }>();
  readonly #closing = new AbortController();
  #socket: SocketLink | undefined;
  #release: (() => void) | undefined;
  #asked = 0;
  #state: LinkState = { status: 'connecting', session: '', connects: 0, recovered: false, since: Date.now(), leader: false };
  onstate: Link['onstate'];
  onevent: Link['onevent'];
  onnote: Link['onnote'];
  ontrace: Link['ontrace'];

  constructor(name: string, make: () => SocketLink) {
    this.#name = name;
    this.#make = make;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = (event: MessageEvent<Wire>) => this.#heard(event.data);
  }

  get state(): LinkState { return this.#state; }

  start(): void {
    this.#post({ t: 'hello' });
    void navigator.locks.request(this.#name, { signal: this.#closing.signal }, () => this.#lead()).catch(() => undefined); // closed before it led
  }

  #lead(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.resolve();
    const socket = this.#make();
    this.#socket = socket;
    this.#fail(); // the tab that held the connection was closed
    socket.onstate = () => this.#became(socket.state);
    socket.onevent = (event, args, namespace) => {
      this.#post({ t: 'event', event, args, namespace });
      this.onevent?.(event, args, namespace);
    };
    socket.ontrace = (trace) => {
      this.#post({ t: 'trace', trace });
      this.ontrace?.(trace);
    };
    this.#became(socket.state);
    socket.start();
    return new Promise((resolve) => { this.#release = resolve; });
  }

  #became(state: LinkState): void {
    this.#state = { ...state, leader: this.#socket !== undefined };
    if (this.#socket) this.#post({ t: 'state', state: this.#state });
    this.onstate?.();
  }

  #heard(wire: Wire): void {
    switch (wire.t) {
      case 'hello': if (this.#socket) this.#post({ t: 'state', state: this.#state }); break;
      case 'state':
        if (!this.#socket) {
          this.#state = { ...wire.state, leader: false };
          this.onstate?.();
        }
        break;
      case 'event': this.onevent?.(wire.event, wire.args, wire.namespace); break;
      case 'trace': this.ontrace?.(wire.trace); break;
      case 'note': this.onnote?.(wire.note); break;
      case 'call': this.#reply(wire, this.#socket?.call(wire.event as 'message:send', wire.arg as never, wire.options)); break;
      case 'join': this.#reply(wire, this.#socket?.join(wire.roomId, wire.since, wire.invite)); break;
      case 'left': this.#socket?.left(wire.roomId); break;
      case 'trouble': this.#socket?.trouble(wire.what, ...wire.args as [never]); break;
      case 'reply': if (wire.to === this.#me) this.#answer(wire.id, wire.ack as Ack); break;
    }
  }

  call<E extends EventName>(event: E, arg?: Argument<E>, options: Call = {}): Promise<Answer<E>> {
    if (this.#socket) return this.#socket.call(event, arg, options);
    if (this.#state.status !== 'online') return Promise.resolve(offline());
    return this.#ask({ t: 'call', event, arg, options }, options.timeoutMs);
  }

  join(roomId: string, since?: number, invite?: string): Promise<Joined> {
    if (this.#socket) return this.#socket.join(roomId, since, invite);
    return this.#ask({ t: 'join', roomId, since, invite });
  }

  left(roomId: string): void { if (this.#socket) this.#socket.left(roomId); else this.#post({ t: 'left', roomId }); }

  note(note: Note): void { this.#post({ t: 'note', note }); }

  trouble<T extends keyof Troubles>(what: T, ...args: Parameters<Troubles[T]>): void { if (this.#socket) this.#socket.trouble(what, ...args); else this.#post({ t: 'trouble', what, args }); }

  close(): void {
    this.#socket?.close();
    this.#closing.abort();
    this.#release?.();
    this.#fail();
    this.#channel.close();
    this.#state = { ...this.#state, status: 'closed' };
  }

  #ask<A>(question: Question, timeoutMs = 20_000): Promise<A> {
    this.#asked += 1;
    const id = this.#asked;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#answer(id, late()), timeoutMs);
      this.#waiting.set(id, { resolve: resolve as (ack: Ack) => void, timer });
      this.#post({ ...question, id, from: this.#me });
    });
  }

  #reply({ id, from }: { id: number; from: string }, answer: Promise<Ack> | undefined): void { void answer?.then((ack) => this.#post({ t: 'reply', id, to: from, ack })); }

  #answer(id: number, ack: Ack): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.resolve(ack);
  }

  #fail(): void {
    for (const id of this.#waiting.keys()) this.#answer(id, offline());
  }

  #post(wire: Wire): void { if (!this.#closing.signal.aborted) this.#channel.postMessage(wire); }
}

// The connection to Starling over the official client: events in, calls out, and an honest word about its state.

import type { Answer, Argument, EventName } from './contract.ts';
import type { TokenSource } from './session.ts';
import type { Ack, Fault } from './types.ts';

/** The parts of socket.io-client that are used; `io` of version 4 fits. */
export interface SocketLike {
  id?: string;
  connected: boolean;
  active: boolean;
  recovered: boolean;
  io: { engine?: { id?: string; transport?: { name: string }; close(): void }; on(event: string, fn: (...args: any[]) => void): unknown };
  on(event: string, fn: (...args: any[]) => void): unknown;
  onAny(fn: (event: string, ...args: any[]) => void): unknown;
  timeout(ms: number): { emit(event: string, ...args: any[]): unknown };
  connect(): unknown;
  disconnect(): unknown;
}
export type Connect = (url: string, options: any) => SocketLike;

export type Status = 'connecting' | 'online' | 'offline' | 'refused' | 'closed';

export interface LinkState {
  status: Status;
  /** Names the session; another one when the server has forgotten the one before, so that rooms have to be entered again. */
  session: string;
  /** Grows with every CONNECT that succeeded, recovered or not. */
  connects: number;
  recovered: boolean;
  socketId?: string;
  /** The gateway that holds the session, read off its id. */
  gateway?: string;
  transport?: string;
  /** Why it is refused, or was lost. */
  reason?: string;
  /** Since when it is as it is. */
  since: number;
  /** Whether this tab holds the connection. */
  leader: boolean;
}

export type Call = { namespace?: string; timeoutMs?: number };
export type Joined = Answer<'room:join'>;

/** What may go wrong on purpose, for whoever tries out what happens then. */
export interface Troubles {
  /** The connection is cut without a word, as a network does it. */
  cut(): void;
  /** It is ended, and begun anew: nothing is recovered. */
  renew(): void;
  /** It is cut, and comes back with a token that is not good any more. */
  expire(): void;
  /** It stays away for a while. */
  away(ms: number): void;
  /** Each event takes its time for a while, so that what the server sends piles up there. */
  slow(ms: number): void;
  /** The next answer to an event is lost. */
  drop(event: string): void;
}

/** What tabs tell each other beside what the server says. */
export type Note = Record<string, unknown> & { kind: string };

export interface Link {
  readonly state: LinkState;
  onstate: (() => void) | undefined;
  onevent: ((event: string, args: unknown[], namespace: string) => void) | undefined;
  onnote: ((note: Note) => void) | undefined;
  ontrace: ((trace: Trace) => void) | undefined;
  start(): void;
  /** Emits an event and gives the ack; without a connection, or without an answer in time, a refusal like others. */
  call<E extends EventName>(event: E, arg?: Argument<E>, options?: Call): Promise<Answer<E>>;
  /** Enters a room once for all tabs of this session. */
  join(roomId: string, since?: number, invite?: string): Promise<Joined>;
  /** Forgets that a room was entered. */
  left(roomId: string): void;
  note(note: Note): void;
  trouble<T extends keyof Troubles>(what: T, ...args: Parameters<Troubles[T]>): void;
  close(): void;
}

/** One thing that happened on the connection, for whoever wants to watch. */
export interface Trace {
  at: number;
  dir: 'in' | 'out' | 'ack' | 'state';
  event: string;
  roomId?: string;
  seq?: number;
  ms?: number;
  ok?: boolean;
  detail?: unknown;
}

export interface LinkOptions {
  io: Connect;
  url?: string;
  path?: string;
  tokens: TokenSource;
  /** Namespaces beside `/`. */
  namespaces?: string[];
  useq?: () => number | undefined;
  timeoutMs?: number;
}

const slowness = 150; // milliseconds for an event
const networkChanges = ['online', 'offline'];

/** A refusal as the server's, of something that did not get there or back. */
const refusal = (code: string, message: string): { ok: false; error: Fault } => ({ ok: false, error: { code, message } });

export const offline = () => refusal('offline', 'There is no connection');

export const late = () => refusal('timeout', 'No answer in time');

export class SocketLink implements Link, Troubles {
  readonly #options: LinkOptions;
  readonly #sockets = new Map<string, SocketLike>();
  readonly #joins = new Map<string, Promise<Joined>>();
  #state: LinkState = { status: 'connecting', session: '', connects: 0, recovered: false, since: Date.now(), leader: true };
  #stale = false;
  #spoiled = false;
  #sessions = 0;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #back: ReturnType<typeof setTimeout> | undefined;
  #awayUntil = 0;
  #slowUntil = 0;
  onstate: Link['onstate'];
  onevent: Link['onevent'];
  onnote: Link['onnote'];
  ontrace: Link['ontrace'];
  /** Events whose next answer is lost. */
  readonly #dropped = new Set<string>();

  constructor(options: LinkOptions) { this.#options = options; }

  get state(): LinkState { return this.#state; }

  start(): void {
    const { io, url, path, tokens, namespaces = [] } = this.#options;
    const auth = (give: (auth: object) => void) => void tokens.token(this.#stale).then((token) => {
      this.#stale = false;
      if (token === null) return this.#refused('The login has ended');
      const spoiled = this.#spoiled;
      this.#spoiled = false;
      return give({ token: spoiled ? `${token}x` : token, useq: this.#options.useq?.(), inbox: true });
    });
    const options = { path, auth, transports: ['websocket', 'polling'], tryAllTransports: true, reconnectionDelay: 300, reconnectionDelayMax: 5000, forceNew: true, autoConnect: false };
    const main = io(url || (typeof location === 'undefined' ? '' : location.origin), options);
    this.#sockets.set('/', main);
    for (const namespace of namespaces) {
      // The same connection carries them: a namespace is asked for with the same manager.
      this.#sockets.set(namespace, (main.io as unknown as { socket(name: string, o: object): SocketLike }).socket(namespace, options));
    }
    for (const [namespace, socket] of this.#sockets) this.#listen(namespace, socket);
    main.io.on('reconnect_attempt', () => this.#set({ status: this.#online() ? 'connecting' : 'offline' }));
    for (const change of networkChanges) globalThis.addEventListener?.(change, this.#network); // Node has none
    for (const socket of this.#sockets.values()) socket.connect();
  }

  #online(): boolean { return Date.now() >= this.#awayUntil && (globalThis.navigator as Navigator | undefined)?.onLine !== false; } // Node may have none

  readonly #network = (): void => {
    if (!this.#online()) {
      this.#set({ status: 'offline' });
      this.cut(); // otherwise it is noticed at the next heartbeat only
    } else if (this.#state.status !== 'refused') {
      this.#reconnect();
    }
  };

  /** Connects at once. All sockets are ended before the first one connects: only then does their manager begin anew. */
  #reconnect(): void {
    const down = [...this.#sockets.values()].filter((socket) => !socket.connected);
    for (const socket of down) socket.disconnect();
    for (const socket of down) socket.connect();
  }

  #listen(namespace: string, socket: SocketLike): void {
    socket.on('connect', () => { if (namespace === '/') this.#connected(socket); else this.onevent?.('connect', [socket.recovered], namespace); });
    socket.on('disconnect', (reason: string) => {
      if (namespace === '/') this.#lost(reason);
      if (reason === 'io server disconnect') this.#later(socket);
    });
    socket.on('connect_error', (err: Error & { data?: { code?: string; retryAfterMs?: number } }) => {
      if (err.data?.code === undefined) {
        if (namespace === '/') this.#set({ status: this.#online() ? 'connecting' : 'offline', reason: err.message });
      } else if (err.data.code === 'too_many_sockets' || (err.data.code === 'invalid_token' && this.#state.reason !== err.message)) {
        this.#stale = true; // once with a fresh token
        this.#set({ status: 'connecting', reason: err.message });
        this.#later(socket, err.data.retryAfterMs ?? 100);
      } else if (namespace === '/') {
        this.#refused(err.message);
      }
    });
    socket.onAny((event, ...args) => {
      if (Date.now() < this.#slowUntil) for (const end = Date.now() + slowness; Date.now() < end;); // a page that is too busy to read
      if (typeof args.at(-1) === 'string' && args.length > 1) args.pop(); // the offset for recovery
      this.#trace({ dir: 'in', event, detail: args[0], ...where(args[0]) });
      this.onevent?.(event, args, namespace);
    });
  }

  #later(socket: SocketLike, ms = 500): void {
    setTimeout(() => { if (this.#state.status !== 'closed' && this.#state.status !== 'refused' && Date.now() >= this.#awayUntil) socket.connect(); }, ms);
  }

  #connected(socket: SocketLike): void {
    const recovered = socket.recovered && this.#state.session !== '';
    if (!recovered) {
      this.#joins.clear();
      this.#sessions += 1;
    }
    const engine = socket.io.engine;
    this.#set({
      status: 'online', session: recovered ? this.#state.session : `${socket.id}/${this.#sessions}`, connects: this.#state.connects + 1, recovered, socketId: socket.id,
      gateway: engine?.id?.split('.').at(-2), transport: engine?.transport?.name, reason: undefined,
    });
    this.#renew();
  }

  #lost(reason: string): void {
    if (this.#state.status !== 'refused') this.#set({ status: this.#online() ? 'connecting' : 'offline', reason });
  }

  #refused(reason: string): void {
    this.#set({ status: 'refused', reason });
    for (const socket of this.#sockets.values()) socket.disconnect();
  }

  /** Gives the gateway a fresh token before the old one ends. */
  #renew(): void {
    clearTimeout(this.#renewal);
    const { tokens } = this.#options;
    if (tokens.expiresAt === undefined) return;
    this.#renewal = setTimeout(async () => {
      const token = await tokens.token(true);
      if (token === null) return this.#refused('The login has ended');
      for (const [namespace, socket] of this.#sockets) if (socket.connected) await this.call('auth:refresh', { token }, { namespace });
      return this.#renew();
    }, Math.min(Math.max(tokens.expiresAt - Date.now() - 60_000, 5_000), 2_000_000_000));
    (this.#renewal as { unref?: () => void }).unref?.();
  }

  async call<E extends EventName>(event: E, arg?: Argument<E>, { namespace = '/', timeoutMs }: Call = {}): Promise<Answer<E>> {
    const socket = this.#sockets.get(namespace);
    if (!socket?.connected) return offline();
    const began = performance.now();
    this.#trace({ dir: 'out', event, detail: arg, ...where(arg) });
    const answer = await new Promise<Ack>((resolve) => {
      const done = (err: Error | null, reply?: object) => {
        if (!err && this.#dropped.delete(event)) {
          this.#trace({ dir: 'state', event: `the ack of ${event} was dropped`, ...where(arg) });
          setTimeout(() => resolve(late()), 400);
        } else if (err) {
          resolve(socket.connected ? late() : offline());
        } else {
          resolve({ ok: true, ...reply });
        }
      };
      const emitter = socket.timeout(timeoutMs ?? this.#options.timeoutMs ?? 15_000);
      if (arg === undefined) emitter.emit(event, done); else emitter.emit(event, arg, done);
    });
    this.#trace({ dir: 'ack', event, ms: performance.now() - began, ok: answer.ok, detail: answer, ...where(arg), ...(answer.ok ? where(answer) : {}) });
    return answer as Answer<E>;
  }

  join(roomId: string, since?: number, invite?: string): Promise<Joined> {
    const there = this.#joins.get(roomId);
    if (there) return there;
    const joining = this.call('room:join', { roomId, since, limit: since === undefined ? undefined : 200, invite }).then((reply) => {
      if (!reply.ok && this.#joins.get(roomId) === joining) this.#joins.delete(roomId);
      return reply;
    });
    this.#joins.set(roomId, joining);
    return joining;
  }

  left(roomId: string): void { this.#joins.delete(roomId); }

  note(): void { /* there is no other tab */ }

  trouble<T extends keyof Troubles>(what: T, ...args: Parameters<Troubles[T]>): void { (this[what] as (...args: unknown[]) => void)(...args); }

  cut(): void { this.#sockets.get('/')?.io.engine?.close(); }

  renew(): void {
    this.#sockets.get('/')?.disconnect();
    this.#reconnect();
  }

  expire(): void {
    this.#spoiled = true;
    this.cut();
  }

  away(ms: number): void {
    this.#awayUntil = Date.now() + ms;
    clearTimeout(this.#back);
    this.cut();
    // The manager of all sockets would come back by itself.
    const manager = this.#sockets.get('/')!.io as unknown as { reconnection(v: boolean): void };
    manager.reconnection(false);
    this.#set({ status: 'offline', reason: 'away' });
    this.#back = setTimeout(() => {
      this.#awayUntil = 0;
      manager.reconnection(true);
      this.#reconnect();
    }, ms);
  }

  slow(ms: number): void { this.#slowUntil = Date.now() + ms; }

  drop(event: string): void { this.#dropped.add(event); }

  close(): void {
    this.#set({ status: 'closed' });
    clearTimeout(this.#renewal);
    clearTimeout(this.#back);
    for (const change of networkChanges) globalThis.removeEventListener?.(change, this.#network);
    for (const socket of this.#sockets.values()) socket.disconnect();
  }

  #set(change: Partial<LinkState>): void {
    if (this.#state.status === 'closed') return;
    const before = this.#state.status;
    this.#state = { ...this.#state, ...change };
    const { status } = this.#state;
    if (before !== status) {
      this.#state.since = Date.now();
      this.#trace({ dir: 'state', event: status, detail: this.#state });
    }
    this.onstate?.();
  }

  #trace(trace: Omit<Trace, 'at'>): void { this.ontrace?.({ at: Date.now(), ...trace }); }
}

function where(arg: unknown): { roomId?: string; seq?: number } {
  const { roomId, seq } = Object(arg) as { roomId?: unknown; seq?: unknown };
  return { ...(typeof roomId === 'string' ? { roomId } : {}), ...(typeof seq === 'number' ? { seq } : {}) };
}

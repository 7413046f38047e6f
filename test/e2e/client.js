// The official Socket.IO client, with a memory: every event is kept from the first packet on, so that a test can ask for
// one that came before it asked.

import { io } from 'socket.io-client';
import './contract.js';

export const urls = (process.env.STARLING_URLS ?? '').split(',').map((u) => u.trim().replace(/\/$/, '')).filter(Boolean);
if (urls.length === 0) throw new Error('STARLING_URLS is not set; start the tests with: node run.js');

/** The base URL of a gateway, counted from 0; more gateways than there are wrap around. */
export const url = (gateway = 0) => urls[gateway % urls.length];

const patience = Number(process.env.STARLING_TIMEOUT_MS ?? 30_000);

export class Client {
  #waiting = new Set();

  constructor(socket) {
    this.socket = socket;
    this.events = []; // { event, data, args, at, taken }
    this.closed = []; // reasons of disconnect
    socket.onAny((event, ...args) => this.#arrived({ event, data: args[0], args, at: performance.now(), taken: false }));
    socket.on('disconnect', (reason) => {
      this.closed.push(reason);
      this.#arrived({ event: ' disconnect', data: reason, args: [], at: performance.now(), taken: false });
    });
  }

  get id() { return this.socket.id; }

  /** The oldest event of that name that fits and was not taken yet; waits for it. */
  take(event, fits = () => true, ms = patience) {
    const found = this.events.find((e) => !e.taken && e.event === event && fits(e.data));
    if (found) {
      found.taken = true;
      return Promise.resolve(found.data);
    }
    return new Promise((resolve, reject) => {
      const waiter = { event, fits, resolve };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        const seen = this.events.slice(-8).map((e) => `${e.event} ${JSON.stringify(e.data)?.slice(0, 160)}`);
        reject(new Error(`no ${event} within ${ms} ms; last events: ${seen.join(' | ') || 'none'}`));
      }, ms);
      waiter.done = () => clearTimeout(timer);
      this.#waiting.add(waiter);
    });
  }

  /** All events of that name so far, taken or not. */
  seen(event, fits = () => true) {
    return this.events.filter((e) => e.event === event && fits(e.data)).map((e) => e.data);
  }

  /** Emits and gives the ack. */
  emit(event, ...args) {
    return this.socket.timeout(patience).emitWithAck(event, ...args);
  }

  /** Emits as often as the rate limit asks for; gives the first ack that is no rate_limited. */
  async patiently(event, ...args) {
    for (;;) {
      const reply = await this.emit(event, ...args);
      if (reply?.error?.code !== 'rate_limited') return reply;
      await new Promise((resolve) => { setTimeout(resolve, reply.error.retryAfterMs || 50); });
    }
  }

  /** Joins a room: gives the ack and the history, and fails if a live event of the room came before either. */
  async join(argument) {
    const roomId = typeof argument === 'string' ? argument : argument.roomId;
    for (;;) {
      const from = this.events.length;
      // Where the ack stands among the events is known in its callback only; a promise resolves later.
      const { reply, to } = await new Promise((resolve, reject) => {
        this.socket.timeout(patience).emit('room:join', argument, (err, answer) => (err ? reject(err) : resolve({ reply: answer, to: this.events.length })));
      });
      if (reply.error?.code === 'rate_limited') {
        await pause(reply.error.retryAfterMs || 50);
        continue;
      }
      if (!reply.ok) return { reply };
      const early = this.events.slice(from, to).filter((e) => e.data?.roomId === roomId && e.data.seq > reply.seq);
      if (early.length > 0) throw new Error(`live events before the ack of room:join: ${JSON.stringify(early).slice(0, 300)}`);
      const history = await this.take('room:history');
      const at = this.events.findIndex((e) => e.data === history);
      const live = this.events.slice(to, at).filter((e) => e.data?.roomId === roomId && e.data.seq > reply.seq);
      if (live.length > 0) throw new Error(`live events before room:history: ${JSON.stringify(live).slice(0, 300)}`);
      return { reply, history };
    }
  }

  /** Waits for the connection to end; gives the reason. */
  ended(ms) { return this.take(' disconnect', undefined, ms); }

  close() { this.socket.close(); this.socket.io.engine?.close(); }

  #arrived(entry) {
    this.events.push(entry);
    for (const waiter of this.#waiting) {
      if (waiter.event !== entry.event || !waiter.fits(entry.data)) continue;
      entry.taken = true;
      this.#waiting.delete(waiter);
      waiter.done();
      waiter.resolve(entry.data);
      return;
    }
  }
}

/** Opens a socket without waiting. user may be null (no token); the rest goes to io(). Closed at the end of test t. */
export function open(t, user, { gateway = 0, namespace = '/', make = io, auth, ...options } = {}) {
  const base = url(gateway) + (namespace === '/' ? '' : namespace);
  const socket = make(base, {
    auth: auth ?? (user ? { token: user.token } : {}),
    transports: ['websocket'], forceNew: true, reconnection: false, timeout: patience, ...options,
  });
  const client = new Client(socket);
  t.after(() => client.close());
  return client;
}

/** Opens a socket and waits until the namespace is connected. */
export async function connect(t, user, options) {
  const client = open(t, user, options);
  await connected(client);
  return client;
}

/** Waits for the namespace to be connected; a refusal or an error of the transport is an error. */
export function connected(client) {
  if (client.socket.connected) return Promise.resolve();
  return new Promise((resolve, reject) => {
    client.socket.once('connect', resolve);
    client.socket.once('connect_error', (err) => reject(new Error(`connect_error: ${err.message}`, { cause: err })));
  });
}

/** Opens a socket that has to be refused; gives the connect_error. */
export function refusal(t, user, options) {
  const client = open(t, user, options);
  return new Promise((resolve, reject) => {
    client.socket.once('connect_error', resolve);
    client.socket.once('connect', () => reject(new Error('connected, want a connect_error')));
  });
}

/** Two members of a new room, on two gateways. */
export async function pair(t, a, b, roomId, options = {}) {
  const first = await connect(t, a, { gateway: 0, ...options });
  const second = await connect(t, b, { gateway: 1, ...options });
  const joined = [(await first.join(roomId)).reply, (await second.join(roomId)).reply];
  for (const reply of joined) if (!reply.ok) throw new Error(`room:join: ${JSON.stringify(reply)}`);
  await first.take('room:user-joined', (e) => e.roomId === roomId && e.userId === b.id);
  return [first, second];
}

/** Options of a socket that comes back soon and by itself. */
export const again = { reconnection: true, reconnectionDelay: 200, reconnectionDelayMax: 400, randomizationFactor: 0 };

/** Drops the connection under a socket, does something meanwhile, and comes back, through another gateway if asked to. */
export async function drop(client, gateway, meanwhile = async () => {}) {
  const gone = client.ended();
  client.socket.io.reconnection(false);
  client.socket.io.engine.close();
  await gone;
  await meanwhile();
  client.socket.io.uri = url(gateway);
  const back = new Promise((resolve, reject) => { client.socket.once('connect', resolve).once('connect_error', reject); });
  client.socket.connect();
  await back;
}

export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Tries until the check passes or time is over; the last error is thrown then. */
export async function eventually(check, ms = patience) {
  const end = performance.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (err) {
      if (performance.now() > end) throw err;
    }
    await pause(50);
  }
}

// One raw WebSocket that speaks Engine.IO by hand, for what no official client would send.

import WebSocket from 'ws';
import { url } from './client.js';

export const path = '/socket.io/?EIO=4&transport=websocket';

export class Wire {
  #frames = [];
  #waiting = [];

  constructor(gateway = 0, query = path, options = {}) {
    this.ws = new WebSocket(url(gateway).replace(/^http/, 'ws') + query, options);
    this.ended = new Promise((resolve) => { this.ws.on('close', (code) => { resolve(code); this.#wake(); }); });
    this.ws.on('error', () => {}); // the close that follows tells
    this.ws.on('message', (bytes, binary) => {
      const frame = binary ? bytes : bytes.toString();
      if (frame === '2') this.ws.send('3'); // heartbeat
      else this.#frames.push(frame);
      this.#wake();
    });
  }

  /** The next frame that is no heartbeat. */
  async next(ms = 30_000) {
    if (this.#frames.length > 0) return this.#frames.shift();
    if (this.ws.readyState === WebSocket.CLOSED) throw new Error('the connection is closed');
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no frame within ${ms} ms`)), ms);
      this.#waiting.push(() => { clearTimeout(timer); resolve(); });
    });
    return this.next(ms);
  }

  /** The first frame that fits; others before it are dropped. */
  async find(fits) {
    for (;;) {
      const frame = await this.next();
      if (fits(frame)) return frame;
    }
  }

  send(data, options = {}) { this.ws.send(data, options); }

  /** Bytes past the WebSocket layer, straight to the TCP connection. */
  bytes(...values) { this.ws._socket.write(Buffer.from(values)); }

  /** Reads the open packet, connects to / and gives the CONNECT reply. */
  async connect(token, namespace = '/') {
    const opened = await this.next();
    if (!opened.startsWith('0{')) throw new Error(`open packet = ${opened}`);
    const prefix = namespace === '/' ? '' : `${namespace},`;
    this.send(`40${prefix}${JSON.stringify({ token })}`);
    const reply = await this.find((f) => typeof f === 'string' && (f.startsWith(`40${prefix}`) || f.startsWith(`44${prefix}`)));
    if (!reply.startsWith('40')) throw new Error(`CONNECT reply = ${reply}`);
    return JSON.parse(reply.slice(2 + prefix.length));
  }

  /** Waits for the end of the connection; gives the close code. */
  async closed(ms = 30_000) {
    const late = new Promise((_, reject) => { setTimeout(() => reject(new Error(`still open after ${ms} ms`)), ms).unref(); });
    return Promise.race([this.ended, late]);
  }

  close() { this.ws.terminate(); }

  #wake() { for (const wake of this.#waiting.splice(0)) wake(); }
}

/** Opens a raw connection that is closed at the end of test t. */
export function wire(t, gateway, query, options) {
  const w = new Wire(gateway, query, options);
  t.after(() => w.close());
  return w;
}

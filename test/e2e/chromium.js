// A headless browser, steered by the Chrome DevTools Protocol: opens pages and evaluates expressions in them.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

/** The browser of this machine, or undefined. */
export const chromium = ['chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser']
  .find((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0);

export class Browser {
  #asked = 0;

  #waiting = new Map(); // id → { resolve, reject }

  #events = new Set(); // { method, sessionId, resolve, reject }

  static async start() {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), 'starling-browser-'));
    browser.process = spawn(chromium, [
      '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--remote-debugging-port=0', `--user-data-dir=${browser.profile}`, 'about:blank',
    ], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    process.once('exit', () => browser.#kill());
    const lines = createInterface({ input: browser.process.stderr });
    const said = [];
    const url = await new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        said.push(line);
        const found = /^DevTools listening on (ws:.*)$/.exec(line);
        if (found) resolve(found[1]);
      });
      lines.on('close', () => reject(new Error(`${chromium} ended: ${said.slice(-5).join(' | ')}`)));
      browser.process.on('error', reject);
    });
    browser.socket = new WebSocket(url);
    browser.socket.on('message', (text) => browser.#arrived(JSON.parse(text)));
    browser.socket.on('close', () => browser.#ended());
    await once(browser.socket, 'open');
    return browser;
  }

  #arrived({ id, method, sessionId, params, result, error }) {
    if (id !== undefined) {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) reject(new Error(error.message)); else resolve(result);
      return;
    }
    for (const waiter of this.#events) {
      if (waiter.method !== method || waiter.sessionId !== sessionId) continue;
      this.#events.delete(waiter);
      waiter.resolve(params);
    }
  }

  /** A browser that has ended answers nobody: what waits for it fails. */
  #ended() {
    for (const { reject } of this.#waiting.values()) reject(new Error('the browser has ended'));
    for (const { reject } of this.#events) reject(new Error('the browser has ended'));
    this.#waiting.clear();
    this.#events.clear();
  }

  async send(method, params = {}, sessionId = undefined) {
    if (this.socket.readyState !== WebSocket.OPEN) throw new Error('the browser has ended');
    this.#asked += 1;
    const id = this.#asked;
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => { this.#waiting.set(id, { resolve, reject }); });
  }

  /** Opens a page and waits until it is loaded. */
  async open(url) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    await this.send('Page.enable', {}, sessionId);
    const loaded = new Promise((resolve, reject) => { this.#events.add({ method: 'Page.loadEventFired', sessionId, resolve, reject }); });
    loaded.catch(() => {}); // who waits for it hears of it below
    const { errorText } = await this.send('Page.navigate', { url }, sessionId);
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await loaded;
    return {
      /** Calls a function in the page and gives what it resolves to. */
      call: async (body, ...args) => {
        const expression = `(${body})(${args.map((a) => JSON.stringify(a)).join(',')})`;
        const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, sessionId);
        if (exceptionDetails) throw new Error(`in the page ${url}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
        return result.value;
      },
      close: () => this.send('Target.closeTarget', { targetId }).catch(() => {}), // it may have gone with the browser
    };
  }

  async stop() {
    this.socket.close();
    this.#kill();
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit');
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  /** Kills all processes of the browser: one that is left writes into the profile while that is removed. */
  #kill() {
    try {
      process.kill(-this.process.pid, 'SIGKILL');
    } catch { /* it has ended */ }
  }
}

// What the browser tests stand on: a Starling of two gateways, the machine's Chromium, and people in contexts of their own.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { chromium as playwright } from 'playwright-core';
import { System, build, remove, scratch, settings } from '../../test/e2e/system.js';

/** Limits of time guard against hanging: the machine may be ten times slower than you think. */
export const patience = 30_000;

export async function startSystem({ gateways = 2, env = {} } = {}) {
  const dir = scratch();
  const binary = process.env.STARLING_BINARY ?? build(dir);
  const log = join(dir, 'system.log');
  const system = await System.start({ binary, data: join(dir, 'data'), gateways, log, env: { DRAIN_WINDOW: '500ms', ...env } });
  return { system, urls: system.urls, log, stop: async () => { await system.stop(); if (!process.env.STARLING_BINARY) remove(dir, binary); else remove(dir, binary); } };
}

/** The browser of this machine, or undefined with a word about it. */
export async function startBrowser() {
  const executablePath = ['chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser']
    .map((name) => spawnSync('sh', ['-c', `command -v ${name}`]).stdout.toString().trim()).find(Boolean);
  if (!executablePath) return undefined;
  return playwright.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'] });
}

let made = 0;
const run = Math.random().toString(36).slice(2, 7);

/** A person: an account, a browser context and pages in it, of which nothing may complain on the console. */
export class Person {
  static async enter(browser, url, name, options = {}) {
    made += 1;
    const person = new Person();
    Object.assign(person, { browser, url, name, username: `${name.toLowerCase().replace(/[^a-z]+/g, '')}-${run}-${made}`, noise: [] });
    person.context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options });
    person.context.setDefaultTimeout(patience);
    const response = await fetch(`${url}/api/v1/auth/register`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: person.username, password: 'a-long-pass-phrase', name }),
    });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    person.id = answer.user.id;
    person.login = { accessToken: answer.accessToken, refreshToken: answer.refreshToken, user: answer.user, expiresAt: Date.now() + answer.expiresIn * 1000 };
    await person.context.addInitScript(([key, login]) => {
      if (!localStorage.getItem('starling:seeded')) {
        localStorage.setItem('starling:seeded', '1');
        localStorage.setItem(key, login);
      }
    }, ['starling:login', JSON.stringify(person.login)]);
    return person;
  }

  async open(room, { url = this.url } = {}) {
    const page = await this.context.newPage();
    this.watch(page);
    await page.goto(`${url}/${room ? `#/r/${encodeURIComponent(room)}` : ''}`);
    this.page = page;
    return page;
  }

  /** Errors and warnings of the page end up in noise; those that a test causes on purpose (a network that is away) do not count. */
  watch(page) {
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type()) && !/net::ERR_|WebSocket connection to/.test(message.text())) this.noise.push(message.text()); });
    page.on('pageerror', (err) => this.noise.push(String(err)));
  }

  /** Waits until the store of a page is online. */
  async online(page = this.page) {
    await page.waitForFunction(() => globalThis.starling?.connection.status === 'online', undefined, { timeout: patience });
  }

  async say(text, page = this.page) {
    await page.locator('.composer textarea').fill(text);
    await page.locator('.composer textarea').press('Enter');
  }

  close() { return this.context.close(); }
}

/** The texts of messages that a page shows, in order. */
export function texts(page) { return page.locator('.list .content').allTextContents(); }

/** Waits until the store of a page has so many messages in a room, and gives their texts. */
export async function stored(page, room, count) {
  await page.waitForFunction(([id, n]) => (globalThis.starling?.room(id)?.messages.length ?? 0) >= n, [room, count], { timeout: patience });
  return page.evaluate((id) => globalThis.starling.room(id).messages.map((m) => m.content), room);
}

/** What the server has of a room. */
export async function history(url, room) {
  const all = [];
  let before;
  for (;;) {
    const response = await fetch(`${url}/api/v1/rooms/${encodeURIComponent(room)}/messages?limit=100${before ? `&before=${before}` : ''}`, { headers: { 'x-api-key': settings.API_KEY } });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    all.unshift(...answer.messages);
    if (!answer.hasMore || answer.messages.length === 0) return all;
    before = answer.messages[0].seq;
  }
}

/** A backend says something in a room. */
export async function post(url, room, content, userId) {
  const response = await fetch(`${url}/api/v1/rooms/${encodeURIComponent(room)}/messages`, {
    method: 'POST', headers: { 'x-api-key': settings.API_KEY, 'content-type': 'application/json' }, body: JSON.stringify({ content, userId }),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

export { settings };

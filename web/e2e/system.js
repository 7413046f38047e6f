// What the browser tests stand on: a Starling of two gateways, the machine's Chromium, and people in contexts of their own.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium as playwright } from 'playwright-core';
import { System, build, remove, scratch, settings } from '../../test/e2e/system.js';

/** Limits of time guard against hanging: the machine may be ten times slower than you think. */
export const patience = 90_000;

/** How waitForFunction looks: with each frame, as it does otherwise, its pages would draw all the time that they wait. */
export const waiting = { timeout: patience, polling: 50 };

/** A system with the example rooms: the one that web/test.js has started for all tests, unless it is to be an own one. */
export async function startSystem({ own = false } = {}) {
  if (process.env.STARLING_SYSTEM && !own) return { ...JSON.parse(process.env.STARLING_SYSTEM), stop: () => undefined };
  const dir = scratch();
  const binary = process.env.STARLING_BINARY ?? build(dir);
  const log = join(dir, 'system.log');
  const system = await System.start({ binary, data: join(dir, 'data'), gateways: 2, log, env: { DRAIN_WINDOW: '500ms', EXAMPLES: 'true' } });
  return { urls: system.urls, data: join(dir, 'data'), stop: async () => { await system.stop(); remove(dir, binary); } };
}

/**
 * Features of the browser that the tests do without. The first ones load the pages of an address bar with each window, though nobody sees it, and keep a
 * renderer for a page that may come: together almost half of what the browser takes of the processors. The switch replaces Playwright's, whose features are the others.
 */
const without = [
  'PreloadTopChromeWebUI', 'SpareRendererForSitePerProcess', 'WebUIOmniboxAimPopup', 'WebUIOmniboxFullPopup', 'WebUIOmniboxPopup',
  'AimEnabled', 'AvoidCorsURLLoaderRestartOnRedirect', 'AvoidUnnecessaryBeforeUnloadCheckSync', 'DestroyProfileOnBrowserClose', 'HttpsFirstBalancedModeAutoEnable',
  'HttpsUpgrades', 'LensOverlay', 'MediaRouter', 'NetworkTimeServiceQuerying', 'OptimizationHints', 'PaintHolding', 'PreconnectToSearch', 'ThirdPartyStoragePartitioning',
];

/** The browser of this machine, or undefined with a word about it. */
export async function startBrowser() {
  const executablePath = ['chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser']
    .map((name) => spawnSync('sh', ['-c', `command -v ${name}`]).stdout.toString().trim()).find(Boolean);
  if (!executablePath) return undefined;
  return playwright.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', `--disable-features=${without}`] });
}

const noon = new Date().getUTCHours() - 12;
let made = 0;
let posted = 0;
const run = Math.random().toString(36).slice(2, 7);

/** A person: an account, a browser context and pages in it, of which nothing may complain on the console. */
export class Person {
  /** It is about noon: no test sees a day end. */
  static browser = { locale: 'en-GB', timezoneId: `Etc/GMT${noon < 0 ? '' : '+'}${noon}`, viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' };

  /** Somebody without an account. */
  static visit(context) {
    context.setDefaultTimeout(patience);
    return Object.assign(new Person(), { name: 'a visitor', context, noise: [] });
  }

  static async enter(browser, url, name, options = {}) {
    made += 1;
    const person = new Person();
    Object.assign(person, { browser, url, name, username: `${name.toLowerCase().replace(/[^a-z]+/g, '')}-${run}-${made}`, noise: [] });
    person.context = await browser.newContext({ ...Person.browser, ...options });
    person.context.setDefaultTimeout(patience);
    const response = await fetch(`${url}/api/v1/auth/register`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: person.username, password: 'a-long-pass-phrase', name }),
    });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return person.signIn(answer);
  }

  /** The same person on another device. */
  async again(browser, options) {
    const other = Object.assign(new Person(), { browser, url: this.url, name: `${this.name}'s other device`, username: this.username, noise: [] });
    other.context = await browser.newContext({ ...Person.browser, ...options });
    other.context.setDefaultTimeout(patience);
    const response = await fetch(`${this.url}/api/v1/auth/login`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: this.username, password: 'a-long-pass-phrase' }),
    });
    return other.signIn(await response.json());
  }

  /** The browser holds a login as an answer of REST has it. */
  async signIn(answer) {
    this.id = answer.user.id;
    this.login = { accessToken: answer.accessToken, refreshToken: answer.refreshToken, user: answer.user, expiresAt: Date.now() + answer.expiresIn * 1000 };
    await this.context.addInitScript(([key, login]) => {
      if (location.protocol !== 'about:' && !localStorage.getItem('starling:seeded')) {
        localStorage.setItem('starling:seeded', '1');
        localStorage.setItem(key, login);
      }
      // What a link or a quote has led to, though that shows for a moment only.
      globalThis.ledTo = [];
      new MutationObserver(() => { for (const row of document.querySelectorAll('.message.highlighted')) globalThis.ledTo.push(row.textContent); })
        .observe(document, { subtree: true, childList: true, attributeFilter: ['class'] });
    }, ['starling:login', JSON.stringify(this.login)]);
    return this;
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
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type()) && !/net::ERR_|WebSocket connection to|WebSocket is already in CLOSING/.test(message.text())) this.noise.push(message.text()); });
    page.on('pageerror', (err) => this.noise.push(String(err)));
  }

  /** Waits until the store of a page is online. */
  async online(page = this.page) {
    await page.waitForFunction(() => globalThis.starling?.connection.status === 'online', undefined, waiting);
  }

  async say(text, page = this.page) {
    await page.locator('.composer textarea').fill(text);
    await page.locator('.composer textarea').press('Enter');
  }

  close() { return this.context.close(); }
}

/** A system and the people of one test after the other. */
export class Stage {
  #people = [];
  #rooms = 0;

  static async open(browser, options) {
    const stage = new Stage();
    stage.browser = browser;
    stage.world = await startSystem(options);
    stage.urls = stage.world.urls;
    return stage;
  }

  async enter(name, gateway = 0, options = {}) {
    const person = await Person.enter(this.browser, this.urls[gateway], name, options);
    this.#people.push(person);
    return person;
  }

  /** The page of somebody who comes for the first time. */
  async visitor(options = {}) {
    const person = Person.visit(await this.browser.newContext({ ...Person.browser, ...options }));
    this.#people.push(person);
    const page = await person.context.newPage();
    person.watch(page);
    await page.goto(`${this.urls[0]}/`);
    return page;
  }

  /** Two people, each on a gateway of their own, in a new room. */
  async pair() {
    const [ann, ben] = await Promise.all([this.enter('Ann'), this.enter('Ben', 1)]);
    const [a, b] = await Promise.all([ann.open(), ben.open()]);
    await Promise.all([ann.online(), ben.online()]);
    return { ann, ben, a, b, id: await this.room(a, b) };
  }

  /** Another device of a person, with a login of its own. */
  async device(person, options = {}) {
    const other = await person.again(this.browser, options);
    this.#people.push(other);
    return other;
  }

  /** A new room, which these pages show. */
  async room(page, ...others) {
    this.#rooms += 1;
    const id = `room-${this.#rooms}-${Date.now().toString(36)}`;
    await page.evaluate((roomId) => globalThis.starling.create('public', roomId, { roomId }), id);
    for (const p of [page, ...others]) await p.evaluate((roomId) => { location.hash = `#/r/${roomId}`; }, id);
    for (const p of [page, ...others]) await p.waitForFunction((roomId) => globalThis.starling?.room(roomId)?.loaded && globalThis.starling.room(roomId).info, id, waiting);
    return id;
  }

  /** Each page has what the server has, in its order, and nothing waits. */
  async same(id, ...pages) {
    for (const page of pages) await page.waitForFunction(() => globalThis.starling.counts.waiting === 0, undefined, waiting);
    const want = (await history(this.urls[1], id)).map((m) => m.content);
    for (const page of pages) assert.deepEqual(await stored(page, id, want.length), want);
    return want;
  }

  /** Ends a test: nobody's page may have complained. */
  async leave() {
    const noise = this.#people.flatMap((p) => p.noise.map((line) => `${p.name}: ${line}`));
    await Promise.all(this.#people.splice(0).map((person) => person.close()));
    assert.deepEqual(noise, [], 'a page complained on the console');
  }

  async close() {
    await this.browser.close();
    await this.world.stop();
  }
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** What axe has to say against a page. */
export function axe(page) {
  return page.evaluate(`${axeSource}; axe.run(document, { iframes: false, runOnly: ${JSON.stringify(rules)} }).then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html.slice(0, 160)).join(' | ')))`);
}

/** Waits until a link or a quote has led a page to a message. */
export function ledTo(page, text) { return page.waitForFunction((wanted) => globalThis.ledTo.some((row) => row.includes(wanted)), text, waiting); }

/** Gives a page a minute in which deletions can be taken back, in the place of five seconds. */
export function undoSlowly(page) {
  return page.evaluate(() => {
    const { starling, setTimeout: wait } = globalThis;
    const { remove } = starling;
    starling.remove = (message) => remove.call(starling, message, 60_000);
    globalThis.setTimeout = (act, ms, ...rest) => wait(act, ms === 5000 ? 60_000 : ms, ...rest);
  });
}

/** The texts of messages that a page shows, in order. */
export function texts(page) { return page.locator('.list .content').allTextContents(); }

/** All that the list of a page shows from its beginning to its end, by going through it. */
export function shown(page) {
  return page.evaluate(async () => {
    const box = document.querySelector('.scroller');
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const rows = new Map();
    for (box.scrollTop = 0; ; box.scrollTop += box.clientHeight / 2) {
      await frame();
      for (const row of box.querySelectorAll('.list > li')) rows.set(Number(row.getAttribute('aria-posinset')), row.querySelector('.content').textContent);
      if (box.scrollTop + box.clientHeight >= box.scrollHeight - 1) break;
    }
    return [...rows].sort(([a], [b]) => a - b).map(([, text]) => text);
  });
}

/** Waits until the store of a page has so many messages in a room, and gives their texts. */
export async function stored(page, room, count) {
  await page.waitForFunction(([id, n]) => (globalThis.starling?.room(id)?.messages.length ?? 0) >= n, [room, count], waiting);
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

/**
 * Makes the first message of a room into so many, as if they had been said long ago: by the thousand that is faster in the database. false:
 * there is no psql to do it with.
 */
export function multiply(data, room, count, content) {
  const psql = findPsql();
  if (!psql) return false;
  const statements = `
    INSERT INTO chat.messages SELECT copy.*
      FROM chat.messages m, generate_series(2, ${count}) g,
        jsonb_populate_record(m, jsonb_build_object('seq', m.seq + g - 1, 'n', g, 'id', gen_random_uuid(), 'client_msg_id', NULL, 'content', ${content})) copy
      WHERE m.room_id = '${room}' AND m.seq = (SELECT min(seq) FROM chat.messages WHERE room_id = '${room}');
    UPDATE chat.rooms SET last_seq = (SELECT max(seq) FROM chat.messages WHERE room_id = '${room}') WHERE room_id = '${room}';`;
  const done = spawnSync(psql, ['-d', databaseOf(data), '-v', 'ON_ERROR_STOP=1', '-q', '-c', statements], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  return true;
}

/** What the database has of a room, without anybody between; undefined: there is no psql to ask with. */
export function inDatabase(data, room) {
  const psql = findPsql();
  if (!psql) return undefined;
  const done = spawnSync(psql, ['-d', databaseOf(data), '-A', '-t', '-c', `SELECT coalesce(json_agg(content ORDER BY seq), '[]') FROM chat.messages WHERE room_id = '${room}'`], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  return JSON.parse(done.stdout);
}

function findPsql() { return spawnSync('sh', ['-c', 'command -v psql || ls /usr/lib/postgresql/*/bin/psql | tail -1']).stdout.toString().trim(); }

function databaseOf(data) { return readFileSync(join(data, 'database-url'), 'utf8').trim(); }

/** A backend says something in a room. */
export async function post(url, room, content, userId) {
  const body = JSON.stringify({ content, userId, clientMsgId: `post-${run}-${posted += 1}` });
  for (;;) {
    const response = await fetch(`${url}/api/v1/rooms/${encodeURIComponent(room)}/messages`, {
      method: 'POST', headers: { 'x-api-key': settings.API_KEY, 'content-type': 'application/json' }, body,
    });
    const answer = await response.json();
    if (response.status === 200) return answer;
    // A busy machine: asked again, it is there once.
    assert.ok(['timeout', 'unavailable', 'rate_limited'].includes(answer.error?.code ?? answer.code), JSON.stringify(answer));
    await new Promise((resolve) => { setTimeout(resolve, answer.error?.retryAfterMs ?? answer.retryAfterMs ?? 500); });
  }
}

export { settings };

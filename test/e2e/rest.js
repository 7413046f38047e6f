// REST calls to a gateway.

import { setTimeout } from 'node:timers/promises';

import { url } from './client.js';
import { unique } from './user.js';

export const apiKey = process.env.API_KEY ?? 'e2e-api-key-0123456789abcdef0123456789';
export const password = 'correct horse battery staple';

/**
 * Calls and gives { status, headers, body }; body is parsed when it is JSON. A system that has no turn for a password hash, as happens on
 * a busy machine, is asked again, for a while.
 */
export async function call(method, path, options = {}) {
  for (let left = 30; ; left -= 1) {
    const answer = await callOnce(method, path, options);
    if (left === 0 || answer.status !== 429 || !JSON.stringify(answer.body).includes('Too many logins at the moment')) return answer;
    await setTimeout(1000);
  }
}

async function callOnce(method, path, { body, token, key, headers = {}, gateway = 0, raw }) {
  const response = await fetch(url(gateway) + path, {
    method,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(token && { authorization: `Bearer ${token}` }),
      ...(key && { 'x-api-key': key }),
      ...headers,
    },
    body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await response.text();
  let parsed = text;
  try { parsed = JSON.parse(text); } catch { /* not JSON: the text is what the test looks at */ }
  return { status: response.status, headers: response.headers, body: parsed };
}

/** Registers a new user by REST: { id, name, username, token, refresh, body }. */
export async function register(name = 'user', { gateway = 0 } = {}) {
  const username = unique(name);
  const shown = name[0].toUpperCase() + name.slice(1);
  const { status, body } = await call('POST', '/api/v1/auth/register', { body: { username, password, name: shown }, gateway });
  if (status !== 200) throw new Error(`register ${username}: ${status} ${JSON.stringify(body)}`);
  return { id: body.user.id, name: shown, username, token: body.accessToken, refresh: body.refreshToken, body };
}

/** A new guest: { id, name, guest, token, refresh, body }. */
export async function newGuest(name = 'guest', { gateway = 0 } = {}) {
  const { status, body } = await call('POST', '/api/v1/auth/guest', { body: { name }, gateway });
  if (status !== 200) throw new Error(`guest ${name}: ${status} ${JSON.stringify(body)}`);
  return { id: body.user.id, name, guest: true, token: body.accessToken, refresh: body.refreshToken, body };
}

// Exact shapes: the contract fixes names and types of payload fields, so a field too many fails like one that is missing.

import assert from 'node:assert/strict';

export const string = (v) => typeof v === 'string';
export const text = (v) => typeof v === 'string' && v !== '';
export const boolean = (v) => typeof v === 'boolean';
export const count = (v) => Number.isSafeInteger(v) && v >= 0;
export const seq = (v) => Number.isSafeInteger(v) && v >= 1;
export const array = (v) => Array.isArray(v);
export const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
export const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
// Milliseconds since the epoch, within ten minutes of this machine's clock.
export const now = (v) => Number.isSafeInteger(v) && Math.abs(v - Date.now()) < 600_000;
export const any = () => true;
// What message:send is answered with.
export const sent = { status: 'delivered', id: uuid7, seq, createdAt: iso, n: seq };

/**
 * Fails unless value has exactly the fields of spec. A field's spec is a predicate, a regular expression or the value
 * itself; a name that ends in '?' may be absent.
 */
export function exact(value, spec, what = 'payload') {
  const shown = JSON.stringify(value)?.slice(0, 600);
  assert.ok(value !== null && typeof value === 'object' && !Array.isArray(value), `${what} = ${shown}, want an object`);
  const known = new Set();
  for (const [key, want] of Object.entries(spec)) {
    const name = key.replace(/\?$/, '');
    known.add(name);
    if (!(name in value)) {
      assert.ok(key.endsWith('?'), `${what} = ${shown}, lacks ${name}`);
      continue;
    }
    const got = value[name];
    if (typeof want === 'function') assert.ok(want(got), `${what}.${name} = ${JSON.stringify(got)}, want ${want.name || want}`);
    else if (want instanceof RegExp) assert.match(String(got), want, `${what}.${name} of ${shown}`);
    else assert.deepStrictEqual(got, want, `${what}.${name} of ${shown}`);
  }
  const extra = Object.keys(value).filter((name) => !known.has(name));
  assert.deepStrictEqual(extra, [], `${what} = ${shown}, has fields that are not in the contract`);
}

/** Fails unless value is a message as message:new, histories and lists carry it. */
export function message(value, spec = {}) {
  exact(value, {
    id: uuid7, roomId: text, seq, sender: (s) => text(s?.id) && string(s?.name) && Object.keys(s).length === 2,
    content: text, type: text, createdAt: iso, 'n?': seq, 'clientMsgId?': text, ...spec,
  }, 'message');
}

/** Fails unless reply is a success with exactly these fields beside ok. */
export function ok(reply, spec = {}) {
  exact(reply, { ok: true, ...spec }, 'ack');
}

/** Fails unless reply is a refusal with one of the codes; gives the error back. */
export function refused(reply, ...codes) {
  exact(reply, { ok: false, error: any }, 'ack');
  exact(reply.error, { code: (c) => codes.includes(c) || assert.fail(`code = ${c} (${reply.error.message}), want ${codes.join(' or ')}`), message: text, 'reason?': text, 'retryAfterMs?': count, 'until?': iso }, 'ack.error');
  return reply.error;
}

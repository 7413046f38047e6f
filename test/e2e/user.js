// Users and their tokens. Most tests use tokens of the operator's own login system (HS256): signing one costs nothing,
// and every token makes a new user (AUTH_AUTO_PROVISION). Names are new in every run, so old data does no harm.

import { randomBytes } from 'node:crypto';
import { SignJWT } from 'jose';

export const secret = process.env.JWT_SECRET ?? 'e2e-secret-e2e-secret-e2e-secret-0123456789';
export const run = randomBytes(4).toString('hex');
let made = 0;

/** A name that no other test and no other run uses. */
export const unique = (name) => `${name}-${run}-${(made += 1).toString(36)}`;

/** A room id that no other test and no other run uses. */
export const roomId = (name = 'room') => unique(name);

/** Signs claims with HS256; key and expiry can be wrong on purpose. */
export function sign(claims, { key = secret, alg = 'HS256', expires = '1h' } = {}) {
  const token = new SignJWT(claims).setProtectedHeader({ alg, typ: 'JWT' }).setIssuedAt();
  if (expires !== null) token.setExpirationTime(expires);
  return token.sign(typeof key === 'string' ? new TextEncoder().encode(key) : key);
}

/** Signs claims as of a time, in seconds since 1970; the token lives for an hour from then on. */
export function signAt(seconds, claims) {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).setIssuedAt(seconds).setExpirationTime(seconds + 3600)
    .sign(new TextEncoder().encode(secret));
}

/** A user of the operator's login system: { id, name, role, token }. */
export async function newUser(name = 'user', { role, expires } = {}) {
  const id = unique(name);
  const shown = name[0].toUpperCase() + name.slice(1);
  return { id, name: shown, token: await sign({ sub: id, name: shown, ...(role && { role }) }, { expires }) };
}

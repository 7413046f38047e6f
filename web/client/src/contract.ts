// The events of Starling as the contract has them. The file is generated; a gateway serves it at /api/starling.d.ts, for whoever takes this
// folder elsewhere.

import type { ClientToServerEvents, NotificationClientToServerEvents } from '../../../proto/events/gen/starling.d.ts';
import type { Fault } from './types.ts';

type Emitted = ClientToServerEvents & Omit<NotificationClientToServerEvents, keyof ClientToServerEvents>;

/** An event that clients emit. */
export type EventName = keyof Emitted;

/** What an event is emitted with; undefined where it may be left out. */
export type Argument<E extends EventName> = Emitted[E] extends (...args: infer A) => void ? (A extends [infer Given, unknown] ? Given : undefined) : never;

/** What an event is answered with: as the contract has it, or a refusal, which may be of this device (`offline`). */
export type Answer<E extends EventName> = (Emitted[E] extends (...args: infer A) => void ? (A extends [...unknown[], (answer: infer R) => void] ? Extract<R, { ok: true }> : never) : never) | { ok: false; error: Fault };

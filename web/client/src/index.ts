export { Starling, type SendOptions, type StoreOptions } from './store.ts';
export { Session, RestError, type Login, type SessionOptions, type TokenSource } from './session.ts';
export { Timeline, position, type Entry } from './merge.ts';
export { MemoryCache, openCache, type Cache } from './cache.ts';
export type { Answer, Argument, EventName } from './contract.ts';
export type { Connect, LinkState, Status, Trace } from './link.ts';
export type { RoomSummary, RoomView } from './room.ts';
export type * from './types.ts';

// What a device keeps of a user: rooms, the newest messages of each, what is still to be sent, drafts. In IndexedDB where there is one;
// otherwise in memory, and the store works the same until the page is closed.

import type { Entry } from './merge.ts';
import type { ListedRoom, Pending } from './types.ts';

export interface KeptRoom extends ListedRoom { at: number }
export interface KeptTimeline { roomId: string; from: number; to: number; hasOlder: boolean; entries: Entry[] }

export interface Cache {
  rooms(): Promise<KeptRoom[]>;
  putRooms(rooms: KeptRoom[], gone: string[]): Promise<void>;
  timeline(roomId: string): Promise<KeptTimeline | undefined>;
  putTimeline(timeline: KeptTimeline): Promise<void>;
  pending(): Promise<Pending[]>;
  putPending(pending: Pending): Promise<void>;
  deletePending(clientMsgId: string): Promise<void>;
  value<T>(key: string): Promise<T | undefined>;
  putValue(key: string, value: unknown): Promise<void>;
  /** Forgets everything. */
  clear(): Promise<void>;
  close(): void;
}

const stores = { rooms: 'roomId', timelines: 'roomId', outbox: 'clientMsgId', values: null }; // and their keys

export async function openCache(name: string): Promise<Cache> {
  if (typeof indexedDB === 'undefined') return new MemoryCache();
  try {
    return new DatabaseCache(await open(name));
  } catch {
    return new MemoryCache(); // a browser that forbids it, or a full disk
  }
}

function open(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      for (const [store, keyPath] of Object.entries(stores)) request.result.createObjectStore(store, { keyPath });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB does not open'));
    request.onblocked = () => reject(new Error('IndexedDB is blocked'));
  });
}

class DatabaseCache implements Cache {
  readonly #db: IDBDatabase;

  constructor(db: IDBDatabase) {
    this.#db = db;
    db.onversionchange = () => db.close();
  }

  rooms(): Promise<KeptRoom[]> { return this.#read('rooms', (s) => s.getAll()); }

  putRooms(rooms: KeptRoom[], gone: string[]): Promise<void> {
    return this.#write(['rooms', 'timelines'], (tx) => {
      for (const room of rooms) tx.objectStore('rooms').put(room);
      for (const id of gone) {
        tx.objectStore('rooms').delete(id);
        tx.objectStore('timelines').delete(id);
      }
    });
  }

  timeline(roomId: string): Promise<KeptTimeline | undefined> { return this.#read('timelines', (s) => s.get(roomId)); }

  putTimeline(timeline: KeptTimeline): Promise<void> { return this.#write(['timelines'], (tx) => { tx.objectStore('timelines').put(timeline); }); }

  pending(): Promise<Pending[]> { return this.#read('outbox', (s) => s.getAll()); }

  putPending(pending: Pending): Promise<void> { return this.#write(['outbox'], (tx) => { tx.objectStore('outbox').put(pending); }); }

  deletePending(id: string): Promise<void> { return this.#write(['outbox'], (tx) => { tx.objectStore('outbox').delete(id); }); }

  value<T>(key: string): Promise<T | undefined> { return this.#read('values', (s) => s.get(key)); }

  putValue(key: string, value: unknown): Promise<void> { return this.#write(['values'], (tx) => { tx.objectStore('values').put(value, key); }); }

  clear(): Promise<void> { return this.#write(Object.keys(stores), (tx) => { for (const store of tx.objectStoreNames) tx.objectStore(store).clear(); }); }

  close(): void { this.#db.close(); }

  #read<T>(store: keyof typeof stores, ask: (s: IDBObjectStore) => IDBRequest): Promise<T> {
    return new Promise((resolve, reject) => {
      const request = ask(this.#db.transaction(store, 'readonly').objectStore(store));
      request.onsuccess = () => resolve(request.result as T);
      request.onerror = () => reject(request.error ?? new Error('IndexedDB does not read'));
    });
  }

  #write(names: string[], put: (tx: IDBTransaction) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const tx = this.#db.transaction(names, 'readwrite');
      tx.oncomplete = () => resolve();
      tx.onabort = () => reject(tx.error ?? new Error('IndexedDB does not write')); // after an error too
      put(tx);
    });
  }
}

export class MemoryCache implements Cache {
  #rooms = new Map<string, KeptRoom>();
  #timelines = new Map<string, KeptTimeline>();
  #outbox = new Map<string, Pending>();
  #values = new Map<string, unknown>();

  async rooms(): Promise<KeptRoom[]> { return [...this.#rooms.values()]; }

  async putRooms(rooms: KeptRoom[], gone: string[]): Promise<void> {
    for (const room of rooms) this.#rooms.set(room.roomId, room);
    for (const id of gone) { this.#rooms.delete(id); this.#timelines.delete(id); }
  }

  async timeline(roomId: string): Promise<KeptTimeline | undefined> { return this.#timelines.get(roomId); }

  async putTimeline(timeline: KeptTimeline): Promise<void> { this.#timelines.set(timeline.roomId, structuredClone(timeline)); }

  async pending(): Promise<Pending[]> { return [...this.#outbox.values()].map((p) => ({ ...p })); }

  async putPending(pending: Pending): Promise<void> { this.#outbox.set(pending.clientMsgId, { ...pending }); }

  async deletePending(id: string): Promise<void> { this.#outbox.delete(id); }

  async value<T>(key: string): Promise<T | undefined> { return this.#values.get(key) as T | undefined; }

  async putValue(key: string, value: unknown): Promise<void> { this.#values.set(key, value); }

  async clear(): Promise<void> { for (const m of [this.#rooms, this.#timelines, this.#outbox, this.#values]) m.clear(); }

  close(): void { /* nothing is open */ }
}

// Writes to the device what has changed, a moment after it did; one tab does it for all.

import type { State } from './state.ts';

const moment = 700;

/** Messages of a room that are kept on the device. */
export const keptMessages = 200;

export class Keeper {
  readonly #state: State;
  readonly #rooms = new Set<string>();
  readonly #gone = new Set<string>();
  readonly #timelines = new Set<string>();
  #due: ReturnType<typeof setTimeout> | undefined;
  #forgotten = false;

  constructor(state: State) { this.#state = state; }

  get kept(): number { return this.#state.options.keptMessages ?? keptMessages; }

  room(id: string): void {
    this.#rooms.add(id);
    this.#soon();
  }

  timeline(id: string): void { this.#timelines.add(id); }

  gone(id: string): void {
    this.#gone.add(id);
    this.#soon();
  }

  #soon(): void {
    if (this.#due || this.#state.closed) return;
    this.#due = setTimeout(() => void this.save(), moment);
    (this.#due as { unref?: () => void }).unref?.();
  }

  async save(): Promise<void> {
    clearTimeout(this.#due);
    this.#due = undefined;
    const { rooms: all, link, cache, names, closed } = this.#state;
    if (this.#forgotten || (!link.state.leader && !closed)) return;
    const rooms = [...this.#rooms].map((id) => all.get(id)).filter((r) => r?.role !== undefined).map((r) => r!.keep());
    const gone = [...this.#gone].filter((id) => !all.get(id)?.role);
    const timelines = [...this.#timelines].map((id) => all.get(id)?.keepTimeline(this.kept)).filter((t) => t !== undefined);
    for (const list of [this.#rooms, this.#gone, this.#timelines]) list.clear();
    try {
      await cache.putRooms(rooms, gone);
      for (const timeline of timelines) await cache.putTimeline(timeline);
      if (rooms.length > 0) await cache.putValue('names', [...names].slice(-1000));
    } catch { /* a full disk: the server has it all */ }
  }

  /** Removes all that is kept, and keeps nothing any more. */
  async forget(): Promise<void> {
    this.#forgotten = true;
    clearTimeout(this.#due);
    this.#due = undefined;
    await this.#state.cache.clear();
  }
}

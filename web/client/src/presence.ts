// Who is online, of those that a tab shows: the tab with the connection watches for all of them.

import type { State } from './state.ts';
import type { Presence } from './types.ts';

const most = 5000; // states that are known
const watchedAtOnce = 500;
const pause = 250; // milliseconds in which changes of what is shown are gathered

export class PresenceWatch {
  readonly #state: State;
  readonly #tab: string;
  readonly #known = new Map<string, Presence>();
  /** By part of this tab, and by tab. */
  readonly #parts = new Map<string, readonly string[]>();
  readonly #tabs = new Map<string, string[]>();
  #view: ReadonlyMap<string, Presence> | undefined;
  #due: ReturnType<typeof setTimeout> | undefined;

  constructor(state: State, tab: string) {
    this.#state = state;
    this.#tab = tab;
  }

  get view(): ReadonlyMap<string, Presence> {
    this.#view ??= new Map(this.#known);
    return this.#view;
  }

  /** The users that a part of this tab shows; an empty list ends it. */
  watch(part: string, userIds: readonly string[]): void {
    if (userIds.length > 0) this.#parts.set(part, userIds); else if (!this.#parts.delete(part)) return;
    const ids = [...new Set([...this.#parts.values()].flat())];
    this.#state.note({ kind: 'watch', tab: this.#tab, ids });
    this.watching(this.#tab, ids);
  }

  /** The users that a tab shows. */
  watching(tab: string, ids: string[]): void {
    if (ids.length > 0) this.#tabs.set(tab, ids); else this.#tabs.delete(tab);
    if (this.#due) return;
    this.#due = setTimeout(() => {
      this.#due = undefined;
      void this.ask();
    }, pause);
  }

  async ask(): Promise<void> {
    const { link } = this.#state;
    const userIds = [...new Set([...this.#tabs.values()].flat())].slice(0, watchedAtOnce);
    if (!link.state.leader) return;
    const reply = await link.call('presence:watch', { userIds });
    if (!reply.ok) return;
    this.are(reply.users);
    this.#state.note({ kind: 'present', users: reply.users });
  }

  are(users: Presence[]): void {
    for (const user of users) this.#known.set(user.userId, user);
    if (this.#known.size > most) for (const id of [...this.#known.keys()].slice(0, 1000)) this.#known.delete(id);
    this.#view = undefined;
    this.#state.topics.changed('presence');
  }

  /** All who are online: nobody else is. */
  onlyOnline(ids: string[]): void {
    const online = new Set(ids);
    this.are([...[...this.#known.values()].filter((p) => p.online && !online.has(p.userId)).map((p) => ({ ...p, online: false })),
      ...ids.map((userId) => ({ userId, online: true }))]);
  }

  close(): void {
    this.#state.note({ kind: 'watch', tab: this.#tab, ids: [] });
    clearTimeout(this.#due);
  }
}

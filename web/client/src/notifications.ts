// The user's notifications, the newest first, and how many are unread.

import type { State } from './state.ts';
import type { Wire } from './wire.ts';
import type { Notification } from './types.ts';

const most = 200;
const namespace = '/notifications';

export interface NotificationsView { list: readonly Notification[]; unread: number }

export class Notifications {
  readonly #state: State;
  view: NotificationsView = { list: [], unread: 0 };

  constructor(state: State) { this.#state = state; }

  async load(): Promise<void> {
    const reply = await this.#state.link.call('notification:list', { limit: 50 }, { namespace });
    if (reply.ok) this.#set(reply.notifications, reply.unread);
  }

  async read(ids: string[]): Promise<void> {
    const reply = await this.#state.link.call('notification:read', { ids }, { namespace });
    if (!reply.ok) return;
    this.wereRead(ids, reply.unread);
    this.#state.note({ kind: 'notifications-read', ids, unread: reply.unread });
  }

  wereRead(ids: string[], unread: number): void {
    this.#set(this.view.list.map((n) => (ids.includes(n.id) ? { ...n, read: true, readAt: n.readAt ?? new Date().toISOString() } : n)), unread);
  }

  /** An event of the namespace of notifications. */
  event(event: string, arg: Wire): void {
    if (event === 'connect') {
      void this.load();
    } else if (event === 'notification') {
      const note = arg as unknown as Notification;
      if (this.view.list.some((n) => n.id === note.id)) return;
      this.#set([note, ...this.view.list], this.view.unread + 1);
      this.#state.topics.changed('notification');
    } else if (event === 'notification:read') {
      this.wereRead(arg.ids as string[], arg.unread as number);
    }
  }

  #set(list: readonly Notification[], unread: number): void {
    this.view = { list: list.slice(0, most), unread };
    this.#state.topics.changed('notifications');
  }
}

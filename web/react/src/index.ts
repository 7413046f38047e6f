// React hooks over @starling/client. Each shows one part of the store and renders again when that part changed.

import { createContext, useCallback, useContext, useEffect, useId, useMemo, useRef, useState, useSyncExternalStore, createElement, type ReactNode } from 'react';
import { Session, Starling, type LinkState, type Notification, type Presence, type RoomSummary, type RoomView, type StoreOptions, type Trace, type User } from '@starling/client';

const Context = createContext<Starling | null>(null);

/** Gives the store to everything inside. */
export function StarlingProvider({ store, children }: { store: Starling; children?: ReactNode }): ReactNode {
  return createElement(Context.Provider, { value: store }, children);
}

/** The store. */
export function useStarling(): Starling {
  const store = useContext(Context);
  if (!store) throw new Error('useStarling needs a StarlingProvider above');
  return store;
}

/** Opens a store for as long as the component is there; undefined while it opens. */
export function useStore(options: StoreOptions | undefined): Starling | undefined {
  const [store, setStore] = useState<Starling>();
  const userId = options?.tokens.user.id;
  const latest = useRef(options);
  latest.current = options;
  useEffect(() => {
    if (!latest.current) return undefined;
    let gone = false;
    const opening = Starling.open(latest.current);
    void opening.then((opened) => { if (!gone) setStore(opened); });
    return () => {
      gone = true;
      setStore(undefined);
      void opening.then((opened) => opened.close());
    };
  }, [userId]);
  return store;
}

/** The user of a session, or undefined; it follows logins and logouts, in other tabs too. */
export function useSession(session: Session): User | undefined {
  const subscribe = useCallback((listener: () => void) => {
    session.onchange = listener;
    return () => { session.onchange = undefined; };
  }, [session]);
  return useSyncExternalStore(subscribe, () => session.login?.user);
}

function useTopic<T>(topic: string, read: (store: Starling) => T): T {
  const store = useStarling();
  const subscribe = useCallback((listener: () => void) => store.subscribe(topic, listener), [store, topic]);
  return useSyncExternalStore(subscribe, () => read(store));
}

export function useConnection(): LinkState { return useTopic('connection', (s) => s.connection); }

export function useRooms(): readonly RoomSummary[] { return useTopic('rooms', (s) => s.rooms); }

/** A room, which is loaded and kept in step while the component shows it. */
export function useRoom(roomId: string | undefined): RoomView | undefined {
  const store = useStarling();
  useEffect(() => { void store.show(roomId); }, [store, roomId]);
  return useTopic(`room:${roomId ?? ''}`, (s) => (roomId === undefined ? undefined : s.room(roomId)));
}

/** Sum of what is unread, and of mentions, in rooms that are not muted. */
export function useUnread(): { unread: number; mentions: number } {
  const rooms = useRooms();
  return useMemo(() => rooms.reduce((sum, r) => ({
    unread: sum.unread + (r.prefs.muted ? 0 : r.unread), mentions: sum.mentions + r.mentions,
  }), { unread: 0, mentions: 0 }), [rooms]);
}

/** How users are, as far as known; those given are watched while the component is there. */
export function usePresence(userIds: readonly string[]): ReadonlyMap<string, Presence> {
  const store = useStarling();
  const part = useId();
  const key = [...new Set(userIds)].sort().join('\n');
  useEffect(() => {
    store.watch(part, key ? key.split('\n') : []);
    return () => store.watch(part, []);
  }, [store, part, key]);
  return useTopic('presence', (s) => s.presence);
}

export function useNotifications(): { list: readonly Notification[]; unread: number } { return useTopic('notifications', (s) => s.notifications); }

/** A draft of a room, kept on the device. */
export function useDraft(roomId: string): [string, (text: string) => void] {
  const store = useStarling();
  const text = useTopic('drafts', (s) => s.draft(roomId));
  return [text, useCallback((next: string) => store.setDraft(roomId, next), [store, roomId])];
}

/** Calls back for everything that happens on the connection. */
export function useTrace(listener: (trace: Trace) => void): void {
  const store = useStarling();
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    store.ontrace = (trace) => latest.current(trace);
    return () => { store.ontrace = undefined; };
  }, [store]);
}

export { Session, Starling };
export type { RoomSummary, RoomView } from '@starling/client';

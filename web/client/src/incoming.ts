// What the server says: each event is taken where it belongs.

import type { Memberships } from './memberships.ts';
import type { Notifications } from './notifications.ts';
import type { PresenceWatch } from './presence.ts';
import type { MarkerState, Room } from './room.ts';
import type { Sending } from './sending.ts';
import type { State } from './state.ts';
import { factOf, type Wire } from './wire.ts';
import type { Fact, LastMessage, MemberRole, Message, Prefs, Presence, RoomInfo } from './types.ts';

export interface Parts { memberships: Memberships; notifications: Notifications; presence: PresenceWatch; sending: Sending }

export class Incoming {
  readonly #state: State;
  readonly #parts: Parts;

  constructor(state: State, parts: Parts) {
    this.#state = state;
    this.#parts = parts;
  }

  event(event: string, args: unknown[], namespace: string): void {
    const arg = (args[0] ?? {}) as Wire;
    if (namespace === '/notifications') return this.#parts.notifications.event(event, arg);
    if (event === 'room:history') {
      for (const message of args[0] as Message[]) this.#message(message, true);
      return undefined;
    }
    if (event === 'message:new') return this.#message(arg as unknown as Message, false);
    const fact = factOf(event, arg);
    if (fact) {
      const room = this.#state.rooms.get(arg.roomId ?? '');
      if (room) this.#durable(room, event, arg, fact);
      return undefined;
    }
    if (event.startsWith('me:')) return this.#mine(event, arg);
    if (event === 'inbox:state') return this.#parts.memberships.inbox(arg as never);
    if (event === 'room:activity') return this.#activity(arg as never);
    if (event.startsWith('room:')) return this.#room(event, arg);
    return this.#passing(event, arg, args);
  }

  #message(message: Message, old: boolean): void {
    const state = this.#state;
    const room = state.room(message.roomId);
    state.learn(message.sender.id, message.sender.name);
    if (!old) {
      state.counts.delivered += 1;
      if (message.seq <= room.liveSeq) state.counts.twice += 1;
      room.liveSeq = Math.max(room.liveSeq, message.seq);
    }
    room.noticed(message);
    if (message.clientMsgId && message.sender.id === state.me.id) this.#parts.sending.done(room.id, message.clientMsgId);
    // Of a page of the past nothing is appended: what is between is not here.
    if ((room.loaded || room.loading === 'first') && !room.hasNewer) state.apply(room, { kind: 'message', message, personal: old });
    room.heard(message.seq);
    state.keeper.timeline(room.id);
    state.roomChanged(room);
  }

  /** How a room stands that was not entered. */
  #activity({ roomId, seq, n, last }: { roomId: string; seq: number; n: number; last?: LastMessage }): void {
    const state = this.#state;
    const room = state.rooms.get(roomId);
    if (!room || seq <= room.at) return;
    if (last) state.learn(last.sender.id, last.sender.name);
    if (last?.sender.id === state.me.id && last.id !== room.last?.id) room.said(seq, n);
    room.stands(seq, n, last);
    if (room.markerN === undefined) void this.#parts.memberships.about(room);
    state.roomChanged(room);
  }

  #durable(room: Room, event: string, arg: Wire, fact: Fact): void {
    room.heard(arg.seq ?? 0);
    if (fact.kind !== 'message' || room.timeline.has(fact.message.id)) this.#state.apply(room, fact);
    if (fact.kind === 'message') room.newest(fact.message);
    if (event === 'message:deleted' && fact.kind === 'deleted' && room.last?.id === fact.messageId) room.last = { ...room.last, content: '', deletedAt: new Date().toISOString() };
    this.#state.keeper.timeline(room.id);
    this.#state.roomChanged(room);
  }

  /** An entry of the user's log; what a list has in it already changes nothing. */
  #mine(event: string, arg: Wire): void {
    const state = this.#state;
    const { memberships, sending } = this.#parts;
    const useq = Number(arg.useq);
    const reset = event === 'me:reset';
    if (reset || useq > (state.useq ?? 0)) state.setUseq(useq);
    if (reset) return memberships.reset();
    const added = arg.room as RoomInfo | undefined;
    const roomId = arg.roomId ?? added?.roomId ?? '';
    const room = state.rooms.get(roomId);
    const gone = event === 'me:room-removed';
    if (useq <= Math.max(room?.useq ?? 0, added ? memberships.known : 0)) {
      // That a marker went back is believed once the log says so too: this device may have read on since the list was made.
      if (room?.listedMarker && (gone || event === 'me:marker')) sending.marked(room, room.listedMarker);
      return undefined;
    }
    if (added || gone) memberships.known = Math.max(memberships.known, useq);
    if (room) room.useq = useq;
    if (added) {
      const there = memberships.added(added);
      there.useq = useq;
      return void memberships.about(there);
    }
    switch (event) {
      case 'me:room-removed': if (arg.reason !== 'left' || room?.role) memberships.gone(roomId, arg.reason as string); break;
      case 'me:prefs': if (room) { room.prefs = arg.prefs as Prefs; state.roomChanged(room); } break;
      case 'me:marker': if (room) void this.#marker(room, arg as unknown as MarkerState); break;
      case 'me:mention':
        if (!room) break;
        room.newest(arg.message as Message);
        room.mentioned(arg.message as Message);
        state.roomChanged(room);
        break;
    }
  }

  /** A marker that goes back may be older than the answer to a read, which came first: not if the server has it still. */
  async #marker(room: Room, marker: MarkerState): Promise<void> {
    const got = marker.seq < room.told ? await this.#state.link.call('room:get', room.id) : undefined;
    if (!got?.ok || (got.marker?.seq ?? 0) <= marker.seq) this.#parts.sending.marked(room, marker);
  }

  #room(event: string, arg: Wire): void {
    const state = this.#state;
    const room = state.rooms.get(arg.roomId ?? '');
    if (!room) return;
    room.heard(arg.seq ?? 0);
    const userId = String(arg.userId ?? '');
    switch (event) {
      case 'room:updated': {
        const { profile, settings, version } = arg as unknown as RoomInfo;
        if (room.info && version >= room.info.version) room.is({ ...room.info, profile, settings, version });
        break;
      }
      case 'room:archived': if (room.info) room.info = { ...room.info, archivedAt: arg.archivedAt as string }; break;
      case 'room:user-joined':
        state.learn(userId, String(arg.userName ?? userId));
        if (room.info) room.info = { ...room.info, memberCount: room.info.memberCount + 1 };
        break;
      case 'room:user-left':
        if (userId === state.me.id) { // of a room that was entered; that of an earlier membership may come late
          if (room.joined) this.#parts.memberships.gone(room.id, arg.reason as string);
          return;
        }
        room.typists.delete(userId);
        room.readers.delete(userId);
        if (room.info) room.info = { ...room.info, memberCount: Math.max(1, room.info.memberCount - 1) };
        break;
      case 'room:role': if (userId === state.me.id) room.role = arg.role as MemberRole; break;
      case 'room:deleted': return this.#parts.memberships.gone(room.id, 'deleted');
    }
    state.topics.changed(`members:${room.id}`);
    state.roomChanged(room);
  }

  #passing(event: string, arg: Wire, args: unknown[]): void {
    const state = this.#state;
    const room = state.rooms.get(arg.roomId ?? '');
    const userId = String(arg.userId ?? '');
    switch (event) {
      case 'message:read': if (room) { room.receipt(userId, Number(arg.seq)); state.roomChanged(room); } break;
      case 'typing:start': {
        const name = String(arg.userName ?? userId);
        state.learn(userId, name);
        if (room && userId !== state.me.id) {
          room.typists.set(userId, { name, until: Date.now() + Number(arg.expiresInMs ?? 8000) });
          state.passingChanged(room);
        }
        break;
      }
      case 'typing:stop': if (room?.typists.delete(userId)) state.passingChanged(room); break;
      case 'users:online': this.#parts.presence.onlyOnline(args[0] as string[]); break;
      case 'presence:changed': this.#parts.presence.are(arg.users as Presence[]); break;
    }
  }

  /** Takes away who has stopped typing without a word. */
  expireTypists(): void {
    const now = Date.now();
    for (const room of this.#state.rooms.values()) {
      for (const [id, { until }] of room.typists) {
        if (until > now) continue;
        room.typists.delete(id);
        this.#state.passingChanged(room);
      }
    }
  }
}

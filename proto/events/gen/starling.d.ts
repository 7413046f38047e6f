// Generated from proto/events/source by `make contract`; do not edit.
//
// The events of Starling for the plain socket.io-client, as the gateway serves them at /api/starling.d.ts:
//
//	import { io, type Socket } from 'socket.io-client';
//	import type { ClientToServerEvents, ServerToClientEvents } from './starling';
//	const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:3000', { auth: { token } });
//
// With StarlingSocket in place of Socket<…>, events may be emitted without an ack, and timeout(ms).emitWithAck has the type of its answer.

import type { Socket } from 'socket.io-client';

/** What an event is answered with. */
export type Ack<T = unknown> = ({ ok: true } & T) | { ok: false; error: Fault };

/** What is given to an event as its last argument, and called with the answer. */
export type AckCallback<T = unknown> = (answer: Ack<T>) => void;

/** What connect_error brings: with data the CONNECT was refused, which is final; without it the client tries again by itself. */
export interface ConnectError extends Error {
  data?: ConnectRefusal;
}

/** Who it is: the subject of the token, 1 to 128 printable characters. */
export type UserId = string;

/** 1 to 128 printable characters. */
export type RoomId = string;

/** Counts the durable events of a room from 1 without holes; 0 is before the first. */
export type Seq = number;

/** ISO 8601, UTC, milliseconds. */
export type Time = string;

/** A UUIDv7 in its canonical form. */
export type Uuid = string;

export type Role = 'owner' | 'moderator' | 'member';

/** What a member is in a room. Nobody gives or takes the role of a guest. */
export type MemberRole = 'owner' | 'moderator' | 'member' | 'guest';

/** Why an event was refused. */
export interface Fault {
  code: Code;
  /** For developers; it names the field. */
  message: string;
  reason?: Reason;
  /** When to try again. */
  retryAfterMs?: number;
  until?: Time;
}

/** Why a CONNECT was refused. */
export type ConnectCode = 'authentication_required' | 'invalid_token' | 'invalid_user_id' | 'user_disabled' | 'user_not_found' | 'invalid_namespace' | 'too_many_sockets';

/** Why an event was refused; it says whether to try again. */
export type Code = 'invalid' | 'unauthenticated' | 'forbidden' | 'not_found' | 'conflict' | 'too_large' | 'rate_limited' | 'unknown_event' | 'unavailable' | 'timeout' | 'internal';

/** Why an event was refused, more closely than the code; it says what to show. */
export type Reason = 'banned' | 'muted' | 'not_allowed' | 'last_owner' | 'too_many_rooms' | 'blocked' | 'invite_expired' | 'exists' | 'kind_not_allowed' | 'changed' | 'slow_mode' | 'archived' | 'room_full' | 'reply_gone' | 'mention_not_allowed' | 'not_author' | 'edit_window' | 'deleted' | 'too_many_keys';

/** What a room shows. */
export interface Profile {
  name?: string;
  topic?: string;
  avatarUrl?: string;
  /** Whatever else the product keeps with the room; 4 KiB at most. */
  data?: Record<string, unknown>;
}

/** What a room allows. */
export interface Settings {
  /** The least role that may say something. */
  send: Role;
  slowModeMs?: number;
  maxMembers?: number;
}

/** Fields of a profile; a null takes one away. */
export interface ProfileChange {
  name?: string | null;
  topic?: string | null;
  avatarUrl?: string | null;
  data?: Record<string, unknown> | null;
}

/** Fields of settings; a null takes one away. */
export interface SettingsChange {
  send?: 'owner' | 'moderator' | 'member' | null;
  slowModeMs?: number | null;
  maxMembers?: number | null;
}

/** What a room is, the same for everybody. */
export interface Room {
  roomId: RoomId;
  kind: 'public' | 'private' | 'direct';
  profile: Profile;
  settings: Settings;
  /** Grows with every change of profile or settings, and with the archiving. */
  version: number;
  createdAt: Time;
  archivedAt?: Time;
  memberCount: number;
}

export interface Member {
  userId: UserId;
  name: string;
  role: MemberRole;
  joinedAt: Time;
}

/** How far a member has read. */
export interface Marker {
  /** Of the last message that it has read or said; 0 is none. */
  seq: Seq;
  /** How many messages of the room are read or came before the member. */
  n?: number;
}

/** How a user wants a room shown. */
export interface Prefs {
  muted: boolean;
  hidden: boolean;
  pinned: boolean;
}

/** A room of the caller, with what it is to the caller. */
export interface RoomSummary {
  roomId: RoomId;
  name: string;
  kind: 'public' | 'private' | 'direct';
  role: MemberRole;
  seq: Seq;
  unread: number;
  /** How many of the unread messages mention the caller or the whole room. */
  mentions: number;
  marker: Marker;
  prefs: Prefs;
  lastMessage: Message | null;
}

/** An invite that is neither used up nor over. */
export interface Invite {
  inviteId: string;
  by: UserId;
  role: Role;
  uses: number;
  expiresAt: Time;
}

export interface MembersResult {
  done: UserId[];
  failed: Array<{ userId: UserId; reason: Reason }>;
}

/** ISO 8601, or milliseconds since 1970. */
export type Until = string | number;

/** A room, by its id. */
export type RoomOnly = RoomId | { roomId: RoomId };

/** A message, as it is now. What is absent is not there. */
export interface Message {
  id: Uuid;
  roomId: RoomId;
  seq: Seq;
  /** Counts the messages of the room. */
  n?: number;
  sender: Sender;
  /** At least one character, unless the message was deleted. */
  content: string;
  type: string;
  createdAt: Time;
  clientMsgId?: string;
  system?: true;
  /** The last fact that changed the message; `changed ?? seq` is its version. */
  changed?: Seq;
  format?: 'markdown';
  /** Whatever else the product keeps with the message; 8 KiB at most. */
  data?: Record<string, unknown>;
  replyTo?: Reply;
  mentions?: Mentions;
  reactions?: Reaction[];
  pinnedAt?: Time;
  editedAt?: Time;
  deletedAt?: Time;
  deletedBy?: UserId;
}

export interface Sender {
  id: UserId;
  name: string;
}

/** The message that another one answers. */
export interface Reply {
  id: Uuid;
  sender: Sender;
  /** Its beginning, as it was then; empty when it was deleted since. */
  preview: string;
}

/** Whom a message mentions. */
export interface Mentions {
  users: UserId[];
  room: boolean;
}

export interface MentionsChange {
  users?: UserId[];
  room?: boolean;
}

/** How many have reacted with a key; `mine` marks the key of who reads. */
export interface Reaction {
  key: string;
  count: number;
  mine?: true;
}

export interface MessageSend {
  roomId: RoomId;
  /** 16 KiB of UTF-8 at most. */
  content: string;
  type?: string;
  /** Unique for room and sender: a repeat gets the first answer. */
  clientMsgId?: string;
  data?: Record<string, unknown>;
  format?: 'plain' | 'markdown';
  replyTo?: Uuid;
  mentions?: MentionsChange;
}

export interface MessageSent {
  status: 'delivered';
  id: Uuid;
  seq: Seq;
  createdAt: Time;
  n?: number;
}

/** A message of a room. */
export interface MessageRef {
  roomId: RoomId;
  messageId: string;
}

export interface MessageReact {
  roomId: RoomId;
  messageId: string;
  /** An emoji, or another word of 64 bytes at most. */
  key: string;
}

export interface MessageReacted {
  seq?: Seq;
  reactions: Reaction[];
}

/** The last message of a room, as far as a list of rooms shows it. */
export interface LastMessage {
  id: Uuid;
  sender: Sender;
  /** The first 140 characters of its content in one line; empty when it was deleted. */
  preview: string;
  type: string;
  createdAt: Time;
  deletedAt?: Time;
}

/** A room in the inbox of the user. */
export interface InboxRoom {
  roomId: RoomId;
  name: string;
  kind: 'public' | 'private' | 'direct';
  role: MemberRole;
  seq: Seq;
  /** How many messages the room has had. */
  n: number;
  unread: number;
  mentions: number;
  marker: Marker;
  prefs: Prefs;
  last: LastMessage | null;
}

/** What became of one of the rooms. */
export type Entered = { roomId: RoomId; ok: true; seq: Seq; role: MemberRole; hasMore: boolean } | { roomId: RoomId; ok: false; error: Fault };

/** How a user is. */
export interface Presence {
  userId: UserId;
  online: boolean;
  /** Null for those online and those never seen. */
  lastSeen: Time | null;
}

export interface PresenceAnswer {
  users: Presence[];
  denied?: UserId[];
}

export interface UserNotification {
  id: Uuid;
  type: string;
  title: string;
  body: string;
  data: Record<string, unknown> | null;
  createdAt: Time;
}

export interface ListedNotification {
  id: Uuid;
  type: string;
  title: string;
  body: string;
  data: Record<string, unknown> | null;
  createdAt: Time;
  read: boolean;
}

/** What the option `auth` of a connection has, or the function gives that it is. */
export interface ConnectAuth {
  token: string;
  /** The last event of the user's log that was seen: those after it come. */
  useq?: number;
  /** Whether the socket is sent `inbox:state`, and then `room:activity`. */
  inbox?: boolean;
  /** Whether to recover what an interruption has missed; clients that cannot say false. */
  recovery?: boolean;
}

/** The `data` of the `connect_error` of a CONNECT that was refused. It is absent where no gateway was reached. */
export interface ConnectRefusal {
  code: ConnectCode;
  /** When to try again. */
  retryAfterMs?: number;
}

/** What clients emit on /. */
export interface ClientToServerEvents {
  /** A room that the caller owns, `public` or `private`; without `roomId` with an id that nobody can guess. At most 100 members from the start. See Rooms. */
  'room:create': (argument: { kind: 'public' | 'private'; roomId?: RoomId; profile?: ProfileChange; settings?: SettingsChange; members?: Array<{ userId: UserId; role?: Role }>; key?: string }, ack: AckCallback<{ room: Room }>) => void;
  /** The direct room of exactly these users, 1 to 8 others, and the caller. */
  'room:open': (argument: { userIds: UserId[]; key?: string }, ack: AckCallback<{ room: Room; created: boolean }>) => void;
  /** What a room is, and to a member what it is to it: its `role`, its `marker: { seq, n }`, up to where it has read (see Markers), and its `prefs: { muted, hidden, pinned }`. */
  'room:get': (argument: RoomOnly, ack: AckCallback<{ room: Room; role?: MemberRole; marker?: Marker; prefs?: Prefs }>) => void;
  /** Who is in a room that one may read, by user id, at most 200 a page; `query` is a piece of the name or id, whatever the case. `next` is there when there are more, for `after`; `count` is of all pages. */
  'room:members': (argument: RoomId | { roomId: RoomId; after?: string; limit?: number; query?: string }, ack: AckCallback<{ members: Member[]; count: number; next?: UserId }>) => void;
  /** The caller's marker goes back to `seq`, 0 to the start: what came behind it is unread, on all devices, which get `me:marker`. A marker that is not behind `seq` stays. Nobody else hears of it. */
  'room:mark-unread': (argument: { roomId: RoomId; seq: Seq }, ack: AckCallback<{ marker: Marker; unread: number; mentions: number }>) => void;
  /** How the user wants the room shown, on all devices, which hear of it by `me:prefs`. What is absent stays. The server does nothing with it, and tells nobody else; it ends with the membership. */
  'room:prefs': (argument: { roomId: RoomId; muted?: boolean; hidden?: boolean; pinned?: boolean; key?: string }, ack: AckCallback) => void;
  /** A moderator makes an invite, by which others join the room: as many as `uses` says (1 by default, 10,000 at most), for 7 days or `expiresInMs` (30 days at most), with a role not above its own. It ends early when its maker is no moderator any more. At most 100 a room at the same time. */
  'room:invite': (argument: { roomId: RoomId; uses?: number; expiresInMs?: number; role?: Role; key?: string }, ack: AckCallback<{ invite: string; inviteId: string; expiresAt: Time }>) => void;
  /** A moderator sees which invites to the room are neither used up nor over, whoever made them, by `inviteId`, at most 200 a page; `uses` are those that are left. `next` is there when there are more, for `after`. */
  'room:invites': (argument: RoomId | { roomId: RoomId; after?: string; limit?: number }, ack: AckCallback<{ invites: Invite[]; next?: string }>) => void;
  /** A moderator ends an invite to a role not above its own: after the ack nobody comes in by it. One that is used up, over or none is `ok` too. Who came in stays. */
  'room:revoke-invite': (argument: { roomId: RoomId; inviteId: string; key?: string }, ack: AckCallback) => void;
  /** The socket enters the room; a user new to it becomes a member. The joiner first gets `room:history`, then the ack, then live events, without gap or repeat: the last 50 messages, or with `since` those after it, up to `limit` (at most 500; `hasMore`: there are more). The others get `room:user-joined`. A room that does not exist is created with the joiner as owner: a public one, or what the operator said (`ROOMS_AUTOCREATE=public`, `private` or `off`). */
  'room:join': (argument: RoomId | { roomId: RoomId; since?: Seq; limit?: number; invite?: string }, ack: AckCallback<{ roomId: RoomId; seq: Seq; role: MemberRole; hasMore: boolean }>) => void;
  /** The membership ends, for all sockets of the user; the others get `room:user-left`. The last owner of a private room that has other members names the `successor`, who owns it then (`last_owner` otherwise); in a public room another member follows by itself: the mightiest, among equals the longest. Guests follow nobody. */
  'room:leave': (argument: RoomId | { roomId: RoomId; successor?: UserId; key?: string }, ack: AckCallback) => void;
  /** A moderator changes what the room shows and allows: the fields that are given, a `null` takes one away. With `ifVersion` only if the room still has that version (`conflict`, `changed` otherwise). Everybody gets `room:updated`; what changes nothing is `ok` and no event. */
  'room:update': (argument: { roomId: RoomId; profile?: ProfileChange; settings?: SettingsChange; ifVersion?: number; key?: string }, ack: AckCallback<{ version: number }>) => void;
  /** A moderator makes the room one that can be read only: for good. Everybody gets `room:archived`. */
  'room:archive': (argument: RoomId | { roomId: RoomId; key?: string }, ack: AckCallback) => void;
  /** An owner ends the room. Its sockets get `room:deleted`, and after the ack nothing of it any more, on any gateway; for every event the room is `not_found`. All devices of its members get `me:room-removed`; in a room of more than 500 members most of them some seconds after the ack. What is stored of it goes a minute later, in the background. Its id is never used again: `room:create` says `exists`. */
  'room:delete': (argument: RoomId | { roomId: RoomId; key?: string }, ack: AckCallback) => void;
  /** A moderator makes up to 100 users members, with a role not above its own. Members already are `done`; the banned fail. */
  'room:add': (argument: { roomId: RoomId; userIds: UserId[]; role?: Role; key?: string }, ack: AckCallback<MembersResult>) => void;
  /** A moderator ends memberships. After the ack their sockets get nothing of the room, on any gateway. */
  'room:remove': (argument: { roomId: RoomId; userIds: UserId[]; reason?: string; key?: string }, ack: AckCallback<MembersResult>) => void;
  /** A moderator gives a member a role not above its own; everybody gets `room:role`. */
  'room:set-role': (argument: { roomId: RoomId; userId: UserId; role: Role; key?: string }, ack: AckCallback) => void;
  /** A moderator bans a user, member or not: `until` is ISO 8601 or milliseconds since 1970; without it for good. The membership ends as by `room:remove`. */
  'room:ban': (argument: { roomId: RoomId; userId: UserId; until?: Until; reason?: string; key?: string }, ack: AckCallback) => void;
  /** A moderator ends a ban; the user may join again. */
  'room:unban': (argument: { roomId: RoomId; userId: UserId; reason?: string; key?: string }, ack: AckCallback) => void;
  /** A moderator mutes a user, who can read and say nothing; that stays when the user leaves and comes again. */
  'room:mute': (argument: { roomId: RoomId; userId: UserId; until?: Until; reason?: string; key?: string }, ack: AckCallback) => void;
  /** A moderator ends a mute. */
  'room:unmute': (argument: { roomId: RoomId; userId: UserId; reason?: string; key?: string }, ack: AckCallback) => void;
  /** The caller's rooms, the last active first: up to 1,000, with an argument up to 200 a page. `next` is there when there are more, for `after`; `kinds` is an array of `public`, `private` and `direct`. `unread` counts the messages of others, up to 1,000, that came after the caller joined, last spoke, and said `message:read`; `mentions` says how many of them mention the caller or the whole room, up to 100; `marker` and `prefs` are those of `room:get`. `useq` is that of the last event of the user's log that the list has in it (0: there was none). A room in which something is said between two pages moves to the front: look at the first page again at the end. */
  'room:list': (...args: [ack: AckCallback<{ rooms: RoomSummary[]; useq: number; next?: string }>] | [argument: { after?: string; limit?: number; kinds?: Array<'public' | 'private' | 'direct'> }, ack: AckCallback<{ rooms: RoomSummary[]; useq: number; next?: string }>]) => void;
  /** Not stored. Everyone in the room, sender included, gets `room:message`. */
  'room:message': (argument: { roomId: RoomId; [field: string]: unknown }, ack: AckCallback) => void;
  /** Stored, then `message:new` to everyone in the room, sender included. `data` is an object of yours; `format` is `plain` (the default) or `markdown`, which the server does not look at; `replyTo` is the id of the message that this one answers (`reply_gone`); `mentions` is `{ users?, room? }`, see Messages. */
  'message:send': (argument: MessageSend, ack: AckCallback<MessageSent>) => void;
  /** The author, or a moderator, changes what is given; `data: null` takes it away. With `ifChanged` only if the message still has that version (`conflict`, `changed` otherwise). Everybody gets `message:edited`, with `seq`; what changes nothing is `ok` and no event. Authors may for `EDIT_WINDOW` (for good, unless the operator says otherwise; `edit_window`) and as long as they may say something in the room. */
  'message:edit': (argument: { roomId: RoomId; messageId: string; content?: string; data?: Record<string, unknown> | null; mentions?: MentionsChange | null; ifChanged?: number; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** The author, or a moderator, deletes the message: its place stays, and nothing of what it said, see Messages. Everybody gets `message:deleted`. Twice is `ok`, with the `seq` of the first time. */
  'message:delete': (argument: { roomId: RoomId; messageId: string; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** A member who may say something, whatever the room's `send`, reacts with an emoji or another `key` of 64 bytes at most; once a user and key, twice is `ok` without a `seq`. Everybody gets `message:reactions`. Where many react at the same time, the answer may wait 150 ms for others, so that a room gets a few events a second. */
  'message:react': (argument: MessageReact, ack: AckCallback<MessageReacted>) => void;
  /** The reaction is taken back; where there is none it is `ok` without a `seq`. */
  'message:unreact': (argument: MessageReact, ack: AckCallback<MessageReacted>) => void;
  /** A moderator, in a direct room everybody, pins a message; at most 50 a room (`too_large`). Everybody gets `message:pinned`. Twice is `ok`. */
  'message:pin': (argument: { roomId: RoomId; messageId: string; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** The same ends that; everybody gets `message:unpinned`. Twice is `ok`. */
  'message:unpin': (argument: { roomId: RoomId; messageId: string; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** The pinned messages, by `seq`, at most 50 a page; `next` is there when there are more, for `after`. */
  'message:pins': (argument: RoomId | { roomId: RoomId; after?: Seq; limit?: number }, ack: AckCallback<{ messages: Message[]; next?: Seq }>) => void;
  /** These messages as they are now, by `seq`, deleted ones too. Unknown ones are left out; `hasMore: true` says that others were, because all are too large for one answer. */
  'message:get': (argument: { roomId: RoomId; messageIds: string[] }, ack: AckCallback<{ messages: Message[]; hasMore?: true }>) => void;
  /** What is new or has changed after the sequence `since`, each message once and as it is now, in the order of versions, at most 200. Go on with `since: upTo` while `hasMore`; up to the last `upTo` nothing is missing. */
  'message:changes': (argument: { roomId: RoomId; since: Seq; limit?: number }, ack: AckCallback<{ messages: Message[]; upTo: Seq; hasMore: boolean }>) => void;
  /** What the message was before its edits, the oldest first, the last 100; `seq` is the version that said so. Only where the operator keeps that (`KEEP_EDITS`), `forbidden` otherwise. */
  'message:edits': (argument: MessageRef, ack: AckCallback<{ versions: Array<{ seq: Seq; content: string; data?: Record<string, unknown>; at: Time }> }>) => void;
  /** The receipt and the marker move to that message, or to the last one up to `seq`, never back; the others in the room get `message:read`, the caller's other devices `me:marker`. See Markers. */
  'message:read': (argument: { roomId: RoomId; messageId?: string; seq?: Seq }, ack: AckCallback<{ marker?: Marker; unread?: number; mentions?: number }>) => void;
  /** The messages of others that mention the caller, or all of a room in which the caller is, over all rooms and the newest first, at most 100 a page. `next` is there when there are more, for `after`. See Mentions. */
  'mention:list': (...args: [ack: AckCallback<{ mentions: Array<{ roomId: RoomId; message: Message }>; next?: string }>] | [argument: { after?: string; limit?: number }, ack: AckCallback<{ mentions: Array<{ roomId: RoomId; message: Message }>; next?: string }>]) => void;
  /** How far the members have read: those who have said `message:read` of that message or a later one, or without `messageId` of any. By user id, at most 200 a page; `next` is there when there are more, for `after`. `count` is of all pages, up to 10,000. */
  'message:readers': (argument: { roomId: RoomId; messageId?: string; after?: string; limit?: number }, ack: AckCallback<{ readers: Array<{ userId: UserId; seq: Seq }>; count: number; next?: UserId }>) => void;
  /** A page, oldest first, at most 100. `around` is a sequence or a message's id: half of the page is up to it and half behind it, `hasMore` tells of older messages and `hasNewer` of newer ones. */
  'message:history': (argument: { roomId: RoomId; before?: Seq; after?: Seq; around?: Seq | Uuid; limit?: number }, ack: AckCallback<{ messages: Message[]; hasMore: boolean; hasNewer?: boolean }>) => void;
  /** The other users in the room get it, told by user: who types on two tabs types as long as one of them does. A start that is not renewed within 5 s ends; a message of the socket, a post by a backend in the user's name, leave and disconnect end it at once. Renew every 2 to 4 s while somebody types. */
  'typing:start': (argument: RoomOnly, ack: AckCallback) => void;
  /** The user types no more. */
  'typing:stop': (argument: RoomOnly, ack: AckCallback) => void;
  /** The socket enters up to 100 rooms in one round trip, each as `room:join` has it enter: first comes the `room:history` of each room that it enters, as soon as it has, then the ack with what became of each. It takes as much of the rate of the socket as so many `room:join`, and waits for it. */
  'room:enter': (argument: { rooms: Array<{ roomId: RoomId; since?: Seq; limit?: number }> }, ack: AckCallback<{ rooms: Entered[] }>) => void;
  /** Neither of the two opens a direct room in which the other is (`blocked`), and in the direct room of just the two nobody says anything, while one of them blocks the other; what was said can be read. In rooms with others nothing changes. At most 1,000 users. */
  'user:block': (argument: UserId | { userId: UserId; key?: string }, ack: AckCallback) => void;
  /** The caller blocks that user no more. */
  'user:unblock': (argument: UserId | { userId: UserId; key?: string }, ack: AckCallback) => void;
  /** Whom the caller blocks, by user id, at most 200 a page; `next` is there when there are more, for `after`. By whom one is blocked nobody is told. */
  'user:blocks': (...args: [ack: AckCallback<{ blocks: Array<{ userId: UserId; blockedAt: Time }>; next?: UserId }>] | [argument: { after?: string; limit?: number }, ack: AckCallback<{ blocks: Array<{ userId: UserId; blockedAt: Time }>; next?: UserId }>]) => void;
  /** Not stored. The sender gets `chat:message:received`, everyone else in the namespace `chat:message`. `CHAT_BROADCAST` says who may: `everyone`, `admin` (role `admin`) or `off`; who may not is `forbidden`, and so are guests always. */
  'chat:message': (argument: { id?: string | number; [field: string]: unknown }, ack: AckCallback) => void;
  /** Role `admin` only. Everyone in the namespace, sender included. */
  'announcement': (...args: [...anything: any[], ack: AckCallback]) => void;
  /** Who is online; `lastSeen` is ISO 8601, or null for those online and those never seen. `denied` are the ids of whom one may not know. */
  'presence:get': (argument: { userIds: UserId[] } | { roomId: RoomId }, ack: AckCallback<PresenceAnswer>) => void;
  /** The socket hears of these users by `presence:changed`, instead of those that it watched before; an empty list ends it. See presence. */
  'presence:watch': (argument: { userIds: UserId[] }, ack: AckCallback<PresenceAnswer>) => void;
  /** The socket hears of the members of a room that it has joined, beside the users that it watches; up to 500 members (`MAX_WATCHED_ROOM`), `too_large` beyond. */
  'presence:watch-room': (argument: RoomOnly, ack: AckCallback<{ roomId: RoomId; users: Presence[] }>) => void;
  /** The watch of the room ends, as it does when the socket leaves the room. */
  'presence:unwatch-room': (argument: RoomOnly, ack: AckCallback) => void;
  /** The socket goes on with this token. */
  'auth:refresh': (argument: { token: string }, ack: AckCallback) => void;
}

/** What clients get on /. */
export interface ServerToClientEvents {
  /** To the joiner. */
  'room:history': (payload: Message[], offset?: string) => void;
  /** To the others in the room. */
  'room:user-joined': (payload: { userId: UserId; userName: string; roomId: RoomId; seq: Seq; by?: UserId }, offset?: string) => void;
  /** To the others in the room; the user too, when it was removed or banned. */
  'room:user-left': (payload: { userId: UserId; roomId: RoomId; seq: Seq; by?: UserId; reason?: 'removed' | 'banned' }, offset?: string) => void;
  /** To the room. */
  'room:role': (payload: { userId: UserId; role: Role; roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. */
  'room:updated': (payload: { profile: Profile; settings: Settings; version: number; roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. */
  'room:archived': (payload: { archivedAt: Time; roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. */
  'room:deleted': (payload: { roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. `system: true` marks a message that no user wrote. */
  'message:new': (payload: Message, offset?: string) => void;
  /** To the room. */
  'message:edited': (payload: { roomId: RoomId; seq: Seq; message: Message }, offset?: string) => void;
  /** To the room. */
  'message:deleted': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; by: UserId; deletedAt: Time }, offset?: string) => void;
  /** To the room. */
  'message:reactions': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; changes: Array<{ key: string; userId: UserId; on: boolean }>; counts: Array<{ key: string; count: number }> }, offset?: string) => void;
  /** To the room. */
  'message:pinned': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; by: UserId; pinnedAt: Time }, offset?: string) => void;
  /** To the room. */
  'message:unpinned': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; by: UserId }, offset?: string) => void;
  /** To the room, sender included. */
  'room:message': (payload: { sender: UserId; timestamp: number; [field: string]: unknown }) => void;
  /** To the others in the room, if it has at most 100 members. */
  'message:read': (payload: { messageId: Uuid; userId: UserId; roomId: RoomId; seq: Seq }) => void;
  /** To the other users in the room: at the start, and every 3 s at most while it is renewed. Who joins gets it for those who type by then (50 at most), after `room:history`. */
  'typing:start': (payload: { userId: UserId; userName: string; roomId: RoomId; expiresInMs: number }) => void;
  /** To the other users in the room, when the last socket of the user has stopped. */
  'typing:stop': (payload: { userId: UserId; roomId: RoomId }) => void;
  /** To a socket with `auth: { inbox: true }`. */
  'inbox:state': (payload: { rooms: InboxRoom[]; useq: number; next?: string }) => void;
  /** To sockets with `auth: { inbox: true }` of its members. */
  'room:activity': (payload: { roomId: RoomId; seq: Seq; n: number; last?: LastMessage }) => void;
  /** To every socket of the user on `/`. */
  'me:room-added': (payload: { useq: number; room: Room; by?: UserId }, offset?: string) => void;
  /** To every socket of the user on `/`. */
  'me:room-removed': (payload: { useq: number; roomId: RoomId; reason: 'left' | 'removed' | 'banned' | 'deleted' }, offset?: string) => void;
  /** To every socket of the user on `/`. */
  'me:marker': (payload: { useq: number; roomId: RoomId; seq: Seq; n: number; unread: number; mentions: number; at: Seq }, offset?: string) => void;
  /** To every socket of the user on `/`. */
  'me:mention': (payload: { useq: number; roomId: RoomId; message: Message }, offset?: string) => void;
  /** To every socket of the user on `/`. */
  'me:prefs': (payload: { useq: number; roomId: RoomId; prefs: Prefs }, offset?: string) => void;
  /** To the socket whose `useq` it was. */
  'me:reset': (payload: { useq: number }, offset?: string) => void;
  /** To everyone else in the namespace. */
  'chat:message': (payload: { sender: UserId; timestamp: number; [field: string]: unknown }) => void;
  /** To the sender. */
  'chat:message:received': (payload: { id: string | number; status: 'delivered' }) => void;
  /** To everyone in the namespace. */
  'announcement': (...anything: any[]) => void;
  /** To everyone on `/`, with `PRESENCE_SCOPE=everyone` and up to 500 users online: on connect, and on change at most once a second. */
  'users:online': (payload: UserId[]) => void;
  /** To everyone on `/`, once, when there are more than 500 users online: no more lists come until there are fewer. */
  'presence:update': (payload: { online: UserId[]; offline: UserId[]; count: number }) => void;
  /** To sockets that watch one of these users, at most once a second. */
  'presence:changed': (payload: { users: Array<{ userId: UserId; online: boolean; lastSeen?: Time }> }) => void;
  /** To the sender of an event without an ack callback. */
  'event:error': (payload: { event: string; code: Code; message: string; reason?: Reason; retryAfterMs?: number; until?: Time }) => void;
}

/** What clients emit on /chat. */
export interface ChatClientToServerEvents {
  /** A room that the caller owns, `public` or `private`; without `roomId` with an id that nobody can guess. At most 100 members from the start. See Rooms. */
  'room:create': (argument: { kind: 'public' | 'private'; roomId?: RoomId; profile?: ProfileChange; settings?: SettingsChange; members?: Array<{ userId: UserId; role?: Role }>; key?: string }, ack: AckCallback<{ room: Room }>) => void;
  /** The direct room of exactly these users, 1 to 8 others, and the caller. */
  'room:open': (argument: { userIds: UserId[]; key?: string }, ack: AckCallback<{ room: Room; created: boolean }>) => void;
  /** What a room is, and to a member what it is to it: its `role`, its `marker: { seq, n }`, up to where it has read (see Markers), and its `prefs: { muted, hidden, pinned }`. */
  'room:get': (argument: RoomOnly, ack: AckCallback<{ room: Room; role?: MemberRole; marker?: Marker; prefs?: Prefs }>) => void;
  /** Who is in a room that one may read, by user id, at most 200 a page; `query` is a piece of the name or id, whatever the case. `next` is there when there are more, for `after`; `count` is of all pages. */
  'room:members': (argument: RoomId | { roomId: RoomId; after?: string; limit?: number; query?: string }, ack: AckCallback<{ members: Member[]; count: number; next?: UserId }>) => void;
  /** The caller's marker goes back to `seq`, 0 to the start: what came behind it is unread, on all devices, which get `me:marker`. A marker that is not behind `seq` stays. Nobody else hears of it. */
  'room:mark-unread': (argument: { roomId: RoomId; seq: Seq }, ack: AckCallback<{ marker: Marker; unread: number; mentions: number }>) => void;
  /** How the user wants the room shown, on all devices, which hear of it by `me:prefs`. What is absent stays. The server does nothing with it, and tells nobody else; it ends with the membership. */
  'room:prefs': (argument: { roomId: RoomId; muted?: boolean; hidden?: boolean; pinned?: boolean; key?: string }, ack: AckCallback) => void;
  /** A moderator makes an invite, by which others join the room: as many as `uses` says (1 by default, 10,000 at most), for 7 days or `expiresInMs` (30 days at most), with a role not above its own. It ends early when its maker is no moderator any more. At most 100 a room at the same time. */
  'room:invite': (argument: { roomId: RoomId; uses?: number; expiresInMs?: number; role?: Role; key?: string }, ack: AckCallback<{ invite: string; inviteId: string; expiresAt: Time }>) => void;
  /** A moderator sees which invites to the room are neither used up nor over, whoever made them, by `inviteId`, at most 200 a page; `uses` are those that are left. `next` is there when there are more, for `after`. */
  'room:invites': (argument: RoomId | { roomId: RoomId; after?: string; limit?: number }, ack: AckCallback<{ invites: Invite[]; next?: string }>) => void;
  /** A moderator ends an invite to a role not above its own: after the ack nobody comes in by it. One that is used up, over or none is `ok` too. Who came in stays. */
  'room:revoke-invite': (argument: { roomId: RoomId; inviteId: string; key?: string }, ack: AckCallback) => void;
  /** The socket enters the room; a user new to it becomes a member. The joiner first gets `room:history`, then the ack, then live events, without gap or repeat: the last 50 messages, or with `since` those after it, up to `limit` (at most 500; `hasMore`: there are more). The others get `room:user-joined`. A room that does not exist is created with the joiner as owner: a public one, or what the operator said (`ROOMS_AUTOCREATE=public`, `private` or `off`). */
  'room:join': (argument: RoomId | { roomId: RoomId; since?: Seq; limit?: number; invite?: string }, ack: AckCallback<{ roomId: RoomId; seq: Seq; role: MemberRole; hasMore: boolean }>) => void;
  /** The membership ends, for all sockets of the user; the others get `room:user-left`. The last owner of a private room that has other members names the `successor`, who owns it then (`last_owner` otherwise); in a public room another member follows by itself: the mightiest, among equals the longest. Guests follow nobody. */
  'room:leave': (argument: RoomId | { roomId: RoomId; successor?: UserId; key?: string }, ack: AckCallback) => void;
  /** A moderator changes what the room shows and allows: the fields that are given, a `null` takes one away. With `ifVersion` only if the room still has that version (`conflict`, `changed` otherwise). Everybody gets `room:updated`; what changes nothing is `ok` and no event. */
  'room:update': (argument: { roomId: RoomId; profile?: ProfileChange; settings?: SettingsChange; ifVersion?: number; key?: string }, ack: AckCallback<{ version: number }>) => void;
  /** A moderator makes the room one that can be read only: for good. Everybody gets `room:archived`. */
  'room:archive': (argument: RoomId | { roomId: RoomId; key?: string }, ack: AckCallback) => void;
  /** An owner ends the room. Its sockets get `room:deleted`, and after the ack nothing of it any more, on any gateway; for every event the room is `not_found`. All devices of its members get `me:room-removed`; in a room of more than 500 members most of them some seconds after the ack. What is stored of it goes a minute later, in the background. Its id is never used again: `room:create` says `exists`. */
  'room:delete': (argument: RoomId | { roomId: RoomId; key?: string }, ack: AckCallback) => void;
  /** A moderator makes up to 100 users members, with a role not above its own. Members already are `done`; the banned fail. */
  'room:add': (argument: { roomId: RoomId; userIds: UserId[]; role?: Role; key?: string }, ack: AckCallback<MembersResult>) => void;
  /** A moderator ends memberships. After the ack their sockets get nothing of the room, on any gateway. */
  'room:remove': (argument: { roomId: RoomId; userIds: UserId[]; reason?: string; key?: string }, ack: AckCallback<MembersResult>) => void;
  /** A moderator gives a member a role not above its own; everybody gets `room:role`. */
  'room:set-role': (argument: { roomId: RoomId; userId: UserId; role: Role; key?: string }, ack: AckCallback) => void;
  /** A moderator bans a user, member or not: `until` is ISO 8601 or milliseconds since 1970; without it for good. The membership ends as by `room:remove`. */
  'room:ban': (argument: { roomId: RoomId; userId: UserId; until?: Until; reason?: string; key?: string }, ack: AckCallback) => void;
  /** A moderator ends a ban; the user may join again. */
  'room:unban': (argument: { roomId: RoomId; userId: UserId; reason?: string; key?: string }, ack: AckCallback) => void;
  /** A moderator mutes a user, who can read and say nothing; that stays when the user leaves and comes again. */
  'room:mute': (argument: { roomId: RoomId; userId: UserId; until?: Until; reason?: string; key?: string }, ack: AckCallback) => void;
  /** A moderator ends a mute. */
  'room:unmute': (argument: { roomId: RoomId; userId: UserId; reason?: string; key?: string }, ack: AckCallback) => void;
  /** The caller's rooms, the last active first: up to 1,000, with an argument up to 200 a page. `next` is there when there are more, for `after`; `kinds` is an array of `public`, `private` and `direct`. `unread` counts the messages of others, up to 1,000, that came after the caller joined, last spoke, and said `message:read`; `mentions` says how many of them mention the caller or the whole room, up to 100; `marker` and `prefs` are those of `room:get`. `useq` is that of the last event of the user's log that the list has in it (0: there was none). A room in which something is said between two pages moves to the front: look at the first page again at the end. */
  'room:list': (...args: [ack: AckCallback<{ rooms: RoomSummary[]; useq: number; next?: string }>] | [argument: { after?: string; limit?: number; kinds?: Array<'public' | 'private' | 'direct'> }, ack: AckCallback<{ rooms: RoomSummary[]; useq: number; next?: string }>]) => void;
  /** Not stored. Everyone in the room, sender included, gets `room:message`. */
  'room:message': (argument: { roomId: RoomId; [field: string]: unknown }, ack: AckCallback) => void;
  /** Stored, then `message:new` to everyone in the room, sender included. `data` is an object of yours; `format` is `plain` (the default) or `markdown`, which the server does not look at; `replyTo` is the id of the message that this one answers (`reply_gone`); `mentions` is `{ users?, room? }`, see Messages. */
  'message:send': (argument: MessageSend, ack: AckCallback<MessageSent>) => void;
  /** `message:send` by a shorter name. */
  'message': (argument: MessageSend, ack: AckCallback<MessageSent>) => void;
  /** The author, or a moderator, changes what is given; `data: null` takes it away. With `ifChanged` only if the message still has that version (`conflict`, `changed` otherwise). Everybody gets `message:edited`, with `seq`; what changes nothing is `ok` and no event. Authors may for `EDIT_WINDOW` (for good, unless the operator says otherwise; `edit_window`) and as long as they may say something in the room. */
  'message:edit': (argument: { roomId: RoomId; messageId: string; content?: string; data?: Record<string, unknown> | null; mentions?: MentionsChange | null; ifChanged?: number; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** The author, or a moderator, deletes the message: its place stays, and nothing of what it said, see Messages. Everybody gets `message:deleted`. Twice is `ok`, with the `seq` of the first time. */
  'message:delete': (argument: { roomId: RoomId; messageId: string; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** A member who may say something, whatever the room's `send`, reacts with an emoji or another `key` of 64 bytes at most; once a user and key, twice is `ok` without a `seq`. Everybody gets `message:reactions`. Where many react at the same time, the answer may wait 150 ms for others, so that a room gets a few events a second. */
  'message:react': (argument: MessageReact, ack: AckCallback<MessageReacted>) => void;
  /** The reaction is taken back; where there is none it is `ok` without a `seq`. */
  'message:unreact': (argument: MessageReact, ack: AckCallback<MessageReacted>) => void;
  /** A moderator, in a direct room everybody, pins a message; at most 50 a room (`too_large`). Everybody gets `message:pinned`. Twice is `ok`. */
  'message:pin': (argument: { roomId: RoomId; messageId: string; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** The same ends that; everybody gets `message:unpinned`. Twice is `ok`. */
  'message:unpin': (argument: { roomId: RoomId; messageId: string; key?: string }, ack: AckCallback<{ seq: Seq }>) => void;
  /** The pinned messages, by `seq`, at most 50 a page; `next` is there when there are more, for `after`. */
  'message:pins': (argument: RoomId | { roomId: RoomId; after?: Seq; limit?: number }, ack: AckCallback<{ messages: Message[]; next?: Seq }>) => void;
  /** These messages as they are now, by `seq`, deleted ones too. Unknown ones are left out; `hasMore: true` says that others were, because all are too large for one answer. */
  'message:get': (argument: { roomId: RoomId; messageIds: string[] }, ack: AckCallback<{ messages: Message[]; hasMore?: true }>) => void;
  /** What is new or has changed after the sequence `since`, each message once and as it is now, in the order of versions, at most 200. Go on with `since: upTo` while `hasMore`; up to the last `upTo` nothing is missing. */
  'message:changes': (argument: { roomId: RoomId; since: Seq; limit?: number }, ack: AckCallback<{ messages: Message[]; upTo: Seq; hasMore: boolean }>) => void;
  /** What the message was before its edits, the oldest first, the last 100; `seq` is the version that said so. Only where the operator keeps that (`KEEP_EDITS`), `forbidden` otherwise. */
  'message:edits': (argument: MessageRef, ack: AckCallback<{ versions: Array<{ seq: Seq; content: string; data?: Record<string, unknown>; at: Time }> }>) => void;
  /** The receipt and the marker move to that message, or to the last one up to `seq`, never back; the others in the room get `message:read`, the caller's other devices `me:marker`. See Markers. */
  'message:read': (argument: { roomId: RoomId; messageId?: string; seq?: Seq }, ack: AckCallback<{ marker?: Marker; unread?: number; mentions?: number }>) => void;
  /** The messages of others that mention the caller, or all of a room in which the caller is, over all rooms and the newest first, at most 100 a page. `next` is there when there are more, for `after`. See Mentions. */
  'mention:list': (...args: [ack: AckCallback<{ mentions: Array<{ roomId: RoomId; message: Message }>; next?: string }>] | [argument: { after?: string; limit?: number }, ack: AckCallback<{ mentions: Array<{ roomId: RoomId; message: Message }>; next?: string }>]) => void;
  /** How far the members have read: those who have said `message:read` of that message or a later one, or without `messageId` of any. By user id, at most 200 a page; `next` is there when there are more, for `after`. `count` is of all pages, up to 10,000. */
  'message:readers': (argument: { roomId: RoomId; messageId?: string; after?: string; limit?: number }, ack: AckCallback<{ readers: Array<{ userId: UserId; seq: Seq }>; count: number; next?: UserId }>) => void;
  /** A page, oldest first, at most 100. `around` is a sequence or a message's id: half of the page is up to it and half behind it, `hasMore` tells of older messages and `hasNewer` of newer ones. */
  'message:history': (argument: { roomId: RoomId; before?: Seq; after?: Seq; around?: Seq | Uuid; limit?: number }, ack: AckCallback<{ messages: Message[]; hasMore: boolean; hasNewer?: boolean }>) => void;
  /** The other users in the room get it, told by user: who types on two tabs types as long as one of them does. A start that is not renewed within 5 s ends; a message of the socket, a post by a backend in the user's name, leave and disconnect end it at once. Renew every 2 to 4 s while somebody types. */
  'typing:start': (argument: RoomOnly, ack: AckCallback) => void;
  /** The user types no more. */
  'typing:stop': (argument: RoomOnly, ack: AckCallback) => void;
  /** The socket enters up to 100 rooms in one round trip, each as `room:join` has it enter: first comes the `room:history` of each room that it enters, as soon as it has, then the ack with what became of each. It takes as much of the rate of the socket as so many `room:join`, and waits for it. */
  'room:enter': (argument: { rooms: Array<{ roomId: RoomId; since?: Seq; limit?: number }> }, ack: AckCallback<{ rooms: Entered[] }>) => void;
  /** Neither of the two opens a direct room in which the other is (`blocked`), and in the direct room of just the two nobody says anything, while one of them blocks the other; what was said can be read. In rooms with others nothing changes. At most 1,000 users. */
  'user:block': (argument: UserId | { userId: UserId; key?: string }, ack: AckCallback) => void;
  /** The caller blocks that user no more. */
  'user:unblock': (argument: UserId | { userId: UserId; key?: string }, ack: AckCallback) => void;
  /** Whom the caller blocks, by user id, at most 200 a page; `next` is there when there are more, for `after`. By whom one is blocked nobody is told. */
  'user:blocks': (...args: [ack: AckCallback<{ blocks: Array<{ userId: UserId; blockedAt: Time }>; next?: UserId }>] | [argument: { after?: string; limit?: number }, ack: AckCallback<{ blocks: Array<{ userId: UserId; blockedAt: Time }>; next?: UserId }>]) => void;
  /** Not stored. The sender gets `chat:message:received`, everyone else in the namespace `chat:message`. `CHAT_BROADCAST` says who may: `everyone`, `admin` (role `admin`) or `off`; who may not is `forbidden`, and so are guests always. */
  'chat:message': (argument: { id?: string | number; [field: string]: unknown }, ack: AckCallback) => void;
  /** Role `admin` only. Everyone in the namespace, sender included. */
  'announcement': (...args: [...anything: any[], ack: AckCallback]) => void;
  /** Who is online; `lastSeen` is ISO 8601, or null for those online and those never seen. `denied` are the ids of whom one may not know. */
  'presence:get': (argument: { userIds: UserId[] } | { roomId: RoomId }, ack: AckCallback<PresenceAnswer>) => void;
  /** The socket hears of these users by `presence:changed`, instead of those that it watched before; an empty list ends it. See presence. */
  'presence:watch': (argument: { userIds: UserId[] }, ack: AckCallback<PresenceAnswer>) => void;
  /** The socket hears of the members of a room that it has joined, beside the users that it watches; up to 500 members (`MAX_WATCHED_ROOM`), `too_large` beyond. */
  'presence:watch-room': (argument: RoomOnly, ack: AckCallback<{ roomId: RoomId; users: Presence[] }>) => void;
  /** The watch of the room ends, as it does when the socket leaves the room. */
  'presence:unwatch-room': (argument: RoomOnly, ack: AckCallback) => void;
  /** The socket goes on with this token. */
  'auth:refresh': (argument: { token: string }, ack: AckCallback) => void;
}

/** What clients get on /chat. */
export interface ChatServerToClientEvents {
  /** To the joiner. */
  'room:history': (payload: Message[], offset?: string) => void;
  /** To the others in the room. */
  'room:user-joined': (payload: { userId: UserId; userName: string; roomId: RoomId; seq: Seq; by?: UserId }, offset?: string) => void;
  /** To the others in the room; the user too, when it was removed or banned. */
  'room:user-left': (payload: { userId: UserId; roomId: RoomId; seq: Seq; by?: UserId; reason?: 'removed' | 'banned' }, offset?: string) => void;
  /** To the room. */
  'room:role': (payload: { userId: UserId; role: Role; roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. */
  'room:updated': (payload: { profile: Profile; settings: Settings; version: number; roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. */
  'room:archived': (payload: { archivedAt: Time; roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. */
  'room:deleted': (payload: { roomId: RoomId; seq: Seq; by: UserId }, offset?: string) => void;
  /** To the room. `system: true` marks a message that no user wrote. */
  'message:new': (payload: Message, offset?: string) => void;
  /** To the room. */
  'message:edited': (payload: { roomId: RoomId; seq: Seq; message: Message }, offset?: string) => void;
  /** To the room. */
  'message:deleted': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; by: UserId; deletedAt: Time }, offset?: string) => void;
  /** To the room. */
  'message:reactions': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; changes: Array<{ key: string; userId: UserId; on: boolean }>; counts: Array<{ key: string; count: number }> }, offset?: string) => void;
  /** To the room. */
  'message:pinned': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; by: UserId; pinnedAt: Time }, offset?: string) => void;
  /** To the room. */
  'message:unpinned': (payload: { roomId: RoomId; seq: Seq; messageId: Uuid; by: UserId }, offset?: string) => void;
  /** To the room, sender included. */
  'room:message': (payload: { sender: UserId; timestamp: number; [field: string]: unknown }) => void;
  /** To the others in the room, if it has at most 100 members. */
  'message:read': (payload: { messageId: Uuid; userId: UserId; roomId: RoomId; seq: Seq }) => void;
  /** To the other users in the room: at the start, and every 3 s at most while it is renewed. Who joins gets it for those who type by then (50 at most), after `room:history`. */
  'typing:start': (payload: { userId: UserId; userName: string; roomId: RoomId; expiresInMs: number }) => void;
  /** To the other users in the room, when the last socket of the user has stopped. */
  'typing:stop': (payload: { userId: UserId; roomId: RoomId }) => void;
  /** To everyone else in the namespace. */
  'chat:message': (payload: { sender: UserId; timestamp: number; [field: string]: unknown }) => void;
  /** To the sender. */
  'chat:message:received': (payload: { id: string | number; status: 'delivered' }) => void;
  /** To everyone in the namespace. */
  'announcement': (...anything: any[]) => void;
  /** To sockets that watch one of these users, at most once a second. */
  'presence:changed': (payload: { users: Array<{ userId: UserId; online: boolean; lastSeen?: Time }> }) => void;
  /** To the sender of an event without an ack callback. */
  'event:error': (payload: { event: string; code: Code; message: string; reason?: Reason; retryAfterMs?: number; until?: Time }) => void;
}

/** What clients emit on /notifications. */
export interface NotificationClientToServerEvents {
  /** Who is online; `lastSeen` is ISO 8601, or null for those online and those never seen. `denied` are the ids of whom one may not know. */
  'presence:get': (argument: { userIds: UserId[] } | { roomId: RoomId }, ack: AckCallback<PresenceAnswer>) => void;
  /** Newest first; `before` is the id of the last one of the page before. */
  'notification:list': (...args: [ack: AckCallback<{ notifications: ListedNotification[]; unread: number }>] | [argument: { before?: string; limit?: number }, ack: AckCallback<{ notifications: ListedNotification[]; unread: number }>]) => void;
  /** Marked as read; the user's other sockets get `notification:read`. */
  'notification:read': (argument: { ids: string[] }, ack: AckCallback<{ unread: number }>) => void;
  /** The socket goes on with this token. */
  'auth:refresh': (argument: { token: string }, ack: AckCallback) => void;
}

/** What clients get on /notifications. */
export interface NotificationServerToClientEvents {
  /** To every socket of the user on `/notifications`. */
  'notification': (payload: UserNotification) => void;
  /** To the user's other sockets on `/notifications`, when one of them has read. */
  'notification:read': (payload: { ids: Uuid[]; unread: number }) => void;
  /** To the sender of an event without an ack callback. */
  'event:error': (payload: { event: string; code: Code; message: string; reason?: Reason; retryAfterMs?: number; until?: Time }) => void;
}

type ArgumentsOf<F> = F extends (...args: infer A) => void ? (A extends [...infer H, unknown] ? H : never) : never;
type AnswerOf<F> = F extends (...args: infer A) => void ? (A extends [...unknown[], (answer: infer R) => void] ? R : never) : never;

/** What the types of socket.io-client lack: an event without an ack, and the answer to one with a limit of time. */
export interface Emitting<Events> {
  emit<E extends keyof Events>(event: E, ...args: ArgumentsOf<Events[E]>): this;
  timeout(ms: number): {
    emitWithAck<E extends keyof Events>(event: E, ...args: ArgumentsOf<Events[E]>): Promise<AnswerOf<Events[E]>>;
    emit<E extends keyof Events>(event: E, ...args: [...ArgumentsOf<Events[E]>, (err: Error | null, answer: AnswerOf<Events[E]>) => void]): unknown;
  };
}

/** The socket of the namespace /. */
export type StarlingSocket = Emitting<ClientToServerEvents> & Socket<ServerToClientEvents, ClientToServerEvents>;

/** The socket of the namespace /chat. */
export type ChatSocket = Emitting<ChatClientToServerEvents> & Socket<ChatServerToClientEvents, ChatClientToServerEvents>;

/** The socket of the namespace /notifications. */
export type NotificationSocket = Emitting<NotificationClientToServerEvents> & Socket<NotificationServerToClientEvents, NotificationClientToServerEvents>;

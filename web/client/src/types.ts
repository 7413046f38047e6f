// What goes over the wire, as docs/events.md has it. Fields that a server may not know yet are optional.

export type Role = 'owner' | 'moderator' | 'member';
/** What a member is. Nobody gives or takes the role of a guest. */
export type MemberRole = Role | 'guest';
export type Kind = 'public' | 'private' | 'direct';

export interface Sender { id: string; name: string; avatarUrl?: string; kind?: string }
export interface Reaction { key: string; count: number; mine?: boolean }

export interface Message {
  id: string;
  roomId: string;
  seq: number;
  n?: number;
  sender: Sender;
  content: string;
  type: string;
  format?: 'plain' | 'markdown';
  data?: unknown;
  replyTo?: { id: string; sender: Sender; preview: string };
  mentions?: { users?: string[]; room?: boolean };
  reactions?: Reaction[];
  pinnedAt?: string;
  editedAt?: string;
  deletedAt?: string;
  deletedBy?: string;
  createdAt: string;
  /** Sequence of the last fact that changed the message; absent while none has. */
  changed?: number;
  clientMsgId?: string;
  system?: boolean;
}

export interface RoomProfile { name?: string; topic?: string; avatarUrl?: string; data?: unknown }
export interface RoomSettings { send?: Role; slowModeMs?: number; maxMembers?: number }
export interface RoomInfo {
  roomId: string;
  kind: Kind;
  profile: RoomProfile;
  settings: RoomSettings;
  version: number;
  createdAt: string;
  archivedAt?: string;
  memberCount: number;
}
export interface Prefs { muted?: boolean; hidden?: boolean; pinned?: boolean }
export interface Member { userId: string; name: string; role: MemberRole; joinedAt: string }
export interface Notification { id: string; type: string; title: string; body?: string; data?: unknown; createdAt: string; readAt?: string | null; read?: boolean }
export interface User { id: string; username?: string; name: string; role: string }
export interface Presence { userId: string; online: boolean; lastSeen?: string | null }

export interface Fault { code: string; message: string; reason?: string; retryAfterMs?: number; until?: string }
export type Ack<T = object> = ({ ok: true } & T) | { ok: false; error: Fault };

/** The last message of a room that was not entered. */
export interface LastMessage { id: string; sender: Sender; preview: string; type: string; createdAt: string; deletedAt?: string }

/** A room as the inbox, `room:list` or the device has it. */
export interface ListedRoom {
  roomId: string; name: string; kind?: Kind; role: MemberRole; seq: number; n?: number; unread: number; mentions?: number;
  last?: LastMessage | null; lastMessage?: Message | null; room?: RoomInfo; marker?: { seq: number; n?: number }; prefs?: Prefs;
  /** Of a direct room; kept on the device only. */
  partners?: string[];
  /** The marker as the server has it; kept on the device only. */
  told?: number;
}

/** What happened to a message, whoever tells of it. */
export type Fact =
  /** A whole message. personal: it was made for this reader, so that `mine` of its reactions holds. guess: made up from an ack. */
  | { kind: 'message'; message: Message; personal?: boolean; guess?: boolean }
  | { kind: 'deleted'; roomId: string; seq: number; messageId: string; by?: string; at?: string }
  | { kind: 'reactions'; roomId: string; seq: number; messageId: string; changes?: { key: string; userId: string; on: boolean }[]; counts: { key: string; count: number }[] }
  | { kind: 'pinned'; roomId: string; seq: number; messageId: string; on: boolean; at?: string };

/** A message on its way to the server, or the deletion of one. */
export interface Pending {
  clientMsgId: string;
  roomId: string;
  content: string;
  at: number;
  state: 'queued' | 'sent' | 'failed';
  tries: number;
  error?: Fault;
  /** Not to be tried again before, in milliseconds since 1970. */
  notBefore?: number;
  format?: 'markdown';
  replyTo?: string;
  mentions?: { users?: string[]; room?: boolean };
  /** The id of the message that is to be deleted. */
  remove?: string;
  /** What a reply shows of the message that it answers until the server's own preview is there. */
  quote?: { id: string; sender: Sender; preview: string };
}

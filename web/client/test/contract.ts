// Whatever the contract of client events says that a server sends fits the store's types: the type checker holds it, nothing runs.

import type * as contract from '../../../proto/events/gen/starling.d.ts';
import type { Fault, ListedRoom, Member, Message, Notification, Prefs, Presence, RoomInfo } from '../src/index.ts';

type Fits<Sent extends Known, Known> = Sent;

export type Checked = [
  Fits<contract.Message, Message>, Fits<contract.Room, RoomInfo>, Fits<contract.RoomSummary, ListedRoom>, Fits<contract.Prefs, Prefs>, Fits<contract.Member, Member>,
  Fits<contract.Presence, Presence>, Fits<contract.ListedNotification, Notification>, Fits<contract.UserNotification, Notification>, Fits<contract.Fault, Fault>,
];

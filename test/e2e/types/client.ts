// A client that uses the types as people would; contract.test.js compiles it. What is marked as an error has to be one.

import { io, type Socket } from 'socket.io-client';
import type {
  Ack, ConnectAuth, ConnectError, ChatClientToServerEvents, ChatServerToClientEvents, ChatSocket, ClientToServerEvents, Fault, Message, MessageSent, NotificationSocket, ServerToClientEvents,
  StarlingSocket,
} from './starling';

// The usual way of socket.io-client.
const plain: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:3000', { auth: { token: 'x' } });

plain.on('message:new', (message, offset) => {
  const content: string = message.content;
  const where: string | undefined = offset;
  console.log(message.sender.name, content, where);
  // @ts-expect-error a message has no such field
  console.log(message.text);
});
plain.on('room:history', (messages) => messages.map((m) => m.seq + 1));
plain.on('room:message', (data) => console.log(data.sender, data.anything));
plain.on('users:online', (users) => users.join());
plain.on('announcement', (...anything) => console.log(anything));
// @ts-expect-error there is no such event
plain.on('message:old', () => {});
// @ts-expect-error that is an event of another namespace
plain.on('notification', () => {});

const auth: ConnectAuth = { token: 'x', useq: 7 };
const signedIn: StarlingSocket = io('http://localhost:3000', { auth: (give) => give(auth) });
signedIn.on('connect_error', (error: ConnectError) => {
  console.log(error.message, error.data?.code === 'too_many_sockets' ? error.data.retryAfterMs : signedIn.active);
  // @ts-expect-error there is no such code
  console.log(error.data?.code === 'mood');
});
plain.on('connect_error', (error: ConnectError) => console.log(error.data?.code));

plain.emit('message:send', { roomId: 'lobby', content: 'Hello' }, (answer) => {
  if (answer.ok) console.log(answer.seq.toFixed(), answer.createdAt);
  else console.log(answer.error.code, answer.error.reason === 'slow_mode' ? answer.error.retryAfterMs : undefined);
  // @ts-expect-error only who asks whether it is ok knows the number
  console.log(answer.seq);
});

export async function use(): Promise<void> {
  const joined = await plain.emitWithAck('room:join', 'lobby');
  if (joined.ok) console.log(joined.role === 'owner', joined.seq + 1);
  const since = await plain.emitWithAck('room:join', { roomId: 'lobby', since: 7 });
  const fault: Fault | undefined = since.ok ? undefined : since.error;
  console.log(fault?.until);
  // @ts-expect-error it is roomId
  await plain.emitWithAck('room:join', { room: 'lobby' });
  // @ts-expect-error a number is no room
  await plain.emitWithAck('room:join', 7);
  // @ts-expect-error a role that there is not
  await plain.emitWithAck('room:set-role', { roomId: 'lobby', userId: 'bob', role: 'king' });
  // @ts-expect-error these types of socket.io-client want the callback
  plain.emit('typing:start', 'lobby');
  const list = await plain.emitWithAck('room:list');
  if (list.ok) console.log(list.rooms.map((r) => r.lastMessage?.content));
  await plain.emitWithAck('announcement', 'one', 2, { three: true });
  await plain.emitWithAck('room:update', { roomId: 'lobby', profile: { topic: null }, settings: { slowModeMs: 1000 } });

  // With the socket of ours.
  const socket: StarlingSocket = io('http://localhost:3000');
  socket.on('message:new', (message: Message) => console.log(message.id));
  socket.emit('typing:start', 'lobby');
  socket.volatile.emit('typing:stop', 'lobby', () => {});
  socket.emit('room:message', { roomId: 'lobby', mood: 'good' });
  socket.emit('room:leave', 'lobby', (answer) => console.log(answer.ok));
  const sent: Ack<MessageSent> = await socket.timeout(5000).emitWithAck('message:send', { roomId: 'lobby', content: 'Hello', clientMsgId: '1' });
  if (sent.ok) console.log(sent.id);
  socket.timeout(5000).emit('room:get', 'lobby', (err, answer) => { if (!err && answer.ok) console.log(answer.room.profile.name); });
  // @ts-expect-error the answer is typed
  const wrong: string = await socket.timeout(5000).emitWithAck('room:list');
  // @ts-expect-error there is no such event
  socket.emit('typing:begin', 'lobby');
  // @ts-expect-error a message has a content
  await socket.timeout(5000).emitWithAck('message:send', { roomId: 'lobby' });
  console.log(wrong);

  const chat: Socket<ChatServerToClientEvents, ChatClientToServerEvents> = io('http://localhost:3000/chat');
  await chat.emitWithAck('message', { roomId: 'lobby', content: 'Hello' });
  const typing: ChatSocket = io('http://localhost:3000/chat');
  typing.emit('typing:start', { roomId: 'lobby' });
  const notifications: NotificationSocket = io('http://localhost:3000/notifications');
  notifications.on('notification', (n) => console.log(n.title, n.data?.link));
  const unread = await notifications.emitWithAck('notification:list');
  const page = await notifications.timeout(5000).emitWithAck('notification:list', { limit: 10 });
  console.log(unread.ok && unread.unread, page.ok && page.notifications[0]?.read);
  // @ts-expect-error messages are sent on other namespaces
  notifications.emit('message:send', { roomId: 'lobby', content: 'Hello' });
}

import { io } from 'socket.io-client';
import { Session, Starling } from '@starling/client';

const session = new Session({ url: 'http://localhost:3000' });
await session.signIn('alice', 'alice-demo-password');

const store = await Starling.open({ io, url: 'http://localhost:3000', tokens: session });
store.subscribe('room:lobby', () => {
  for (const message of store.room('lobby')?.messages ?? []) console.log(message.seq, message.sender.name, message.content);
});

await store.join('lobby');
await store.show('lobby');
await store.send('lobby', 'Hello');

// The official server with the handlers of the protocol suites, as the conformance server has them (-suite protocol), on a free port,
// and patient with clients on a busy machine. It prints its address.

import { createServer } from 'node:http';
import { Server as Engine } from 'engine.io';
import { Server } from 'socket.io';

const settings = { pingInterval: 25_000, pingTimeout: 30_000, maxHttpBufferSize: 1e6, cors: { origin: '*' } };
const http = createServer();

const io = new Server(http, settings);
for (const namespace of ['/', '/custom']) {
  io.of(namespace).on('connection', (socket) => {
    socket.emit('auth', socket.handshake.auth);
    socket.on('message', (...args) => socket.emit('message-back', ...args));
    socket.on('message-with-ack', (...args) => args.pop()(...args));
  });
}

const engine = new Engine(settings);
engine.attach(http, { path: '/engine.io/' });
engine.on('connection', (socket) => socket.on('message', (content) => socket.send(content)));

http.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${http.address().port}`));

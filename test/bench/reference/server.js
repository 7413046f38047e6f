// The server that a team would write first: Socket.IO and one PostgreSQL, in one Node process, without what makes it hard
// (order across processes, recovery, idempotency). It answers the benchmark's events as docs/events.md describes them.
//
//   JWT_SECRET=… DATABASE_URL=… PORT=… node server.js

import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import pg from 'pg';
import { Server } from 'socket.io';

const { JWT_SECRET, DATABASE_URL, PORT } = process.env;
if (!JWT_SECRET || !DATABASE_URL || !PORT) {
  console.error('JWT_SECRET, DATABASE_URL and PORT are needed');
  process.exit(2);
}

const db = new pg.Pool({ connectionString: DATABASE_URL, max: 16 });
await db.query(`
  CREATE SCHEMA IF NOT EXISTS reference;
  CREATE TABLE IF NOT EXISTS reference.members (
    room_id text NOT NULL, user_id text NOT NULL, joined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, user_id));
  CREATE TABLE IF NOT EXISTS reference.messages (
    n bigserial PRIMARY KEY, id uuid NOT NULL UNIQUE, room_id text NOT NULL, sender_id text NOT NULL,
    content text NOT NULL, type text NOT NULL, created_at timestamptz NOT NULL);
  CREATE INDEX IF NOT EXISTS messages_room ON reference.messages (room_id, n);`);

const http = createServer((req, res) => {
  res.writeHead(req.url === '/healthz' ? 200 : 404).end();
});
const io = new Server(http, { transports: ['websocket', 'polling'] });

/** The claims of an HS256 token, or null. */
function verify(token) {
  const [header, body, signature] = String(token).split('.');
  if (!signature) return null;
  const want = createHmac('sha256', JWT_SECRET).update(`${header}.${body}`).digest();
  const got = Buffer.from(signature, 'base64url');
  if (got.length !== want.length || !timingSafeEqual(got, want)) return null;
  try {
    if (JSON.parse(Buffer.from(header, 'base64url')).alg !== 'HS256') return null;
    const claims = JSON.parse(Buffer.from(body, 'base64url'));
    return claims.exp > Date.now() / 1000 ? claims : null;
  } catch {
    return null;
  }
}

io.use((socket, next) => {
  const claims = verify(socket.handshake.auth.token);
  if (!claims) {
    next(new Error('Invalid token'));
    return;
  }
  socket.data.user = { id: claims.sub, name: claims.name ?? claims.sub };
  next();
});

// The number of a room's next event: of this process only, and not stored.
const sequences = new Map();
function next(roomId) {
  const seq = (sequences.get(roomId) ?? 0) + 1;
  sequences.set(roomId, seq);
  return seq;
}

const insertMember = {
  name: 'insert-member',
  text: 'INSERT INTO reference.members (room_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING',
};
const insertMessage = {
  name: 'insert-message',
  text: 'INSERT INTO reference.messages (id, room_id, sender_id, content, type, created_at) VALUES ($1, $2, $3, $4, $5, $6)',
};
const selectHistory = {
  name: 'select-history',
  text: `SELECT id, room_id AS "roomId", sender_id AS "sender", content, type, created_at AS "createdAt"
         FROM reference.messages WHERE room_id = $1 ORDER BY n DESC LIMIT 50`,
};

io.on('connection', (socket) => {
  const { user } = socket.data;
  const failed = (ack) => (err) => {
    console.error(err);
    ack?.({ ok: false, error: { code: 'internal', message: 'Internal error' } });
  };

  socket.on('room:join', (roomId, ack) => {
    (async () => {
      await db.query({ ...insertMember, values: [roomId, user.id] });
      const { rows } = await db.query({ ...selectHistory, values: [roomId] });
      socket.emit('room:history', rows.reverse());
      const seq = next(roomId);
      ack?.({ ok: true, roomId, seq });
      socket.to(roomId).emit('room:user-joined', { userId: user.id, userName: user.name, roomId, seq });
      socket.join(roomId);
    })().catch(failed(ack));
  });

  socket.on('message:send', ({ roomId, content, type = 'text', clientMsgId }, ack) => {
    (async () => {
      if (!socket.rooms.has(roomId)) {
        ack?.({ ok: false, error: { code: 'forbidden', message: 'Not in the room' } });
        return;
      }
      const id = randomUUID();
      const createdAt = new Date().toISOString();
      await db.query({ ...insertMessage, values: [id, roomId, user.id, content, type, createdAt] });
      const seq = next(roomId);
      ack?.({ ok: true, status: 'delivered', id, seq, createdAt });
      io.to(roomId).emit('message:new', { id, roomId, seq, sender: user, content, type, createdAt, clientMsgId });
    })().catch(failed(ack));
  });

  socket.on('room:message', (message, ack) => {
    if (!socket.rooms.has(message.roomId)) {
      ack?.({ ok: false, error: { code: 'forbidden', message: 'Not in the room' } });
      return;
    }
    ack?.({ ok: true });
    io.to(message.roomId).emit('room:message', { ...message, sender: user.id, timestamp: Date.now() });
  });
});

http.listen(Number(PORT), '127.0.0.1', () => console.log('ready'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));

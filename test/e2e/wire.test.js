// Garbage on the raw WebSocket closes only that session: a bystander on the same gateway goes on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from './client.js';
import { newUser } from './user.js';
import { wire } from './wire.js';
import { ok } from './expect.js';

test('the open packet over WebSocket', async (t) => {
  const ann = await newUser('ann');
  const w = wire(t);
  const opened = JSON.parse((await w.next()).slice(1));
  assert.deepEqual(Object.keys(opened).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
  assert.deepEqual({ ...opened, sid: 'x' }, { sid: 'x', upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 262_144 });
  w.send(`40${JSON.stringify({ token: ann.token })}`);
  const reply = JSON.parse((await w.find((f) => f.startsWith('40'))).slice(2));
  assert.notEqual(reply.sid, opened.sid, 'the session id is secret');
});

test('refusals are CONNECT_ERROR packets', async (t) => {
  const ann = await newUser('ann');
  const w = wire(t);
  await w.next();
  for (const [packet, start, message] of [
    ['40', '44{', 'Authentication required'], ['40{}', '44{', 'Authentication required'], ['40{"token":"x"}', '44{', 'Invalid token'],
    ['40/chat,{"token":"x"}', '44/chat,{', 'Invalid token'], [`40/nope,${JSON.stringify({ token: ann.token })}`, '44/nope,{', 'Invalid namespace'],
  ]) {
    w.send(packet);
    const reply = await w.find((f) => f.startsWith('44'));
    assert.ok(reply.startsWith(start), reply);
    const body = JSON.parse(reply.slice(start.length - 1));
    assert.deepEqual(Object.keys(body).sort(), ['data', 'message'], reply);
    assert.equal(body.message, message);
    assert.equal(typeof body.data.code, 'string');
  }
});

test('41 leaves a namespace without a reply, and others go on', async (t) => {
  const ann = await newUser('ann');
  const w = wire(t);
  await w.connect(ann.token);
  w.send(`40/chat,${JSON.stringify({ token: ann.token })}`);
  await w.find((f) => f.startsWith('40/chat,'));
  w.send('41/chat,');
  w.send('427["room:list"]');
  assert.equal(await w.find((f) => f.startsWith('41/chat') || f.startsWith('437')), '437[{"ok":true,"rooms":[],"useq":0}]');
});

const garbage = {
  'an unknown Engine.IO packet': (w) => w.send('abc'),
  'an empty frame': (w) => w.send(''),
  'a ping of the peer': (w) => w.send('2'),
  '4abc': (w) => w.send('4abc'),
  '42{}': (w) => w.send('42{}'),
  '42abc["x"]': (w) => w.send('42abc["x"]'),
  '42 without a name': (w) => w.send('42[]'),
  '42 with broken JSON': (w) => w.send('42["room:list"'),
  '42 with two JSON values': (w) => w.send('42["room:list"]["room:list"]'),
  '42 with an object as its name': (w) => w.send('42[{}]'),
  '42 with null as its name': (w) => w.send('42[null]'),
  'an ack id that is no number': (w) => w.send('42-1["room:list"]'),
  'a packet type that does not exist': (w) => w.send('48'),
  'a second CONNECT': (w, user) => w.send(`40${JSON.stringify({ token: user.token })}`),
  'an event of a namespace that is not connected': (w) => w.send('42/chat,["room:list"]'),
  'a stray binary frame': (w) => w.send(Buffer.from([1, 2, 3])),
  'text inside a binary packet': (w) => { w.send('451-["room:message",{"f":{"_placeholder":true,"num":0}}]'); w.send('42["room:list"]'); },
  'a placeholder out of range': (w) => { w.send('451-["room:message",{"f":{"_placeholder":true,"num":7}}]'); w.send(Buffer.from([1])); },
  'a negative placeholder': (w) => { w.send('451-["room:message",{"f":{"_placeholder":true,"num":-1}}]'); w.send(Buffer.from([1])); },
  'a placeholder that is no number': (w) => { w.send('451-["room:message",{"f":{"_placeholder":true,"num":"0"}}]'); w.send(Buffer.from([1])); },
  '11 attachments': (w) => w.send('4511-["room:message",{}]'),
  'a billion attachments': (w) => w.send('451000000000-["room:message",{}]'),
  'a binary packet without its count': (w) => w.send('45["room:message",{}]'),
  'bad UTF-8': (w) => w.send(Buffer.from([0x34, 0x32, 0x5b, 0x22, 0xff, 0xfe, 0x22, 0x5d]), { binary: false }),
  'an unmasked frame': (w) => w.send('42["room:list"]', { mask: false }),
  'an oversized frame': (w) => w.send(`42["room:message",{"pad":"${'x'.repeat(1_000_001)}"}]`),
  'a frame that claims 2^62 bytes': (w) => w.bytes(0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4),
  'a frame whose length has its top bit set': (w) => w.bytes(0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4),
  'an oversized message in small fragments': (w) => {
    w.send('4', { fin: false });
    for (let i = 0; i < 20; i += 1) w.send('x'.repeat(100_000), { fin: false });
  },
  'reserved bits': (w) => w.bytes(0xf1, 0x81, 0, 0, 0, 0, 0x32),
  'an unknown opcode': (w) => w.bytes(0x83, 0x80, 0, 0, 0, 0),
  'a continuation of nothing': (w) => w.bytes(0x80, 0x80, 0, 0, 0, 0),
  'a new message inside a fragmented one': (w) => { w.send('42', { fin: false }); w.bytes(0x81, 0x81, 0, 0, 0, 0, 0x33); },
  'a fragmented ping': (w) => w.bytes(0x09, 0x80, 0, 0, 0, 0),
  'a ping of 126 bytes': (w) => w.bytes(0x89, 0xfe, 0, 126, 0, 0, 0, 0, ...Buffer.alloc(126)),
  'a close frame of 1 byte': (w) => w.bytes(0x88, 0x81, 0, 0, 0, 0, 3),
  'no CONNECT, but an event': null,
};
for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']) {
  garbage[`the reserved event ${name}`] = (w) => w.send(`42${JSON.stringify([name, 'x'])}`);
}

test('garbage closes only its own session', async (t) => {
  const [ann, eve] = [await newUser('ann'), await newUser('eve')];
  const bystander = await connect(t, ann, { gateway: 0 });
  for (const [what, send] of Object.entries(garbage)) {
    await t.test(what, async (st) => {
      const w = wire(st, 0);
      if (send) {
        await w.connect(eve.token);
        send(w, eve);
      } else {
        await w.next();
        w.send('42["room:list"]');
      }
      await w.closed();
      ok(await bystander.emit('room:list'), { rooms: [], useq: 0 });
    });
  }
  assert.deepEqual(bystander.closed, []);
});

test('what looks odd and is legal keeps the session', async (t) => {
  const ann = await newUser('ann');
  const w = wire(t);
  await w.connect(ann.token);
  const legal = ['42[7,"x"]', '42["room:list",null,{}]', '43999[]', '4399[{"ok":true}]', '42["x"]', '42["event:error",{}]', '42["\\u0000"]', '42["_placeholder",{"_placeholder":false}]'];
  for (const packet of legal) {
    w.send(packet);
    w.send('421["room:list"]');
    assert.equal(await w.find((f) => f.startsWith('431')), '431[{"ok":true,"rooms":[],"useq":0}]', packet);
  }
  w.send('42', { fin: false });
  w.ws.ping();
  w.send('2["room', { fin: false });
  w.send(':list"]');
  assert.equal(await w.find((f) => f.startsWith('432')), '432[{"ok":true,"rooms":[],"useq":0}]', 'a fragmented message with a ping inside');
});

test('a connection that never says CONNECT is closed', { timeout: 70_000, skip: process.env.STARLING_SLOW !== '1' && 'takes 45 s; STARLING_SLOW=1' }, async (t) => {
  const w = wire(t);
  await w.next();
  await w.closed(60_000);
});

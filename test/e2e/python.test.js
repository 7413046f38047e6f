// Python's official client, with handlers of one parameter as its documentation has them.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { connect, url } from './client.js';
import { noPython, python } from './python.js';
import { here } from './system.js';
import { newUser, roomId } from './user.js';

const skip = !python && noPython;

for (const transports of ['polling', 'websocket', 'polling,websocket']) {
  test(`Python over ${transports}: handlers get the event's arguments and no more`, { skip }, async (t) => {
    const [ann, bob] = [await newUser('ann'), await newUser('bob')];
    const room = roomId();
    const sender = await connect(t, ann, { gateway: 1 });
    await sender.join(room);
    const client = spawn(python, [join(here, 'client.py'), url(0), bob.token, room, transports], { stdio: ['ignore', 'pipe', 'pipe'] });
    t.after(() => client.kill('SIGKILL'));
    let errors = '';
    client.stderr.on('data', (bytes) => { errors += bytes; });
    const ended = once(client, 'exit');
    const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
    const next = async () => {
      const { value, done } = await lines.next();
      assert.ok(!done, `the client ended: ${errors}`);
      return JSON.parse(value);
    };
    assert.deepEqual(await next(), ['joined', { ok: true, seq: 2 }]);
    const { id } = await sender.emit('message:send', { roomId: room, content: 'Grüße an Python' });
    const [event, message] = await next();
    assert.deepEqual([event, message.id, message.content], ['message:new', id, 'Grüße an Python']);
    await sender.emit('message:send', { roomId: room, content: 'bye' });
    assert.equal((await next())[1].content, 'bye');
    const [code] = await ended;
    assert.equal(errors, '');
    assert.equal(code, 0);
  });
}

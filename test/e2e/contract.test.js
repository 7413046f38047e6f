// The contract of client events as others use it: the AsyncAPI document and the types that gateways serve. And the judge, which
// holds all that passes the clients of this suite against it, is tried itself.

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import { url, urls } from './client.js';
import { beyond, complaints, contract, judge, own } from './contract.js';
import { here, root } from './system.js';
import { compile, project } from './typescript.js';

const generated = (name) => readFileSync(join(root, 'proto/events/gen', name), 'utf8');
const served = async (name, gateway = 0) => (await fetch(`${url(gateway)}/api/${name}`)).text();

test('every gateway serves the AsyncAPI document and the types', async () => {
  for (let gateway = 0; gateway < urls.length; gateway += 1) {
    for (const name of ['asyncapi.json', 'starling.d.ts']) assert.equal(await served(name, gateway), generated(name), name);
  }
});

test('the AsyncAPI document is one, and has every event', async () => {
  const document = JSON.parse(await served('asyncapi.json'));
  const schema = JSON.parse(readFileSync(createRequire(import.meta.url).resolve('@asyncapi/specs/schemas/3.0.0-without-$id.json'), 'utf8'));
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  const valid = ajv.compile(schema);
  assert.ok(valid(document), ajv.errorsText(valid.errors));
  assert.equal(valid({ ...document, channels: { main: { adress: '/' } } }), false, 'anything is valid');

  // References lead somewhere, which the schema does not look at.
  const at = (ref) => ref.slice(2).split('/').reduce((o, key) => o?.[key], document);
  const walk = (o) => {
    if (o === null || typeof o !== 'object') return;
    if (typeof o.$ref === 'string') assert.ok(at(o.$ref), `${o.$ref} leads nowhere`);
    Object.values(o).forEach(walk);
  };
  walk(document);

  const operations = Object.values(document.operations).map((o) => {
    const message = at(at(o.messages[0].$ref).$ref);
    return `${o.action} ${message.name} ${at(o.channel.$ref).address}`;
  });
  const wanted = [
    ...contract.clientEvents.flatMap((e) => e.namespaces.map((n) => `receive ${e.event} ${n}`)),
    ...contract.serverEvents.flatMap((e) => e.namespaces.map((n) => `send ${e.event} ${n}`)),
  ];
  assert.deepEqual(operations.sort(), wanted.sort());
});

test('every schema of the contract compiles', () => {
  const ajv = new Ajv({ strict: false }).addSchema(contract, 'contract');
  for (const of of ['clientEvents', 'serverEvents']) {
    contract[of].forEach((event, i) => {
      for (const part of ['argument', 'ack', 'payload']) if (part in event) ajv.compile({ $ref: `contract#/${of}/${i}/${part}` });
    });
  }
});

test('a client of socket.io-client compiles with the types, and what is wrong in it does not', async (t) => {
  const dir = project(t);
  writeFileSync(join(dir, 'starling.d.ts'), await served('starling.d.ts'));
  copyFileSync(join(here, 'types', 'client.ts'), join(dir, 'client.ts'));
  assert.equal(compile(dir, undefined, 'client.ts'), '');
});

/** A socket that answers what it is told to. */
class Socket {
  flags = {};
  connected = true;
  #any = [];
  constructor(nsp = '/') {
    this.nsp = nsp;
    judge(this);
  }

  onAny(listener) { this.#any.push(listener); }
  on(_, listener) { this.refused = listener; } // of connect_error
  once() {}
  emit(_, ...args) {
    if (typeof args.at(-1) === 'function') args.at(-1)(...this.answer);
  }

  says(event, ...args) { this.#any.forEach((listener) => listener(event, ...args)); }
  asks(answer, event, ...args) {
    this.answer = [answer];
    this.emit(event, ...args, () => {});
  }
}

const message = { id: '01890a5d-ac96-774b-bcce-b302099a8057', roomId: 'r', seq: 1, sender: { id: 'a', name: 'A' }, content: 'c', type: 'text', createdAt: '2026-01-01T00:00:00.000Z' };
const sent = { ok: true, status: 'delivered', id: message.id, seq: 1, createdAt: message.createdAt };
const no = (code, more) => ({ ok: false, error: { code, message: 'No', ...more } });

test('the judge lets pass what is as in the contract', () => {
  const [main, chat] = [new Socket(), new Socket('/chat')];
  own('order:created', 'order:create');
  main.says('message:new', message);
  main.says('message:new', { ...message, clientMsgId: 'x', system: true }, 'offset');
  main.says('room:history', [message], 'offset');
  main.says('announcement', 1, 'two', {});
  main.says('order:created', { id: 1 });
  main.says('room:message', { sender: 'a', timestamp: 1, mood: 'good' });
  main.asks(sent, 'message:send', { roomId: 'r', content: 'c' });
  chat.asks(sent, 'message', { roomId: 'r', content: 'c' });
  main.asks({ ok: true }, 'announcement', 1, 'two', {});
  main.asks({ anything: true }, 'order:create', 7);
  main.asks(no('forbidden', { reason: 'muted', until: message.createdAt }), 'message:send', { roomId: 'r', content: 'c' });
  main.asks(no('rate_limited', { reason: 'slow_mode', retryAfterMs: 5 }), 'message:send', { roomId: 'r', content: 'c' });
  main.asks(no('invalid'), 'message:send', { room: 7 });
  main.asks(no('unknown_event'), 'message:sent', {});
  main.asks({ ok: true }, 'typing:start', beyond({ roomId: 'r', colour: 'red' }));
  main.refused(Object.assign(new Error('Invalid token'), { data: { code: 'user_disabled' } }));
  main.refused(new Error('websocket error'));
  main.emit('typing:start', 7);
  main.says('event:error', { event: 'typing:start', code: 'invalid', message: 'No' });
  main.flags.timeout = 5;
  main.answer = [null, sent];
  main.emit('message:send', { roomId: 'r', content: 'c' }, () => {});
  main.answer = [new Error('late')];
  main.emit('message:send', { roomId: 'r', content: 'c' }, () => {});
  assert.deepEqual(complaints(), []);
});

for (const [what, act] of Object.entries({
  'an unknown event': (s) => s.says('message:newer', message),
  'an event of another namespace': (s) => s.says('notification', {}),
  'an unknown field': (s) => s.says('message:new', { ...message, mood: 'good' }),
  'an unknown field within': (s) => s.says('message:new', { ...message, sender: { ...message.sender, mood: 'good' } }),
  'a field that is missing': (s) => s.says('message:new', { ...message, seq: undefined }),
  'a field of another type': (s) => s.says('message:new', { ...message, seq: '1' }),
  'a time of another form': (s) => s.says('message:new', { ...message, createdAt: '2026-01-01' }),
  'an offset where there is none': (s) => s.says('typing:stop', { userId: 'a', roomId: 'r' }, 'offset'),
  'a second argument': (s) => s.says('message:new', message, {}),
  'an ack with an unknown field': (s) => s.asks({ ...sent, mood: 'good' }, 'message:send', { roomId: 'r', content: 'c' }),
  'an ack that lacks a field': (s) => s.asks({ ok: true }, 'message:send', { roomId: 'r', content: 'c' }),
  'an ack that is neither': (s) => s.asks({ fine: true }, 'typing:start', 'r'),
  'an ack that is nothing': (s) => s.asks(null, 'typing:start', 'r'),
  'an event that is done and unknown': (s) => s.asks({ ok: true }, 'message:sent', {}),
  'an event that is done on another namespace': (s) => s.asks(sent, 'message', { roomId: 'r', content: 'c' }),
  'an argument that is taken and has an unknown field': (s) => s.asks(sent, 'message:send', { roomId: 'r', content: 'c', mood: 'good' }),
  'an argument that is taken and wrong': (s) => s.asks({ ok: true }, 'typing:start', 7),
  'a code that is none': (s) => s.asks(no('broken'), 'typing:start', 'r'),
  'a code that the event has not': (s) => s.asks(no('conflict'), 'typing:start', 'r'),
  'a reason that is none': (s) => s.asks(no('forbidden', { reason: 'mood' }), 'typing:start', 'r'),
  'a reason that the event has not': (s) => s.asks(no('conflict', { reason: 'exists' }), 'room:join', 'r'),
  'a reason with another code': (s) => s.asks(no('not_found', { reason: 'muted' }), 'message:send', { roomId: 'r', content: 'c' }),
  'a fault with an unknown field': (s) => s.asks(no('invalid', { field: 'x' }), 'typing:start', 7),
  'a CONNECT that is refused with an unknown code': (s) => s.refused({ message: 'Invalid token', data: { code: 'mood' } }),
  'a CONNECT that is refused with another message': (s) => s.refused({ message: 'Bad token', data: { code: 'invalid_token' } }),
  'a CONNECT that is refused with an unknown field': (s) => s.refused({ message: 'Invalid token', data: { code: 'invalid_token', mood: 'good' } }),
  'a wrong event:error': (s) => s.says('event:error', { event: 'typing:start', code: 'conflict', message: 'No' }),
  'a wrong argument without an ack, and no event:error': (s) => s.emit('typing:start', 7),
  'an unknown event without an ack, and no event:error': (s) => s.emit('typing:begin', 'r'),
})) {
  test(`the judge complains about ${what}`, () => {
    act(new Socket());
    assert.equal(complaints().length, 1);
  });
}

// Holds whatever passes the clients of a test against the contract (proto/events/gen/contract.json): each argument, ack and event of each
// socket that this process makes with socket.io-client. What is not as the contract has it fails the test.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { Manager } from 'socket.io-client';
import { Manager as OldManager } from 'socket.io-client-4-0';

export const contract = JSON.parse(readFileSync(join(dirname(fileURLToPath(import.meta.url)), '../../proto/events/gen/contract.json'), 'utf8'));

const ajv = new Ajv({ strict: false, allErrors: true }).addSchema(contract, 'contract');
/** Judges by a schema, which is compiled when it is first asked: a process needs few of them. */
function judging(judged) {
  let compiled;
  const validate = (value) => {
    compiled ??= ajv.compile(judged);
    const valid = compiled(value);
    validate.errors = compiled.errors;
    return valid;
  };
  return validate;
}

const refusal = judging({
  type: 'object', required: ['ok', 'error'], additionalProperties: false, properties: { ok: { const: false }, error: { $ref: 'contract#/schemas/Fault' } },
});
const refusedConnect = judging({ $ref: 'contract#/schemas/ConnectRefusal' });
const connectMessages = new Map(contract.connectErrors.map((e) => [e.code, e.message]));
const codes = new Map(contract.codes.map((c) => [c.code, c]));
const reasons = new Map(contract.reasons.map((r) => [r.reason, r]));
const schema = (of, i, part) => part in contract[of][i] && judging({ $ref: `contract#/${of}/${i}/${part}` });
const emitted = new Map(contract.clientEvents.map((e, i) => [e.event, { ...e, argument: schema('clientEvents', i, 'argument'), ack: schema('clientEvents', i, 'ack') }]));
const sent = new Map(contract.serverEvents.map((e, i) => [e.event, { ...e, payload: schema('serverEvents', i, 'payload') }]));

const owned = new Set();

/** Names events that are a test's own: services and backends of others have them, and the contract does not. */
export const own = (...events) => events.forEach((event) => owned.add(event));

/** Tells of an event that is a test's own. Those for everyone, whom other files are among, begin with test: in every file. */
const isOwn = (event) => owned.has(event) || event.startsWith('test:');

const marked = new WeakSet();

/** Marks an argument that is not as the contract has it on purpose, and is taken all the same; gives it back. */
export function beyond(argument) {
  marked.add(argument);
  return argument;
}

const violations = new Set();
const owed = new Set(); // event:error

const shown = (value) => JSON.stringify(value)?.slice(0, 300);
const wrongs = (validate) => [...new Set(validate.errors.map((e) => `${e.instancePath || 'it'} ${e.message}${e.params.additionalProperty ? `: ${e.params.additionalProperty}` : ''}`))].join(', ');

/** Judges one socket. */
class Judge {
  constructor(socket) {
    this.socket = socket;
    socket.onAny((event, ...args) => this.#arrived(event, args));
    socket.on('connect_error', ({ message, data }) => { if (data !== undefined) this.#notConnected(message, data); });
    const { emit } = socket;
    socket.emit = (event, ...args) => {
      if (typeof args.at(-1) === 'function') {
        const ack = args.pop();
        // The callback gets an error first: where time is limited, and from emitWithAck.
        const timed = ack.withError || (socket.flags?.timeout ?? socket._opts?.ackTimeout) !== undefined;
        const said = args.some((a) => marked.has(a)) ? undefined : structured(args);
        const judging = (...answer) => {
          if (!timed || !answer[0]) this.#answered(event, said, timed ? answer.slice(1) : answer);
          ack.apply(socket, answer);
        };
        if (ack.withError) judging.withError = true;
        args.push(judging);
      } else if (!isOwn(event) && !args.some((a) => marked.has(a))) {
        this.#unanswered(event, args);
      }
      return emit.call(socket, event, ...args);
    };
  }

  #say(what) { violations.add(`${this.socket.nsp} ${what}`); }

  #notConnected(message, data) {
    const what = `connect_error ${shown({ message, data })}`;
    if (!refusedConnect(data)) this.#say(`${what}: of its data ${wrongs(refusedConnect)}`);
    else if (connectMessages.get(data.code) !== message) this.#say(`${what}: the contract has ${data.code} with another message`);
  }

  #known(events, name) {
    const known = events.get(name);
    return known?.namespaces.includes(this.socket.nsp) ? known : undefined;
  }

  /** What is wrong with the arguments of an event; undefined: nothing. args is undefined where they are wrong on purpose. */
  #mistake(known, args) {
    if (known.anything || !args) return undefined;
    if (!known.argument) return args.length === 0 ? undefined : 'it takes no argument';
    if (args.length === 0 && known.optional) return undefined;
    if (args.length !== 1) return `it takes one argument, not ${args.length}`;
    return known.argument(args[0]) ? undefined : wrongs(known.argument);
  }

  /** What is emitted without an ack and is wrong has to come back as event:error. */
  #unanswered(event, args) {
    const known = this.#known(emitted, event);
    const mistake = known ? this.#mistake(known, args) : 'it is not in the contract';
    if (!mistake || !this.socket.connected) return;
    const error = { event, socket: this.socket, what: `${this.socket.nsp} ${event} ${shown(args)} without an ack: ${mistake}, and no event:error came` };
    owed.add(error);
    this.socket.once('disconnect', () => owed.delete(error));
  }

  #answered(event, args, answer) {
    if (isOwn(event)) return;
    const what = `ack of ${event} ${shown(args)}: ${shown(answer)}`;
    const [reply] = answer;
    if (answer.length !== 1 || typeof reply !== 'object') return this.#say(`${what}: want one object`);
    const known = this.#known(emitted, event);
    if (reply?.ok !== true) return this.#refused(known, reply, what);
    if (!known) return this.#say(`${what}: it is not in the contract`);
    const mistake = this.#mistake(known, args);
    if (mistake) this.#say(`${what}: it was done, but of the argument ${mistake}`);
    if (!known.ack(reply)) this.#say(`${what}: ${wrongs(known.ack)}`);
    return undefined;
  }

  #refused(known, reply, what) {
    if (!refusal(reply)) return this.#say(`${what}: ${wrongs(refusal)}`);
    return this.#judgeFault(known, reply.error, what);
  }

  /** A refusal of an event that the contract has, or undefined: of another one. */
  #judgeFault(known, { code, reason }, what) {
    if (reason !== undefined && reasons.get(reason).code !== code) this.#say(`${what}: ${reason} comes with ${reasons.get(reason).code}`);
    if (!known) {
      if (code !== 'unknown_event' && !codes.get(code).any) this.#say(`${what}: want unknown_event`);
    } else if (!codes.get(code).any && !known.codes.includes(code)) {
      this.#say(`${what}: the contract has no ${code} for it`);
    } else if (reason !== undefined && !known.reasons.includes(reason)) {
      this.#say(`${what}: the contract has no ${reason} for it`);
    }
  }

  #arrived(event, all) {
    if (isOwn(event)) return;
    const args = typeof all.at(-1) === 'function' ? all.slice(0, -1) : all;
    const what = `${event} ${shown(args)}`;
    const known = this.#known(sent, event);
    if (!known) return this.#say(`${what}: it is not in the contract`);
    if (known.anything) return undefined;
    const offset = known.offset && args.length === 2 && typeof args[1] === 'string'; // recovery's
    if (args.length !== 1 && !offset) return this.#say(`${what}: want one argument`);
    if (!known.payload(args[0])) this.#say(`${what}: ${wrongs(known.payload)}`);
    else if (event === 'event:error') this.#failed(args[0], what);
    return undefined;
  }

  #failed(error, what) {
    for (const one of owed) {
      if (one.socket !== this.socket || one.event !== error.event) continue;
      owed.delete(one);
      break;
    }
    if (!isOwn(error.event)) this.#judgeFault(this.#known(emitted, error.event), error, what);
  }
}

/** A copy, as far as the contract goes: a test may change what it has emitted. */
function structured(args) {
  try {
    return structuredClone(args);
  } catch {
    return args;
  }
}

/** What is not as the contract has it, so far; asking begins anew. */
export function complaints() {
  const list = [...violations, ...[...owed].map((error) => error.what)];
  violations.clear();
  owed.clear();
  return list;
}

/** Judges a socket. */
export const judge = (socket) => { new Judge(socket); };

const judged = new WeakSet();
for (const { prototype } of [Manager, OldManager]) {
  const { socket: make } = prototype;
  prototype.socket = function socket(...args) {
    const made = make.apply(this, args);
    if (!judged.has(made)) {
      judged.add(made);
      judge(made);
    }
    return made;
  };
}

if (process.env.NODE_TEST_CONTEXT) { // crowd.js is no test
  afterEach(async () => {
    // The machine may be slow, and a test need not wait for what it does not ask for.
    for (const end = Date.now() + 30_000; owed.size > 0 && Date.now() < end;) await setTimeout(20);
    const list = complaints();
    if (list.length > 0) throw new Error(`not as in the contract (proto/events/source):\n  ${list.slice(0, 10).join('\n  ')}${list.length > 10 ? `\n  and ${list.length - 10} more` : ''}`);
  });
}

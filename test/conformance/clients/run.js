// Runs official clients against the conformance server: builds it, starts one for each suite on a free port, runs the tests.
//
//   node run.js                 everything, and the transcripts of clients of other languages, against the official server too
//   node run.js engine.io       only engine.io.test.js
//   node run.js transcripts     only the transcripts (TestTranscripts)
//
// CONFORMANCE_PROTOCOL_URL, CONFORMANCE_SOCKETIO_CLIENT_URL and CONFORMANCE_ENGINEIO_CLIENT_URL name other servers. Python's
// client (python3-socketio of Debian) is tried where PYTHON, or python3, has it.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const names = process.argv.slice(2).map((a) => a.replace(/(\.test)?\.js$/, ''));
const files = readdirSync(here).filter((f) => f.endsWith('.test.js'))
  .filter((f) => names.length === 0 || names.includes(f.replace('.test.js', '')))
  .map((f) => join(here, f));
const transcripts = names.length === 0 || names.includes('transcripts');
if (files.length === 0 && !transcripts) throw new Error(`no test file called ${names.join(' or ')}`);

/** Runs the transcripts with the official server, which is installed here; gives the exit code. */
function runTranscripts() {
  const go = ['test', '-count=1', '-run', '^TestTranscripts$', './conformance'];
  return spawnSync('go', go, { cwd: join(here, '..', '..'), env: { ...process.env, CONFORMANCE_OFFICIAL: '1' }, stdio: 'inherit' }).status;
}

const suites = {
  CONFORMANCE_PROTOCOL_URL: 'protocol',
  CONFORMANCE_SOCKETIO_CLIENT_URL: 'socket.io-client',
  CONFORMANCE_ENGINEIO_CLIENT_URL: 'engine.io-client',
};
const env = { ...process.env };
const servers = [];
const dir = mkdtempSync(join(tmpdir(), 'starling-clients-'));

function build() {
  const binary = join(dir, 'conformance');
  const gateway = join(here, '..', '..', '..', 'gateway');
  const made = spawnSync('go', ['build', '-o', binary, './cmd/conformance'], { cwd: gateway, stdio: 'inherit' });
  if (made.status !== 0) throw new Error('the conformance server cannot be built');
  return binary;
}

/** Starts the server of one suite; gives its URL. */
async function start(binary, suite) {
  // The suites' own limit of 200 ms for a pong ends connections on a busy machine; here it is to guard against hanging.
  const server = spawn(binary, ['-suite', suite, '-addr', '127.0.0.1:0', '-patience', '30s'], { stdio: ['ignore', 'pipe', 'inherit'] });
  servers.push(server);
  for await (const line of createInterface({ input: server.stdout })) return line.replace(/^.*(http:)/, '$1');
  throw new Error(`the server of suite ${suite} did not start`);
}

let code = 1;
try {
  let binary;
  for (const [name, suite] of files.length > 0 ? Object.entries(suites) : []) {
    if (!env[name]) env[name] = await start(binary ??= build(), suite);
  }
  const tests = files.length === 0 ? undefined : spawn(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', ...files],
    { cwd: here, env, stdio: ['ignore', 'inherit', 'inherit'] });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => tests?.kill(signal));
  code = 0;
  if (tests) [code] = await once(tests, 'exit');
  if (transcripts && code === 0) code = runTranscripts();
} finally {
  for (const server of servers) {
    if (server.exitCode !== null) continue;
    server.kill();
    await once(server, 'exit');
  }
  rmSync(dir, { recursive: true, force: true });
}
process.exit(code ?? 1);

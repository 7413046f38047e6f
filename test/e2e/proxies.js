// The proxies that people put in front of gateways, as Debian packages them: HAProxy with the configuration that the project ships,
// nginx with the one of docs/operations/install.md and with less.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './fleet.js';
import { answers, freePorts, root } from './system.js';

/** Is a program installed? Those of administrators are not on everybody's path. */
export const installed = (name) => spawnSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/usr/local/sbin command -v ${name}`], { encoding: 'utf8' }).stdout.trim();

export class Proxy {
  /** HAProxy as it is shipped; only its addresses are this machine's. */
  static async haproxy(dir, system) {
    const port = await freePorts(2);
    const admin = port + 1;
    const shipped = readFileSync(join(root, 'deploy/haproxy/haproxy.cfg'), 'utf8');
    const config = [
      [/bind :3000/, `bind 127.0.0.1:${port}`],
      [/bind :8404/, `bind 127.0.0.1:${admin}`],
      [/(default-server check) port 8080 (.*) resolvers docker.*/, '$1 $2'],
      [/\tserver-template .*/, system.urls.map((url, i) => `\tserver gateway${i} ${new URL(url).host} port ${system.admin + i}`).join('\n')],
    ].reduce((text, [from, to]) => {
      if (!from.test(text)) throw new Error(`haproxy.cfg has nothing like ${from}`);
      return text.replace(from, to);
    }, shipped);
    const file = join(dir, 'haproxy.cfg');
    writeFileSync(file, config);
    return Proxy.#run(`http://127.0.0.1:${port}`, installed('haproxy'), ['-f', file, '-db'], `http://127.0.0.1:${admin}/healthz`);
  }

  /** nginx with what stands in its http block; server(port) and upstream are filled in. */
  static async nginx(dir, name, http) {
    const port = await freePorts(1);
    const own = join(dir, name);
    mkdirSync(own);
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${own}/${kind};`).join(' ');
    writeFileSync(join(own, 'nginx.conf'), `
      ${process.getuid() === 0 ? 'user root;' : ''} pid ${own}/pid; daemon off; worker_processes 1; error_log ${own}/error.log;
      events { worker_connections 512; }
      http { access_log off; ${temp}
${http.replace('listen 80;', `listen 127.0.0.1:${port};`)}
      }`);
    return Proxy.#run(`http://127.0.0.1:${port}`, installed('nginx'), ['-p', own, '-c', join(own, 'nginx.conf'), '-e', join(own, 'error.log')]);
  }

  static async #run(url, program, args, health = `${url}/healthz`) {
    const proxy = Object.assign(new Proxy(), { url, said: '' });
    proxy.process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [proxy.process.stdout, proxy.process.stderr]) stream.on('data', (bytes) => { proxy.said = (proxy.said + bytes).slice(-5000); });
    process.once('exit', () => proxy.process.kill('SIGKILL'));
    await until(() => {
      if (proxy.process.exitCode !== null) throw new Error(`${program} ended: ${proxy.said}`);
      return answers(health);
    }, 60_000, `${program} answers`);
    return proxy;
  }

  async remove() {
    this.process.kill('SIGTERM');
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit');
  }
}

/** The block of docs/operations/install.md that shows a server of nginx, with another upstream. */
export function documented(upstream) {
  const text = readFileSync(join(root, 'docs/operations/install.md'), 'utf8');
  const block = /```nginx\n([^]*?)```/.exec(text)?.[1];
  if (!block?.includes('http://127.0.0.1:3000')) throw new Error('docs/operations/install.md has no configuration of nginx for http://127.0.0.1:3000');
  return block.replace('http://127.0.0.1:3000', upstream);
}

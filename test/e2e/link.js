// A TCP link that can be made to pass nothing in one or both directions. What is sent meanwhile arrives afterwards, as after a
// network failure; connections that are opened meanwhile hang.

import net from 'node:net';

export class Link {
  /** Lays a link to host:port. */
  static async to(host, port) {
    const link = new Link();
    Object.assign(link, { up: true, down: true, delay: 0, pairs: new Set(), waiting: [] });
    link.server = net.createServer({ pauseOnConnect: true }, (client) => {
      client.on('error', () => {});
      const open = () => link.#open(client, host, port);
      if (link.up && link.down) open(); else link.waiting.push(open);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => { link.server.once('listening', resolve); });
    link.port = link.server.address().port;
    return link;
  }

  #open(client, host, port) {
    if (client.destroyed) return;
    const server = net.connect(port, host);
    const pair = { client, server };
    this.pairs.add(pair);
    server.on('error', () => {});
    const pass = (from, to, direction) => {
      from.on('data', (bytes) => {
        const send = () => { if (!to.destroyed) to.write(bytes); };
        if (this.delay > 0) setTimeout(send, this.delay); else send();
      });
      from.on('close', () => { if (this[direction]) to.destroy(); else this.waiting.push(() => to.destroy()); });
    };
    pass(client, server, 'up');
    pass(server, client, 'down');
    client.on('close', () => this.pairs.delete(pair));
    this.#flow(pair);
  }

  #flow({ client, server }) {
    if (this.up) client.resume(); else client.pause();
    if (this.down) server.resume(); else server.pause();
  }

  /** Passes nothing any more: from the client (up), to it (down), or both. */
  hold({ up = true, down = true } = {}) {
    if (up) this.up = false;
    if (down) this.down = false;
    this.pairs.forEach((pair) => this.#flow(pair));
  }

  heal() {
    Object.assign(this, { up: true, down: true, delay: 0 });
    this.pairs.forEach((pair) => this.#flow(pair));
    this.waiting.splice(0).forEach((go) => go());
  }

  remove() {
    this.server.close();
    for (const { client, server } of this.pairs) { client.destroy(); server.destroy(); }
  }
}

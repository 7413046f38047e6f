// A proxy that does not let WebSockets through, in one of the ways that real ones have:
//
//   refuse   answers 403
//   drop     closes the connection
//   strip    forgets the headers Upgrade and Connection, and passes the rest on
//   swallow  answers nothing

import { createServer, request } from 'node:http';
import { once } from 'node:events';

export class NoWebSocket {
  /** Lays a proxy before the server at url. */
  static async to(url, how) {
    const proxy = new NoWebSocket();
    const { hostname, port } = new URL(url);
    proxy.blocked = 0;
    const pass = (req, res, headers) => {
      const onward = request({ hostname, port, path: req.url, method: req.method, headers }, (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        answer.pipe(res);
      });
      onward.on('error', () => res.destroy());
      res.on('close', () => onward.destroy());
      req.pipe(onward);
    };
    proxy.server = createServer((req, res) => {
      if (!req.headers.upgrade) return pass(req, res, req.headers);
      proxy.blocked += 1; // without a listener for upgrades Node hands them over as plain requests
      const { upgrade: _, connection: __, ...headers } = req.headers;
      switch (how) {
        case 'refuse': return res.writeHead(403, { connection: 'close' }).end('no WebSockets here');
        case 'drop': return req.socket.destroy();
        case 'strip': return pass(req, res, headers);
        default: return undefined;
      }
    });
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  remove() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

// A Python that has the official client. Debian: python3-socketio.

import { spawnSync } from 'node:child_process';

export const python = [process.env.PYTHON, 'python3', '/usr/bin/python3'].filter(Boolean)
  .find((p) => spawnSync(p, ['-c', 'import socketio, websocket, requests']).status === 0);
export const noPython = 'no Python with python-socketio (Debian: python3-socketio)';

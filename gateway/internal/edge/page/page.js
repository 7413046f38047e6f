// A small page to try a gateway with: log in, join rooms, talk. It uses only what docs/events.md promises to every client.
'use strict';

(() => {
  const $ = (id) => document.getElementById(id);
  const kept = 'starling-login'; // per tab, so that two tabs can be two people

  let login = null; // { accessToken, refreshToken, expiresAt, user }
  let socket = null;
  let current = ''; // the room that is shown
  let rooms = new Map(); // room id → { seq, first, hasMore, unread }
  let online = []; // user ids
  const names = new Map(); // user id → { name, until }, as far as seen
  let typists = new Map(); // user id → name
  let typedAt = 0;

  // Accounts

  async function post(path, body) {
    const response = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw Object.assign(new Error(answer.message || `The server answered ${response.status}`), { status: response.status });
    return answer;
  }

  function keep(answer) {
    login = { ...answer, expiresAt: Date.now() + answer.expiresIn * 1000 };
    names.set(login.user.id, login.user.name);
    sessionStorage.setItem(kept, JSON.stringify(login));
  }

  /** The access token, renewed when it is about to end. */
  async function token() {
    if (login.expiresAt - Date.now() < 30_000) keep(await post('api/v1/auth/refresh', { refreshToken: login.refreshToken }));
    return login.accessToken;
  }

  function forget() {
    socket?.disconnect();
    socket = null;
    login = null;
    rooms = new Map();
    current = '';
    sessionStorage.removeItem(kept);
    $('app').hidden = true;
    $('entry').hidden = false;
  }

  $('login').addEventListener('submit', async (event) => {
    event.preventDefault();
    const { username, password } = Object.fromEntries(new FormData(event.target));
    const what = event.submitter?.value ?? 'login';
    $('login-error').textContent = '';
    try {
      keep(await post(`api/v1/auth/${what}`, { username, password }));
      start();
    } catch (err) {
      $('login-error').textContent = err.message;
    }
  });

  for (const button of document.querySelectorAll('[data-demo]')) {
    button.addEventListener('click', () => {
      const form = $('login');
      form.elements.username.value = button.dataset.demo;
      form.elements.password.value = `${button.dataset.demo}-demo-password`;
    });
  }

  $('logout').addEventListener('click', () => {
    if (login) post('api/v1/auth/logout', { refreshToken: login.refreshToken }).catch(() => {});
    forget();
  });

  // The connection

  function start() {
    $('entry').hidden = true;
    $('app').hidden = false;
    $('me').textContent = login.user.name;
    state('connecting …');
    socket = io({
      path: new URL(document.documentElement.dataset.path, document.baseURI).pathname,
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      auth: (give) => token().then((t) => give({ token: t }), (err) => {
        // Refused for good only when the server says so; without a network the next try may do.
        if (err.status === 400 || err.status === 401) forget(); else give({ token: login?.accessToken });
      }),
    });
    socket.on('connect', connected);
    socket.on('disconnect', (reason) => {
      state('reconnecting …');
      if (reason === 'io server disconnect') socket?.connect();
    });
    socket.on('connect_error', (err) => {
      state('reconnecting …');
      if (err.data?.code !== undefined) refusedConnection(err);
    });
    socket.on('room:history', history);
    socket.on('message:new', (message) => arrived(message));
    socket.on('room:user-joined', ({ roomId, userId, userName, seq }) => { learn(userId, userName); note(roomId, seq, `${userName} joined`); });
    socket.on('room:user-left', ({ roomId, userId, seq }) => note(roomId, seq, `${named(userId)} left`));
    socket.on('typing:start', ({ roomId, userId, userName, expiresInMs = 8000 }) => {
      learn(userId, userName);
      if (roomId !== current) return;
      typists.set(userId, { name: userName, until: Date.now() + expiresInMs }); // the stop may get lost
      setTimeout(showTyping, expiresInMs + 10);
      showTyping();
    });
    socket.on('typing:stop', ({ roomId, userId }) => { if (roomId === current) { typists.delete(userId); showTyping(); } });
    socket.on('users:online', (ids) => { online = ids; showOnline(ids.length); });
    socket.on('presence:update', ({ count }) => showOnline(count));
    socket.on('event:error', ({ event, message }) => state(`${event}: ${message}`));
  }

  function refusedConnection(err) {
    state(err.message);
    if (!login) return;
    login.expiresAt = 0; // ask for a new token before the next try
    if (!refusedConnection.tried) {
      refusedConnection.tried = true;
      socket.connect();
    } else {
      $('login-error').textContent = err.message;
      forget();
    }
  }

  async function connected() {
    refusedConnection.tried = false;
    state(socket.recovered ? 'connected again' : 'connected');
    if (socket.recovered) return;
    const reply = await ask('room:list');
    if (!reply.ok) return state(reply.error.message);
    for (const room of reply.rooms) {
      if (!rooms.has(room.roomId)) rooms.set(room.roomId, { seq: room.seq, first: 0, hasMore: false, unread: room.unread, joined: room.roomId !== current });
    }
    if (!current) {
      const latest = reply.rooms.toSorted((x, y) => (y.lastMessage?.createdAt ?? '').localeCompare(x.lastMessage?.createdAt ?? ''))[0];
      return show(latest?.roomId ?? 'lobby').then(enterOthers);
    }
    // After a drop that could not be recovered the socket is in no room: enter again and ask for what was missed.
    await enter(current);
    return enterOthers();
  }

  /** Enters the rooms that are not shown, for their unread counts; a few, as this is a demo. */
  async function enterOthers() {
    for (const id of [...rooms.keys()].filter((other) => other !== current).slice(0, 20)) await enter(id);
    showRooms();
  }

  /** Emits and gives the ack; no answer in time is a refusal like others. */
  async function ask(event, ...args) {
    try {
      return await socket.timeout(10_000).emitWithAck(event, ...args);
    } catch {
      return { ok: false, error: { code: 'timeout', message: 'No answer in time' } };
    }
  }

  // Rooms

  async function enter(roomId) {
    const room = rooms.get(roomId);
    const reply = await ask('room:join', room?.joined ? { roomId, since: room.seq, limit: 500 } : roomId);
    if (!reply.ok) return state(`${roomId}: ${reply.error.message}`);
    const now = rooms.get(roomId) ?? { seq: 0, first: 0, unread: 0 };
    if (!room?.joined) now.hasMore = reply.hasMore;
    now.joined = true;
    now.seq = Math.max(now.seq, reply.seq);
    rooms.set(roomId, now);
    if (roomId === current) showRoom();
  }

  async function show(roomId) {
    current = roomId;
    $('side').classList.remove('open');
    $('menu').setAttribute('aria-expanded', 'false');
    $('messages').replaceChildren();
    typists = new Map();
    showTyping();
    const room = rooms.get(roomId);
    if (room) Object.assign(room, { joined: false, unread: 0 }); // the list was emptied: ask for the last page again
    showRooms();
    await enter(roomId);
  }

  $('join').addEventListener('submit', (event) => {
    event.preventDefault();
    const roomId = event.target.elements.room.value;
    event.target.reset();
    show(roomId);
  });

  $('menu').addEventListener('click', () => {
    const open = $('side').classList.toggle('open');
    $('menu').setAttribute('aria-expanded', String(open));
  });

  function showRooms() {
    $('room-name').textContent = current || 'No room';
    $('rooms').replaceChildren(...[...rooms].sort(([x], [y]) => x.localeCompare(y)).map(([id, room]) => {
      const button = element('button', 'quiet', element('span', '', id), ...(room.unread && id !== current ? [element('span', 'unread', String(room.unread))] : []));
      if (id === current) button.setAttribute('aria-current', 'true');
      button.addEventListener('click', () => show(id));
      return element('li', '', button);
    }));
  }

  function showRoom() {
    for (const field of $('send').elements) field.disabled = false;
    $('older').hidden = !rooms.get(current)?.hasMore;
    showRooms();
  }

  // Messages

  function history(messages) {
    for (const message of messages) arrived(message, true);
  }

  function learn(userId, name) {
    if (!name || names.get(userId) === name) return;
    names.set(userId, name);
    showOnline(online.length);
  }

  function arrived(message, old = false) {
    learn(message.sender.id, message.sender.name);
    const room = rooms.get(message.roomId) ?? { seq: 0, first: 0, hasMore: false, unread: 0, joined: false };
    rooms.set(message.roomId, room);
    room.seq = Math.max(room.seq, message.seq);
    if (message.roomId !== current) {
      if (!old) room.unread += 1;
      showRooms();
      return;
    }
    typists.delete(message.sender.id);
    showTyping();
    room.first = room.first ? Math.min(room.first, message.seq) : message.seq;
    const mine = message.sender.id === login.user.id;
    if (message.clientMsgId) document.querySelector(`li.waiting[data-client="${CSS.escape(message.clientMsgId)}"]`)?.remove();
    insert(message.seq, bubble(message.sender.name || message.sender.id, message.createdAt, message.content, mine));
    if (!mine && !old && document.visibilityState === 'visible') socket.emit('message:read', { roomId: current, messageId: message.id });
  }

  function note(roomId, seq, text) {
    const room = rooms.get(roomId);
    if (room) room.seq = Math.max(room.seq, seq);
    if (roomId === current) insert(seq, element('li', 'note', text));
  }

  function bubble(name, at, content, mine) {
    const time = element('time', '', new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
    time.dateTime = at;
    return element('li', mine ? 'mine' : '', element('div', 'from', element('span', '', name), time), element('p', '', content));
  }

  /** Puts an item at its place by sequence; what is there already stays. */
  function insert(seq, item) {
    const list = $('messages');
    const box = $('scroll');
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
    item.dataset.seq = seq;
    let before = null;
    for (let other = list.lastElementChild; other; other = other.previousElementSibling) {
      const at = Number(other.dataset.seq ?? Infinity);
      if (at === seq) return;
      if (at < seq) break;
      before = other;
    }
    list.insertBefore(item, before);
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  $('older').addEventListener('click', async () => {
    const roomId = current;
    const room = rooms.get(roomId);
    const reply = await ask('message:history', { roomId, before: room.first || undefined, limit: 50 });
    if (!reply.ok) return state(reply.error.message);
    if (roomId !== current) return undefined;
    const box = $('scroll');
    const below = box.scrollHeight - box.scrollTop;
    for (const message of reply.messages) arrived(message, true);
    box.scrollTop = box.scrollHeight - below;
    room.hasMore = reply.hasMore;
    $('older').hidden = !reply.hasMore;
    return undefined;
  });

  $('send').addEventListener('submit', async (event) => {
    event.preventDefault();
    const field = event.target.elements.content;
    const content = field.value;
    if (!content.trim() || !current) return;
    field.value = '';
    stopTyping();
    await deliver({ roomId: current, content, clientMsgId: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}` });
  });

  /** Sends until it is acknowledged or refused; the clientMsgId makes repeats harmless. */
  async function deliver(message) {
    const item = bubble(login.user.name, new Date().toISOString(), message.content, true);
    item.classList.add('waiting');
    item.dataset.client = message.clientMsgId;
    $('messages').append(item);
    $('scroll').scrollTop = $('scroll').scrollHeight;
    const again = ['timeout', 'unavailable', 'rate_limited'];
    for (let tries = 0; tries < 10 && socket; tries += 1) {
      const reply = await ask('message:send', message);
      if (reply.ok) return;
      if (!again.includes(reply.error.code)) {
        state(reply.error.message);
        break;
      }
      await new Promise((resolve) => { setTimeout(resolve, reply.error.retryAfterMs || 500); });
    }
    item.classList.replace('waiting', 'failed');
  }

  // Typing and presence

  $('send').addEventListener('input', () => {
    if (!current || Date.now() - typedAt < 3000) return; // a start lasts 5 s
    typedAt = Date.now();
    socket.emit('typing:start', current);
  });

  function stopTyping() {
    if (typedAt) socket.emit('typing:stop', current);
    typedAt = 0;
  }

  function showTyping() {
    const who = [...typists.values()].filter(({ until }) => until > Date.now()).map(({ name }) => name);
    $('typing').textContent = who.length === 0 ? '' : who.length > 3 ? 'Several people are typing …' : `${who.join(', ')} ${who.length > 1 ? 'are' : 'is'} typing …`;
  }

  function showOnline(count) {
    $('online-count').textContent = count;
    $('online').replaceChildren(...online.slice(0, 100).map((id) => element('li', '', named(id))));
  }

  function named(id) { return names.get(id) ?? (id.length > 16 ? `${id.slice(0, 12)}…` : id); }

  function state(text) { $('state').textContent = text; }

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  login = JSON.parse(sessionStorage.getItem(kept) ?? 'null');
  if (login) {
    names.set(login.user.id, login.user.name);
    start();
  } else {
    $('entry').hidden = false;
  }
})();

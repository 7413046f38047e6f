import { Suspense, lazy, useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import type { Message } from '@starling/client';
import { useConnection, useNotifications, usePresence, useRoom, useRooms, useStarling, useUnread } from '@starling/react';
import { looking } from '../config.ts';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { Avatar, IconButton, Menu, copy, faultText, linkTo, useToasts } from '../ui.tsx';
import { Boundary } from './Boundary.tsx';
import { Composer } from './Composer.tsx';
import { MessageList } from './MessageList.tsx';
import { Sidebar, useTitle } from './Sidebar.tsx';
import type { RowActions } from './MessageRow.tsx';

// Not needed for the first picture.
const dialogs = () => import('./Dialogs.tsx');
const Switcher = lazy(async () => ({ default: (await dialogs()).Switcher }));
const CreateRoom = lazy(async () => ({ default: (await dialogs()).CreateRoom }));
const NewDirect = lazy(async () => ({ default: (await dialogs()).NewDirect }));
const Keys = lazy(async () => ({ default: (await dialogs()).Keys }));
const panels = () => import('./Panel.tsx');
const Panel = lazy(async () => ({ default: (await panels()).Panel }));
const Notifications = lazy(async () => ({ default: (await panels()).Notifications }));
const Drawer = lazy(async () => ({ default: (await import('./Drawer.tsx')).Drawer }));

interface Place { roomId?: string; part?: string; invite?: string }

/** Where the address points: #/r/<room>, #/r/<room>/<message or sequence>, #/i/<room>/<invite>. It is never sent to the server. */
function placeOf(hash: string): Place {
  const [, kind, room, part] = hash.replace(/^#/, '').split('/');
  try {
    if (kind === 'r' && room) return { roomId: decodeURIComponent(room), part: part ? decodeURIComponent(part) : undefined };
    if (kind === 'i' && room && part) return { roomId: decodeURIComponent(room), invite: decodeURIComponent(part) };
  } catch { /* not an address of ours */ }
  return {};
}

function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const moved = () => setPlace(placeOf(location.hash));
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  return place;
}

const undoMs = 5000; // in which a deletion can be taken back

type Open = 'switcher' | 'create' | 'direct' | 'keys' | undefined;

export function Chat({ signOut }: { signOut: () => Promise<void> }): ReactNode {
  const store = useStarling();
  const place = usePlace();
  const rooms = useRooms();
  const { t, n } = useI18n();
  const title = useTitle();
  const toasts = useToasts();
  const { unread, mentions } = useUnread();
  const [open, setOpen] = useState<Open>();
  const [side, setSide] = useState(false);
  const [panel, setPanel] = useState<'details' | 'notifications'>();
  const [drawer, setDrawer] = useState(() => sessionStorage.getItem('starling:drawer') === '1');
  const current = place.roomId;

  useEffect(() => { setSide(false); if (innerWidth < 900) setPanel(undefined); }, [current]);
  useEffect(() => { sessionStorage.setItem('starling:drawer', drawer ? '1' : '0'); }, [drawer]);

  // Without an address the room that was active last is shown, where there is space for it beside the list.
  useEffect(() => {
    if (current || innerWidth < 700) return;
    const first = rooms.find((r) => !r.prefs.hidden);
    if (first) history.replaceState(null, '', `#/r/${encodeURIComponent(first.id)}`), dispatchEvent(new HashChangeEvent('hashchange'));
  }, [current, rooms]);

  useEffect(() => {
    if (!place.invite || !current) return;
    void store.join(current, place.invite).then((reply) => {
      if (!reply.ok) toasts.fault(reply.error);
      location.replace(`#/r/${encodeURIComponent(current)}`);
    });
  }, [place.invite, current]);

  const room = rooms.find((r) => r.id === current);
  useEffect(() => {
    const name = room ? title(room) : undefined;
    document.title = `${mentions > 0 ? `(${mentions}) ` : unread > 0 ? '• ' : ''}${name ? `${name} · ` : ''}Starling`;
  }, [room, unread, mentions]);

  useBrowserNotifications();

  useEffect(() => {
    const keys = (e: globalThis.KeyboardEvent) => {
      const typing = e.target instanceof HTMLElement && (e.target.matches('input, textarea, select') || e.target.isContentEditable);
      if ((e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey && e.key.toLowerCase() === 'k') {
        e.preventDefault();
        setOpen((now) => (now === 'switcher' ? undefined : 'switcher'));
      } else if (e.altKey && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
        e.preventDefault();
        const order = [...document.querySelectorAll<HTMLAnchorElement>('.sidebar a.room')];
        const at = order.findIndex((a) => a.getAttribute('aria-current') === 'page');
        order.at((at + (e.key === 'ArrowDown' ? 1 : -1)) % Math.max(1, order.length))?.click();
      } else if (!typing && !document.querySelector('dialog[open]') && e.key === '?') {
        setOpen('keys');
      } else if (!typing && (e.key === '~' || e.key === '`')) {
        setDrawer((now) => !now);
      } else if (e.key === 'Escape' && !document.querySelector('dialog[open]')) {
        setSide(false);
        setPanel(undefined);
        if (current) void store.toNewest(current).then(() => dispatchEvent(new Event('starling:newest')));
        document.querySelector<HTMLElement>('.composer textarea')?.focus();
      }
    };
    addEventListener('keydown', keys);
    return () => removeEventListener('keydown', keys);
  }, [store, current]);

  const close = () => setOpen(undefined);
  const leave = async () => {
    const { waiting } = store.counts;
    // The platform's own question: nothing else is as sure to be seen.
    if (waiting > 0 && !confirm(n('set.signOutLose', waiting))) return;
    location.hash = '';
    await signOut();
  };
  return (
    <div className={`app${panel ? ' with-panel' : ''}${drawer ? ' with-drawer' : ''}${current ? ' in-room' : ''}`}>
      <a className="skip" href="#main" onClick={(e) => { e.preventDefault(); document.querySelector<HTMLElement>('.composer textarea, main')?.focus(); }}>{t('composer.placeholder', { name: room ? title(room) : '' })}</a>
      <Sidebar current={current} open={side} onSwitch={() => setOpen('switcher')} onCreate={() => setOpen('create')} onDirect={() => setOpen('direct')} onKeys={() => setOpen('keys')}
        onDrawer={() => setDrawer((now) => !now)} onSignOut={() => void leave()} />
      {side && <div className="shade" onClick={() => setSide(false)} />}
      <main className="main" id="main" tabIndex={-1}>
        {current
          ? <Boundary key={current}><RoomPage roomId={current} part={place.part} panel={panel} setPanel={setPanel} side={side} setSide={setSide} /></Boundary>
          : <Nothing onSwitch={() => setOpen('switcher')} />}
      </main>
      <Suspense>
        {panel === 'notifications' && <Notifications onClose={() => setPanel(undefined)} />}
        {open === 'switcher' && <Switcher onClose={close} />}
        {open === 'create' && <CreateRoom onClose={close} />}
        {open === 'direct' && <NewDirect onClose={close} />}
        {open === 'keys' && <Keys onClose={close} />}
        {drawer && <Drawer roomId={current} onClose={() => setDrawer(false)} />}
      </Suspense>
    </div>
  );
}

function Nothing({ onSwitch }: { onSwitch: () => void }): ReactNode {
  const { t } = useI18n();
  return (
    <div className="nothing">
      <Icon name="message" size={40} />
      <h1>{t('room.none')}</h1>
      <p className="muted">{t('room.noneHint', { key: /Mac|iP/.test(navigator.platform) ? '⌘K' : 'Ctrl+K' })}</p>
      <button type="button" className="primary" onClick={onSwitch}>{t('switch.title')}</button>
    </div>
  );
}

function Banner(): ReactNode {
  const { t, n } = useI18n();
  const store = useStarling();
  const connection = useConnection();
  const [late, setLate] = useState(false);
  const down = connection.status !== 'online' && connection.status !== 'closed';
  useEffect(() => {
    // A connection that is back within a second was never missed.
    if (!down) return setLate(false);
    const timer = setTimeout(() => setLate(true), connection.status === 'offline' || connection.status === 'refused' ? 0 : 1200);
    return () => clearTimeout(timer);
  }, [down, connection.status]);
  if (!down || !late) return null;
  const waiting = store.counts.waiting;
  const status = connection.status as 'connecting' | 'offline' | 'refused';
  return <div className={`banner ${status}`} role="status"><span className="pulse" />{t(`conn.banner.${status}`, { reason: connection.reason ?? '' })}{waiting > 0 && <strong>{n('conn.waiting', waiting)}</strong>}</div>;
}

function RoomPage({ roomId, part, panel, setPanel, side, setSide }: {
  roomId: string; part?: string; panel?: string; setPanel: (panel: 'details' | 'notifications' | undefined) => void; side: boolean; setSide: (open: boolean) => void;
}): ReactNode {
  const store = useStarling();
  const view = useRoom(roomId);
  const titleOf = useTitle();
  const { t } = useI18n();
  const toasts = useToasts();
  const { unread: notes } = useNotifications();
  const [replying, setReplying] = useState<Message>();
  const [editing, setEditing] = useState<Message>();
  const [target, setTarget] = useState<{ id?: string; seq?: number; at: number }>();
  const latest = useRef(view);
  latest.current = view;

  const jump = useCallback((to: { id?: string; seq?: number }) => {
    void store.jump(roomId, to).then((found) => {
      if (found) setTarget({ id: found.id, at: Date.now() }); else if (found === undefined) toasts.say(t('msg.gone'), { bad: true });
    });
  }, [store, roomId, t]);
  const loaded = view?.loaded ?? false;
  const led = useRef<string>(undefined); // where the address has led to: once, though the room may be loaded anew
  useEffect(() => {
    if (!part) led.current = undefined;
    if (!part || !loaded || led.current === part) return;
    led.current = part;
    jump(/^\d+$/.test(part) ? { seq: Number(part) } : { id: part });
  }, [part, loaded]);

  const actions = useMemo<RowActions>(() => ({
    reply: (message) => { setEditing(undefined); setReplying(message); },
    edit: (message) => { setReplying(undefined); setEditing(message); },
    remove: (message) => {
      toasts.say(t('msg.deletedToast'), { ms: undoMs, undo: { label: t('msg.undo'), act: () => void store.restore(message) } });
      store.remove(message, undoMs).then((reply) => { if (!reply.ok) toasts.fault(reply.error); }, (err: Error) => toasts.say(err.message, { bad: true }));
    },
    jump,
  }), [store, t, jump]);

  const direct = view?.kind === 'direct' ? view.partners[0] : undefined;
  const shown = useMemo(() => [...new Set([...(direct ? [direct] : []), ...(view?.messages.slice(-60).map((m) => m.sender.id) ?? [])])].filter((id) => id !== store.me.id && id !== 'system').slice(0, 100), [direct, view?.messages]);
  const presence = usePresence(shown);
  if (!view) return <div className="boot"><span className="spinner" /></div>;
  const title = titleOf(view);
  const editLast = () => {
    const own = view.messages.findLast((m) => m.sender.id === store.me.id && !m.deletedAt);
    if (own) actions.edit(own);
  };
  const gone = view.errorReason && ['left', 'removed', 'banned', 'deleted'].includes(view.errorReason) && !view.joined;
  return (
    <>
      <section className="conversation" aria-label={title}>
        <header className="head">
          <IconButton icon="menu" label={t('side.menu')} className="only-narrow" aria-expanded={side} aria-controls="sidebar" onClick={() => setSide(!side)} />
          <div className="head-title">
            <h1>{view.kind === 'direct' ? null : <Icon name={view.kind === 'private' ? 'lock' : 'hash'} size={18} />}<span><bdi>{title}</bdi></span>{direct && <span className={presence.get(direct)?.online ? 'live on' : 'live'}>{presence.get(direct)?.online ? t('presence.online') : t('presence.offline')}</span>}</h1>
            {view.topic && <p className="muted" title={view.topic}><bdi>{view.topic}</bdi></p>}
          </div>
          <button type="button" className="head-people" aria-expanded={panel === 'details'} aria-controls={panel ? 'panel' : undefined} onClick={() => setPanel(panel === 'details' ? undefined : 'details')}>
            <span className="faces" aria-hidden="true">{shown.slice(-3).map((id) => <Avatar key={id} id={id} name={store.nameOf(id)} size={24} online={presence.get(id)?.online} />)}</span>
            <Icon name="people" size={16} /><span>{view.info?.memberCount ?? ''}</span><span className="sr">{t('room.details')}</span>
          </button>
          <IconButton icon="bell" label={t('room.notifications')} badge={notes} pressed={panel === 'notifications'} onClick={() => setPanel(panel === 'notifications' ? undefined : 'notifications')} />
          <Menu label={t('msg.more')} items={() => [
            { label: view.prefs.muted ? t('room.unmute') : t('room.mute'), icon: view.prefs.muted ? 'bell' : 'bellOff', act: () => void store.setPrefs(roomId, { muted: !view.prefs.muted }) },
            { label: view.prefs.pinned ? t('room.unpin') : t('room.pin'), icon: 'pin', act: () => void store.setPrefs(roomId, { pinned: !view.prefs.pinned }) },
            { label: t('room.copyLink'), icon: 'link', act: () => void copy(linkTo(roomId)).then(() => toasts.say(t('copied'))) },
            view.kind === 'direct' ? null : { label: t('room.leave'), icon: 'exit', danger: true, act: () => void store.leave(roomId).then((reply) => { if (reply.ok) location.hash = ''; else toasts.fault(reply.error); }) },
          ]} />
        </header>
        <Banner />
        {gone || (view.error && !view.loaded)
          ? (
            <div className="nothing" role="status">
              <Icon name="alert" size={36} />
              <p>{gone ? t('room.gone') : faultText({ code: view.errorReason ?? '', message: view.error ?? '', reason: view.errorReason }, t)}</p>
              <button type="button" className="primary" onClick={() => void store.join(roomId)}>{t('room.join')}</button>
            </div>
          )
          : (
            <>
              <Boundary><MessageList view={view} title={title} actions={actions} target={target} /></Boundary>
              <Typing typists={view.typists} />
              <Composer view={view} title={title} replying={replying} editing={editing} editLast={editLast} onDone={() => { setReplying(undefined); setEditing(undefined); }} />
            </>
          )}
      </section>
      <Suspense>{panel === 'details' && <Panel view={view} title={title} onClose={() => setPanel(undefined)} />}</Suspense>
    </>
  );
}

function Typing({ typists }: { typists: readonly { id: string; name: string }[] }): ReactNode {
  const { t } = useI18n();
  const [a, b] = typists;
  const text = typists.length === 0 ? '' : typists.length === 1 ? t('typing.one', { a: a!.name }) : typists.length === 2 ? t('typing.two', { a: a!.name, b: b!.name }) : t('typing.many');
  return <p className="typing" role="status">{text && <><span className="dots" aria-hidden="true"><i /><i /><i /></span>{text}</>}</p>;
}

/** Shows what happens while the page is not looked at, where the user allowed it. */
function useBrowserNotifications(): void {
  const store = useStarling();
  const rooms = useRooms();
  const title = useTitle();
  const seen = useRef(new Map<string, { seq: number; mentions: number }>());
  useEffect(() => {
    for (const room of rooms) {
      const { mentions, last } = room;
      const seq = last?.seq ?? 0;
      const before = seen.current.get(room.id);
      seen.current.set(room.id, { seq, mentions });
      // That the user is mentioned is told apart from the message.
      if (!before || (seq <= before.seq && mentions <= before.mentions) || !last || last.sender.id === store.me.id || room.prefs.muted) continue;
      if (!store.connection.leader || typeof Notification === 'undefined' || Notification.permission !== 'granted' || looking()) continue;
      if (room.kind !== 'direct' && mentions === 0) continue;
      const note = new Notification(title(room), { body: `${last.sender.name}: ${last.content.slice(0, 120)}`, tag: room.id });
      note.onclick = () => { focus(); location.hash = `#/r/${encodeURIComponent(room.id)}`; };
    }
  }, [rooms]);
}

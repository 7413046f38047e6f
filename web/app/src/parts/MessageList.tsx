import { useCallback, useEffect, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from 'react';
import type { Message, RoomView } from '@starling/client';
import { useStarling } from '@starling/react';
import { looking } from '../config.ts';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { MessageRow, PendingRow, type RowActions } from './MessageRow.tsx';
import { useVirtual } from './useVirtual.ts';

const together = 5 * 60_000; // messages of one person so near to each other are one group
const sameDay = (a: string | number, b: string | number) => new Date(a).toDateString() === new Date(b).toDateString();

export function MessageList({ view, title, actions, target }: {
  view: RoomView; title: string; actions: RowActions; target: { id?: string; seq?: number; at: number } | undefined;
}): ReactNode {
  const store = useStarling();
  const { t, n, day, language } = useI18n();
  const { messages, pending } = view;
  const count = messages.length + pending.length;
  const keys = useCallback((i: number) => (i < messages.length ? messages[i]!.id : pending[i - messages.length]!.clientMsgId), [messages, pending]);
  const virtual = useVirtual({
    keys, count,
    onScroll: (top, end) => {
      if (top < 900) void store.loadOlder(view.id);
      if (end < 900) void store.loadNewer(view.id);
    },
  });
  const [highlight, setHighlight] = useState<string>();
  const [focused, setFocused] = useState<string>();
  const [active, setActive] = useState<string>(); // the row that has the focus, or something in it

  // The line of new messages is where reading had ended when the room was opened, and stays until the room is left.
  const [line, setLine] = useState<number>();
  useEffect(() => {
    if (line === undefined && view.loaded && (view.info || view.marker > 0)) setLine(view.marker);
  }, [line, view.loaded, view.info, view.marker]);
  // What is marked unread begins with a line, too.
  const { held } = view;
  useEffect(() => { if (held) setLine(view.marker); }, [held, view.marker]);
  const newAfter = (seq = Infinity) => {
    const first = seq > 0 || held ? messages.find((m) => m.seq > seq && m.sender.id !== store.me.id) : undefined;
    return first && (held || messages[0]!.seq < first.seq) ? first.id : undefined;
  };
  const lineAt = useMemo(() => newAfter(line), [line, held, messages, store]);
  // Where nothing was new, no line comes with what arrives before the eyes of the user.
  useEffect(() => { if (view.complete && line !== undefined && !lineAt) setLine(Infinity); }, [view.complete, line, lineAt]);

  // What arrives while the user reads further up is counted on the pill.
  const seen = useRef(0);
  const last = messages.at(-1);
  useEffect(() => { if (virtual.atEnd && last) seen.current = last.seq; }, [virtual.atEnd, last]);
  const below = virtual.atEnd ? 0 : messages.filter((m) => m.seq > Math.max(seen.current, view.marker) && m.sender.id !== store.me.id).length;

  // Own messages bring the view to the end.
  const newestPending = pending.at(-1)?.clientMsgId;
  useEffect(() => { if (newestPending) virtual.toEnd(); }, [newestPending, virtual.toEnd]);
  useEffect(() => {
    addEventListener('starling:newest', virtual.toEnd);
    return () => removeEventListener('starling:newest', virtual.toEnd);
  }, [virtual.toEnd]);

  useEffect(() => {
    if (line === undefined) return undefined; // where reading has ended is not known yet
    const see = () => {
      if (virtual.isAtEnd() && looking()) store.markRead(view.id);
      // Nobody can have seen it: a line comes before it, unless there is one.
      else if (!lineAt && newAfter(view.marker) && (document.visibilityState === 'hidden' || !virtual.isAtEnd())) setLine(view.marker);
    };
    see();
    addEventListener('focus', see);
    document.addEventListener('visibilitychange', see);
    return () => { removeEventListener('focus', see); document.removeEventListener('visibilitychange', see); };
  }, [store, view.id, view.marker, last, virtual.atEnd, view.loaded, line]);

  // Jumps to what a link or a quote points at.
  const done = useRef(0);
  useEffect(() => {
    if (!target || done.current === target.at) return;
    const index = messages.findIndex((m) => m.id === target.id || m.seq === target.seq);
    if (index < 0) return;
    done.current = target.at;
    virtual.toRow(index);
    setHighlight(messages[index]!.id);
  }, [target, messages, virtual]);
  useEffect(() => {
    if (!highlight) return undefined;
    const timer = setTimeout(() => setHighlight(undefined), 2500);
    return () => clearTimeout(timer);
  }, [highlight]);

  const moderates = view.role === 'owner' || view.role === 'moderator';
  const newest = async () => {
    await store.toNewest(view.id);
    virtual.toEnd();
  };

  const onKeyDown = (e: KeyboardEvent) => {
    if (e.key !== 'ArrowUp' && e.key !== 'ArrowDown' && e.key !== 'Home' && e.key !== 'End') return;
    const row = (e.target as HTMLElement).closest<HTMLElement>('li[data-key]');
    if (!row || (e.target as HTMLElement).closest('[role=menu]')) return;
    e.preventDefault();
    const all = [...virtual.list.current!.querySelectorAll<HTMLElement>('li[data-key]')];
    const at = all.indexOf(row);
    const next = e.key === 'ArrowUp' ? all[at - 1] : e.key === 'ArrowDown' ? all[at + 1] : e.key === 'End' ? all.at(-1) : all[0];
    if (!next) return;
    setFocused(next.dataset.key);
    next.focus({ preventScroll: false });
    next.scrollIntoView({ block: 'nearest' });
  };

  const rows: ReactNode[] = [];
  for (let i = virtual.start; i < virtual.end; i += 1) {
    const key = keys(i);
    const message = messages[i];
    const previous = messages[i - 1];
    const waiting = message ? undefined : pending[i - messages.length];
    const at = message ? message.createdAt : waiting!.at;
    const before = message ? previous?.createdAt : (pending[i - messages.length - 1]?.at ?? messages.at(-1)?.createdAt);
    const sender = message ? message.sender.id : store.me.id;
    const beforeSender = message ? previous?.sender.id : (i > messages.length ? store.me.id : messages.at(-1)?.sender.id);
    const newDay = before === undefined || !sameDay(before, at);
    const newLine = message !== undefined && lineAt === message.id;
    const grouped = !newDay && !newLine && beforeSender === sender && new Date(at).getTime() - new Date(before).getTime() < together && !message?.replyTo && !message?.pinnedAt && !waiting?.quote;
    const current = focused === key || (focused === undefined && i === count - 1);
    rows.push(
      <li key={key} data-key={key} data-seq={message?.seq} tabIndex={current ? 0 : -1} aria-setsize={view.hasOlder || view.hasNewer ? -1 : count} aria-posinset={i + 1}
        onFocus={() => { setFocused(key); setActive(key); }}>
        {newDay && <div className="separator day"><span>{day(at)}</span></div>}
        {newLine && <div className="separator new"><span>{t('room.newMessages')}</span></div>}
        {message
          ? <MessageRow message={message} grouped={grouped} mine={sender === store.me.id} read={view.readUpTo >= message.seq} highlighted={highlight === message.id} active={active === key}
              mayModerate={moderates} hidden={view.removing.has(message.id)} version={language} actions={actions} />
          : <PendingRow pending={waiting!} grouped={grouped} />}
      </li>,
    );
  }

  return (
    <div className="messages">
      <div className="scroller" ref={virtual.scroller} onKeyDown={onKeyDown} onBlur={(e) => { if (!e.currentTarget.contains(e.relatedTarget)) setActive(undefined); }}>
        <div className="before">
          {view.hasOlder ? <span className="spinner" role="status" aria-label={t('room.older')} /> : view.loaded && (
            <div className="beginning">
              <h2>{t('room.start', { name: title })}</h2>
              <p>{t('room.startHint')}</p>
            </div>
          )}
        </div>
        <ol className="list" ref={virtual.list} aria-label={t('room.messages', { name: title })} style={{ paddingTop: virtual.before, paddingBottom: virtual.after }}>{rows}</ol>
        {!view.loaded && !view.error && <Skeleton label={t('room.loading')} />}
      </div>
      {(!virtual.atEnd || view.hasNewer) && (
        <button type="button" className={below ? 'pill new' : 'pill'} onClick={() => void newest()} aria-label={below ? n('room.pill', below) : t('room.newest')}>
          {below ? n('room.pill', below) : null}<Icon name="down" size={16} />
        </button>
      )}
      <Announcer messages={messages} />
    </div>
  );
}

/** Tells screen readers what arrives, at most once a second. */
function Announcer({ messages }: { messages: readonly Message[] }): ReactNode {
  const store = useStarling();
  const [said, setSaid] = useState('');
  const told = useRef<number>(undefined);
  const last = messages.at(-1)?.seq ?? 0;
  useEffect(() => {
    told.current ??= last || undefined;
    if (told.current === undefined || last <= told.current) return undefined;
    const timer = setTimeout(() => {
      const fresh = messages.filter((m) => m.seq > told.current! && m.sender.id !== store.me.id).slice(-3);
      told.current = last;
      if (fresh.length > 0) setSaid(fresh.map((m) => `${m.sender.name}: ${m.content.slice(0, 200)}`).join('. '));
    }, 1000);
    return () => clearTimeout(timer);
  }, [messages, last, store]);
  return <div className="sr" aria-live="polite">{said}</div>;
}

function Skeleton({ label }: { label: string }): ReactNode {
  return (
    <div className="skeleton" role="status" aria-label={label}>
      {[62, 38, 80, 46, 70, 30].map((width, i) => <div key={i} className="skeleton-row"><span className="skeleton-avatar" /><span><i style={{ width: '7em' }} /><i style={{ width: `${width}%` }} /></span></div>)}
    </div>
  );
}

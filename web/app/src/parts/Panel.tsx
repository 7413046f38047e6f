import { useCallback, useEffect, useState, type FormEvent, type ReactNode } from 'react';
import type { Ack, Member, Message, Role, RoomView } from '@starling/client';
import { useNotifications, usePresence, useStarling } from '@starling/react';
import { useI18n } from '../i18n/index.tsx';
import { rank, roles } from '../roles.ts';
import { Avatar, IconButton, Menu, copy, roomHash, useToasts, type MenuItem } from '../ui.tsx';
import { go } from './Dialogs.tsx';

export function Panel({ view, title, onClose }: { view: RoomView; title: string; onClose: () => void }): ReactNode {
  const { t, n } = useI18n();
  const store = useStarling();
  const toasts = useToasts();
  const mine = rank[view.role ?? 'member'];
  const report = (reply: Ack, said = t('mod.done')) => { if (reply.ok) toasts.say(said); else toasts.fault(reply.error); };
  const invite = async () => {
    const reply = await store.call('room:invite', { roomId: view.id, uses: 25 });
    if (!reply.ok) return toasts.fault(reply.error);
    await copy(`${location.href.split('#')[0]}#/i/${encodeURIComponent(view.id)}/${encodeURIComponent(reply.invite)}`);
    return toasts.say(t('panel.inviteCopied'));
  };
  return (
    <aside className="panel" aria-label={t('room.details')} id="panel">
      <header className="panel-head"><h2>{title}</h2><IconButton icon="close" label={t('close')} onClick={onClose} /></header>
      <div className="panel-body">
        {mine >= 1 && view.kind !== 'direct' ? <Settings key={view.info?.version} view={view} report={report} /> : view.topic ? <p className="topic">{view.topic}</p> : null}
        {mine >= 1 && view.kind !== 'direct' && !view.archived && (
          <div className="panel-actions">
            <button type="button" onClick={() => void invite()}>{t('panel.inviteMake')}</button>
            <AddMember roomId={view.id} report={report} />
          </div>
        )}
        <Pins view={view} />
        <Members view={view} mine={mine} report={report} />
        {view.kind !== 'direct' && (
          <div className="panel-actions danger-zone">
            <button type="button" onClick={() => void store.leave(view.id).then((reply) => { if (reply.ok) location.hash = ''; else toasts.fault(reply.error); })}>{t('room.leave')}</button>
            {mine >= 1 && !view.archived && <Sure label={t('panel.archive')} act={() => void store.call('room:archive', view.id).then((r) => report(r))} />}
            {mine >= 2 && <Sure label={t('panel.delete')} act={() => void store.call('room:delete', view.id).then((r) => report(r))} />}
          </div>
        )}
        <p className="muted small">{n('room.members', view.info?.memberCount ?? 1)} · {view.id}</p>
      </div>
    </aside>
  );
}

function Sure({ label, act }: { label: string; act: () => void }): ReactNode {
  const { t } = useI18n();
  const [asked, setAsked] = useState(false);
  return <button type="button" className="danger" onBlur={() => setAsked(false)} onClick={() => { if (asked) act(); setAsked(!asked); }}>{asked ? t('panel.sure') : label}</button>;
}

function Settings({ view, report }: { view: RoomView; report: (reply: Ack, said?: string) => void }): ReactNode {
  const { t } = useI18n();
  const store = useStarling();
  const { info } = view;
  const submit = (e: FormEvent<HTMLFormElement>) => {
    e.preventDefault();
    const { name, topic, slow, send } = Object.fromEntries(new FormData(e.currentTarget)) as Record<string, string>;
    void store.call('room:update', { roomId: view.id, profile: { name, topic }, settings: { slowModeMs: Number(slow) * 1000, send: send as Role }, ifVersion: info?.version }).then((r) => report(r, t('panel.saved')));
  };
  if (!info) return null;
  return (
    <details className="settings">
      <summary>{t('panel.about')}{view.topic ? <span className="muted"> · {view.topic}</span> : null}</summary>
      <form className="form" onSubmit={submit}>
        <label><span>{t('panel.name')}</span><input name="name" defaultValue={info.profile.name ?? ''} maxLength={200} /></label>
        <label><span>{t('panel.topic')}</span><input name="topic" defaultValue={info.profile.topic ?? ''} maxLength={1000} /></label>
        <label><span>{t('panel.slow')}</span><input name="slow" type="number" min="0" max="21600" defaultValue={(info.settings.slowModeMs ?? 0) / 1000} /></label>
        <label><span>{t('panel.whoSends')}</span>
          <select name="send" defaultValue={info.settings.send ?? 'member'}>
            {roles.toReversed().filter((r) => rank[r] <= rank[view.role ?? 'member']).map((r) => <option key={r} value={r}>{t(`role.${r}`)}</option>)}
          </select>
        </label>
        <div className="buttons"><button type="submit" className="primary">{t('panel.save')}</button></div>
      </form>
    </details>
  );
}

function AddMember({ roomId, report }: { roomId: string; report: (reply: Ack) => void }): ReactNode {
  const { t } = useI18n();
  const store = useStarling();
  const [id, setId] = useState('');
  const add = (e: FormEvent) => {
    e.preventDefault();
    void store.call('room:add', { roomId, userIds: [id.trim()] }).then((reply) => {
      const failed = reply.ok ? reply.failed[0] : undefined;
      report(failed ? { ok: false, error: { code: 'forbidden', message: failed.reason, reason: failed.reason } } : reply);
      if (reply.ok && !failed) setId('');
    });
  };
  return (
    <form className="inline-form" onSubmit={add}>
      <input value={id} onChange={(e) => setId(e.target.value)} placeholder={t('panel.addHint')} aria-label={t('panel.add')} required list="people" autoComplete="off" />
      <datalist id="people">{store.people.slice(0, 50).map((p) => <option key={p.id} value={p.id}>{p.name}</option>)}</datalist>
      <button type="submit">{t('panel.addDo')}</button>
    </form>
  );
}

/** The pinned messages: those that the device has are followed, others are asked for. */
function Pins({ view }: { view: RoomView }): ReactNode {
  const { t } = useI18n();
  const store = useStarling();
  const [list, setList] = useState<readonly Message[]>([]);
  const here = view.messages.filter((m) => m.pinnedAt).map((m) => m.id).join();
  useEffect(() => {
    void store.call('message:pins', { roomId: view.id, limit: 50 }).then((reply) => { if (reply.ok) setList(reply.messages); });
  }, [store, view.id, here]);
  if (list.length === 0) return null;
  return (
    <section>
      <h3>{t('panel.pins')}</h3>
      <ul>
        {list.map((m) => <li key={m.id}><button type="button" className="pin" onClick={() => { location.hash = roomHash(view.id, String(m.seq)); }}><strong><bdi>{m.sender.name}</bdi></strong><span className="muted" dir="auto">{m.content}</span></button></li>)}
      </ul>
    </section>
  );
}

function Members({ view, mine, report }: { view: RoomView; mine: number; report: (reply: Ack) => void }): ReactNode {
  const { t } = useI18n();
  const store = useStarling();
  const [list, setList] = useState<Member[]>([]);
  const [next, setNext] = useState<string>();
  const [query, setQuery] = useState('');
  const load = useCallback(async (after?: string) => {
    const reply = await store.members(view.id, query, after);
    if (!reply.ok) return;
    setList((old) => (after ? [...old, ...reply.members] : reply.members));
    setNext(reply.next);
  }, [store, view.id, query]);
  useEffect(() => {
    const timer = setTimeout(() => void load(), query ? 200 : 0);
    const stop = store.subscribe(`members:${view.id}`, () => void load());
    return () => { clearTimeout(timer); stop(); };
  }, [load, store, view.id, query]);
  const presence = usePresence(list.slice(0, 300).map((m) => m.userId));
  const sorted = [...list].sort((a, b) => rank[b.role] - rank[a.role] || Number(presence.get(b.userId)?.online ?? false) - Number(presence.get(a.userId)?.online ?? false) || a.name.localeCompare(b.name));

  const items = (m: Member): (MenuItem | null)[] => {
    const roomId = view.id;
    const { userId } = m;
    const act = (call: () => Promise<Ack>) => () => void call().then((r) => { report(r); void load(); });
    const over = mine >= 1 && view.kind !== 'direct' && (rank[m.role] < mine || mine === 2) && m.userId !== store.me.id;
    const hour = () => Date.now() + 3_600_000;
    return [
      m.userId !== store.me.id ? { label: t('mod.message'), icon: 'message', act: () => void store.openDirect([m.userId]).then((r) => { if (r.ok) go(r.room.roomId); else report(r); }) } : null,
      ...roles.map((role) => (over && m.role !== 'guest' && role !== m.role && rank[role] <= mine
        ? { label: t(({ owner: 'mod.makeOwner', moderator: 'mod.makeModerator', member: 'mod.makeMember' } as const)[role]), act: act(() => store.call('room:set-role', { roomId, userId, role })) } : null)),
      over ? { label: t('mod.mute'), icon: 'bellOff', act: act(() => store.call('room:mute', { roomId, userId, until: hour() })) } : null,
      over ? { label: t('mod.unmute'), act: act(() => store.call('room:unmute', { roomId, userId })) } : null,
      over ? { label: t('mod.remove'), icon: 'exit', danger: true, act: act(() => store.call('room:remove', { roomId, userIds: [userId] })) } : null,
      over ? { label: t('mod.ban'), icon: 'alert', danger: true, act: act(() => store.call('room:ban', { roomId, userId, until: Date.now() + 86_400_000 })) } : null,
      over ? { label: t('mod.banGood'), danger: true, act: act(() => store.call('room:ban', { roomId, userId })) } : null,
      m.userId !== store.me.id ? { label: t('mod.block'), danger: true, act: () => void store.call('user:block', m.userId).then((r) => report(r)) } : null,
    ];
  };
  return (
    <section className="members">
      <h3>{t('panel.members')}</h3>
      <input type="search" className="filter" placeholder={t('panel.search')} aria-label={t('panel.search')} value={query} onChange={(e) => setQuery(e.target.value)} />
      <ul>
        {sorted.map((m) => {
          const online = presence.get(m.userId)?.online ?? m.userId === store.me.id;
          return (
            <li key={m.userId} className="member">
              <Avatar id={m.userId} name={m.name} size={32} online={online} />
              <span className="member-text"><span><bdi>{m.name}</bdi>{m.userId === store.me.id ? ` (${t('room.you')})` : ''}</span><small className="muted">{online ? t('presence.online') : t('presence.offline')}</small></span>
              {m.role !== 'member' && <span className="tag">{t(`role.${m.role}`)}</span>}
              {m.userId !== store.me.id && <Menu label={t('mod.menu', { name: m.name })} items={() => items(m)} />}
            </li>
          );
        })}
      </ul>
      {next && <button type="button" onClick={() => void load(next)}>{t('panel.more')}</button>}
    </section>
  );
}

export function Notifications({ onClose }: { onClose: () => void }): ReactNode {
  const { t, time, day } = useI18n();
  const store = useStarling();
  const { list, unread } = useNotifications();
  const fresh = (n: (typeof list)[number]) => !(n.read ?? n.readAt);
  const [asked, setAsked] = useState(typeof Notification === 'undefined' || Notification.permission !== 'default');
  return (
    <aside className="panel" aria-label={t('note.title')} id="panel">
      <header className="panel-head"><h2>{t('note.title')}</h2><IconButton icon="close" label={t('close')} onClick={onClose} /></header>
      <div className="panel-body">
        {!asked && <button type="button" onClick={() => void Notification.requestPermission().then(() => setAsked(true))}>{t('note.browser')}</button>}
        {unread > 0 && <button type="button" onClick={() => void store.readNotifications(list.filter(fresh).map((n) => n.id))}>{t('note.allRead')}</button>}
        {list.length === 0 && <p className="muted empty">{t('note.none')}</p>}
        <ul className="notes">
          {list.map((note) => (
            <li key={note.id} className={fresh(note) ? 'note fresh' : 'note'}>
              <strong><bdi>{note.title}</bdi></strong>
              {note.body && <p dir="auto">{note.body}</p>}
              <time className="muted small" dateTime={note.createdAt}>{day(note.createdAt)}, {time(note.createdAt)}</time>
            </li>
          ))}
        </ul>
      </div>
    </aside>
  );
}

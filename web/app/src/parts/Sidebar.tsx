import type { ReactNode } from 'react';
import type { RoomSummary } from '@starling/client';
import { useConnection, usePresence, useRooms, useStarling } from '@starling/react';
import { setTheme, theme } from '../config.ts';
import { languages, useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { Avatar, IconButton, Menu, roomHash } from '../ui.tsx';
import { Mark } from './Auth.tsx';

/** The name of a room as a reader sees it: that of a direct room are the others in it. */
export function useTitle(): (room: Pick<RoomSummary, 'id' | 'kind' | 'name' | 'partners'>) => string {
  const store = useStarling();
  return (room) => (room.kind === 'direct' && room.partners.length > 0 ? room.partners.map((id) => store.nameOf(id)).join(', ') : room.name);
}

export function Sidebar({ current, open, onSwitch, onCreate, onDirect, onKeys, onDrawer, onSignOut }: {
  current?: string; open: boolean; onSwitch: () => void; onCreate: () => void; onDirect: () => void; onKeys: () => void; onDrawer: () => void; onSignOut: () => void;
}): ReactNode {
  const store = useStarling();
  const rooms = useRooms();
  const title = useTitle();
  const { t, n, setLanguage, language } = useI18n();
  const connection = useConnection();
  const shown = rooms.filter((r) => !r.prefs.hidden || r.id === current);
  const pinned = shown.filter((r) => r.prefs.pinned);
  const direct = shown.filter((r) => r.kind === 'direct' && !r.prefs.pinned);
  const others = shown.filter((r) => r.kind !== 'direct' && !r.prefs.pinned);
  const presence = usePresence(direct.flatMap((r) => r.partners).slice(0, 100));
  const waiting = store.counts.waiting;

  const row = (room: RoomSummary) => {
    const name = title(room);
    const partner = room.kind === 'direct' ? room.partners[0] : undefined;
    const seen = room.id === current && !room.held;
    const unread = seen ? 0 : room.unread;
    return (
      <li key={room.id}>
        <a href={roomHash(room.id)} className={`room${unread && !room.prefs.muted ? ' unread' : ''}${room.prefs.muted ? ' quiet' : ''}`} aria-current={room.id === current ? 'page' : undefined}>
          {partner ? <Avatar id={partner} name={name} size={22} online={presence.get(partner)?.online ?? false} />
            : <span className="room-icon"><Icon name={room.kind === 'private' ? 'lock' : 'hash'} size={16} /></span>}
          <span className="room-name"><bdi>{name}</bdi></span>
          {room.prefs.muted && <Icon name="bellOff" size={14} />}
          {room.mentions > 0 && !seen ? <span className="count mention">@{room.mentions}</span>
            : unread > 0 ? <span className="count" aria-label={n('room.pill', unread)}>{unread > 99 ? '99+' : unread}</span> : null}
        </a>
      </li>
    );
  };
  const group = (name: string, list: RoomSummary[], add?: { label: string; act: () => void }) => (list.length > 0 || add) && (
    <section className="group">
      <div className="group-head"><h2>{name}</h2>{add && <IconButton icon="plus" label={add.label} onClick={add.act} />}</div>
      <ul>{list.map(row)}</ul>
    </section>
  );

  return (
    <nav className={open ? 'sidebar open' : 'sidebar'} aria-label={t('side.menu')} id="sidebar">
      <header className="side-head">
        <Mark size={28} />
        <strong>Starling</strong>
      </header>
      <button type="button" className="search" onClick={onSwitch}>
        <Icon name="search" size={16} /><span>{t('side.search')}</span><kbd>{/Mac|iP/.test(navigator.platform) ? '⌘K' : 'Ctrl K'}</kbd>
      </button>
      <div className="groups">
        {group(t('side.pinned'), pinned)}
        {group(t('side.rooms'), others, { label: t('side.new'), act: onCreate })}
        {shown.length === 0 && <p className="muted empty">{t('side.empty')}</p>}
        {group(t('side.direct'), direct, { label: t('side.newDirect'), act: onDirect })}
      </div>
      <footer className="side-foot">
        <Menu className="account" label={t('side.account')} items={() => [
          ...(['system', 'light', 'dark'] as const).map((mode) => ({ label: `${t('set.theme')}: ${t(`set.${mode}`)}`, icon: ({ system: 'system', light: 'sun', dark: 'moon' } as const)[mode], on: theme() === mode, act: () => setTheme(mode) })),
          ...languages.map((l, i) => ({ label: l.name, line: i === 0, on: l.id === language, act: () => setLanguage(l.id) })),
          { label: t('set.keys'), line: true, icon: 'keyboard' as const, act: onKeys },
          { label: t('set.drawer'), icon: 'code' as const, act: onDrawer },
          { label: t('set.signOut'), line: true, icon: 'exit' as const, danger: true, act: onSignOut },
        ]}>
          <Avatar id={store.me.id} name={store.me.name} size={32} online={connection.status === 'online'} />
          <span className="account-text">
            <span className="account-name">{store.me.name}</span>
            <span className={`conn ${connection.status}`} role="status">{t(`conn.${connection.status}`)}{waiting > 0 && connection.status !== 'online' ? ` · ${n('conn.waiting', waiting)}` : ''}</span>
          </span>
        </Menu>
      </footer>
    </nav>
  );
}

import { useEffect, useMemo, useState, type FormEvent, type KeyboardEvent, type ReactNode } from 'react';
import { useRooms, useStarling } from '@starling/react';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { Avatar, Dialog, faultText, roomHash } from '../ui.tsx';
import { useTitle } from './Sidebar.tsx';

export function go(roomId: string, part?: string): void { location.hash = roomHash(roomId, part); }

/** Finds letters in the order of the query; nearer together and earlier is better. */
function score(text: string, query: string): number {
  const low = text.toLowerCase();
  const at = low.indexOf(query);
  if (at >= 0) return 1000 - at - low.length / 100;
  let from = 0;
  let gaps = 0;
  for (const char of query) {
    const next = low.indexOf(char, from);
    if (next < 0) return -1;
    gaps += next - from;
    from = next + 1;
  }
  return 500 - gaps;
}

export function Switcher({ onClose }: { onClose: () => void }): ReactNode {
  const store = useStarling();
  const rooms = useRooms();
  const title = useTitle();
  const { t } = useI18n();
  const [query, setQuery] = useState('');
  const [chosen, setChosen] = useState(0);
  const [error, setError] = useState('');
  const wanted = query.trim().toLowerCase();
  const choices = useMemo(() => {
    const found = rooms.map((room) => ({ room, score: wanted ? Math.max(score(title(room), wanted), score(room.id, wanted) - 1) : 0 })).filter((r) => r.score >= 0)
      .sort((a, b) => b.score - a.score).slice(0, 12)
      .map(({ room }) => ({ key: room.id, show: <>{room.kind === 'direct' ? <Avatar id={room.partners[0] ?? room.id} name={title(room)} size={22} /> : <Icon name={room.kind === 'private' ? 'lock' : 'hash'} size={16} />}<span dir="auto">{title(room)}</span></>, act: async () => { go(room.id); return true; } }));
    const name = query.trim();
    if (name && !rooms.some((r) => r.id === name)) {
      found.push({ key: ' join', show: <><Icon name="exit" size={16} /><span>{t('switch.join', { name })}</span></>, act: async () => {
        const reply = await store.join(name);
        if (reply.ok) go(name); else setError(faultText(reply.error, t));
        return reply.ok;
      } });
    }
    return found;
  }, [rooms, wanted, query, t]);
  useEffect(() => { setChosen(0); setError(''); }, [query]);
  const pick = async (i: number) => { if (await choices[i]?.act()) onClose(); };
  const keys = (e: KeyboardEvent) => {
    if (e.nativeEvent.isComposing) return;
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault();
      setChosen((chosen + (e.key === 'ArrowDown' ? 1 : choices.length - 1)) % Math.max(1, choices.length));
    } else if (e.key === 'Enter') {
      e.preventDefault();
      void pick(chosen);
    }
  };
  return (
    <Dialog title={t('switch.title')} onClose={onClose} className="switcher" bare>
      <input type="text" role="combobox" aria-expanded="true" aria-controls="switch-list" aria-activedescendant={choices.length ? `switch-${chosen}` : undefined} aria-autocomplete="list"
        value={query} placeholder={t('switch.placeholder')} aria-label={t('switch.placeholder')} onChange={(e) => setQuery(e.target.value)} onKeyDown={keys} autoFocus maxLength={128} />
      {error && <p className="error" role="alert">{error}</p>}
      <ul role="listbox" id="switch-list" aria-label={t('switch.title')}>
        {choices.map((choice, i) => <li key={choice.key} id={`switch-${i}`} role="option" aria-selected={i === chosen} onMouseMove={() => setChosen(i)} onClick={() => void pick(i)}>{choice.show}</li>)}
      </ul>
      {choices.length === 0 && <p className="muted empty">{t('switch.none')}</p>}
    </Dialog>
  );
}

export function CreateRoom({ onClose }: { onClose: () => void }): ReactNode {
  const store = useStarling();
  const { t } = useI18n();
  const [error, setError] = useState('');
  const submit = async (e: FormEvent<HTMLFormElement>) => {
    e.preventDefault();
    const { name = '', topic = '', kind } = Object.fromEntries(new FormData(e.currentTarget)) as Record<string, string>;
    // A public room is found by its id, so it is made of the name; a private one gets an id that nobody can guess.
    const roomId = kind === 'public' ? name.trim().toLowerCase().replace(/\s+/g, '-').slice(0, 128) : undefined;
    const reply = await store.create(kind as 'public' | 'private', name.trim(), { topic: topic.trim() || undefined, roomId });
    if (!reply.ok) return setError(faultText(reply.error, t));
    onClose();
    return go(reply.room.roomId);
  };
  return (
    <Dialog title={t('create.title')} onClose={onClose}>
      <form className="form" onSubmit={(e) => void submit(e)}>
        <label><span>{t('create.name')}</span><input name="name" required maxLength={100} autoFocus autoComplete="off" /></label>
        <label><span>{t('create.topic')} <em className="muted">({t('auth.optional')})</em></span><input name="topic" maxLength={500} autoComplete="off" /></label>
        <fieldset className="choices">
          <legend className="sr">{t('create.title')}</legend>
          <label><input type="radio" name="kind" value="public" defaultChecked /><Icon name="hash" /><span><strong>{t('create.public')}</strong><small>{t('create.publicHint')}</small></span></label>
          <label><input type="radio" name="kind" value="private" /><Icon name="lock" /><span><strong>{t('create.private')}</strong><small>{t('create.privateHint')}</small></span></label>
        </fieldset>
        {error && <p className="error" role="alert">{error}</p>}
        <div className="buttons"><button type="submit" className="primary">{t('create.do')}</button></div>
      </form>
    </Dialog>
  );
}

export function NewDirect({ onClose }: { onClose: () => void }): ReactNode {
  const store = useStarling();
  const { t } = useI18n();
  const [error, setError] = useState('');
  const [to, setTo] = useState('');
  const people = store.people.filter((p) => !to || p.name.toLowerCase().includes(to.toLowerCase())).slice(0, 8);
  const open = async (ids: string[]) => {
    const reply = await store.openDirect(ids);
    if (!reply.ok) return setError(faultText(reply.error, t));
    onClose();
    return go(reply.room.roomId);
  };
  return (
    <Dialog title={t('direct.title')} onClose={onClose}>
      <form className="form" onSubmit={(e) => { e.preventDefault(); void open(to.split(',').map((id) => id.trim()).filter(Boolean)); }}>
        <label><span>{t('direct.who')}</span><input value={to} onChange={(e) => setTo(e.target.value)} required autoFocus autoComplete="off" aria-describedby="direct-hint" /></label>
        <small id="direct-hint" className="muted">{t('direct.hint')}</small>
        {people.length > 0 && <ul className="people">{people.map((p) => <li key={p.id}><button type="button" onClick={() => void open([p.id])}><Avatar id={p.id} name={p.name} size={28} /> {p.name}</button></li>)}</ul>}
        {error && <p className="error" role="alert">{error}</p>}
        <div className="buttons"><button type="submit" className="primary">{t('direct.do')}</button></div>
      </form>
    </Dialog>
  );
}

export function Keys({ onClose }: { onClose: () => void }): ReactNode {
  const { t } = useI18n();
  const all: [string, string][] = [
    [/Mac|iP/.test(navigator.platform) ? '⌘ K' : 'Ctrl K', t('keys.switch')], ['Alt ↓', t('keys.next')], ['Alt ↑', t('keys.previous')], ['Esc', t('keys.newest')], ['↑ ↓', t('keys.messages')],
    ['↑', t('keys.edit')], ['Shift Enter', t('keys.newline')], ['?', t('keys.help')], ['~', t('keys.drawer')],
  ];
  return (
    <Dialog title={t('keys.title')} onClose={onClose}>
      <dl className="keys">{all.map(([key, what]) => <div key={what}><dt>{key.split(' ').map((k) => <kbd key={k}>{k}</kbd>)}</dt><dd>{what}</dd></div>)}</dl>
    </Dialog>
  );
}

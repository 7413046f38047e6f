import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from 'react';
import type { Message, RoomView } from '@starling/client';
import { useConnection, useDraft, useStarling } from '@starling/react';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { rank } from '../roles.ts';
import { IconButton, useToasts } from '../ui.tsx';

const maxBytes = 16_384;
const encoder = new TextEncoder();

interface Option { key: string; text: string; show: ReactNode; userId?: string }

export function Composer({ view, title, replying, editing, onDone, editLast }: {
  view: RoomView; title: string; replying?: Message; editing?: Message; onDone: () => void; editLast: () => void;
}): ReactNode {
  const store = useStarling();
  const { t } = useI18n();
  const toasts = useToasts();
  const [draft, setDraft] = useDraft(view.id);
  const [edited, setEdited] = useState('');
  const area = useRef<HTMLTextAreaElement>(null);
  const listId = useId();
  const [options, setOptions] = useState<Option[]>([]);
  const [chosen, setChosen] = useState(0);
  const asked = useRef(0); // an answer to what was typed before is late
  const [picker, setPicker] = useState(false);
  const mentioned = useRef(new Map<string, string>()); // text → user id
  const online = useConnection().status === 'online';
  const text = editing ? edited : draft;
  const setText = editing ? setEdited : setDraft;
  const over = useMemo(() => (text.length * 3 < maxBytes ? 0 : encoder.encode(text).length - maxBytes), [text]);

  const editingId = editing?.id;
  useEffect(() => {
    if (editing) setEdited(editing.content);
    area.current?.focus({ preventScroll: true });
  }, [editingId, replying?.id]);

  useEffect(() => {
    const box = area.current;
    if (!box) return;
    box.style.height = 'auto';
    box.style.height = `${Math.min(box.scrollHeight, 240)}px`;
  }, [text, view.id]);

  // Slow mode: how long this member has to wait still.
  const slow = rank[view.role ?? 'member'] === 0 ? view.info?.settings.slowModeMs ?? 0 : 0;
  const lastOwn = useMemo(() => (slow ? view.messages.findLast((m) => m.sender.id === store.me.id)?.createdAt : undefined), [slow, view.messages, store]);
  const [now, setNow] = useState(Date.now());
  const wait = lastOwn ? Math.ceil((new Date(lastOwn).getTime() + slow - now) / 1000) : 0;
  useEffect(() => {
    setNow(Date.now());
    if (!lastOwn || new Date(lastOwn).getTime() + slow <= Date.now()) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [lastOwn, slow]);

  const complete = async (value: string, caret: number) => {
    asked.current += 1;
    const turn = asked.current;
    const found = /(?:^|\s)([@:])([\p{L}\p{N}._+-]{1,32})$/u.exec(value.slice(0, caret));
    const [, sign, query = ''] = found ?? [];
    if (sign === ':' && query.length >= 2) {
      const { findEmoji } = await import('../emoji.ts');
      if (turn === asked.current) setOptions(findEmoji(query).map((e) => ({ key: e.char, text: e.char, show: <>{e.char} <span>:{e.names[0]}:</span></> })));
    } else if (sign === '@') {
      const reply = await store.members(view.id, query);
      if (turn === asked.current) setOptions(reply.ok ? reply.members.slice(0, 8).map((m) => ({ key: m.userId, text: `@${m.name}`, show: m.name, userId: m.userId })) : []);
    } else {
      setOptions([]);
    }
    setChosen(0);
  };

  const insert = (option: { text: string; userId?: string }, replace: boolean) => {
    const box = area.current!;
    const caret = box.selectionStart;
    const head = replace ? text.slice(0, caret).replace(/[@:][\p{L}\p{N}._+-]*$/u, '') : text.slice(0, caret);
    if (option.userId) mentioned.current.set(option.text, option.userId);
    const next = `${head}${option.text} `;
    setText(next + text.slice(caret));
    asked.current += 1;
    setOptions([]);
    requestAnimationFrame(() => { box.focus(); box.setSelectionRange(next.length, next.length); });
  };

  const send = async () => {
    const content = text.trim();
    if (!content || over > 0) return;
    if (editing) {
      onDone();
      const reply = await store.edit(editing, content);
      if (!reply.ok) toasts.fault(reply.error);
      return;
    }
    const users = [...mentioned.current].filter(([name]) => content.includes(name)).map(([, id]) => id);
    mentioned.current.clear();
    asked.current += 1;
    setOptions([]);
    void store.send(view.id, content, { replyTo: replying, mentions: users.length > 0 ? { users } : undefined, format: 'markdown' }).catch((err: Error) => toasts.say(err.message, { bad: true }));
    onDone();
  };

  const keys = (e: KeyboardEvent<HTMLTextAreaElement>) => {
    if (e.nativeEvent.isComposing || e.keyCode === 229) return; // an input method takes this key
    if (options.length > 0) {
      if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
        e.preventDefault();
        setChosen((chosen + (e.key === 'ArrowDown' ? 1 : options.length - 1)) % options.length);
        return;
      }
      if (e.key === 'Enter' || e.key === 'Tab') {
        e.preventDefault();
        insert(options[chosen]!, true);
        return;
      }
      if (e.key === 'Escape') {
        e.stopPropagation();
        setOptions([]);
        return;
      }
    }
    if (e.key === 'Enter' && !e.shiftKey) {
      e.preventDefault();
      void send();
    } else if (e.key === 'ArrowUp' && text === '' && !e.altKey) {
      e.preventDefault();
      editLast();
    } else if (e.key === 'Escape' && (editing || replying)) {
      e.stopPropagation();
      onDone();
    }
  };

  const blocked = view.archived ? t('room.archived')
    : rank[view.role ?? 'member'] < rank[view.info?.settings.send ?? 'member'] ? t('room.sendRole')
    : undefined;
  if (blocked) return <p className="composer-blocked">{blocked}</p>;
  return (
    <div className="composer">
      {(editing || replying) && (
        <div className="composer-context">
          <Icon name={editing ? 'edit' : 'reply'} size={16} />
          <span>{editing ? t('composer.edit') : t('msg.replyTo', { name: replying!.sender.name })}{replying && !editing ? <em> {replying.content.slice(0, 80)}</em> : null}</span>
          <IconButton icon="close" label={t('composer.cancel')} onClick={onDone} />
        </div>
      )}
      {options.length > 0 && (
        <ul className="completion" role="listbox" id={listId} aria-label={t('composer.emoji')}>
          {options.map((option, i) => (
            <li key={option.key} role="option" id={`${listId}-${i}`} aria-selected={i === chosen} onMouseDown={(e) => { e.preventDefault(); insert(option, true); }}>{option.show}</li>
          ))}
        </ul>
      )}
      <div className="composer-box">
        <textarea ref={area} rows={1} value={text} dir={text ? 'auto' : undefined} placeholder={t('composer.placeholder', { name: title })} aria-label={t('composer.placeholder', { name: title })} title=""
          aria-autocomplete="list" aria-controls={options.length > 0 ? listId : undefined}
          aria-activedescendant={options.length > 0 ? `${listId}-${chosen}` : undefined}
          onChange={(e) => {
            setText(e.target.value);
            if (!editing && e.target.value && online) store.typing(view.id, true);
            if (!editing && !e.target.value) store.typing(view.id, false);
            void complete(e.target.value, e.target.selectionStart);
          }}
          onKeyDown={keys} onBlur={() => setTimeout(() => setOptions([]), 150)} />
        {over > 0 && <span className="over" role="alert">{t('composer.tooLong', { n: over })}</span>}
        <div className="picker-root">
          <IconButton icon="smile" label={t('composer.emoji')} aria-expanded={picker} aria-haspopup="dialog" onClick={() => setPicker(!picker)} />
          {picker && <Picker onPick={(char) => insert({ text: char }, false)} onClose={() => setPicker(false)} />}
        </div>
        <button type="button" className="send" disabled={!text.trim() || over > 0 || wait > 0} onClick={() => void send()} aria-label={wait > 0 ? t('composer.slow', { n: wait }) : t('composer.send')} title={t('composer.hint')}>
          {wait > 0 ? <span>{wait}</span> : <Icon name="send" />}
        </button>
      </div>
    </div>
  );
}

function Picker({ onPick, onClose }: { onPick: (char: string) => void; onClose: () => void }): ReactNode {
  const { t } = useI18n();
  const [all, setAll] = useState<{ char: string; names: string[] }[]>([]);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    void import('../emoji.ts').then(({ emoji }) => setAll(emoji));
    const away = (e: Event) => { if (!root.current?.parentElement?.contains(e.target as Node)) onClose(); };
    document.addEventListener('pointerdown', away);
    return () => document.removeEventListener('pointerdown', away);
  }, []);
  useEffect(() => { root.current?.querySelector('button')?.focus(); }, [all]);
  const keys = (e: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 8, ArrowUp: -8 }[e.key];
    if (e.key === 'Escape') { e.stopPropagation(); onClose(); }
    if (step === undefined) return;
    e.preventDefault();
    const buttons = [...root.current!.querySelectorAll('button')];
    buttons[buttons.indexOf(document.activeElement as HTMLButtonElement) + step]?.focus();
  };
  return (
    <div className="picker" role="dialog" aria-label={t('composer.emoji')} ref={root} onKeyDown={keys}>
      {all.map((e) => <button key={e.char} type="button" aria-label={e.names[0]} title={`:${e.names[0]}:`} onClick={() => { onPick(e.char); onClose(); }}>{e.char}</button>)}
    </div>
  );
}

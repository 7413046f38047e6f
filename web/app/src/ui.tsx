// Small parts that the others are made of.

import { createContext, useCallback, useContext, useEffect, useId, useMemo, useRef, useState, type ReactNode, type KeyboardEvent } from 'react';
import { useI18n } from './i18n/index.tsx';
import { Icon, type IconName } from './icons.tsx';
import type { Fault } from '@starling/client';
import type { Key } from './i18n/en.ts';
import en from './i18n/en.ts';

export function hueOf(id: string): number {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)!) % 3600;
  return hash / 10;
}

export function Avatar({ id, name, size = 36, online }: { id: string; name: string; size?: number; online?: boolean }): ReactNode {
  const initials = name.trim().split(/\s+/).slice(0, 2).map((word) => [...word][0] ?? '').join('').toUpperCase() || '?';
  return (
    <span className="avatar" style={{ '--hue': hueOf(id), '--size': `${size}px` } as React.CSSProperties} aria-hidden="true">
      {initials}
      {online !== undefined && <span className={online ? 'dot on' : 'dot'} />}
    </span>
  );
}

export function IconButton({ icon, label, onClick, pressed, badge, className = '', ...more }: {
  icon: IconName; label: string; onClick?: () => void; pressed?: boolean; badge?: number; className?: string; disabled?: boolean; type?: 'submit' | 'button'; tabIndex?: number;
  'aria-expanded'?: boolean; 'aria-controls'?: string; 'aria-haspopup'?: 'menu' | 'dialog'; id?: string;
}): ReactNode {
  return (
    <button type="button" className={`icon-button ${className}`} aria-label={badge ? `${label} (${badge})` : label} title={label} aria-pressed={pressed} onClick={onClick} {...more}>
      <Icon name={icon} />
      {badge ? <span className="badge" aria-hidden="true">{badge > 99 ? '99+' : badge}</span> : null}
    </button>
  );
}

/** A modal dialog of the platform: it keeps the focus, and Escape closes it. */
export function Dialog({ title, onClose, children, className = '', bare }: { title: string; onClose: () => void; children: ReactNode; className?: string; bare?: boolean }): ReactNode {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  const { t } = useI18n();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog?.showModal();
    dialog?.querySelector<HTMLElement>('input, textarea')?.focus(); // not the button that closes it
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} className={`dialog ${className}`} aria-labelledby={id} onCancel={(e) => { e.preventDefault(); onClose(); }}
      onClick={(e) => { if (e.target === ref.current) onClose(); }}>
      <div className="dialog-body">
        <header className={bare ? 'hidden' : 'dialog-head'}>
          <h2 id={id}>{title}</h2>
          {!bare && <IconButton icon="close" label={t('close')} onClick={onClose} />}
        </header>
        {children}
      </div>
    </dialog>
  );
}

export interface MenuItem { label: string; icon?: IconName; danger?: boolean; on?: boolean; /** Stands off from the one before. */ line?: boolean; act: () => void }

/** A button with a menu, by mouse and by keyboard. */
export function Menu({ label, icon = 'dots', items, children, className }: { label: string; icon?: IconName; items: () => (MenuItem | null)[]; children?: ReactNode; className?: string }): ReactNode {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return undefined;
    const away = (e: Event) => { if (!root.current?.contains(e.target as Node)) setOpen(false); };
    document.addEventListener('pointerdown', away);
    list.current?.querySelector<HTMLElement>('[role^=menuitem]')?.focus();
    return () => document.removeEventListener('pointerdown', away);
  }, [open]);
  const keys = (e: KeyboardEvent) => {
    const all = [...(list.current?.querySelectorAll<HTMLElement>('[role^=menuitem]') ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (to !== undefined) {
      e.preventDefault();
      all.at(to % all.length)?.focus();
    } else if (e.key === 'Escape' || e.key === 'Tab') {
      if (e.key === 'Escape') e.stopPropagation();
      setOpen(false);
      root.current?.querySelector('button')?.focus();
    }
  };
  return (
    <div className={`menu-root ${className ?? ''}`} ref={root}>
      {children
        ? <button type="button" className="menu-button" aria-haspopup="menu" aria-expanded={open} onClick={() => setOpen(!open)}>{children}<span className="sr">{label}</span></button>
        : <IconButton icon={icon} label={label} aria-haspopup="menu" aria-expanded={open} onClick={() => setOpen(!open)} />}
      {open && (
        <div className="menu" role="menu" aria-label={label} ref={list} onKeyDown={keys}>
          {items().filter((i) => i !== null).map((item) => (
            <button key={item.label} type="button" role={item.on === undefined ? 'menuitem' : 'menuitemcheckbox'} aria-checked={item.on} className={`${item.danger ? 'danger' : ''}${item.line ? ' line' : ''}`}
              onClick={() => { setOpen(false); item.act(); }}>
              {item.icon && <Icon name={item.icon} size={16} />}
              <span>{item.label}</span>
              {item.on && <Icon name="check" size={16} />}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

interface Toast { id: number; text: string; bad?: boolean; undo?: { label: string; act: () => void } }
interface Toasts { say(text: string, more?: { bad?: boolean; undo?: Toast['undo']; ms?: number }): void; fault(fault: Fault): void }
const ToastContext = createContext<Toasts | null>(null);

export function useToasts(): Toasts { return useContext(ToastContext)!; }

export function ToastProvider({ children }: { children: ReactNode }): ReactNode {
  const [list, setList] = useState<Toast[]>([]);
  const next = useRef(0);
  const { t } = useI18n();
  const say = useCallback<Toasts['say']>((text, { bad, undo, ms = 5000 } = {}) => {
    next.current += 1;
    const id = next.current;
    setList((all) => [...all.slice(-2), { id, text, bad, undo }]);
    setTimeout(() => setList((all) => all.filter((toast) => toast.id !== id)), ms);
  }, []);
  const toasts = useMemo<Toasts>(() => ({ say, fault: (fault) => say(faultText(fault, t), { bad: true }) }), [say, t]);
  return (
    <ToastContext.Provider value={toasts}>
      {children}
      <div className="toasts" role="status" aria-live="polite">
        {list.map((toast) => (
          <div key={toast.id} className={toast.bad ? 'toast bad' : 'toast'}>
            <span>{toast.text}</span>
            {toast.undo && <button type="button" onClick={() => { toast.undo?.act(); setList((all) => all.filter((other) => other !== toast)); }}>{toast.undo.label}</button>}
          </div>
        ))}
      </div>
    </ToastContext.Provider>
  );
}

/** What to show of a refusal: its reason in the user's language, or else what the server says. */
export function faultText(fault: Fault, t: (key: Key) => string): string {
  for (const word of [fault.reason, fault.code]) if (word && `err.${word}` in en) return t(`err.${word}` as Key);
  return fault.message;
}

export function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea'); // pages that are not secure have no clipboard
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
  return Promise.resolve();
}

export function linkTo(roomId: string, part?: string): string {
  return `${location.href.split('#')[0]}${roomHash(roomId, part)}`;
}

export function roomHash(roomId: string, part?: string): string { return `#/r/${encodeURIComponent(roomId)}${part ? `/${encodeURIComponent(part)}` : ''}`; }

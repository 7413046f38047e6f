import { memo, useRef, useState, type KeyboardEvent, type ReactNode } from 'react';
import type { Ack, Message, Pending } from '@starling/client';
import { useStarling } from '@starling/react';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { Text, isJumbo } from '../text.tsx';
import { Avatar, IconButton, Menu, copy, faultText, linkTo, useToasts } from '../ui.tsx';

export interface RowActions {
  reply(message: Message): void;
  edit(message: Message): void;
  remove(message: Message): void;
  jump(to: { id?: string; seq?: number }): void;
}

export type ReadState = 'queued' | 'sent' | 'committed' | 'read' | 'failed';

function Status({ state }: { state: ReadState }): ReactNode {
  const { t } = useI18n();
  const icon = { queued: 'clock', sent: 'clock', committed: 'check', read: 'checks', failed: 'alert' }[state] as 'clock';
  return <span className={`status ${state}`} role="img" aria-label={t(`msg.${state}`)} title={t(`msg.${state}`)}><Icon name={icon} size={14} /></span>;
}

const quick = ['👍', '❤️', '😂', '🎉', '👀'];

export interface MessageRowProps {
  message: Message;
  grouped: boolean;
  mine: boolean;
  read: boolean;
  highlighted: boolean;
  active: boolean;
  mayModerate: boolean;
  hidden: boolean;
  /** Another value renders again: names and languages. */
  version: unknown;
  actions: RowActions;
}

export const MessageRow = memo(function MessageRow({ message, grouped, mine, read, highlighted, active, mayModerate, hidden, actions }: MessageRowProps): ReactNode {
  const { t, n, time, full } = useI18n();
  const store = useStarling();
  const toasts = useToasts();
  const [hot, setHot] = useState(false);
  const pressed = useRef<ReturnType<typeof setTimeout>>(undefined);
  // Where the server did not know the name in time, it has sent the id.
  const { id: senderId, name: said } = message.sender;
  const name = message.system ? t('msg.system') : said && said !== senderId ? said : store.nameOf(senderId);
  const deleted = message.deletedAt !== undefined || hidden;
  const mentioned = !deleted && !mine && (message.mentions?.room === true || (message.mentions?.users ?? []).includes(store.me.id));
  const report = (ack: Ack) => { if (!ack.ok) toasts.fault(ack.error); };
  const toggle = (key: string) => {
    const on = !message.reactions?.some((r) => r.key === key && r.mine);
    void store.react(message, key, on).then(report);
  };
  return (
    <div className={`message${grouped ? ' grouped' : ''}${mine ? ' mine' : ''}${highlighted ? ' highlighted' : ''}${mentioned ? ' mentioned' : ''}`}
      onMouseEnter={() => setHot(true)} onMouseLeave={() => setHot(false)}
      onTouchStart={() => { pressed.current = setTimeout(() => setHot(true), 450); }} onTouchEnd={() => clearTimeout(pressed.current)} onTouchMove={() => clearTimeout(pressed.current)}>
      <div className="gutter">
        {grouped ? <time className="gutter-time" dateTime={message.createdAt} aria-hidden="true">{time(message.createdAt)}</time> : <Avatar id={message.sender.id} name={name} />}
      </div>
      <div className="body">
        {grouped ? <span className="sr">{name}</span> : (
          <div className="from">
            <span className="name">{name}</span>
            {message.system && <span className="tag">{t('msg.system')}</span>}
            <time dateTime={message.createdAt} title={full(message.createdAt)}>{time(message.createdAt)}</time>
          </div>
        )}
        {message.pinnedAt && !deleted && <p className="pinned"><Icon name="pin" size={13} />{t('msg.pinned')}</p>}
        {message.replyTo && !deleted && (
          <button type="button" className="quote" onClick={() => actions.jump({ id: message.replyTo!.id })}>
            <strong>{message.replyTo.sender.name}</strong> <span>{message.replyTo.preview || t('msg.deleted')}</span>
          </button>
        )}
        <div className="line">
          {deleted
            ? <p className="content gone">{t('msg.deleted')}</p>
            : <div className={isJumbo(message.content) ? 'content jumbo' : 'content'} dir="auto"><Text text={message.content} format={message.format} />{message.editedAt && <span className="edited"> ({t('msg.edited')})</span>}</div>}
          {mine && !deleted && <Status state={read ? 'read' : 'committed'} />}
        </div>
        {message.reactions && message.reactions.length > 0 && (
          <ul className="reactions">
            {message.reactions.map((r) => (
              <li key={r.key}><button type="button" className={r.mine ? 'reaction mine' : 'reaction'} aria-pressed={r.mine ?? false} aria-label={n('msg.reacted', r.count, { key: r.key })} onClick={() => toggle(r.key)}>{r.key} <span>{r.count}</span></button></li>
            ))}
          </ul>
        )}
      </div>
      {(hot || active) && !deleted && (
        <div className="toolbar" role="toolbar" aria-label={t('msg.actions')}>
          {quick.slice(0, 3).map((key) => <button key={key} type="button" className="icon-button" aria-label={`${t('msg.react')} ${key}`} onClick={() => toggle(key)}>{key}</button>)}
          <IconButton icon="reply" label={t('msg.reply')} onClick={() => actions.reply(message)} />
          {mine && <IconButton icon="edit" label={t('msg.edit')} onClick={() => actions.edit(message)} />}
          <IconButton icon="copy" label={t('msg.copy')} onClick={() => void copy(message.content).then(() => toasts.say(t('copied')))} />
          <IconButton icon="link" label={t('msg.copyLink')} onClick={() => void copy(linkTo(message.roomId, String(message.seq))).then(() => toasts.say(t('copied')))} />
          <Menu label={t('msg.more')} items={() => [
            mayModerate ? { label: message.pinnedAt ? t('msg.unpin') : t('msg.pin'), icon: 'pin', act: () => void store.pin(message, !message.pinnedAt).then(report) } : null,
            { label: t('msg.unread'), icon: 'unread', act: () => void store.markUnread(message).then(report) },
            mine || mayModerate ? { label: t('msg.delete'), icon: 'trash', danger: true, act: () => actions.remove(message) } : null,
          ]} />
        </div>
      )}
    </div>
  );
});

export function PendingRow({ pending, grouped }: { pending: Pending; grouped: boolean }): ReactNode {
  const store = useStarling();
  const { t, time } = useI18n();
  const failed = pending.state === 'failed';
  const keys = (e: KeyboardEvent) => { if (e.key === 'Enter' && e.target === e.currentTarget && failed) void store.retry(pending); };
  return (
    <div className={`message mine pending${grouped ? ' grouped' : ''}${failed ? ' failed' : ''}`} onKeyDown={keys}>
      <div className="gutter">{grouped ? null : <Avatar id={store.me.id} name={store.me.name} />}</div>
      <div className="body">
        {grouped ? <span className="sr">{store.me.name}</span> : <div className="from"><span className="name">{store.me.name}</span><time>{time(pending.at)}</time></div>}
        {pending.quote && <div className="quote"><strong>{pending.quote.sender.name}</strong> <span>{pending.quote.preview}</span></div>}
        <div className="line">
          <div className={isJumbo(pending.content) ? 'content jumbo' : 'content'} dir="auto"><Text text={pending.content} format={pending.format} /></div>
          <Status state={pending.state} />
        </div>
        {failed && (
          <div className="failure" role="alert">
            <span>{t('msg.failed')}{pending.error ? `: ${faultText(pending.error, t)}` : ''}</span>
            <button type="button" onClick={() => void store.retry(pending)}>{t('msg.retry')}</button>
            <button type="button" onClick={() => void store.discard(pending)}>{t('msg.discard')}</button>
          </div>
        )}
      </div>
    </div>
  );
}

// The developer drawer: what happens on the connection, and buttons that make things go wrong, so that one can watch them being mended.

import { useEffect, useRef, useState, type ReactNode } from 'react';
import type { Trace } from '@starling/client';
import { useConnection, useStarling, useTrace } from '@starling/react';
import { page } from '../config.ts';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { IconButton, copy, useToasts } from '../ui.tsx';

const most = 300;
/** Events that tell how far a room or a reader is, and are no facts of a room. */
const notOfItsSequence = /^(me:|room:activity$|message:read$)/;

type Line = Trace & { n: number };
type Mark = { seq: number; how: 'live' | 'gap' | 'replay' };

export function Drawer({ roomId, onClose }: { roomId?: string; onClose: () => void }): ReactNode {
  const store = useStarling();
  const connection = useConnection();
  const { t } = useI18n();
  const toasts = useToasts();
  const [lines, setLines] = useState<Line[]>([]);
  const [marks, setMarks] = useState<Record<string, Mark[]>>({});
  const [chosen, setChosen] = useState<Line>();
  const [counts, setCounts] = useState(store.counts);
  const [connects, setConnects] = useState<{ at: number; gateway?: string; socketId?: string; recovered: boolean }[]>([]);
  const buffer = useRef<Line[]>([]);
  const number = useRef(0);
  const replaying = useRef(0);

  useTrace((trace) => {
    number.current += 1;
    buffer.current.push({ ...trace, n: number.current });
  });
  useEffect(() => {
    const timer = setInterval(() => {
      setCounts(store.counts);
      if (buffer.current.length === 0) return;
      const fresh = buffer.current.splice(0);
      setLines((old) => [...old, ...fresh].slice(-most));
      setMarks((old) => {
        const next = { ...old };
        for (const line of fresh) {
          const list = line.event === 'room:history' && Array.isArray(line.detail) ? line.detail as { roomId: string; seq: number }[] : line.dir === 'in' && line.roomId && line.seq !== undefined && !notOfItsSequence.test(line.event) ? [{ roomId: line.roomId, seq: line.seq }] : [];
          for (const { roomId: id, seq } of list) {
            const room = next[id] ?? [];
            if (room.some((m) => m.seq === seq)) continue;
            const last = room.at(-1)?.seq;
            const marked: Mark[] = [];
            if (last !== undefined) for (let gap = last + 1; gap < seq && gap > seq - 40; gap += 1) marked.push({ seq: gap, how: 'gap' });
            const replay = line.event === 'room:history' || Date.now() < replaying.current;
            next[id] = [...room.filter((m) => m.seq !== seq), ...marked, { seq, how: replay ? 'replay' as const : 'live' as const }].sort((a, b) => a.seq - b.seq).slice(-60);
          }
        }
        return next;
      });
    }, 200);
    return () => clearInterval(timer);
  }, [store]);
  useEffect(() => {
    if (connection.connects === 0) return;
    replaying.current = Date.now() + 600;
    setConnects((all) => [...all, { at: Date.now(), gateway: connection.gateway, socketId: connection.socketId, recovered: connection.recovered }].slice(-6));
  }, [connection.connects]);

  const log = useRef<HTMLOListElement>(null);
  useEffect(() => {
    const box = log.current;
    if (box && box.scrollHeight - box.scrollTop - box.clientHeight < 60) box.scrollTop = box.scrollHeight;
  }, [lines]);

  const kill = async () => {
    const reply = await fetch('dev/restart-gateway', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ gateway: connection.gateway }) }).catch(() => undefined);
    toasts.say(reply?.ok ? `${connection.gateway ?? 'The gateway'} restarts` : 'That did not work', { bad: !reply?.ok });
  };
  const simulate = async (members: number) => {
    const reply = await fetch('dev/members', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ room: roomId, members }) }).catch(() => undefined);
    toasts.say(reply?.ok ? `${members} simulated members in ${roomId}, for ten minutes` : 'That did not work', { bad: !reply?.ok });
  };
  const code = (line: Line) => `const answer = await socket.emitWithAck(${JSON.stringify(line.event)}${line.detail === undefined ? '' : `, ${JSON.stringify(line.detail)}`});`;
  const acks = lines.filter((l) => l.dir === 'ack' && l.ms !== undefined).map((l) => l.ms!).sort((a, b) => a - b);
  const lost = Math.max(0, counts.sent - counts.committed - counts.waiting);
  return (
    <section className="drawer" aria-label={t('set.drawer')}>
      <header className="drawer-head">
        <h2>{t('set.drawer')}</h2>
        <span className={`conn ${connection.status}`}>{t(`conn.${connection.status}`)}</span>
        <code>{connection.gateway ?? '?'}</code><code>{connection.transport ?? '?'}</code><code title="socket.id">{connection.socketId ?? '?'}</code>
        <span className="muted">{connection.leader ? 'this tab holds the connection' : 'another tab holds the connection'}</span>
        <IconButton icon="close" label={t('close')} onClick={onClose} />
      </header>
      <div className="drawer-row">
        <button type="button" onClick={() => store.trouble('cut')}>Cut the connection</button>
        <button type="button" onClick={() => store.trouble('away', 30_000)}>Offline for 30 s</button>
        <button type="button" onClick={() => store.trouble('drop', 'message:send')}>Drop the next ack</button>
        <button type="button" onClick={() => store.trouble('expire')}>Expire the token</button>
        <button type="button" onClick={() => store.trouble('slow', 20_000)}>Read slowly for 20 s</button>
        {page.dev && roomId && <Crowd key={roomId} simulate={simulate} />}
        {page.dev && <button type="button" className="danger" onClick={() => void kill()}>Restart my gateway</button>}
        <span className="counter"><b>sent {counts.sent}</b> <b>committed {counts.committed}</b> <b>delivered {counts.delivered}</b> <b className={lost ? 'bad' : 'good'}>lost {lost}</b> <b className={counts.twice ? 'bad' : 'good'}>twice {counts.twice}</b></span>
        {acks.length > 0 && <span className="muted">ack p50 {acks[acks.length >> 1]!.toFixed(0)} ms, max {acks.at(-1)!.toFixed(0)} ms</span>}
      </div>
      {roomId && (
        <div className="strip" role="img" aria-label={`Sequence of ${roomId}: ${(marks[roomId] ?? []).map((m) => `${m.seq} ${m.how}`).slice(-20).join(', ')}`}>
          {(marks[roomId] ?? []).map((m) => <span key={m.seq} className={m.how} title={`${m.seq}: ${m.how}`}>{m.seq % 5 === 0 ? m.seq : ''}</span>)}
        </div>
      )}
      <div className="drawer-main">
        <ol className="log" ref={log} tabIndex={0} aria-label="Events">
          {lines.length === 0 && <li className="muted nothing-yet">Nothing has come or gone since this was opened. Say something, or press a button above.</li>}
          {lines.map((line) => (
            <li key={line.n} className={line.dir}>
              <button type="button" onClick={() => setChosen(line)}>
                <time>{new Date(line.at).toISOString().slice(11, 23)}</time>
                <span className="arrow" aria-hidden="true">{{ in: '↓', out: '↑', ack: '✓', state: '•' }[line.dir]}</span>
                <span className="event">{line.event}</span>
                <span className="muted">{line.roomId ?? ''}{line.seq === undefined ? '' : ` #${line.seq}`}{line.ms === undefined ? '' : ` ${line.ms.toFixed(0)} ms`}{line.ok === false ? ' refused' : ''}</span>
              </button>
            </li>
          ))}
        </ol>
        <div className="detail">
          {chosen ? (
            <>
              <pre tabIndex={0} aria-label="Payload">{JSON.stringify(chosen.detail, null, 2) ?? ''}</pre>
              {chosen.dir === 'out' && <button type="button" onClick={() => void copy(code(chosen)).then(() => toasts.say(t('copied')))}><Icon name="copy" size={14} /> Copy as code</button>}
            </>
          ) : (
            <ul className="connects">{connects.map((c) => <li key={c.at}><time>{new Date(c.at).toISOString().slice(11, 19)}</time> <code>{c.gateway}</code> {c.recovered ? 'recovered, the same socket.id' : 'a fresh session'}</li>)}</ul>
          )}
        </div>
      </div>
    </section>
  );
}

/** Asks for simulated members of the room, once the slider is let go. */
function Crowd({ simulate }: { simulate: (members: number) => Promise<void> }): ReactNode {
  const [members, setMembers] = useState(0);
  const asked = useRef(0);
  const ask = () => {
    if (asked.current === members) return;
    asked.current = members;
    void simulate(members);
  };
  return (
    <label className="crowd">Simulated members <input type="range" min={0} max={1000} step={50} value={members} onChange={(e) => setMembers(Number(e.target.value))} onPointerUp={ask} onKeyUp={ask} onBlur={ask} /> <output>{members}</output></label>
  );
}

// Two people side by side, each with a login and a connection of their own: what one of them does is seen at the other at once.

import { useEffect, useState, type ReactNode } from 'react';
import { RestError, Session } from '@starling/client';
import type { DemoAccount } from '../config.ts';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';
import { Mark } from './Auth.tsx';

const room = 'welcome';

/** Signs an account in, unless this browser has a login of it that the server still knows. */
async function enter({ username, password }: DemoAccount): Promise<void> {
  const session = new Session({ profile: username });
  if (await session.token(true) === null) await session.signIn(username, password);
}

export function Pair({ people, alone }: { people: readonly DemoAccount[]; alone: () => void }): ReactNode {
  const { t } = useI18n();
  const [ready, setReady] = useState(false);
  const [error, setError] = useState<string>();
  useEffect(() => {
    // Where an account cannot come in, one can sign in as somebody else.
    Promise.all(people.map(enter)).then(() => setReady(true), (err: Error) => setError(err instanceof RestError ? err.message : t('error.network')));
  }, [people]);
  return (
    <div className="pair">
      <header className="pair-head">
        <Mark size={26} />
        <h1>Starling</h1>
        <p className="muted">{t('pair.hint')}</p>
        <button type="button" onClick={alone}>{t('pair.alone')}</button>
      </header>
      <main className="pair-sides">
        {error ? <div className="nothing" role="alert"><Icon name="alert" size={36} /><p>{error}</p></div>
          : ready ? people.map((p) => <iframe key={p.username} title={p.name} src={`?profile=${encodeURIComponent(p.username)}#/r/${room}`} />)
          : <div className="boot" role="status" aria-label={t('loading')}><span className="spinner" /></div>}
      </main>
    </div>
  );
}

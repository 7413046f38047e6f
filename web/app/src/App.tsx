import { Suspense, lazy, useEffect, useMemo, useState, type ReactNode } from 'react';
import { io } from 'socket.io-client';
import { Session, Starling, type Connect, type StoreOptions } from '@starling/client';
import { StarlingProvider, useSession, useStore } from '@starling/react';
import { Auth } from './parts/Auth.tsx';
import { Boundary } from './parts/Boundary.tsx';
import { Chat } from './parts/Chat.tsx';
import { pair, profile, socketPath } from './config.ts';
import { useI18n } from './i18n/index.tsx';

const session = new Session({ profile });
const Pair = lazy(async () => ({ default: (await import('./parts/Pair.tsx')).Pair }));
const aloneKey = 'starling:alone'; // in this tab one is one person

export function App(): ReactNode {
  const user = useSession(session);
  const { t } = useI18n();
  const options = useMemo<StoreOptions | undefined>(() => user && { io: io as unknown as Connect, path: socketPath, tokens: session, name: `starling:${socketPath}:${user.id}` }, [user?.id]);
  const store = useStore(options);
  const [, expose] = useState<Starling>();
  useEffect(() => {
    // For the console, and for tests: the store that this page shows.
    (globalThis as { starling?: Starling }).starling = store;
    expose(store);
  }, [store]);
  const [alone, setAlone] = useState(() => sessionStorage.getItem(aloneKey) !== null);
  const be = (one: boolean) => {
    if (one) sessionStorage.setItem(aloneKey, '1'); else sessionStorage.removeItem(aloneKey);
    setAlone(one);
  };
  useEffect(() => { if (user && parent === window) be(true); }, [user?.id]); // frames of the two share the storage of their tab
  if (!user && pair && !alone) return <Suspense><Pair people={pair} alone={() => be(true)} /></Suspense>;
  if (!user) return <Auth session={session} both={pair && (() => be(false))} />;
  if (!store || store.me.id !== user.id) return <div className="boot" role="status" aria-label={t('loading')}><span className="spinner" /></div>;
  return (
    <StarlingProvider store={store}>
      <Boundary>
        <Chat signOut={async () => {
          await store.forget();
          await session.signOut();
        }} />
      </Boundary>
    </StarlingProvider>
  );
}

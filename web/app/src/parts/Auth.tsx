import { useState, type FormEvent, type ReactNode } from 'react';
import { RestError, type Session } from '@starling/client';
import { page } from '../config.ts';
import { languages, useI18n } from '../i18n/index.tsx';
import { Avatar } from '../ui.tsx';

export function Mark({ size = 40 }: { size?: number }): ReactNode {
  return (
    <svg className="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" fill="var(--accent-solid)" />
      <path d="M7 17c5 0 7-8 12-8 3 0 4 2 4 4l3 2-3 1c-1 5-5 8-10 8 3-1 4-3 4-4-4 1-8 0-10-3z" fill="#fff" />
    </svg>
  );
}

export function Auth({ session, both }: { session: Session; /** Shows two people side by side. */ both?: () => void }): ReactNode {
  const { t, language, setLanguage } = useI18n();
  const [making, setMaking] = useState(false);
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);

  const enter = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setError('');
    try {
      await work();
    } catch (err) {
      setError(err instanceof RestError ? err.message : t('error.network'));
      setBusy(false);
    }
  };
  const submit = (e: FormEvent<HTMLFormElement>) => {
    e.preventDefault();
    const { username = '', password = '', name = '' } = Object.fromEntries(new FormData(e.currentTarget)) as Record<string, string>;
    void enter(() => (making ? session.signUp(username, password, name.trim()) : session.signIn(username, password)));
  };

  return (
    <div className="auth">
      <main className="auth-card">
        <Mark size={48} />
        <h1>{making ? t('auth.create') : t('auth.welcome')}</h1>
        <p className="muted">{t('app.tagline')}</p>
        <form onSubmit={submit}>
          {making && (
            <label>
              <span>{t('auth.name')} <em className="muted">({t('auth.optional')})</em></span>
              <input name="name" autoComplete="name" maxLength={64} />
            </label>
          )}
          <label>
            <span>{t('auth.username')}</span>
            <input name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} required minLength={3} maxLength={32} aria-describedby={making ? 'username-hint' : undefined} autoFocus />
            {making && <small id="username-hint" className="muted">{t('auth.usernameHint')}</small>}
          </label>
          <label>
            <span>{t('auth.password')}</span>
            <input name="password" type="password" autoComplete={making ? 'new-password' : 'current-password'} required minLength={8} maxLength={200} aria-describedby={making ? 'password-hint' : undefined} />
            {making && <small id="password-hint" className="muted">{t('auth.passwordHint')}</small>}
          </label>
          {error && <p className="error" role="alert">{error}</p>}
          <button type="submit" className="primary wide" disabled={busy}>{making ? t('auth.signUp') : t('auth.signIn')}</button>
        </form>
        <p className="muted">
          {making ? t('auth.haveAccount') : t('auth.noAccount')}{' '}
          <button type="button" className="text-button" onClick={() => { setMaking(!making); setError(''); }}>{making ? t('auth.signIn') : t('auth.signUp')}</button>
        </p>
        {page.demo && page.demo.length > 0 && (
          <div className="demo">
            <p className="muted"><span>{t('auth.demo')}</span></p>
            <div className="demo-users">
              {page.demo.map((d) => (
                <button key={d.username} type="button" disabled={busy} onClick={() => void enter(() => session.signIn(d.username, d.password))}>
                  <Avatar id={d.username} name={d.name} size={28} /> {d.name}
                </button>
              ))}
            </div>
            {both && <button type="button" className="text-button" onClick={both}>{t('pair.both')}</button>}
          </div>
        )}
      </main>
      <footer className="auth-foot">
        {languages.map((l) => <button key={l.id} type="button" lang={l.id} className={l.id === language ? 'text-button on' : 'text-button'} aria-pressed={l.id === language} onClick={() => setLanguage(l.id)}>{l.name}</button>)}
      </footer>
    </div>
  );
}

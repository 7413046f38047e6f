import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import en, { type Key } from './en.ts';

export type Language = 'en' | 'de' | 'ar';
export const languages: { id: Language; name: string }[] = [{ id: 'en', name: 'English' }, { id: 'de', name: 'Deutsch' }, { id: 'ar', name: 'العربية' }];
const rtl = new Set<Language>(['ar']);
type Texts = Partial<Record<Key, string>>;
const load: Record<Language, () => Promise<Texts>> = {
  en: async () => en, de: async () => (await import('./de.ts')).default, ar: async () => (await import('./ar.ts')).default,
};

/** A key without its plural form, where it has forms. */
type Base = { [K in Key]: K extends `${infer B}.other` ? B : never }[Key];
type Values = Record<string, string | number>;
export interface I18n {
  language: Language;
  t(key: Key, values?: Values): string;
  /** A text that depends on a number, in the plural forms of the language. */
  n(base: Base, n: number, values?: Values): string;
  time(at: string | number): string;
  day(at: string | number): string;
  full(at: string | number): string;
  setLanguage(language: Language): void;
}

const Context = createContext<I18n | null>(null);

export function useI18n(): I18n {
  const i18n = useContext(Context);
  if (!i18n) throw new Error('useI18n needs an I18nProvider above');
  return i18n;
}

function preferred(): Language {
  const kept = localStorage.getItem('starling:language');
  const wanted = kept ? [kept] : navigator.languages.map((l) => l.slice(0, 2));
  return (wanted.find((l) => languages.some((known) => known.id === l)) ?? 'en') as Language;
}

function fill(text: string, values: Values = {}): string { return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole)); }

export function I18nProvider({ children }: { children: ReactNode }): ReactNode {
  const [wanted, setWanted] = useState<Language>(preferred);
  const [loaded, setLoaded] = useState<{ language: Language; texts: Texts }>();
  useEffect(() => {
    let gone = false;
    void load[wanted]().then((texts) => { if (!gone) setLoaded({ language: wanted, texts }); });
    return () => { gone = true; };
  }, [wanted]);
  useEffect(() => { // another tab has chosen
    const chosen = (event: StorageEvent) => { if (event.key === 'starling:language') setWanted(preferred()); };
    addEventListener('storage', chosen);
    return () => removeEventListener('storage', chosen);
  }, []);
  const i18n = useMemo<I18n | undefined>(() => {
    if (!loaded) return undefined;
    const { language, texts } = loaded;
    document.documentElement.lang = language;
    document.documentElement.dir = rtl.has(language) ? 'rtl' : 'ltr';
    const rules = new Intl.PluralRules(language);
    const region = navigator.languages.find((l) => l.split('-')[0] === language) ?? language; // which may have another clock
    const clock = new Intl.DateTimeFormat(region, { hour: 'numeric', minute: '2-digit' });
    const date = new Intl.DateTimeFormat(region, { weekday: 'long', day: 'numeric', month: 'long' });
    const dateYear = new Intl.DateTimeFormat(region, { day: 'numeric', month: 'long', year: 'numeric' });
    const whole = new Intl.DateTimeFormat(region, { dateStyle: 'full', timeStyle: 'medium' });
    const t = (key: Key, values?: Values) => fill(texts[key] ?? en[key], values);
    return {
      language, t,
      n: (base, n, values) => {
        const form = `${base}.${rules.select(n)}` as Key;
        const key = form in texts || form in en ? form : `${base}.other` as Key;
        return t(key, { n: new Intl.NumberFormat(language).format(n), ...values });
      },
      time: (at) => clock.format(new Date(at)),
      day: (at) => {
        const when = new Date(at);
        const today = new Date();
        const days = Math.round((new Date(today.toDateString()).getTime() - new Date(when.toDateString()).getTime()) / 86_400_000);
        if (days === 0) return t('day.today');
        if (days === 1) return t('day.yesterday');
        return (days < 200 ? date : dateYear).format(when);
      },
      full: (at) => whole.format(new Date(at)),
      setLanguage: (next) => {
        localStorage.setItem('starling:language', next);
        setWanted(next);
      },
    };
  }, [loaded]);
  return i18n ? <Context.Provider value={i18n}>{children}</Context.Provider> : null;
}

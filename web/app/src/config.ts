// What the gateway says about itself in the page, and settings of this browser.

export interface DemoAccount { username: string; password: string; name: string }

interface Page { path?: string; dev?: boolean; demo?: DemoAccount[] }

function read(): Page {
  try {
    return JSON.parse(document.querySelector<HTMLMetaElement>('meta[name=starling]')?.content ?? '{}') as Page;
  } catch {
    return {};
  }
}

export const page = read();

/** Path of Socket.IO: beside the page, so that it works below a path of a proxy. */
export const socketPath = new URL(page.path ?? 'socket.io/', document.baseURI).pathname;

/** A login beside the usual one: two people in one browser. */
export const profile = new URLSearchParams(location.search).get('profile') ?? undefined;

/** Whether somebody looks at this page; of two that are side by side, at both. */
export function looking(): boolean {
  let shown = document;
  try {
    shown = parent.document;
  } catch { /* a page of elsewhere around this one */ }
  return document.visibilityState === 'visible' && (shown.hasFocus() || document.hasFocus());
}

const wideForTwo = 900; // pixels

/** The two demo accounts that a visitor sees side by side: who comes for the first time, and to no room in particular. */
export const pair = page.demo && page.demo.length > 1 && !profile && !location.hash && parent === window && innerWidth >= wideForTwo ? page.demo.slice(0, 2) : undefined;

export type Theme = 'system' | 'light' | 'dark';

export function theme(): Theme { return (localStorage.getItem('starling:theme') as Theme | null) ?? 'system'; }

export function setTheme(next: Theme): void {
  localStorage.setItem('starling:theme', next);
  applyTheme();
}

export function applyTheme(): void {
  const now = theme();
  if (now === 'system') delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = now;
}

// All tabs look the same.
addEventListener('storage', (event) => { if (event.key === 'starling:theme') applyTheme(); });

// What the gateway says about itself in the page, and settings of this browser.

interface Page { path?: string; dev?: boolean; demo?: { username: string; password: string; name: string }[] }

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

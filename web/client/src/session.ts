// Logins by REST, and the access token of one, renewed before it ends. All tabs of a browser share a login.

import type { User } from './types.ts';

export interface Login { accessToken: string; refreshToken?: string; expiresAt: number; user: User }

/** A refusal by REST. */
export class RestError extends Error {
  readonly status: number;
  readonly code: string;
  readonly retryAfterMs: number | undefined;

  constructor(status: number, code: string, message: string, retryAfterMs?: number) {
    super(message);
    this.name = 'RestError';
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whoever knows the token of the user: a Session, or an application with a login system of its own. */
export interface TokenSource {
  readonly user: User;
  /** The access token; stale says that the server refused the one given last. Null: the user has to log in again. */
  token(stale?: boolean): Promise<string | null>;
  /** When the token ends, in milliseconds since 1970; it is renewed in band before. */
  readonly expiresAt?: number;
}

export interface SessionOptions {
  /** Where the REST interface is; '' is the page's own folder. */
  url?: string;
  /** Keeps the login; localStorage where there is one. */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;
  /** Names the login, so that one browser can hold several. */
  profile?: string;
}

const early = 30_000; // a token is renewed so long before it ends

export class Session implements TokenSource {
  readonly #url: string;
  readonly #storage: SessionOptions['storage'];
  readonly #key: string;
  #login: Login | null;
  #refreshing: Promise<Login> | undefined;
  /** Called when the login has changed or ended, here or in another tab. */
  onchange: (() => void) | undefined;

  constructor(options: SessionOptions = {}) {
    this.#url = (options.url ?? '').replace(/\/?$/, options.url ? '/' : '');
    this.#storage = options.storage ?? (typeof localStorage === 'undefined' ? undefined : localStorage);
    this.#key = `starling:login${options.profile ? `:${options.profile}` : ''}`;
    this.#login = this.#read();
    if (typeof addEventListener === 'function' && !options.storage) {
      addEventListener('storage', (event) => {
        if (event.key !== this.#key) return;
        const before = this.#login?.user.id;
        this.#login = this.#read();
        if (before !== this.#login?.user.id) this.onchange?.();
      });
    }
  }

  get login(): Login | null { return this.#login; }

  get user(): User {
    if (!this.#login) throw new Error('nobody is logged in');
    return this.#login.user;
  }

  get expiresAt(): number | undefined { return this.#login?.expiresAt; }

  signIn(username: string, password: string): Promise<User> { return this.#enter('login', { username, password }); }

  signUp(username: string, password: string, name?: string): Promise<User> {
    return this.#enter('register', { username, password, ...(name ? { name } : {}) });
  }

  async signOut(): Promise<void> {
    const refreshToken = this.#login?.refreshToken;
    this.#keep(null);
    if (refreshToken) await this.post('auth/logout', { refreshToken }).catch(() => undefined); // without a network it ends by itself
  }

  async token(stale = false): Promise<string | null> {
    if (!this.#login) return null;
    if (!stale && this.#login.expiresAt - Date.now() > early) return this.#login.accessToken;
    try {
      return (await this.#refresh(this.#login.accessToken)).accessToken;
    } catch (err) {
      if (err instanceof RestError && (err.status === 400 || err.status === 401)) {
        this.#keep(null);
        return null;
      }
      return this.#login?.accessToken ?? null; // no network: the next try may do
    }
  }

  /** Calls the REST interface as the user. */
  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const token = await this.token();
    return this.#fetch<T>(method, path, body, token ? { authorization: `Bearer ${token}` } : {});
  }

  post<T>(path: string, body: unknown): Promise<T> { return this.#fetch<T>('POST', path, body, {}); }

  async #fetch<T>(method: string, path: string, body: unknown, headers: Record<string, string>): Promise<T> {
    const response = await fetch(`${this.#url}api/v1/${path}`, {
      method, headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json().catch(() => ({})) as { code?: string; message?: string; retryAfterMs?: number };
    if (!response.ok) throw new RestError(response.status, answer.code ?? 'internal', answer.message ?? `The server answered ${response.status}`, answer.retryAfterMs);
    return answer as T;
  }

  async #enter(what: string, body: object): Promise<User> {
    this.#keep(toLogin(await this.post(`auth/${what}`, body)));
    return this.user;
  }

  #refresh(stale: string): Promise<Login> {
    this.#refreshing ??= locked(`${this.#key}:refresh`, async () => {
      const kept = this.#read();
      if (kept && kept.accessToken !== stale && kept.expiresAt - Date.now() > early) return this.#keep(kept); // another tab was first
      const refreshToken = kept?.refreshToken ?? this.#login?.refreshToken;
      if (!refreshToken) throw new RestError(401, 'unauthenticated', 'The login has ended');
      return this.#keep(toLogin(await this.post('auth/refresh', { refreshToken })));
    }).finally(() => { this.#refreshing = undefined; });
    return this.#refreshing;
  }

  #read(): Login | null {
    try {
      return JSON.parse(this.#storage?.getItem(this.#key) ?? 'null') as Login | null;
    } catch {
      return null;
    }
  }

  #keep<L extends Login | null>(login: L): L {
    const before = this.#login?.user.id;
    this.#login = login;
    if (login) this.#storage?.setItem(this.#key, JSON.stringify(login)); else this.#storage?.removeItem(this.#key);
    if (before !== login?.user.id) this.onchange?.();
    return login;
  }
}

function toLogin(answer: { accessToken: string; refreshToken?: string; expiresIn: number; user: User }): Login {
  const { accessToken, refreshToken, expiresIn, user } = answer;
  return { accessToken, refreshToken, user, expiresAt: Date.now() + expiresIn * 1000 };
}

/** Runs work while no other tab does, where the browser has locks. */
async function locked<T>(name: string, work: () => Promise<T>): Promise<T> {
  const locks = typeof navigator === 'undefined' ? undefined : navigator.locks as LockManager | undefined;
  return locks ? locks.request(name, work) as Promise<T> : work();
}

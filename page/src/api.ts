// Asking the server: one shape of error, the session kept fresh, the form's token where it is needed.
//
// A 401 is answered by one refresh and one repeat; what is then still refused is said to `onSignedOut`, which
// shows the sign-in over the page. Nothing here knows what is on the page.

import { read, write } from "./kept.ts";

export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly retryAfter: number | null;

  constructor(status: number, code: string, message: string, retryAfter: number | null = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the server could not be reached at all, so that the same may be sent again. */
  get isNetwork(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }

  /** Whether this thread is not (any more) there. */
  get isGone(): boolean {
    return this.status === 404 && this.code === "unknown_thread";
  }

  /** Whether this server does not know the address at all: it is older than the page. */
  get isMissingRoute(): boolean {
    return (
      (this.status === 404 && this.code === "not_found") ||
      this.status === 405 ||
      (this.status === 400 && this.code === "invalid_thread_id")
    );
  }
}

export const UNREACHABLE = "The server cannot be reached. Trying again.";

/** What the outside tells this module, and what it tells the outside. */
export const session = {
  formToken: "",
  /** Read `/v1/me` again: another tab may have changed the session. */
  reload: async (): Promise<void> => {},
  onSignedOut: (): void => {},
  /** Takes what a refresh answered. */
  onRefreshed: (_me: unknown): void => {},
};

const SAFE = new Set(["GET", "HEAD"]);

function headersOf(method: string, type?: string): Record<string, string> {
  const headers: Record<string, string> = { "X-Branchline-Client": "page", Accept: "application/json" };
  if (type) headers["Content-Type"] = type;
  if (!SAFE.has(method) && session.formToken) headers["X-Branchline-Form"] = session.formToken;
  return headers;
}

async function once(method: string, address: string, body: unknown): Promise<unknown> {
  const json = body === undefined ? undefined : JSON.stringify(body);
  let response: Response;
  try {
    response = await fetch(address, {
      method,
      headers: headersOf(method, json === undefined ? undefined : "application/json"),
      body: json ?? null,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch {
    throw new Problem(0, "unreachable", UNREACHABLE);
  }
  if (response.status === 204) return {};
  const answer: unknown = await response.json().catch(() => ({}));
  if (!response.ok) throw problemOf(response.status, answer, response.headers.get("Retry-After"));
  return answer;
}

export function problemOf(status: number, answer: unknown, retryAfter: string | null = null): Problem {
  const error = (answer as { error?: { code?: string; message?: string } } | null)?.error;
  const seconds = Number(retryAfter);
  return new Problem(
    status,
    error?.code ?? "http_error",
    error?.message ?? `The server answered ${status}. Try again; its log says more.`,
    retryAfter !== null && Number.isFinite(seconds) ? seconds : null,
  );
}

/** Ask. Raises Problem. */
export async function ask<T>(method: string, address: string, body?: unknown): Promise<T> {
  const token = session.formToken;
  try {
    return (await once(method, address, body)) as T;
  } catch (problem) {
    if (!(await repaired(problem, method, token))) throw problem;
  }
  try {
    return (await once(method, address, body)) as T;
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 401) session.onSignedOut();
    throw problem;
  }
}

/** Whether the same request is worth one repeat. Raises Problem when the server cannot be reached any more. */
export async function repaired(problem: unknown, method: string, token: string): Promise<boolean> {
  if (!(problem instanceof Problem)) return false;
  if (problem.status === 401) {
    if (await refresh()) return true;
    session.onSignedOut();
    return false;
  }
  if (problem.status !== 403 || SAFE.has(method) || !token) return false;
  await session.reload();
  return session.formToken !== token;
}

const REFRESHED = "refreshed";
const JUST_NOW_MS = 20_000;
let refreshing: Promise<boolean> | null = null;

/** A fresh session, if there is one to refresh. One at a time, in all tabs: a refresh token is good once. */
export function refresh(): Promise<boolean> {
  refreshing ??= locked(refreshOnce).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

function locked(work: () => Promise<boolean>): Promise<boolean> {
  return "locks" in navigator ? navigator.locks.request("branchline-refresh", work) : work();
}

async function refreshOnce(): Promise<boolean> {
  if (Date.now() - read(REFRESHED, 0) < JUST_NOW_MS) {
    await session.reload();
    return session.formToken !== "";
  }
  try {
    session.onRefreshed(await once("POST", "/auth/refresh", {}));
  } catch (problem) {
    // Only the server's own no ends a session; one that is away for a moment ends nothing.
    if (problem instanceof Problem && problem.isNetwork) throw problem;
    return false;
  }
  write(REFRESHED, Date.now());
  return true;
}

export const get = <T>(address: string): Promise<T> => ask<T>("GET", address);
export const post = <T>(address: string, body: unknown = {}): Promise<T> => ask<T>("POST", address, body);
/** Without the repeat after a refresh: for signing in itself. */
export const plainly = once;
export const pathOf = (thread: string, rest = ""): string => `/v1/threads/${encodeURIComponent(thread)}${rest}`;
export const unsafeHeaders = (): Record<string, string> => headersOf("POST");

/** The words of whatever went wrong. */
export const wordsOf = (error: unknown): string =>
  error instanceof Error ? error.message : "Something went wrong here. Reload the page.";

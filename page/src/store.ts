// What the page knows, as signals, and the few ways in which it changes. Draws nothing.
import { computed, effect, signal, untracked } from "@preact/signals";
import { get, pathOf, plainly, Problem, refresh, session, wordsOf } from "./api.ts";
import { EMPTY, fold, isBusy, isRunning, type ThreadView } from "./fold.ts";
import { read, write } from "./kept.ts";
import { addressOf, type Place, placeOf } from "./route.ts";
import type { About, Me, Row } from "./shapes.ts";
import { follow, type Line } from "./stream.ts";

// ---------------------------------------------------------------- who and where

const LOCAL: Me = { user: "local", kind: "local", projects: [], scopes: ["read", "write", "operate"] };
const NO_LOGIN: About = { login: { required: false, password: false, github: false }, offline_model: null, version: "" };

export const about = signal<About>(NO_LOGIN);
export const me = signal<Me | null>(null);
export const signedOut = signal(false);
export const place = signal<Place>(placeOf(location.hash));
export const now = signal(Date.now());

/** Whether it was asked who this is; the answer may have been nobody. */
const isMet = signal(false);

/** One's own name is not worth saying; and until it is known whose that is, none is. */
export const nameOf = (author: string): string => {
  if (!isMet.value) return "";
  return author === me.value?.user ? "You" : author;
};

export const threadId = computed(() => (place.value.kind === "thread" ? place.value.thread : null));

export function go(to: Place): void {
  if (location.hash !== addressOf(to)) location.hash = addressOf(to);
  place.value = to;
}
addEventListener("hashchange", () => {
  place.value = placeOf(location.hash);
});

function takeMe(found: Me): void {
  me.value = found;
  session.formToken = found.form_token ?? "";
  signedOut.value = false;
}

async function readMe(): Promise<void> {
  try {
    takeMe(await get<Me>("/v1/me"));
  } catch (error) {
    if (error instanceof Problem && error.isMissingRoute) takeMe(LOCAL);
  }
}

session.reload = async () => {
  try {
    takeMe((await plainly("GET", "/v1/me", undefined)) as Me);
  } catch {
    session.formToken = "";
  }
};
session.onRefreshed = (found) => takeMe(found as Me);
session.onSignedOut = () => {
  if (about.value.login.required || me.value?.kind !== "local") signedOut.value = true;
};

/** Sign in. Raises Problem: `code_needed` asks for the code of one's app. */
export async function signIn(user: string, password: string, code: string): Promise<void> {
  const given = code ? { user, password, code } : { user, password };
  takeMe((await plainly("POST", "/auth/login", given)) as Me);
  await readMe();
  void readThreads();
  reopen();
}

export async function signOut(): Promise<void> {
  await plainly("POST", "/auth/logout", {}).catch(() => undefined);
  me.value = null;
  session.formToken = "";
  write("refreshed", null);
  signedOut.value = true;
}

const REFRESH_MS = 12 * 60_000;
setInterval(() => {
  if (me.value?.kind === "session" && !signedOut.value) refresh().catch(() => undefined);
}, REFRESH_MS);

// ---------------------------------------------------------------- threads

export const threads = signal<Row[] | null>(null);
export const threadsProblem = signal("");
export const more = signal<string | null>(null);
const PAGE = 50;
let reading: Promise<void> | null = null;

/** The newest threads again; older ones that were loaded stay. */
export function readThreads(): Promise<void> {
  reading ??= readFirst().finally(() => {
    reading = null;
  });
  return reading;
}

async function readFirst(): Promise<void> {
  try {
    const found = await get<{ threads: Row[]; next?: string | null }>(`/v1/threads?limit=${PAGE}`);
    const seen = new Set(found.threads.map((row) => row.thread_id));
    const oldest = found.threads.at(-1)?.updated ?? "";
    const older = found.next ? (threads.value ?? []).filter((row) => !seen.has(row.thread_id) && row.updated < oldest) : [];
    if (older.length === 0) more.value = found.next ?? null;
    const isMissed = following !== null && !seen.has(following) && threads.value?.some((r) => r.thread_id === following);
    threads.value = [...found.threads, ...older];
    if (isMissed && following !== null) void probe(following);
    threadsProblem.value = "";
  } catch (error) {
    threadsProblem.value = wordsOf(error);
  }
}

/** A thread that is not in the list any more may have been deleted elsewhere. */
async function probe(thread: string): Promise<void> {
  const problem: unknown = await get<Row>(pathOf(thread)).then(
    (found) => void (lone.value = found),
    (error: unknown) => error,
  );
  if (!(problem instanceof Problem && problem.isGone) || following !== thread) return;
  close?.();
  link.value = "gone";
}

export async function readMore(): Promise<void> {
  if (!more.value) return;
  const before = encodeURIComponent(more.value);
  const found = await get<{ threads: Row[]; next?: string | null }>(`/v1/threads?limit=${PAGE}&before=${before}`);
  const known = new Set((threads.value ?? []).map((row) => row.thread_id));
  threads.value = [...(threads.value ?? []), ...found.threads.filter((row) => !known.has(row.thread_id))];
  more.value = found.next ?? null;
}

export function forget(thread: string): void {
  threads.value = (threads.value ?? []).filter((row) => row.thread_id !== thread);
}

export function patchRow(thread: string, change: Partial<Row>): void {
  threads.value = (threads.value ?? []).map((row) => (row.thread_id === thread ? { ...row, ...change } : row));
}

/** The row of the open thread; read by itself when the list does not hold it. */
const lone = signal<Row | null>(null);
export const row = computed<Row | null>(() => {
  const id = threadId.value;
  if (id === null) return null;
  return threads.value?.find((r) => r.thread_id === id) ?? (lone.value?.thread_id === id ? lone.value : null);
});

export const projects = computed<string[]>(() => {
  const named = me.value?.projects.map((project) => project.name) ?? [];
  return named.length > 0 ? named : [...new Set((threads.value ?? []).map((r) => r.project))].sort();
});

export const canPull = computed(() => {
  const known = me.value?.projects.find((project) => project.name === row.value?.project);
  return known?.github ?? false;
});

// ---------------------------------------------------------------- the open thread

export const view = signal<ThreadView>(EMPTY);
/** `loading` until the first events are there; `lost` when it is down for two seconds; `gone`: deleted. */
export const link = signal<"none" | "loading" | "open" | "lost" | "gone">("none");
export const running = computed(() => isRunning(view.value));
/** Whether anything here has no outcome yet: it runs, waits or is paused. */
export const busy = computed(() => isBusy(view.value));

let close: (() => void) | null = null;
let following: string | null = null;
let waiting: Line[] = [];
let frame = 0;

function take(): void {
  frame = 0;
  const events = waiting;
  waiting = [];
  const before = view.value;
  view.value = fold(before, events);
  if (events.some((event) => !event.type.startsWith("turn.t"))) refreshSoon();
}

/** Events of one frame are folded together, so a fast answer draws as often as the screen and no more. */
function add(event: Line): void {
  waiting.push(event);
  if (frame === 0) frame = document.hidden ? window.setTimeout(take, 100) : requestAnimationFrame(take);
}

let soon = 0;
function refreshSoon(): void {
  if (soon === 0) {
    soon = window.setTimeout(() => {
      soon = 0;
      void readThreads();
    }, 250);
  }
}

function open(thread: string | null): void {
  close?.();
  close = null;
  following = thread;
  waiting = [];
  view.value = EMPTY;
  link.value = thread === null ? "none" : "loading";
  if (thread !== null) start(thread);
}

function start(thread: string): void {
  close = follow(thread, {
    last: () => waiting.at(-1)?.id ?? view.value.last,
    onEvent: add,
    onState: (state) => {
      link.value = state;
      if (state === "gone") forget(thread);
    },
  });
  if (!threads.value?.some((r) => r.thread_id === thread)) {
    get<Row>(pathOf(thread)).then((found) => (lone.value = found), () => undefined);
  }
}

/** Follow on after a sign-in. */
export function reopen(): void {
  if (following === null) return;
  close?.();
  start(following);
}

effect(() => {
  const thread = threadId.value;
  untracked(() => open(thread));
});

// ---------------------------------------------------------------- what one chose

export type Theme = "auto" | "light" | "dark";
export const theme = signal<Theme>(read<Theme>("theme", "auto"));
export function chooseTheme(chosen: Theme): void {
  theme.value = chosen;
  write("theme", chosen);
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

export const announcement = signal("");
/** Say something to people who listen to the page. */
export function announce(text: string): void {
  announcement.value = text;
}

// ---------------------------------------------------------------- life

const POLL_MS = 5000;

export async function begin(): Promise<void> {
  try {
    about.value = await get<About>("/v1/about");
  } catch {
    // An older server says nothing about itself.
  }
  await readMe();
  isMet.value = true;
  await readThreads();
  setInterval(() => {
    now.value = Date.now();
    if (!document.hidden && !signedOut.value) void readThreads();
  }, POLL_MS);
  document.addEventListener("visibilitychange", () => {
    now.value = Date.now();
    if (!document.hidden && !signedOut.value) void readThreads();
  });
}

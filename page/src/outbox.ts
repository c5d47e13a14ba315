// Messages on their way. Each has an id made here and stays in local storage until the server has taken it, so
// a lost answer, a reload or a sign-in in between sends it again, and never twice.
import { computed, effect, signal } from "@preact/signals";
import { pathOf, post, Problem, wordsOf } from "./api.ts";
import type { Mode, Upload } from "./events.ts";
import { newId } from "./ids.ts";
import { read, write } from "./kept.ts";
import { focusOn } from "./panes.ts";
import { announce, go, place, readThreads, signedOut, threadId, view } from "./store.ts";

export interface Draft {
  text: string;
  uploads: Upload[];
}

export interface Outgoing extends Draft {
  id: string;
  thread: string | null;
  project: string | null;
  mode: Mode;
  state: "sending" | "waiting" | "taken";
}

export const NEW = "new";
export const NOTHING: Draft = { text: "", uploads: [] };

// ---------------------------------------------------------------- drafts

const drafts = signal<Record<string, Draft>>(read("drafts", {}));
export const draftKey = computed(() => threadId.value ?? NEW);
export const draft = computed<Draft>(() => drafts.value[draftKey.value] ?? NOTHING);
export const refusal = signal<{ key: string; text: string } | null>(null);

export function keep(key: string, change: Partial<Draft>): void {
  const next = { ...(drafts.value[key] ?? NOTHING), ...change };
  const rest = { ...drafts.value };
  delete rest[key];
  drafts.value = next.text || next.uploads.length > 0 ? { ...rest, [key]: next } : rest;
  write("drafts", drafts.value);
}

export const draftOf = (key: string): Draft => drafts.value[key] ?? NOTHING;

// ---------------------------------------------------------------- sending

export const outgoing = signal<Outgoing[]>(
  read<Outgoing[]>("outgoing", [])
    .filter((o) => o.state !== "taken")
    .map((o) => ({ ...o, state: "waiting" as const })),
);

/** Those of the open thread that its log does not show yet. */
export const pending = computed(() => {
  const shown = new Set(view.value.messages.map((m) => m.id));
  const thread = threadId.value;
  return outgoing.value.filter((o) => (o.thread ?? NEW) === (thread ?? NEW) && !shown.has(o.id));
});

// Another window of this browser writes into the same storage. What it wrote counts here too, or the next thing
// written here would wipe it out.
addEventListener("storage", ({ key }) => {
  if (key === "branchline.drafts") drafts.value = read("drafts", {});
  if (key === "branchline.outgoing") {
    const kept = read<Outgoing[]>("outgoing", []);
    outgoing.value = [...kept, ...outgoing.value.filter((o) => o.state === "taken" && kept.every((k) => k.id !== o.id))];
  }
});

function save(next: Outgoing[]): void {
  outgoing.value = next;
  write("outgoing", next.filter((o) => o.state !== "taken"));
}

const change = (id: string, part: Partial<Outgoing>): void =>
  save(outgoing.value.map((o) => (o.id === id ? { ...o, ...part } : o)));

/** Take the draft of where one is and send it. */
export function send(mode: Mode, project: string | null): void {
  const key = draftKey.value;
  const { text, uploads } = draftOf(key);
  if (!text.trim() && uploads.length === 0) return;
  const message: Outgoing = {
    id: newId(),
    thread: key === NEW ? null : key,
    project: key === NEW ? project : null,
    mode,
    text,
    uploads,
    state: "sending",
  };
  refusal.value = null;
  const shown = new Set(view.value.messages.map((m) => m.id));
  save([...outgoing.value.filter((o) => o.state !== "taken" || !shown.has(o.id)), message]);
  keep(key, NOTHING);
  void deliver(message);
}

const trying = new Set<string>();
const WAIT_MS = 2000;

async function deliver(message: Outgoing): Promise<void> {
  if (trying.has(message.id)) return;
  trying.add(message.id);
  change(message.id, { state: "sending" });
  try {
    const { thread_id } = await post<{ thread_id: string }>(addressFor(message), bodyOf(message));
    taken(message, thread_id);
  } catch (error) {
    notTaken(message, error);
  } finally {
    trying.delete(message.id);
  }
}

const addressFor = (message: Outgoing): string =>
  message.thread === null ? "/v1/threads" : pathOf(message.thread, "/messages");

function bodyOf(message: Outgoing): Record<string, unknown> {
  return {
    text: message.text,
    message_id: message.id,
    ...(message.mode === "queue" ? {} : { mode: message.mode }),
    ...(message.project ? { project: message.project } : {}),
    ...(message.uploads.length > 0 ? { uploads: message.uploads.map((u) => u.upload_id) } : {}),
  };
}

function taken(message: Outgoing, thread: string): void {
  announce("Message received.");
  if (message.thread === null) {
    change(message.id, { state: "taken", thread });
    if (place.value.kind !== "thread") {
      // The field of the new thread is another one; whoever was writing goes on in it.
      const isWriting = document.activeElement?.id === "message";
      go({ kind: "thread", thread });
      if (isWriting) focusOn("#message");
    }
  } else change(message.id, { state: "taken" });
  void readThreads();
}

/** A server that cannot be reached is tried again; what it refuses goes back to where it was written. */
function notTaken(message: Outgoing, error: unknown): void {
  if (error instanceof Problem && error.status === 401) {
    change(message.id, { state: "waiting" });
  } else if (error instanceof Problem && (error.isNetwork || error.status === 429)) {
    change(message.id, { state: "waiting" });
    const seconds = error.status === 429 ? (error.retryAfter ?? 5) : 0;
    setTimeout(() => void deliverIfWaiting(message.id), Math.max(WAIT_MS, seconds * 1000));
  } else {
    const key = message.thread ?? NEW;
    const later = draftOf(key);
    save(outgoing.value.filter((o) => o.id !== message.id));
    keep(key, {
      text: [message.text, later.text].filter(Boolean).join("\n\n"),
      uploads: [...message.uploads, ...later.uploads],
    });
    refusal.value = { key, text: wordsOf(error) };
  }
}

async function deliverIfWaiting(id: string): Promise<void> {
  const found = outgoing.value.find((o) => o.id === id);
  if (found?.state === "waiting" && !signedOut.value) await deliver(found);
}

/** Try everything again that waits: at the start, after a sign-in, when the network is back. */
export function flush(): void {
  for (const message of outgoing.value) void deliverIfWaiting(message.id);
}

let wasOut = false;
effect(() => {
  if (wasOut && !signedOut.value) setTimeout(flush);
  wasOut = signedOut.value;
});
addEventListener("online", flush);

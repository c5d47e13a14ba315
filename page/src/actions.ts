// What one can do to a thread besides writing to it. Each says how it went, in words.
import { effect, signal } from "@preact/signals";
import { ask, pathOf, post, Problem, wordsOf } from "./api.ts";
import { lastSequence } from "./fold.ts";
import { newId } from "./ids.ts";
import { keep, NOTHING } from "./outbox.ts";
import type { Row } from "./shapes.ts";
import { announce, busy, forget, go, patchRow, readThreads, view } from "./store.ts";

export interface Told {
  text: string;
  tone: "good" | "bad";
  link?: string;
  /** It is true only as long as something is under way. */
  passing?: boolean;
}

/** The last word about an action on the open thread. */
export const told = signal<(Told & { thread: string }) | null>(null);

effect(() => {
  if (told.value?.passing && !busy.value) told.value = null;
});

function tell(thread: string, said: Told): void {
  told.value = { ...said, thread };
  announce(said.text);
}

async function trying(thread: string, work: () => Promise<Told | null>): Promise<void> {
  told.value = null;
  try {
    const said = await work();
    if (said) tell(thread, said);
  } catch (error) {
    const text = error instanceof Problem && error.isMissingRoute ? "This server cannot do that yet." : wordsOf(error);
    tell(thread, { text, tone: "bad" });
  }
}

export const stop = (thread: string): Promise<void> =>
  trying(thread, async () => {
    const sequence = lastSequence(view.value);
    const { stopping } = await post<{ stopping: unknown[] }>(pathOf(thread, "/stop"), sequence > 0 ? { sequence } : {});
    return stopping.length > 0 ? { text: "Stopping.", tone: "good", passing: true } : { text: "Nothing runs here any more.", tone: "good" };
  });

export const rename = (thread: string, title: string): Promise<void> =>
  trying(thread, async () => {
    const row = await ask<Row>("PATCH", pathOf(thread), { title });
    patchRow(thread, { title: row.title ?? title });
    return null;
  });

export const update = (thread: string): Promise<void> =>
  trying(thread, async () => {
    await post(pathOf(thread, "/update"), { message_id: newId() });
    return null;
  });

export const openPull = (thread: string): Promise<void> =>
  trying(thread, async () => {
    const { url, number } = await post<{ url: string; number: number }>(pathOf(thread, "/pull"));
    return { text: `Pull request #${number} is open.`, tone: "good", link: url };
  });

export const remove = (thread: string): Promise<void> =>
  trying(thread, async () => {
    await ask("DELETE", pathOf(thread));
    forget(thread);
    keep(thread, NOTHING);
    go({ kind: "new" });
    announce("The thread was deleted.");
    void readThreads();
    return null;
  });

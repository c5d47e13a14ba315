// Follows one thread's log. An EventSource tells nobody why it failed, so it is closed at the first error; the
// server is asked what is the matter, and the next one begins behind the last event that was taken.
import { get, pathOf, Problem } from "./api.ts";
import type { LogEvent } from "./events.ts";

export type Line = LogEvent;

export interface Follower {
  /** The number of the last event taken. */
  last: () => number;
  onEvent: (event: Line) => void;
  onState: (state: "open" | "lost" | "gone") => void;
}

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
const LOST_AFTER_MS = 2000;

/** Follow until the returned function is called. */
export function follow(thread: string, follower: Follower): () => void {
  let source: EventSource | null = null;
  let over = false;
  let wait = FIRST_WAIT_MS;
  let retry = 0;
  let losing = 0;

  const opened = (): void => {
    wait = FIRST_WAIT_MS;
    clearTimeout(losing);
    losing = 0;
    follower.onState("open");
  };

  const failed = (): void => {
    source?.close();
    source = null;
    if (over) return;
    if (losing === 0) losing = window.setTimeout(() => follower.onState("lost"), LOST_AFTER_MS);
    clearTimeout(retry);
    retry = window.setTimeout(() => void again(), wait * (0.8 + 0.4 * Math.random()));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  };

  const again = async (): Promise<void> => {
    const problem = await get(pathOf(thread)).then(() => null, (error: unknown) => error);
    if (over) return;
    if (!(problem instanceof Problem)) connect();
    else if (problem.isGone || problem.isMissingRoute) {
      over = true;
      clearTimeout(losing);
      follower.onState("gone");
    } else if (problem.status === 401) {
      // The sign-in is over the page now; whoever signs in begins again.
      clearTimeout(losing);
    } else failed();
  };

  const connect = (): void => {
    source = new EventSource(`${pathOf(thread, "/events")}?after=${follower.last()}`);
    source.onopen = opened;
    source.onerror = failed;
    source.onmessage = (message: MessageEvent<string>) => {
      const event = parse(message.data);
      if (event) follower.onEvent(event);
    };
  };

  const wake = (): void => {
    if (source === null && !over) {
      clearTimeout(retry);
      void again();
    }
  };

  addEventListener("online", wake);
  connect();
  return () => {
    over = true;
    source?.close();
    clearTimeout(retry);
    clearTimeout(losing);
    removeEventListener("online", wake);
  };
}

function parse(line: string): Line | null {
  try {
    const event = JSON.parse(line) as Line;
    return typeof event.id === "number" && typeof event.type === "string" && event.data ? event : null;
  } catch {
    return null;
  }
}

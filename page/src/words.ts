// The page's words for states: one word and one pictogram for each, so that colour is never the only sign.
import type { Frontend } from "./events.ts";
import type { MessageView, Stage } from "./fold.ts";
import { count } from "./format.ts";
import type { Row } from "./shapes.ts";
import type { IconName } from "./views/Icons.tsx";

export type Tone = "quiet" | "busy" | "wait" | "good" | "bad";

export interface State {
  word: string;
  icon: IconName;
  tone: Tone;
}

const OF_ROW: Record<Row["state"], State> = {
  idle: { word: "Idle", icon: "dot", tone: "quiet" },
  waiting: { word: "Waiting", icon: "clock", tone: "wait" },
  running: { word: "Working", icon: "spin", tone: "busy" },
  parked: { word: "Paused", icon: "pause", tone: "wait" },
  deleting: { word: "Being deleted", icon: "close", tone: "bad" },
};

export const stateOf = (row: Row): State =>
  row.state === "idle" && row.last_sequence === 0
    ? { word: "New", icon: "ring", tone: "quiet" }
    : (OF_ROW[row.state] ?? OF_ROW.idle);

const OF_STAGE: Record<Stage, State> = {
  received: { word: "Received", icon: "check", tone: "quiet" },
  queued: { word: "In line", icon: "clock", tone: "wait" },
  running: { word: "Working", icon: "spin", tone: "busy" },
  paused: { word: "Paused", icon: "pause", tone: "wait" },
  completed: { word: "Answered", icon: "check", tone: "good" },
  stopped: { word: "Stopped", icon: "stop", tone: "wait" },
  failed: { word: "Failed", icon: "cross", tone: "bad" },
  rejected: { word: "Not accepted", icon: "cross", tone: "bad" },
};

/** The receipt of a message. */
export function receiptOf(message: MessageView): State {
  const state = OF_STAGE[message.stage];
  if (message.stage === "queued" && message.ahead > 0) {
    return { ...state, word: `In line behind ${count(message.ahead, "message")}` };
  }
  if (message.stage === "running" && message.togetherWith) return { ...state, word: "Taken in by what runs" };
  return state;
}

const NOT_SIGNED_IN: Record<string, string> = {
  lost_state: "This sign-in was begun elsewhere, or too long ago. Begin it again here.",
  github_refused: "GitHub did not sign you in. Begin again.",
  unavailable: "GitHub, or the records of this server, did not answer. Try again in a moment.",
};

/** Why a sign-in with GitHub came back without one, from the word in the address; empty when it did not. */
export function whyNotSignedIn(search: string): string {
  const told = new URLSearchParams(search);
  const why = told.get("sign_in");
  if (why === null) return "";
  if (why !== "unknown_person") return NOT_SIGNED_IN[why] ?? "The sign-in with GitHub did not work. Try again.";
  const login = told.get("login") ?? "";
  const you = /^[\w-]{1,100}$/.test(login) ? ` as ${login}` : "";
  return `GitHub knows you${you}, and nobody here goes by that login. Ask whoever runs this fleet to link it.`;
}

export const FRONTENDS: Record<Frontend, { word: string; icon: IconName }> = {
  web: { word: "Page", icon: "web" },
  slack: { word: "Slack", icon: "slack" },
  github: { word: "GitHub", icon: "github" },
  api: { word: "API", icon: "api" },
};

export const frontendOf = (frontend: Frontend): { word: string; icon: IconName } =>
  FRONTENDS[frontend] ?? { word: frontend, icon: "api" };

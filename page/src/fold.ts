// One thread's log folded into what is shown. Pure: events in, a view out; it knows no document and no clock.
//
// An event that was added already changes nothing, and adding in order is the only way in. A view is never
// changed: `fold` gives a new one and shares with the old one whatever stayed the same.
import type { Committed, Frontend, LogEvent, Mode, Outcome, Pushed, Task, ToolUse, Upload } from "./events.ts";
import { cut, lineOf } from "./lines.ts";

export type Stage =
  | "received"
  | "queued"
  | "running"
  | "paused"
  | "completed"
  | "stopped"
  | "failed"
  | "rejected";

export type Block =
  | { kind: "text"; key: number; text: string }
  | { kind: "tool"; key: number; tool: ToolUse; unfinished: boolean }
  | { kind: "tasks"; key: number; tasks: Task[] }
  | { kind: "note"; key: number; tone: "pause" | "resume"; text: string; until: string | null };

export interface MessageView {
  id: string;
  sequence: number;
  author: string;
  frontend: Frontend;
  mode: Mode;
  text: string;
  action: string | null;
  uploads: Upload[];
  received: string;
  stage: Stage;
  ahead: number;
  started: string | null;
  ended: string | null;
  attempt: number;
  togetherWith: string | null;
  blocks: Block[];
  commit: Committed | null;
  push: Pushed | null;
  outcome: Outcome | null;
}

export interface LogLine {
  id: number;
  time: string;
  type: string;
  text: string;
}

export interface ThreadView {
  last: number;
  messages: MessageView[];
  branch: string | null;
  preview: string | null;
  worker: "unknown" | "starting" | "ready" | "stopped";
  workerReason: string;
  tasks: Task[];
  log: LogLine[];
}

export const EMPTY: ThreadView = {
  last: 0,
  messages: [],
  branch: null,
  preview: null,
  worker: "unknown",
  workerReason: "",
  tasks: [],
  log: [],
};

const STAGES: Partial<Record<string, Stage>> = {
  "turn.completed": "completed",
  "turn.stopped": "stopped",
  "turn.failed": "failed",
  "turn.rejected": "rejected",
};

/** Whether a message has its outcome. */
export const isOver = (message: MessageView): boolean => message.outcome !== null;

/** Whether something of this thread is being worked on right now. */
export const isRunning = (view: ThreadView): boolean => view.messages.some((m) => m.stage === "running");

/** Whether something of this thread has no outcome yet. */
export const isBusy = (view: ThreadView): boolean => view.messages.some((m) => !isOver(m));

/** The last sequence that this view has seen; 0 without a message. */
export const lastSequence = (view: ThreadView): number =>
  view.messages.reduce((highest, m) => Math.max(highest, m.sequence), 0);

/** The view with these events. Gives the same object back when there is nothing new. */
export function fold(view: ThreadView, events: readonly LogEvent[]): ThreadView {
  const fresh = events.some((event) => event.id > view.last);
  if (!fresh) return view;
  const draft = new Draft(view);
  for (const event of events) if (event.id > draft.view.last) draft.add(event);
  return draft.view;
}

/** A view being made: copies each part once, when it changes for the first time. */
class Draft {
  readonly view: ThreadView;
  readonly #owned = new Set<MessageView>();

  constructor(view: ThreadView) {
    this.view = { ...view, messages: [...view.messages], log: [...view.log] };
  }

  add(event: LogEvent): void {
    this.view.last = event.id;
    this.#addLine(event);
    switch (event.type) {
      case "message.received":
        if (event.message_id !== undefined) this.#receive(event.message_id, event);
        break;
      case "preview.ready":
        this.view.preview = event.data.url;
        break;
      case "worker.starting":
      case "worker.ready":
      case "worker.stopped":
        this.view.worker = event.type.slice("worker.".length) as ThreadView["worker"];
        this.view.workerReason = event.data.reason ?? "";
        break;
      default:
        this.#ofMessage(event);
    }
  }

  #receive(id: string, event: LogEvent & { type: "message.received" }): void {
    if (this.view.messages.some((m) => m.id === id)) return;
    const { data } = event;
    const message: MessageView = {
      id,
      sequence: data.sequence,
      author: data.author.name,
      frontend: data.frontend,
      mode: data.mode,
      text: data.text,
      action: data.action ?? null,
      uploads: data.uploads ?? [],
      received: event.time,
      stage: "received",
      ahead: 0,
      started: null,
      ended: null,
      attempt: 0,
      togetherWith: null,
      blocks: [],
      commit: null,
      push: null,
      outcome: null,
    };
    this.#owned.add(message);
    this.view.messages.push(message);
  }

  #ofMessage(event: LogEvent): void {
    const index = this.view.messages.findLastIndex((m) => m.id === event.message_id);
    const old = this.view.messages[index];
    if (old === undefined || isOver(old)) return;
    const message = this.#own(index, old);
    const branch = "branch" in event.data ? event.data.branch : null;
    if (branch && event.type !== "turn.pushed") this.view.branch = branch;
    this.#change(message, event);
  }

  #own(index: number, old: MessageView): MessageView {
    if (this.#owned.has(old)) return old;
    const copy = { ...old, blocks: [...old.blocks] };
    this.#owned.add(copy);
    this.view.messages[index] = copy;
    return copy;
  }

  #change(message: MessageView, event: LogEvent): void {
    switch (event.type) {
      case "message.queued":
        message.stage = "queued";
        message.ahead = event.data.ahead;
        break;
      case "turn.started":
        message.stage = "running";
        message.ahead = 0;
        message.started ??= event.time;
        message.attempt = event.data.attempt ?? 1;
        message.togetherWith = event.data.together_with ?? message.togetherWith;
        break;
      case "turn.text":
        addText(message, event.id, event.data.text);
        break;
      case "turn.tool":
        addTool(message, event.id, event.data);
        break;
      case "turn.tasks":
        addTasks(message, event.id, event.data.tasks);
        this.view.tasks = event.data.tasks;
        break;
      case "turn.interrupted":
        message.stage = "paused";
        endTools(message);
        addNote(message, event.id, "pause", event.data.text, event.data.resumes_at ?? null);
        break;
      case "turn.resumed":
        message.stage = "running";
        addNote(message, event.id, "resume", event.data.text, null);
        break;
      case "turn.committed":
        if (!event.data.checkpoint) message.commit = event.data;
        break;
      case "turn.pushed":
        if (!event.data.checkpoint) message.push = event.data;
        break;
      case "turn.completed":
      case "turn.stopped":
      case "turn.failed":
      case "turn.rejected":
        endTools(message);
        message.stage = STAGES[event.type] ?? "completed";
        message.outcome = event.data;
        message.ended = event.time;
        message.togetherWith = event.data.together_with ?? message.togetherWith;
        break;
    }
  }

  #addLine(event: LogEvent): void {
    const text = lineOf(event);
    const previous = this.view.log.at(-1);
    if (event.type === "turn.text" && previous?.type === "turn.text") {
      this.view.log[this.view.log.length - 1] = { ...previous, text: cut(previous.text + text) };
    } else {
      this.view.log.push({ id: event.id, time: event.time, type: event.type, text });
    }
  }
}

function addText(message: MessageView, key: number, text: string): void {
  const last = message.blocks.at(-1);
  if (last?.kind === "text") {
    message.blocks[message.blocks.length - 1] = { ...last, text: last.text + text };
    return;
  }
  const start = text.trimStart();
  if (start) message.blocks.push({ kind: "text", key, text: start });
}

function addTool(message: MessageView, key: number, tool: ToolUse): void {
  const index = message.blocks.findLastIndex((b) => b.kind === "tool" && b.tool.tool_use_id === tool.tool_use_id);
  const old = message.blocks[index];
  if (old?.kind !== "tool") {
    message.blocks.push({ kind: "tool", key, tool, unfinished: false });
    return;
  }
  const input = Object.keys(tool.input ?? {}).length > 0 ? tool.input : old.tool.input;
  message.blocks[index] = { ...old, tool: { ...tool, input }, unfinished: false };
}

function addTasks(message: MessageView, key: number, tasks: Task[]): void {
  const index = message.blocks.findIndex((b) => b.kind === "tasks");
  const old = message.blocks[index];
  if (old?.kind === "tasks") message.blocks[index] = { ...old, tasks };
  else message.blocks.push({ kind: "tasks", key, tasks });
}

function addNote(message: MessageView, key: number, tone: "pause" | "resume", text: string, until: string | null): void {
  message.blocks.push({ kind: "note", key, tone, text, until });
}

/** What was under way when a turn ended or paused will not say how it went. */
function endTools(message: MessageView): void {
  message.blocks.forEach((block, index) => {
    if (block.kind === "tool" && block.tool.state === "started" && !block.unfinished) {
      message.blocks[index] = { ...block, unfinished: true };
    }
  });
}

/** Whether the outcome's text was streamed already, so that saying it again would double it. */
export function isTold(message: MessageView): boolean {
  const final = squeeze(message.outcome?.text ?? "").slice(0, 400);
  if (!final) return true;
  return message.blocks.some((b) => b.kind === "text" && squeeze(b.text).includes(final));
}

const squeeze = (text: string): string => text.replace(/\s+/g, " ").trim();

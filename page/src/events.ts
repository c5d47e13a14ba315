// The thread's log as `contracts/events.py` writes it. Shapes only; fields that are not known are ignored.

export type Frontend = "slack" | "github" | "web" | "api";
export type Mode = "queue" | "steer" | "interrupt";

export interface Upload {
  upload_id: string;
  name: string;
  type: string;
  size: number;
}

export interface Task {
  id: string;
  subject: string;
  status: "pending" | "in_progress" | "completed";
}

export interface Outcome {
  text: string;
  changed?: boolean;
  commit?: string | null;
  branch?: string | null;
  onto?: string | null;
  files?: number;
  insertions?: number;
  deletions?: number;
  pushed?: boolean;
  problem?: string | null;
  note?: string | null;
  reason?: string | null;
  duration_ms?: number;
  cost_usd?: number;
  input_tokens?: number;
  output_tokens?: number;
  interruptions?: number;
  together_with?: string | null;
}

export interface Received {
  text: string;
  author: { id: string; name: string };
  frontend: Frontend;
  mode: Mode;
  sequence: number;
  uploads?: Upload[];
  action?: string | null;
}

export interface ToolUse {
  tool_use_id: string;
  name: string;
  state: "started" | "succeeded" | "failed";
  input?: Record<string, unknown>;
  output?: string;
}

export interface Committed {
  sha: string;
  branch: string;
  files?: number;
  insertions?: number;
  deletions?: number;
  checkpoint?: boolean;
}

export interface Pushed {
  sha: string;
  branch: string;
  conflict?: boolean;
  onto?: string | null;
  rebased?: boolean;
  checkpoint?: boolean;
}

interface Data {
  "message.received": Received;
  "message.queued": { ahead: number };
  "turn.started": { branch: string; attempt?: number; together_with?: string | null };
  "turn.text": { text: string };
  "turn.tool": ToolUse;
  "turn.tasks": { tasks: Task[] };
  "turn.interrupted": { reason: string; text: string; resumes_at?: string | null; checkpoint?: string | null };
  "turn.resumed": { reason: string; text: string; branch?: string };
  "turn.committed": Committed;
  "turn.pushed": Pushed;
  "turn.completed": Outcome;
  "turn.stopped": Outcome;
  "turn.failed": Outcome;
  "turn.rejected": Outcome;
  "preview.ready": { url: string; branch?: string | null };
  "worker.starting": { reason?: string | null };
  "worker.ready": { reason?: string | null };
  "worker.stopped": { reason?: string | null };
}

export type EventType = keyof Data;

export type LogEvent = {
  [T in EventType]: {
    id: number;
    type: T;
    time: string;
    message_id?: string;
    turn_id?: string;
    data: Data[T];
  };
}[EventType];

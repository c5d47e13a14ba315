// What the routes of `/v1` answer, as far as the page uses it. Fields of later versions are ignored.
import type { Frontend } from "./events.ts";

export interface Row {
  thread_id: string;
  project: string;
  user?: string;
  title: string;
  state: "idle" | "waiting" | "running" | "parked" | "deleting";
  last_line?: string | null;
  updated: string;
  created?: string;
  frontend: Frontend;
  branch: string;
  onto?: string | null;
  cost_usd: number;
  last_sequence: number;
  last_event: number;
}

export interface About {
  login: { required: boolean; password: boolean; github: boolean };
  offline_model: boolean | null;
  version: string;
}

export interface Me {
  user: string;
  kind: "local" | "session" | "token";
  projects: { name: string; github: boolean }[];
  scopes: string[];
  form_token?: string;
}

export interface ChangedFile {
  path: string;
  old_path?: string | null;
  status: string;
  insertions: number;
  deletions: number;
  binary?: boolean;
  patch?: string | null;
  note?: string | null;
}

export interface Changes {
  base: { branch: string; sha: string } | null;
  head: { branch: string; sha: string } | null;
  /** Of all files, those that are too many to be listed included. */
  total?: { files: number; insertions: number; deletions: number };
  files: ChangedFile[];
  cut?: boolean;
}

export interface PreviewState {
  url: string | null;
  ready: boolean;
  branch: string | null;
  thread_id: string | null;
  problem: string | null;
  /** Whether its sockets reach the site, so that it shows changes by itself. */
  live: boolean;
}

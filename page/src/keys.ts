// The keys of the page. None acts while one writes, but for Escape, which leaves the field.
import { dialog, focusOn, openTab, show, type Tab } from "./panes.ts";
import { shown } from "./search.ts";
import { go, signedOut, threadId } from "./store.ts";

export const KEYS: [string[], string][] = [
  [["j"], "Next thread"],
  [["k"], "Previous thread"],
  [["n"], "New thread"],
  [["/"], "Search threads"],
  [["m"], "Write a message"],
  [["1", "2", "3", "4"], "Preview, changes, tasks, log"],
  [["Enter"], "Send (while writing)"],
  [["Shift", "Enter"], "New line (while writing)"],
  [["Esc"], "Leave the field, close a dialog"],
  [["?"], "This list"],
];

const TABS: Record<string, Tab> = { 1: "preview", 2: "changes", 3: "tasks", 4: "log" };

export function newThread(): void {
  go({ kind: "new" });
  show("chat");
  focusOn("#message");
}

function step(by: number): void {
  const rows = shown.value;
  const at = rows.findIndex((row) => row.thread_id === threadId.value);
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
  if (next) go({ kind: "thread", thread: next.thread_id });
}

export function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  const writing = target.matches("input, textarea, select, [contenteditable]");
  if (writing) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || signedOut.value || dialog.value !== "none") return;
  const found = actionOf(event.key);
  if (!found) return;
  event.preventDefault();
  found();
}

function actionOf(key: string): (() => void) | null {
  const opened = TABS[key];
  if (opened) return () => openTab(opened);
  switch (key) {
    case "j":
      return () => step(1);
    case "k":
      return () => step(-1);
    case "n":
      return newThread;
    case "/":
      return () => {
        show("threads");
        focusOn("#search");
      };
    case "m":
      return () => {
        show("chat");
        focusOn("#message");
      };
    case "?":
      return () => {
        dialog.value = "help";
      };
    default:
      return null;
  }
}

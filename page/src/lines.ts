// An event on one line, for the log. Pure.
import type { LogEvent } from "./events.ts";

const LINE_LENGTH = 300;
export const cut = (text: string): string => (text.length > LINE_LENGTH ? `${text.slice(0, LINE_LENGTH - 1)}…` : text);

/** One line about an event. */
export function lineOf(event: LogEvent): string {
  const { data } = event;
  switch (event.type) {
    case "message.queued":
      return `${event.data.ahead} ahead`;
    case "turn.started":
      return `on ${event.data.branch}, attempt ${event.data.attempt ?? 1}`;
    case "turn.tool":
      return cut(`${event.data.name} ${event.data.state}`);
    case "turn.tasks":
      return `${event.data.tasks.filter((t) => t.status === "completed").length} of ${event.data.tasks.length} done`;
    case "turn.committed":
    case "turn.pushed":
      return `${event.data.sha.slice(0, 8)} on ${event.data.branch}${event.data.checkpoint ? " (checkpoint)" : ""}`;
    case "preview.ready":
      return event.data.url;
    default:
      return cut("text" in data ? data.text : "reason" in data ? (data.reason ?? "") : "");
  }
}

// Numbers, times and names as people read them. Pure: the clock is given.

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [
  [3600, "minute"],
  [86_400, "hour"],
  [7 * 86_400, "day"],
];

/** How long ago: "now", "3 min. ago", "yesterday", at last a date. */
export function ago(time: string, now: number): string {
  const then = Date.parse(time);
  if (Number.isNaN(then)) return "";
  const seconds = Math.round((now - then) / 1000);
  if (seconds < 60) return "now";
  let size = 60;
  for (const [limit, unit] of STEPS) {
    if (seconds < limit) return RELATIVE.format(-Math.max(1, Math.round(seconds / size)), unit);
    size = limit === 7 * 86_400 ? size : limit;
  }
  return new Date(then).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

/** A line of Markdown without the signs that only format it. */
export const plain = (line: string): string =>
  line.replace(/^\s*(#{1,6}|[-*>]|\d+\.)\s+/, "").replace(/`+|\*\*|__/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");

export const clock = (time: string): string =>
  new Date(time).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const moment = (time: string): string =>
  new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function dollars(cost: number): string {
  if (cost === 0) return "$0";
  return cost < 0.01 ? "< $0.01" : `$${cost.toFixed(2)}`;
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  return size < 1_000_000 ? `${Math.round(size / 1000)} KB` : `${(size / 1_000_000).toFixed(1)} MB`;
}

export const count = (number: number, one: string, many = `${one}s`): string =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

const ARGUMENTS = ["command", "file_path", "path", "pattern", "url", "query", "description", "subject", "prompt"];

/** What a use of a tool is about, on one line. */
export function argument(input: Record<string, unknown> | undefined): string {
  const found = ARGUMENTS.map((name) => input?.[name]).find((value) => typeof value === "string" && value);
  const line = String(found ?? "").split("\n")[0] ?? "";
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}

export function initials(name: string): string {
  const parts = name.split(/[\s._-]+/).filter(Boolean);
  const letters = parts.length > 1 ? [parts[0], parts.at(-1)].map((p) => [...(p ?? "")][0] ?? "") : [...(parts[0] ?? "?")].slice(0, 1);
  return letters.join("").toUpperCase();
}

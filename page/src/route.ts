// The address behind the `#`: where a person is. Pure.

export type Place = { kind: "start" } | { kind: "new" } | { kind: "thread"; thread: string };

// What comments on GitHub linked to before there were places: the id of a thread that began there, as it is.
const OLD = /^#((?:issue|pr)-\d+-[a-z0-9]+)$/;

export function placeOf(hash: string): Place {
  if (hash === "#/new") return { kind: "new" };
  const found = /^#\/t\/(.+)$/s.exec(hash) ?? OLD.exec(hash);
  if (!found?.[1]) return { kind: "start" };
  try {
    return { kind: "thread", thread: decodeURIComponent(found[1]) };
  } catch {
    return { kind: "start" };
  }
}

export function addressOf(place: Place): string {
  if (place.kind === "thread") return `#/t/${encodeURIComponent(place.thread)}`;
  return place.kind === "new" ? "#/new" : "#/";
}

// The address behind the `#`: where a person is. Pure.

export type Place = { kind: "start" } | { kind: "new" } | { kind: "thread"; thread: string };

export function placeOf(hash: string): Place {
  if (hash === "#/new") return { kind: "new" };
  const found = /^#\/t\/(.+)$/s.exec(hash);
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

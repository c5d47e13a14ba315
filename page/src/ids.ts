// The ids that the page gives to messages.

/** A new id. Works without a secure context too, where the browser makes no UUIDs. */
export function newId(): string {
  if ("randomUUID" in crypto) return `page-${crypto.randomUUID()}`;
  const random = new Uint8Array(16);
  (crypto as Crypto).getRandomValues(random);
  return `page-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// What a file is, by its bytes: one of the kinds that a message can carry, or nothing. Pure.

const SIGNS: [string, number[], number][] = [
  ["image/png", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], 0],
  ["image/jpeg", [0xff, 0xd8, 0xff], 0],
  ["image/gif", [0x47, 0x49, 0x46, 0x38], 0],
  ["image/webp", [0x57, 0x45, 0x42, 0x50], 8],
];

/** The media type, or null for a file that is neither a picture nor UTF-8 text, or is empty. */
export function kindOf(content: Uint8Array): string | null {
  const sign = SIGNS.find(([, magic, at]) => magic.every((byte, i) => content[at + i] === byte));
  if (sign) return sign[0];
  return content.length > 0 && isText(content) ? "text/plain" : null;
}

function isText(content: Uint8Array): boolean {
  if (content.includes(0)) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(content);
    return true;
  } catch {
    return false;
  }
}

// How wide the work is beside the conversation, as a share of the window. Pure: the window's width is given.

export const LIST = 312;
export const LEAST_CHAT = 380;
export const LEAST_WORK = 340;
export const USUAL = 38;
export const STEP = 2;

export interface Bounds {
  least: number;
  most: number;
}

/** Between which shares the work may stand, in percent, so that every part keeps its least width. */
export function boundsOf(width: number): Bounds {
  const least = Math.ceil((LEAST_WORK / width) * 100);
  return { least, most: Math.max(least, Math.floor(((width - LIST - LEAST_CHAT) / width) * 100)) };
}

/** What was kept as a share, or the usual one when it is none. */
export const wishOf = (kept: unknown): number => (typeof kept === "number" && kept > 0 && kept < 100 ? kept : USUAL);

/** The share nearest to a wish that fits into the window. */
export function fitting(wish: number, width: number): number {
  const { least, most } = boundsOf(width);
  return Math.min(most, Math.max(least, wish));
}

/** The share after a key, or null when it is none of the keys of a separator. */
export function afterKey(key: string, share: number, width: number): number | null {
  const { least, most } = boundsOf(width);
  const wish = { ArrowLeft: share + STEP, ArrowRight: share - STEP, Home: least, End: most, Enter: USUAL }[key];
  return wish === undefined ? null : fitting(wish, width);
}

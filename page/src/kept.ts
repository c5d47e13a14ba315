// What survives a reload: drafts, messages that the server has not answered yet, and what one chose.
//
// Storage that is full or forbidden is no reason to stop working, so every access may quietly do nothing.

export function read<T>(name: string, otherwise: T): T {
  try {
    const found = localStorage.getItem(`branchline.${name}`);
    return found === null ? otherwise : (JSON.parse(found) as T);
  } catch {
    return otherwise;
  }
}

export function write(name: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(`branchline.${name}`);
    else localStorage.setItem(`branchline.${name}`, JSON.stringify(value));
  } catch {
    // See above.
  }
}

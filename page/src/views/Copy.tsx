// A small button that copies a text, and says whether it did.
import { useState } from "preact/hooks";
import { announce } from "../store.ts";

const WORDS = { ready: "Copy", copied: "Copied", failed: "Cannot copy here" };
const SHOWN_MS = 1500;

async function write(text: string): Promise<keyof typeof WORDS> {
  try {
    // Without a secure context there is no clipboard.
    await navigator.clipboard.writeText(text);
    return "copied";
  } catch {
    return "failed";
  }
}

export function Copy({ text, what }: { text: string; what: string }) {
  const [state, setState] = useState<keyof typeof WORDS>("ready");
  const copy = async () => {
    const came = await write(text);
    setState(came);
    announce(came === "copied" ? "Copied." : "It could not be copied.");
    setTimeout(() => setState("ready"), SHOWN_MS);
  };
  return (
    <button type="button" class="link" aria-label={`Copy the ${what}`} onClick={() => void copy()}>
      {WORDS[state]}
    </button>
  );
}

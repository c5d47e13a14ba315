// A small button that copies a text, and says that it did.
import { useState } from "preact/hooks";
import { announce } from "../store.ts";

export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState(false);
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => {
        setDone(true);
        announce("Copied.");
        setTimeout(() => setDone(false), 1500);
      },
      () => announce("It could not be copied."),
    );
  };
  return (
    <button type="button" class="link" aria-label={`Copy the ${what}`} onClick={copy}>
      {done ? "Copied" : "Copy"}
    </button>
  );
}

// The frame: threads, conversation, work side by side; one at a time where the window is narrow.
import { useEffect } from "preact/hooks";
import { onKey } from "../keys.ts";
import { focusOn, type Pane, pane, show, split } from "../panes.ts";
import { announcement, link, place, row, running } from "../store.ts";
import { Conversation } from "./Conversation.tsx";
import { Confirm, Help } from "./Dialogs.tsx";
import { Icon, type IconName } from "./Icons.tsx";
import { SignIn } from "./SignIn.tsx";
import { Threads } from "./Threads.tsx";
import { Work } from "./Work.tsx";

export function App() {
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  const title = row.value?.title;
  useEffect(() => {
    document.title = `${running.value ? "● " : ""}${title ? `${title} · ` : ""}Branchline`;
  }, [title, running.value]);
  const skip = (event: Event) => {
    event.preventDefault();
    show("chat");
    focusOn("#message");
  };
  return (
    <>
      {link.value !== "gone" && (
        <a class="skip" href="#message" onClick={skip}>
          Skip to the message
        </a>
      )}
      <main class="frame" style={{ "--work": `${split.value}%` }} data-pane={pane.value} data-place={place.value.kind}>
        <h1 class="unseen">Branchline</h1>
        <Threads />
        <Conversation />
        <Work />
        <Bar />
      </main>
      <div class="unseen" role="status" aria-live="polite">
        {announcement.value}
      </div>
      <Help />
      <Confirm />
      <SignIn />
    </>
  );
}

const PANES: [Pane, string, IconName][] = [
  ["threads", "Threads", "list"],
  ["chat", "Chat", "chat"],
  ["work", "Work", "work"],
];

function Bar() {
  return (
    <nav class="bar" aria-label="Parts of the page">
      {PANES.map(([name, word, icon]) => (
        <button type="button" key={name} aria-current={pane.value === name ? "page" : undefined} onClick={() => show(name)}>
          <Icon name={icon} size={20} />
          {word}
        </button>
      ))}
    </nav>
  );
}

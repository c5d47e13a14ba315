// Above a conversation: what it is called, how it stands, its branch, and what can be done with it.
import { useEffect, useRef, useState } from "preact/hooks";
import { openPull, rename, told, update } from "../actions.ts";
import { dollars } from "../format.ts";
import { dialog, focusOn, renaming } from "../panes.ts";
import { canPull, link, row, threadId, view } from "../store.ts";
import { frontendOf, stateOf } from "../words.ts";
import { Icon } from "./Icons.tsx";

export function Head() {
  const thread = threadId.value ?? "";
  if (link.value === "gone") return null;
  const branch = row.value?.branch ?? view.value.branch;
  return (
    <header class="head">
      <div class="head-main">
        <Title />
        {renaming.value && <Rename thread={thread} />}
        <p class="head-facts">
          {row.value && <Status />}
          {branch && (
            <span class="from branch" title="The branch of this thread">
              <Icon name="branch" size={13} /> <code>{branch}</code>
            </span>
          )}
          {row.value && (
            <span class="from">
              <Icon name={frontendOf(row.value.frontend).icon} size={13} /> {frontendOf(row.value.frontend).word}
            </span>
          )}
          {row.value && row.value.cost_usd > 0 && <span title="Cost so far">{dollars(row.value.cost_usd)}</span>}
        </p>
      </div>
      <Menu thread={thread} />
      <ToldLine thread={thread} />
    </header>
  );
}

function Title() {
  return (
    // While it is written anew it stays for those who go by headings.
    <h2 class={renaming.value ? "unseen" : "title"} dir="auto" title={row.value?.title}>
      {row.value?.title || threadId.value}
    </h2>
  );
}

function Status() {
  if (!row.value) return null;
  const state = stateOf(row.value);
  return (
    <span class={`state ${state.tone}`} data-testid="thread-state">
      <Icon name={state.icon} size={13} spinning={state.icon === "spin"} /> {state.word}
    </span>
  );
}

function Rename({ thread }: { thread: string }) {
  const [title, setTitle] = useState(row.value?.title ?? "");
  const over = useRef(false);
  const leave = (save: boolean) => {
    if (over.current) return;
    over.current = true;
    renaming.value = false;
    if (save && title.trim() && title.trim() !== row.value?.title) void rename(thread, title.trim());
    focusOn("#thread-menu");
  };
  return (
    <form
      class="rename"
      onSubmit={(event) => {
        event.preventDefault();
        leave(true);
      }}
    >
      <label class="unseen" for="rename">
        Title of the thread
      </label>
      <input
        id="rename"
        dir="auto"
        maxLength={80}
        value={title}
        ref={(input) => {
          if (input && document.activeElement !== input && !over.current) input.select();
        }}
        onInput={(event) => setTitle(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          leave(false);
        }}
        onBlur={() => leave(true)}
      />
    </form>
  );
}

function ToldLine({ thread }: { thread: string }) {
  const said = told.value;
  if (!said || said.thread !== thread) return null;
  return (
    <p class={`told ${said.tone}`} role={said.tone === "bad" ? "alert" : "status"}>
      <span>
        {said.text}{" "}
        {said.link && /^https?:/.test(said.link) && (
          <a href={said.link} target="_blank" rel="noopener noreferrer">
            Open it
          </a>
        )}
      </span>
      <button type="button" class="plain" aria-label="Dismiss" onClick={() => (told.value = null)}>
        <Icon name="close" size={13} />
      </button>
    </p>
  );
}

interface Action {
  word: string;
  act: () => void;
  bad?: boolean;
  hint?: string;
}

function Menu({ thread }: { thread: string }) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const actions: Action[] = [
    {
      word: "Rename",
      act: () => {
        renaming.value = true;
        focusOn("#rename");
      },
    },
    { word: "Bring up to date", act: () => void update(thread), hint: "Merge the default branch" },
    ...(canPull.value ? [{ word: "Open pull request", act: () => void openPull(thread) }] : []),
    { word: "Delete…", act: () => (dialog.value = "delete"), bad: true },
  ];
  useEffect(() => {
    if (!isOpen) return undefined;
    box.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    addEventListener("pointerdown", outside);
    return () => removeEventListener("pointerdown", outside);
  }, [isOpen]);
  const onKeyDown = (event: KeyboardEvent) => {
    const items = [...(box.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") {
      setOpen(false);
      if (event.key === "Escape") focusOn("#thread-menu");
    } else if (to !== undefined) {
      event.preventDefault();
      items[(to + items.length) % items.length]?.focus();
    }
    if (isOpen) event.stopPropagation();
  };
  return (
    <div class="menu" ref={box} onKeyDown={isOpen ? onKeyDown : undefined}>
      <button
        type="button"
        id="thread-menu"
        class="plain square"
        aria-haspopup="menu"
        aria-expanded={isOpen}
        aria-label="Thread menu"
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name="dots" size={18} />
      </button>
      {isOpen && (
        <div class="menu-list" role="menu" aria-label="Thread menu">
          {actions.map(({ word, act, bad, hint }) => (
            <button
              type="button"
              role="menuitem"
              key={word}
              class={bad ? "bad" : ""}
              onClick={() => {
                setOpen(false);
                act();
              }}
            >
              {word}
              {hint && <small>{hint}</small>}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

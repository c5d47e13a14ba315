// The list of threads: what each is about, how it stands, where it came from.
import { useState } from "preact/hooks";
import { wordsOf } from "../api.ts";
import { ago, dollars, moment, plain } from "../format.ts";
import { newThread } from "../keys.ts";
import { show } from "../panes.ts";
import { project, search, shown } from "../search.ts";
import type { Row } from "../shapes.ts";
import { more, now, projects, readMore, readThreads, threadId, threads, threadsProblem } from "../store.ts";
import { addressOf } from "../route.ts";
import { frontendOf, stateOf } from "../words.ts";
import { Foot } from "./Foot.tsx";
import { Icon, Logo } from "./Icons.tsx";

export function Threads() {
  return (
    <nav class="side" aria-label="Threads">
      <header class="side-head">
        <Logo />
        <p class="brand">Branchline</p>
        <button type="button" class="primary small" onClick={newThread} title="New thread (n)">
          <Icon name="plus" /> New thread
        </button>
      </header>
      <Filters />
      <List />
      <Foot />
    </nav>
  );
}

function Filters() {
  const several = projects.value.length > 1;
  return (
    <div class="filters">
      <label class="field">
        <Icon name="search" />
        <span class="unseen">Search threads</span>
        <input
          id="search"
          type="search"
          placeholder="Search threads"
          autocomplete="off"
          value={search.value}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
        <kbd aria-hidden="true">/</kbd>
      </label>
      {several && (
        <label>
          <span class="unseen">Project</span>
          <select value={project.value} onChange={(event) => (project.value = event.currentTarget.value)}>
            <option value="">All projects</option>
            {projects.value.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}

function List() {
  const rows = shown.value;
  if (threads.value === null) {
    return threadsProblem.value ? <Trouble /> : <Skeleton />;
  }
  return (
    <div class="side-list">
      {threadsProblem.value && <Trouble />}
      {rows.length === 0 && <Nothing />}
      <ul data-testid="threads">
        {rows.map((row) => (
          <Entry key={row.thread_id} row={row} />
        ))}
      </ul>
      {more.value && <More />}
    </div>
  );
}

const Skeleton = () => (
  <div class="side-list" aria-busy="true">
    {[1, 2, 3].map((n) => (
      <div class="ghost" key={n} />
    ))}
  </div>
);

const Nothing = () => (
  <p class="hint">
    {!search.value && !project.value
      ? "No threads yet. The first message makes one."
      : more.value
        ? "None of the threads that are loaded matches. Older ones are not loaded yet."
        : "No thread matches. Search for fewer words."}
  </p>
);

const Trouble = () => (
  <div class="trouble" role="alert">
    <p>{threadsProblem.value}</p>
    <button type="button" class="plain" onClick={() => void readThreads()}>
      Try again
    </button>
  </div>
);

function Entry({ row }: { row: Row }) {
  const state = stateOf(row);
  const from = frontendOf(row.frontend);
  const isOpen = row.thread_id === threadId.value;
  return (
    <li>
      <a
        class="entry"
        href={addressOf({ kind: "thread", thread: row.thread_id })}
        aria-current={isOpen ? "true" : undefined}
        onClick={() => show("chat")}
      >
        <span class="entry-title" dir="auto">{row.title || row.thread_id}</span>
        <time dateTime={row.updated} title={moment(row.updated)}>
          {ago(row.updated, now.value)}
        </time>
        {row.last_line && row.last_line !== row.title && <span class="entry-line" dir="auto">{plain(row.last_line)}</span>}
        <span class="entry-facts">
          <span class={`state ${state.tone}`}>
            <Icon name={state.icon} size={13} spinning={state.icon === "spin"} /> {state.word}
          </span>
          <span class="from">
            <Icon name={from.icon} size={13} /> {from.word}
          </span>
          {projects.value.length > 1 && <span class="from">{row.project}</span>}
          {row.cost_usd > 0 && <span class="cost">{dollars(row.cost_usd)}</span>}
        </span>
      </a>
    </li>
  );
}

function More() {
  const [busy, setBusy] = useState(false);
  const load = () => {
    setBusy(true);
    void readMore()
      .catch((error: unknown) => (threadsProblem.value = wordsOf(error)))
      .finally(() => setBusy(false));
  };
  return (
    <button type="button" class="plain wide" disabled={busy} onClick={load}>
      {busy ? "Loading…" : "Load older threads"}
    </button>
  );
}

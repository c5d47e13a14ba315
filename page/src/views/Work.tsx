// The right side: the site, what changed, what is to be done, the log. Tabs as the keyboard expects them.
import { tab, openTab, type Tab } from "../panes.ts";
import { threadId, view } from "../store.ts";
import { Changes } from "./Changes.tsx";
import { LogTab } from "./LogTab.tsx";
import { Preview } from "./Preview.tsx";
import { Split } from "./Split.tsx";
import { Tasks } from "./Turn.tsx";

const TABS: [Tab, string][] = [
  ["preview", "Preview"],
  ["changes", "Changes"],
  ["tasks", "Tasks"],
  ["log", "Log"],
];

export function Work() {
  const onKeyDown = (event: KeyboardEvent) => {
    const at = TABS.findIndex(([name]) => name === tab.value);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
    const next = to === undefined ? undefined : TABS[(to + TABS.length) % TABS.length];
    if (!next) return;
    event.preventDefault();
    openTab(next[0]);
    document.getElementById(`tab-${next[0]}`)?.focus();
  };
  return (
    <section class="work" aria-label="Work">
      <Split />
      <div class="tabs" role="tablist" aria-label="Work" onKeyDown={onKeyDown}>
        {TABS.map(([name, word]) => (
          <button
            type="button"
            role="tab"
            key={name}
            id={`tab-${name}`}
            aria-controls={`panel-${name}`}
            aria-selected={tab.value === name}
            tabIndex={tab.value === name ? 0 : -1}
            onClick={() => openTab(name)}
          >
            {word}
            {name === "tasks" && view.value.tasks.length > 0 && <Count />}
          </button>
        ))}
      </div>
      <div key={tab.value} class="panel" role="tabpanel" id={`panel-${tab.value}`} aria-labelledby={`tab-${tab.value}`} tabIndex={tab.value === "preview" ? -1 : 0}>
        <Panel />
      </div>
    </section>
  );
}

const Count = () => (
  <span class="count">
    {view.value.tasks.filter((task) => task.status === "completed").length}/{view.value.tasks.length}
  </span>
);

function Panel() {
  if (tab.value === "preview") return <Preview />;
  if (tab.value === "changes") return <Changes key={threadId.value ?? ""} />;
  if (tab.value === "tasks") return <TasksTab />;
  return <LogTab key={threadId.value ?? ""} />;
}

function TasksTab() {
  const { tasks } = view.value;
  if (tasks.length === 0) {
    return (
      <div class="blank">
        <h2>No tasks</h2>
        <p>For larger work Claude Code writes itself a list. It is shown here while it is worked off.</p>
      </div>
    );
  }
  return (
    <div class="padded">
      <Tasks tasks={tasks} />
    </div>
  );
}

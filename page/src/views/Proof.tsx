// What a message came to: the outcome and what proves it.
import type { Outcome } from "../events.ts";
import type { MessageView } from "../fold.ts";
import { dollars, duration } from "../format.ts";
import { openTab } from "../panes.ts";
import { receiptOf } from "../words.ts";
import { Copy } from "./Copy.tsx";
import { Icon } from "./Icons.tsx";

const TITLES: Partial<Record<MessageView["stage"], string>> = {
  completed: "Done",
  stopped: "Stopped",
  failed: "Failed",
  rejected: "Not accepted",
};

export function Proof({ message, outcome }: { message: MessageView; outcome: Outcome }) {
  const state = receiptOf(message);
  if (message.togetherWith) {
    return (
      <p class="note resume">
        <Icon name="check" size={13} /> <span>Answered together with the message before it.</span>
      </p>
    );
  }
  return (
    <div class={`proof ${state.tone}`} role="group" aria-label="Outcome" data-testid="proof">
      <header>
        <span class="end">
          <Icon name={state.icon} size={14} />
        </span>
        <strong>{TITLES[message.stage] ?? state.word}</strong>
        {!outcome.commit && !outcome.changed && !outcome.note && <span class="quiet">Nothing was changed</span>}
      </header>
      {outcome.commit && <Commit outcome={outcome} message={message} commit={outcome.commit} />}
      {outcome.note && <p class="proof-note">{outcome.note}</p>}
      {outcome.problem && (
        <p class="proof-note bad">
          <Icon name="warn" size={14} /> {outcome.problem}
        </p>
      )}
      <footer>
        <Bill outcome={outcome} />
        {outcome.commit && <Links />}
      </footer>
    </div>
  );
}

function Commit({ outcome, message, commit }: { outcome: Outcome; message: MessageView; commit: string }) {
  const branch = message.push?.branch ?? outcome.branch;
  return (
    <dl class="facts">
      <div>
        <dt>Branch</dt>
        <dd>
          <code>{branch}</code>
          {outcome.onto && (
            <>
              {" "}
              and <code>{outcome.onto}</code>
            </>
          )}
        </dd>
      </div>
      <div>
        <dt>Commit</dt>
        <dd>
          <code>{commit.slice(0, 10)}</code>
          <Copy text={commit} what="commit" />
        </dd>
      </div>
      <div>
        <dt>Files</dt>
        <dd>
          {outcome.files ?? 0} <span class="plus">+{outcome.insertions ?? 0}</span> <span class="minus">−{outcome.deletions ?? 0}</span>
        </dd>
      </div>
      <div>
        <dt>Pushed</dt>
        <dd>{outcome.pushed ? (message.push?.conflict ? "Beside the branch" : "Yes") : "Not pushed"}</dd>
      </div>
    </dl>
  );
}

const Links = () => (
  <span class="proof-links">
    <button type="button" class="small" onClick={() => openTab("changes")}>
      Changes
    </button>
    <button type="button" class="small" onClick={() => openTab("preview")}>
      Preview
    </button>
  </span>
);

function Bill({ outcome }: { outcome: Outcome }) {
  const tokens = (outcome.input_tokens ?? 0) + (outcome.output_tokens ?? 0);
  const parts = [
    outcome.duration_ms ? duration(outcome.duration_ms) : "",
    tokens > 0 ? `${(outcome.input_tokens ?? 0).toLocaleString("en")} tokens in, ${(outcome.output_tokens ?? 0).toLocaleString("en")} out` : "",
    outcome.cost_usd ? dollars(outcome.cost_usd) : "no cost",
    outcome.interruptions ? outcome.interruptions === 1 ? "paused once" : `paused ${outcome.interruptions} times` : "",
  ];
  return <p class="bill">{parts.filter(Boolean).join(" · ")}</p>;
}

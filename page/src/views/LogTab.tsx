// The thread's log as it is, one line for each event.
import { useState } from "preact/hooks";
import { clock, moment } from "../format.ts";
import { view } from "../store.ts";

const SHOWN = 300;

export function LogTab() {
  const [isWhole, setWhole] = useState(false);
  const { log } = view.value;
  const lines = isWhole ? log : log.slice(-SHOWN);
  if (log.length === 0) {
    return (
      <div class="blank">
        <h2>Nothing in the log yet</h2>
        <p>Each step of a thread is written here, as it happens.</p>
      </div>
    );
  }
  return (
    <div class="padded">
      {lines.length < log.length && (
        <button type="button" class="plain wide" onClick={() => setWhole(true)}>
          Show all {log.length} lines
        </button>
      )}
      <ol class="lines" data-testid="log-lines">
        {lines.map((line) => (
          <li key={line.id}>
            <time dateTime={line.time} title={moment(line.time)}>
              {clock(line.time)}
            </time>
            <span class="line-type">{line.type}</span>
            <span class="line-text">{line.text}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

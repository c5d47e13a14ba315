// One use of a tool on one line; what went in and what came out when it is opened.
import { useState } from "preact/hooks";
import type { ToolUse } from "../events.ts";
import { argument } from "../format.ts";
import { Icon, type IconName } from "./Icons.tsx";

const STATES: Record<ToolUse["state"], { icon: IconName; word: string }> = {
  started: { icon: "spin", word: "running" },
  succeeded: { icon: "check", word: "done" },
  failed: { icon: "cross", word: "failed" },
};

export function Tool({ tool, unfinished }: { tool: ToolUse; unfinished: boolean }) {
  const [isOpen, setOpen] = useState(false);
  const state = unfinished ? { icon: "pause" as const, word: "not finished" } : STATES[tool.state];
  return (
    <div class={`tool ${unfinished ? "unfinished" : tool.state}`} data-testid="tool">
      <button type="button" class="tool-line" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Icon name={state.icon} size={14} spinning={state.icon === "spin"} />
        <span class="tool-name">{tool.name}</span>
        <code>{argument(tool.input)}</code>
        <span class="tool-state">{state.word}</span>
        <Icon name={isOpen ? "down" : "right"} size={13} />
      </button>
      {isOpen && <Inside tool={tool} />}
    </div>
  );
}

function Inside({ tool }: { tool: ToolUse }) {
  const input = Object.entries(tool.input ?? {});
  return (
    <div class="tool-inside">
      {input.length > 0 && (
        <dl>
          {input.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <Long text={typeof value === "string" ? value : JSON.stringify(value, null, 2)} />
              </dd>
            </div>
          ))}
        </dl>
      )}
      <p class="tool-part">Output</p>
      {tool.output ? <Long text={tool.output} /> : <p class="hint">{tool.state === "started" ? "Nothing yet." : "It said nothing."}</p>}
    </div>
  );
}

const LINES = 14;
const CHARACTERS = 4000;

function Long({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false);
  const lines = text.split("\n");
  const isLong = lines.length > LINES || text.length > CHARACTERS;
  const shown = isLong && !isWhole ? lines.slice(0, LINES).join("\n").slice(0, CHARACTERS) : text;
  return (
    <>
      <pre tabIndex={0}>{shown}</pre>
      {isLong && (
        <button type="button" class="link" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show less" : lines.length > LINES ? `Show all ${lines.length} lines` : "Show all"}
        </button>
      )}
    </>
  );
}

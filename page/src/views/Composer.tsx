// The field for a message: grows with it, keeps it through a reload, takes files, says what a key does.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { stop } from "../actions.ts";
import type { Mode } from "../events.ts";
import { draft, draftKey, keep, NEW, refusal, send } from "../outbox.ts";
import { busy, projects, running, threadId } from "../store.ts";
import { attach, sending } from "../uploads.ts";
import { Chips } from "./Chips.tsx";
import { Icon } from "./Icons.tsx";

const MODES: [Mode, string, string][] = [
  ["queue", "Queue: wait", "It waits for what runs"],
  ["steer", "Steer: join in", "It is given to what runs at its next step"],
  ["interrupt", "Interrupt: end it", "It ends what runs and is next"],
];

/** A keyboard on the glass has no second key for a new line, so Enter has to be that; the button sends. */
const isTouched = matchMedia("(hover: none) and (pointer: coarse)").matches;

export function Composer() {
  const key = draftKey.value;
  const field = useRef<HTMLTextAreaElement>(null);
  const [mode, setMode] = useState<Mode>("queue");
  const [project, setProject] = useState("");
  const [isOver, setOver] = useState(false);
  const isNew = key === NEW;
  const chosen = project || projects.value[0] || null;
  const isUploading = sending.value.some((s) => s.key === key && !s.problem);
  const isEmpty = !draft.value.text.trim() && draft.value.uploads.length === 0;

  useLayoutEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, window.innerHeight * 0.4)}px`;
  }, [draft.value.text]);

  const submit = () => {
    if (isEmpty || isUploading) return;
    send(running.value ? mode : "queue", isNew && projects.value.length > 1 ? chosen : null);
    setMode("queue");
    field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const isAsked = event.ctrlKey || event.metaKey || !isTouched;
    if (event.key === "Enter" && isAsked && !event.shiftKey && !event.isComposing && !event.altKey) {
      event.preventDefault();
      submit();
    }
  };
  const onPaste = (event: ClipboardEvent) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) {
      event.preventDefault();
      attach(key, files);
    }
  };
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    attach(key, event.dataTransfer?.files ?? []);
  };
  const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;

  return (
    <form
      class={isOver ? "composer over" : "composer"}
      aria-label="New message"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      onDragOver={(event) => {
        if (!holdsFiles(event)) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={onDrop}
    >
      <Refusal fieldKey={key} />
      <div class="composer-box">
        <Chips draftKey={key} />
        <label class="unseen" for="message">
          Message
        </label>
        <textarea
          id="message"
          dir="auto"
          ref={field}
          rows={1}
          placeholder={isNew ? "What should be done?" : running.value ? "Add to what is being done…" : "Write a message…"}
          aria-describedby="keys"
          enterkeyhint={isTouched ? "enter" : "send"}
          value={draft.value.text}
          onInput={(event) => keep(key, { text: event.currentTarget.value })}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        <div class="composer-row">
          <Attach draftKey={key} />
          {isNew && projects.value.length > 1 && (
            <label class="choice">
              <span>Project</span>
              <select value={chosen ?? ""} onChange={(event) => setProject(event.currentTarget.value)}>
                {projects.value.map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </label>
          )}
          {running.value && (
            <label class="choice" title={MODES.find(([name]) => name === mode)?.[2]}>
              <span class="unseen">How it is sent while something runs</span>
              <select value={mode} onChange={(event) => setMode(event.currentTarget.value as Mode)}>
                {MODES.map(([name, word, what]) => (
                  <option key={name} value={name} title={what}>
                    {word}
                  </option>
                ))}
              </select>
            </label>
          )}
          <span class="keys" id="keys">
            {isTouched ? (
              "Enter begins a new line"
            ) : (
              <>
                <kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> new line
              </>
            )}
          </span>
          {busy.value && threadId.value && (
            <button type="button" class="stop" title="Stop what runs and what waits" onClick={() => void stop(threadId.value ?? "")}>
              <Icon name="stop" /> Stop
            </button>
          )}
          <button type="submit" class="round primary" title="Send (Enter)" aria-label="Send" disabled={isEmpty || isUploading}>
            <Icon name="send" />
          </button>
        </div>
      </div>
      {isOver && <div class="drop">Drop pictures or text files here</div>}
    </form>
  );
}

function Refusal({ fieldKey }: { fieldKey: string }) {
  if (refusal.value?.key !== fieldKey) return null;
  return (
    <p class="told bad" role="alert">
      <span>Not sent: {refusal.value.text}</span>
      <button type="button" class="plain" aria-label="Dismiss" onClick={() => (refusal.value = null)}>
        <Icon name="close" size={13} />
      </button>
    </p>
  );
}

function Attach({ draftKey: key }: { draftKey: string }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" class="plain square" aria-label="Attach files" title="Attach pictures or text files" onClick={() => input.current?.click()}>
        <Icon name="clip" size={18} />
      </button>
      <input
        ref={input}
        type="file"
        data-testid="file-input"
        class="unseen"
        tabIndex={-1}
        aria-hidden="true"
        multiple
        onChange={(event) => {
          attach(key, [...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
    </>
  );
}

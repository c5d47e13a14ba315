// The dialogs: help, and the question before a thread is deleted. The browser's own, so focus stays inside.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { remove } from "../actions.ts";
import { KEYS } from "../keys.ts";
import { dialog } from "../panes.ts";
import { row, threadId } from "../store.ts";

interface Shape {
  name: "help" | "delete";
  title: string;
  children: ComponentChildren;
}

function Dialog({ name, title, children }: Shape) {
  const element = useRef<HTMLDialogElement>(null);
  const isOpen = dialog.value === name;
  useEffect(() => {
    if (isOpen && !element.current?.open) element.current?.showModal();
    if (!isOpen && element.current?.open) element.current.close();
  }, [isOpen]);
  const close = () => {
    if (dialog.value === name) dialog.value = "none";
  };
  return (
    <dialog
      ref={element}
      aria-labelledby={`${name}-title`}
      onClose={close}
      onClick={(event) => event.target === element.current && close()}
    >
      {isOpen && (
        <div class="dialog-inner">
          <h2 id={`${name}-title`}>{title}</h2>
          {children}
        </div>
      )}
    </dialog>
  );
}

export function Help() {
  return (
    <Dialog name="help" title="Keys">
      <dl class="key-list">
        {KEYS.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="quiet">
        Each thread is one branch and one session of Claude Code. A message to another thread pauses what runs; afterwards it goes on by itself.
      </p>
      <form method="dialog" class="dialog-row">
        <button class="primary">Close</button>
      </form>
    </Dialog>
  );
}

export function Confirm() {
  const thread = threadId.value;
  return (
    <Dialog name="delete" title="Delete this thread?">
      <p>
        <strong>{row.value?.title ?? thread}</strong>
      </p>
      <p>
        Its messages, its session and its files are removed, and its branch <code>{row.value?.branch}</code> here and on the remote. What was
        merged elsewhere and posts in chats stay. This cannot be taken back.
      </p>
      <form method="dialog" class="dialog-row">
        <button autofocus>Keep it</button>
        <button class="danger" onClick={() => thread && void remove(thread)}>
          Delete the thread
        </button>
      </form>
    </Dialog>
  );
}

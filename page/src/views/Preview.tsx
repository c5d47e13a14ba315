// The site as the worker serves it. It has a name of its own, so its scripts reach nothing of this page.
import { useEffect, useRef, useState } from "preact/hooks";
import { get, pathOf, wordsOf } from "../api.ts";
import { isOver } from "../fold.ts";
import { openTab } from "../panes.ts";
import { addressOf } from "../route.ts";
import type { PreviewState } from "../shapes.ts";
import { row, threadId, threads, view } from "../store.ts";
import { Icon } from "./Icons.tsx";

const NOTHING: PreviewState = { url: null, ready: false, branch: null, thread_id: null, problem: null, live: true };

/** What is loaded: the address, how often, and at which moment of the thread. */
interface Frame {
  url: string;
  loads: number;
  moment: string | null;
}

export function Preview() {
  const [state, setState] = useState<PreviewState | null>(null);
  const [frame, setFrame] = useState<Frame | null>(null);
  const thread = threadId.value;
  const ready = view.value.preview;
  // What is shown changes when a turn starts, goes on or ends, and when the preview comes up.
  const stage = view.value.messages.map((m) => m.stage).join();
  useEffect(() => {
    if (thread === null) return setState(null);
    let isLate = false;
    const read = () =>
      get<PreviewState>(pathOf(thread, "/preview")).then(
        (found) => !isLate && setState(found),
        (error: unknown) => !isLate && setState((old) => (old?.ready ? old : { ...NOTHING, problem: wordsOf(error) })),
      );
    void read();
    const timer = setInterval(() => !document.hidden && void read(), 5000);
    return () => {
      isLate = true;
      clearInterval(timer);
    };
  }, [thread, ready, stage]);

  const url = state?.ready && state.url && /^https?:\/\//.test(state.url) ? state.url : null;
  useEffect(() => {
    // A ticket in the address changes with each reading; the frame is not to be loaded anew for that.
    if (url === null) setFrame(null);
    else if (frame === null || !sameSite(frame.url, url)) setFrame({ url, loads: 0, moment: null });
  }, [url]);
  // Where its sockets do not reach it the site cannot show by itself what changed: at the end of each turn,
  // and when another branch was checked out, it is loaded again.
  const moment = `${state?.thread_id} ${view.value.messages.filter(isOver).length}`;
  const latest = useRef(url);
  latest.current = url;
  useEffect(() => {
    if (state === null || state.live || view.value.last === 0) return;
    const timer = setTimeout(() => {
      const now = latest.current;
      setFrame((old) => {
        if (old === null || now === null || old.moment === moment) return old;
        return old.moment === null ? { ...old, moment } : { url: now, loads: old.loads + 1, moment };
      });
    }, 300); // a log that is being read comes in many pieces
    return () => clearTimeout(timer);
  }, [moment, frame === null, view.value.last === 0]);

  if (thread === null) {
    return (
      <div class="blank">
        <h2>The site, live</h2>
        <p>As soon as a thread works on it, its branch of the site is shown here.</p>
      </div>
    );
  }
  return (
    <div class="preview">
      <div class="preview-bar">
        <span class="from grow">
          <Icon name="branch" size={13} /> <code>{(frame && state?.branch) || row.value?.branch || ""}</code>
        </span>
        <button type="button" class="plain square" aria-label="Reload the preview" title="Reload" disabled={!url} onClick={() => url && setFrame({ url, loads: (frame?.loads ?? 0) + 1, moment: frame?.moment ?? null })}>
          <Icon name="reload" />
        </button>
        {url && (
          <a class="button plain square" href={url} target="_blank" rel="noopener noreferrer" aria-label="Open the preview in a tab" title="Open in a tab">
            <Icon name="out" />
          </a>
        )}
      </div>
      <Other shown={frame && state ? state.thread_id : null} thread={thread} />
      {frame ? (
        <iframe
          key={`${new URL(frame.url).origin}#${frame.loads}`}
          title="Preview of the site"
          src={frame.url}
          sandbox="allow-scripts allow-same-origin allow-forms allow-popups allow-modals allow-downloads"
          referrerpolicy="no-referrer"
          data-testid="preview-frame"
        />
      ) : (
        <Cold state={state} />
      )}
    </div>
  );
}

function sameSite(a: string, b: string | null): boolean {
  try {
    return b !== null && new URL(a).origin === new URL(b).origin;
  } catch {
    return false;
  }
}

function Other({ shown, thread }: { shown: string | null; thread: string }) {
  if (shown === null || shown === thread) return null;
  const title = threads.value?.find((r) => r.thread_id === shown)?.title ?? shown;
  return (
    <p class="hint-bar" role="status">
      The preview shows another thread now: <a href={addressOf({ kind: "thread", thread: shown })}><bdi>{title}</bdi></a>. It comes back here with the next
      message.
    </p>
  );
}

function Cold({ state }: { state: PreviewState | null }) {
  return (
    <div class="blank">
      <h2>{state === null ? "Looking for the preview…" : "No preview yet"}</h2>
      {state !== null && (
        <>
          <p>{state.problem ?? "The preview starts with the next message."}</p>
          <button type="button" onClick={() => openTab("log")}>
            Show the log
          </button>
        </>
      )}
    </div>
  );
}

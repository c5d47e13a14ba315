// The thread's log as it is, one line for each event.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { clock, moment } from "../format.ts";
import { view } from "../store.ts";

const SHOWN = 300;
const NEAR = 60;

export function LogTab() {
  const [isWhole, setWhole] = useState(false);
  const { log } = view.value;
  const list = useFollowing(log.length);
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
    <div class="padded line-frame">
      {lines.length < log.length && (
        <button type="button" class="plain wide" onClick={() => setWhole(true)}>
          Show all {log.length} lines
        </button>
      )}
      <ol class="lines" ref={list} data-testid="log-lines">
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

/** Keeps the newest line in sight while one is at the end, and leaves whoever reads further up in peace. */
function useFollowing(length: number) {
  const list = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true);
  const isThere = length > 0;
  useLayoutEffect(() => {
    const frame = scrolling(list.current);
    if (frame && atEnd.current) frame.scrollTop = frame.scrollHeight;
  }, [length]);
  useEffect(() => {
    const frame = scrolling(list.current);
    const look = () => {
      if (frame) atEnd.current = frame.scrollHeight - frame.scrollTop - frame.clientHeight < NEAR;
    };
    frame?.addEventListener("scroll", look);
    return () => frame?.removeEventListener("scroll", look);
  }, [isThere]);
  return list;
}

/** What scrolls around an element: its panel, or all of the work where the window is low. */
function scrolling(element: Element | null): Element | null {
  let frame = element?.parentElement ?? null;
  while (frame && !/auto|scroll/.test(getComputedStyle(frame).overflowY)) frame = frame.parentElement;
  return frame;
}

// The middle: what was said and done in a thread, and the field for the next message.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { pending, type Outgoing } from "../outbox.ts";
import { announce, link, place, signedOut, threadId, view } from "../store.ts";
import { receiptOf } from "../words.ts";
import { Composer } from "./Composer.tsx";
import { Head } from "./Head.tsx";
import { Icon } from "./Icons.tsx";
import { Turn } from "./Turn.tsx";
import { Welcome } from "./Welcome.tsx";

export function Conversation() {
  const isThread = place.value.kind === "thread";
  return (
    <section class="chat" aria-label="Conversation">
      {isThread && <Head />}
      {link.value === "lost" && (
        <p class="lost" role="status">
          <Icon name="spin" spinning /> Connection lost, trying again. What you write is kept.
        </p>
      )}
      {isThread ? <Log key={threadId.value ?? ""} /> : <Welcome />}
      {link.value === "gone" ? null : <Composer key={threadId.value ?? "new"} />}
    </section>
  );
}

const NEAR = 120;
const FIRST_SHOWN = 60;

/** Follows the end while one is at the end, and leaves whoever reads further up in peace. */
function Log() {
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const [isBelow, setBelow] = useState(false);
  const [shown, setShown] = useState(FIRST_SHOWN);
  const { messages } = view.value;
  const visible = messages.slice(-shown);

  const toEnd = () => box.current?.scrollTo({ top: box.current.scrollHeight });
  useLayoutEffect(() => {
    if (atEnd.current) toEnd();
    else setBelow(true);
  }, [view.value, pending.value]);
  useEffect(() => {
    // Pictures, colours and a growing field change heights without a new event.
    const inner = box.current?.firstElementChild;
    if (!inner || !box.current) return undefined;
    const observer = new ResizeObserver(() => atEnd.current && toEnd());
    observer.observe(inner);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current ?? document.body;
    atEnd.current = scrollHeight - scrollTop - clientHeight < NEAR;
    if (atEnd.current) setBelow(false);
  };
  useStages();
  if (link.value === "gone") return <Gone />;
  return (
    <div class="log-frame">
      <div class="log" ref={box} onScroll={onScroll} tabIndex={0} role="log" aria-live="off" aria-label="Messages">
        <div class="log-inner">
          {visible.length < messages.length && (
            <button type="button" class="plain wide" onClick={() => setShown(shown + FIRST_SHOWN)}>
              Show earlier messages
            </button>
          )}
          {link.value === "loading" && messages.length === 0 && pending.value.length === 0 && <Loading />}
          {visible.map((message) => (
            <Turn key={message.id} message={message} />
          ))}
          {pending.value.map((message) => (
            <Pending key={message.id} message={message} />
          ))}
          <Worker />
        </div>
      </div>
      {isBelow && (
        <button
          type="button"
          class="to-end"
          onClick={() => {
            atEnd.current = true;
            toEnd();
          }}
        >
          <Icon name="down" /> Newest
        </button>
      )}
    </div>
  );
}

/** Tells people who listen how a message stands, once for each change, and not each word of an answer. */
function useStages(): void {
  const last = view.value.messages.at(-1);
  const word = last ? receiptOf(last).word : "";
  const first = useRef(true);
  useEffect(() => {
    if (word && !first.current) announce(`${word}.`);
    first.current = false;
  }, [word]);
}

const Loading = () => (
  <div class="loading" role="status">
    <Icon name="spin" spinning /> Reading the thread…
  </div>
);

const Gone = () => (
  <div class="blank" role="status">
    <h2>This thread is not there</h2>
    <p>It was deleted, or its address is wrong. Choose another one, or begin a new one.</p>
    <a class="button" href="#/new">
      New thread
    </a>
  </div>
);

function Pending({ message }: { message: Outgoing }) {
  const later = signedOut.value ? "Sent when you have signed in" : "Not sent yet, trying again";
  const words = message.state === "waiting" ? later : "Sending…";
  return (
    <article class="turn" data-testid="pending">
      <div class="said mine">
        <p class="said-text" dir="auto">
          {message.text}
        </p>
        <p class="receipt quiet" role="status">
          <Icon name={message.state === "waiting" ? "clock" : "spin"} size={13} spinning={message.state !== "waiting"} /> {words}
        </p>
      </div>
    </article>
  );
}

function Worker() {
  const { worker, workerReason } = view.value;
  const text =
    worker === "starting" ? "The worker is being started." : worker === "stopped" ? workerReason || "The worker has stopped; it is started again when there is work." : "";
  if (!text) return null;
  return (
    <p class="aside" role="status">
      <Icon name={worker === "starting" ? "spin" : "dot"} size={13} spinning={worker === "starting"} /> {text}
    </p>
  );
}

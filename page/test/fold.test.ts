// The fold is the one truth of the page: whatever order of batches, reconnects and repeats, the same view.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LogEvent } from "../src/events.ts";
import { EMPTY, fold, isBusy, isRunning, isTold, lastSequence } from "../src/fold.ts";

type Bare = Omit<LogEvent, "id" | "time">;
const numbered = (bare: Bare[]): LogEvent[] =>
  bare.map((event, i) => ({ ...event, id: i + 1, time: "2026-01-02T03:04:05Z" }) as LogEvent);

const received = (id: string, sequence: number): Bare =>
  ({
    type: "message.received",
    message_id: id,
    data: { text: `say ${id}`, author: { id: "u", name: "Ada" }, frontend: "web", mode: "queue", sequence },
  }) as Bare;

const turn = (type: string, data: object, id = "a"): Bare =>
  ({ type, message_id: id, turn_id: `t-${id}`, data }) as unknown as Bare;

const anyId = fc.constantFrom("a", "b", "c");
const anyText = fc.string({ maxLength: 12, unit: "grapheme" });
const anyOutcome = fc.record({ text: anyText, pushed: fc.boolean() }, { noNullPrototype: true });
const anyEvent: fc.Arbitrary<Bare> = fc.oneof(
  fc.tuple(anyId, fc.nat(9)).map(([id, n]) => received(id, n)),
  fc.tuple(fc.nat(3), anyId).map(([ahead, id]) => turn("message.queued", { ahead }, id)),
  anyId.map((id) => turn("turn.started", { branch: `thread-${id}`, attempt: 1 }, id)),
  fc.tuple(anyText, anyId).map(([text, id]) => turn("turn.text", { text }, id)),
  fc
    .tuple(fc.constantFrom("started", "succeeded", "failed"), fc.constantFrom("x", "y"), anyId)
    .map(([state, use, id]) => turn("turn.tool", { tool_use_id: use, name: "Read", state, input: {} }, id)),
  fc
    .tuple(fc.array(fc.record({ id: anyText, subject: anyText, status: fc.constantFrom("pending", "completed") }, { noNullPrototype: true })), anyId)
    .map(([tasks, id]) => turn("turn.tasks", { tasks }, id)),
  anyId.map((id) => turn("turn.interrupted", { reason: "preempted", text: "Paused." }, id)),
  anyId.map((id) => turn("turn.resumed", { reason: "preempted", text: "Going on." }, id)),
  anyId.map((id) => turn("turn.committed", { sha: "0123456789", branch: "thread-a" }, id)),
  fc.tuple(fc.constantFrom("completed", "stopped", "failed", "rejected"), anyOutcome, anyId).map(([how, data, id]) =>
    turn(`turn.${how}`, data, id),
  ),
  fc.constantFrom("starting", "ready", "stopped").map((how) => ({ type: `worker.${how}`, data: {} }) as unknown as Bare),
  fc.constant({ type: "something.new", data: { text: "of a later version" } } as unknown as Bare),
);
const anyLog = fc.array(anyEvent, { maxLength: 60, size: "max" }).map(numbered);
const often = { numRuns: 500 };

test("adding a log twice is adding it once", () => {
  fc.assert(
    fc.property(anyLog, (log) => {
      const once = fold(EMPTY, log);
      assert.equal(fold(once, log), once);
    }),
    often,
  );
});

test("any beginning and then the rest is the whole", () => {
  fc.assert(
    fc.property(anyLog, fc.nat(), (log, anywhere) => {
      const at = anywhere % (log.length + 1);
      assert.deepEqual(fold(fold(EMPTY, log.slice(0, at)), log.slice(at)), fold(EMPTY, log));
    }),
    often,
  );
});

test("one by one is all at once, and a reconnect that repeats some changes nothing", () => {
  fc.assert(
    fc.property(anyLog, fc.nat(5), (log, repeated) => {
      let view = EMPTY;
      log.forEach((_, i) => {
        view = fold(view, log.slice(Math.max(0, i - repeated), i + 1));
      });
      assert.deepEqual(view, fold(EMPTY, log));
    }),
    often,
  );
});

test("a view that was given out never changes", () => {
  fc.assert(
    fc.property(anyLog, fc.nat(), (log, anywhere) => {
      const at = anywhere % (log.length + 1);
      const early = fold(EMPTY, log.slice(0, at));
      const copy = structuredClone(early);
      fold(early, log.slice(at));
      assert.deepEqual(early, copy);
      assert.equal(EMPTY.messages.length, 0);
    }),
    often,
  );
});

test("the order inside a log decides, so an older event is passed over", () => {
  fc.assert(
    fc.property(anyLog, (log) => {
      const view = fold(EMPTY, log);
      for (const event of log) assert.equal(fold(view, [event]), view);
    }),
    often,
  );
});

test("text is joined as it is, and nothing of it is lost or doubled", () => {
  fc.assert(
    fc.property(fc.array(anyText), (pieces) => {
      const log = numbered([received("a", 1), ...pieces.map((text) => turn("turn.text", { text }))]);
      const said = fold(EMPTY, log).messages[0]?.blocks.map((b) => (b.kind === "text" ? b.text : "")).join("");
      assert.equal(said, pieces.join("").trimStart());
    }),
    often,
  );
});

test("a message goes from received through queued and running to its outcome, and stays there", () => {
  const log = numbered([
    received("a", 7),
    turn("message.queued", { ahead: 2 }),
    turn("turn.started", { branch: "thread-x", attempt: 1 }),
    turn("turn.completed", { text: "Done.", pushed: true }),
    turn("turn.text", { text: "too late" }),
  ]);
  const stages = log.map((_, i) => fold(EMPTY, log.slice(0, i + 1)).messages[0]?.stage);
  assert.deepEqual(stages, ["received", "queued", "running", "completed", "completed"]);
  const view = fold(EMPTY, log);
  assert.equal(view.branch, "thread-x");
  assert.equal(lastSequence(view), 7);
  assert.equal(isBusy(view), false);
  assert.deepEqual(view.messages[0]?.blocks, []);
});

test("a tool that was under way at a pause is unfinished, and its answer after going on counts", () => {
  const use = (state: string) => turn("turn.tool", { tool_use_id: "x", name: "Bash", state, input: { command: "ls" } });
  const log = numbered([
    received("a", 1),
    turn("turn.started", { branch: "b" }),
    use("started"),
    turn("turn.interrupted", { reason: "preempted", text: "Paused for another thread." }),
  ]);
  const paused = fold(EMPTY, log);
  assert.equal(isRunning(paused), false);
  const [tool, note] = paused.messages[0]?.blocks ?? [];
  assert.ok(tool?.kind === "tool" && tool.unfinished);
  assert.ok(note?.kind === "note" && note.tone === "pause");
  const later = fold(paused, [{ ...use("succeeded"), id: 5, time: "" } as LogEvent]);
  const again = later.messages[0]?.blocks[0];
  assert.ok(again?.kind === "tool" && !again.unfinished && again.tool.state === "succeeded");
});

test("a checkpoint is not the commit that a message is proved by", () => {
  const log = numbered([received("a", 1), turn("turn.committed", { sha: "1".repeat(40), branch: "b", checkpoint: true })]);
  assert.equal(fold(EMPTY, log).messages[0]?.commit, null);
});

test("an answer that was streamed is not told again; one that was not is", () => {
  const end = (text: string) => turn("turn.completed", { text });
  const streamed = numbered([received("a", 1), turn("turn.text", { text: "First.\n\nAll\n" }), turn("turn.text", { text: "done." }), end("All done.")]);
  assert.equal(isTold(fold(EMPTY, streamed).messages[0]!), true);
  const silent = numbered([received("a", 1), turn("turn.text", { text: "First." }), end("All done.")]);
  assert.equal(isTold(fold(EMPTY, silent).messages[0]!), false);
});

test("a long log is folded in a time that grows with its length", () => {
  const many = numbered([received("a", 1), ...Array.from({ length: 50_000 }, () => turn("turn.text", { text: "word " }))]);
  const view = fold(EMPTY, many);
  assert.equal(view.messages[0]?.blocks.length, 1);
  assert.equal(view.last, 50_001);
});

// The page: lists threads, follows one, posts. Whatever comes from a person or a model becomes text, never markup.
"use strict";

const byId = (id) => document.getElementById(id);
const state = { thread: null, source: null, last: 0, answer: null, told: new Set() };

async function ask(address, options) {
  const response = await fetch(address, options);
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ? body.error.message : `The server answered ${response.status}.`);
  return body;
}

function post(address, body) {
  return ask(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

const addressOf = (thread) => `/v1/threads/${encodeURIComponent(thread)}`;

function element(name, { text = "", kind = "" } = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

async function list() {
  const { threads } = await ask("/v1/threads");
  byId("none").hidden = threads.length > 0;
  byId("threads").replaceChildren(...threads.map(entry));
}

function entry(thread) {
  const button = element("button", { text: thread.title || thread.thread_id });
  button.type = "button";
  button.setAttribute("aria-current", String(thread.thread_id === state.thread));
  button.append(element("span", { text: `${thread.state} · ${thread.project}`, kind: "state" }));
  button.addEventListener("click", () => show(thread));
  const item = element("li");
  item.append(button);
  return item;
}

function show(thread) {
  if (state.source) state.source.close();
  Object.assign(state, { thread: thread.thread_id, last: 0, answer: null, told: new Set() });
  location.hash = thread.thread_id;
  byId("title").textContent = thread.title || thread.thread_id;
  byId("branch").textContent = thread.branch || "";
  byId("stop").hidden = false;
  byId("log").replaceChildren();
  state.source = new EventSource(`${addressOf(thread.thread_id)}/events`);
  state.source.onmessage = (event) => add(JSON.parse(event.data));
  refresh();
}

function fresh() {
  if (state.source) state.source.close();
  Object.assign(state, { thread: null, source: null, answer: null });
  location.hash = "";
  byId("title").textContent = "New thread";
  byId("branch").textContent = "";
  byId("stop").hidden = true;
  byId("log").replaceChildren();
  byId("text").focus();
  refresh();
}

const NOTES = {
  "message.queued": (d) => `waits, ${d.ahead} ahead`,
  "turn.started": (d) => `started on ${d.branch}`,
  "turn.resumed": (d) => d.text,
  "turn.interrupted": (d) => d.text,
  "turn.tool": (d) => (d.state === "started" ? `${d.name} ${argument(d.input)}` : d.state === "failed" ? `${d.name} failed` : ""),
  "turn.tasks": (d) => d.tasks.map((t) => `${t.status === "completed" ? "☑" : "☐"} ${t.subject}`).join("\n"),
  "turn.committed": (d) => `committed ${d.sha.slice(0, 8)}, ${d.files} files, +${d.insertions} −${d.deletions}`,
  "turn.pushed": (d) => `pushed to ${d.branch}`,
  "preview.ready": (d) => `preview at ${d.url}`,
  "worker.starting": () => "the worker is starting",
  "worker.ready": () => "the worker is ready",
  "worker.stopped": () => "the worker has stopped",
};
const ENDINGS = { "turn.completed": "answer", "turn.stopped": "note", "turn.failed": "bad", "turn.rejected": "bad" };

function add(event) {
  if (event.id <= state.last) return;
  state.last = event.id;
  if (event.type === "turn.text") return addText(event);
  state.answer = null;
  const data = event.data;
  if (event.type === "message.received") line(`${data.author.name}: ${data.text}`, "person");
  else if (event.type in ENDINGS) ending(event);
  else if (event.type in NOTES) line(NOTES[event.type](data), "note");
  if (!event.type.startsWith("turn.t")) refresh();
}

// What was streamed is not said again; what became of it is.
function ending({ type, turn_id, data }) {
  const answer = type === "turn.completed" && state.told.has(turn_id) ? "" : data.text;
  if (answer) line(answer, ENDINGS[type]);
  const commit = data.commit ? `commit ${data.commit.slice(0, 8)} on ${data.branch}, ${data.pushed ? "pushed" : "not pushed"}` : "";
  const parts = [type.replace("turn.", ""), commit, data.note, data.problem, data.cost_usd ? `$${data.cost_usd.toFixed(4)}` : ""];
  line(parts.filter(Boolean).join(" · "), "note");
}

function addText(event) {
  state.told.add(event.turn_id);
  const text = state.answer ? event.data.text : event.data.text.trimStart();
  if (!text) return;
  if (!state.answer) state.answer = line("", "");
  state.answer.append(text);
}

const ARGUMENTS = ["command", "file_path", "path", "pattern", "description", "subject"];
function argument(input) {
  const value = ARGUMENTS.map((name) => input[name]).find((v) => typeof v === "string" && v) || "";
  return value.length > 100 ? `${value.slice(0, 99)}…` : value;
}

function line(text, kind) {
  if (!text && kind === "note") return null;
  const item = element("li", { text, kind });
  byId("log").append(item);
  item.scrollIntoView({ block: "nearest" });
  return item;
}

let waiting = null;
function refresh() {
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = null;
    list().catch(tell);
  }, 200);
}

function tell(error) {
  byId("problem").textContent = error.message;
}

async function send(event) {
  event.preventDefault();
  const text = byId("text").value;
  byId("problem").textContent = "";
  try {
    const body = { text, mode: byId("mode").value };
    if (state.thread) await post(`${addressOf(state.thread)}/messages`, body);
    else show(await ask(addressOf((await post("/v1/threads", body)).thread_id)));
    byId("text").value = "";
  } catch (error) {
    tell(error);
  }
}

async function stop() {
  try {
    const { stopping } = await post(`${addressOf(state.thread)}/stop`, {});
    byId("problem").textContent = stopping.length ? "" : "Nothing is running here.";
  } catch (error) {
    tell(error);
  }
}

const linked = decodeURIComponent(location.hash.slice(1));
if (linked) ask(addressOf(linked)).then(show).catch(tell);
byId("api").textContent = `${location.origin}/v1/threads`;
byId("fresh").addEventListener("click", fresh);
byId("stop").addEventListener("click", stop);
byId("form").addEventListener("submit", send);
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
});
setInterval(() => list().catch(tell), 10000);
list().catch(tell);

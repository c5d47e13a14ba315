// Files on their way to the server: judged by their bytes before they are sent, with progress, one request each.
import { signal } from "@preact/signals";
import { Problem, problemOf, repaired, session, UNREACHABLE, unsafeHeaders, wordsOf } from "./api.ts";
import type { Upload } from "./events.ts";
import { bytes } from "./format.ts";
import { draftOf, keep } from "./outbox.ts";
import { kindOf } from "./sniff.ts";

export const MOST = 10;
export const LARGEST = 4 * 1024 * 1024;

export interface Sending {
  id: number;
  key: string;
  name: string;
  size: number;
  done: number;
  problem: string;
  cancel: () => void;
}

export const sending = signal<Sending[]>([]);
let numbers = 0;

const change = (id: number, part: Partial<Sending>): void => {
  sending.value = sending.value.map((s) => (s.id === id ? { ...s, ...part } : s));
};
export const dismiss = (id: number): void => {
  sending.value.find((s) => s.id === id)?.cancel();
  sending.value = sending.value.filter((s) => s.id !== id);
};

/** Attach files to a draft. Each that cannot be sent says why. */
export function attach(key: string, files: Iterable<File>): void {
  for (const file of files) void attachOne(key, file);
}

async function attachOne(key: string, file: File): Promise<void> {
  const id = ++numbers;
  const there = draftOf(key).uploads.length + sending.value.filter((s) => s.key === key && !s.problem).length;
  const entry: Sending = { id, key, name: file.name || "pasted", size: file.size, done: 0, problem: "", cancel: () => {} };
  sending.value = [...sending.value, entry];
  try {
    if (there >= MOST) throw new Error(`At most ${MOST} files fit into one message.`);
    await check(file);
    const upload = await sent(id, file);
    keep(key, { uploads: [...draftOf(key).uploads, upload] });
    dismiss(id);
  } catch (error) {
    change(id, { problem: wordsOf(error) });
  }
}

async function check(file: File): Promise<void> {
  if (file.size > LARGEST) throw new Error(`${bytes(file.size)} is too large: 4 MB is the most.`);
  const kind = kindOf(new Uint8Array(await file.arrayBuffer()));
  if (kind === null) throw new Error("Only PNG, JPEG, GIF and WebP pictures and UTF-8 text can be sent.");
}

async function sent(id: number, file: File): Promise<Upload> {
  const token = session.formToken;
  try {
    return await transfer(id, file);
  } catch (problem) {
    if (problem instanceof Problem && problem.isMissingRoute) throw new Error("This server takes no files yet.");
    if (!(await repaired(problem, "POST", token))) throw problem;
    return transfer(id, file);
  }
}

function transfer(id: number, file: File): Promise<Upload> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/v1/uploads?name=${encodeURIComponent(file.name || "pasted")}`);
    for (const [name, value] of Object.entries(unsafeHeaders())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => change(id, { done: event.loaded / Math.max(1, event.total) });
    request.onerror = () => reject(new Problem(0, "unreachable", UNREACHABLE.replace("Trying", "Try")));
    request.onload = () =>
      request.status === 201 || request.status === 200
        ? resolve(request.response as Upload)
        : reject(problemOf(request.status, request.response));
    change(id, { cancel: () => request.abort() });
    request.send(file);
  });
}

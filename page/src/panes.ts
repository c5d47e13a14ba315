// Which part of the page is in front where there is room for one only, which tab of the work is open, and which
// dialog. Small choices of the screen, kept nowhere but for the tab and the width.
import { signal } from "@preact/signals";
import { read, write } from "./kept.ts";

export type Pane = "threads" | "chat" | "work";
export type Tab = "preview" | "changes" | "tasks" | "log";

export const pane = signal<Pane>("chat");
export const tab = signal<Tab>(read<Tab>("tab", "preview"));
export const dialog = signal<"none" | "help" | "delete">("none");
export const renaming = signal(false);

export function show(to: Pane): void {
  pane.value = to;
}

export function openTab(to: Tab): void {
  tab.value = to;
  write("tab", to);
  pane.value = "work";
}

export const focusOn = (selector: string): void => {
  requestAnimationFrame(() => document.querySelector<HTMLElement>(selector)?.focus());
};

// Which part of the page is in front where there is room for one only, which tab of the work is open, and which
// dialog. Small choices of the screen, kept nowhere but for the tab and the width of the work.
import { signal } from "@preact/signals";
import { read, write } from "./kept.ts";
import { wishOf } from "./split.ts";

export type Pane = "threads" | "chat" | "work";
export type Tab = "preview" | "changes" | "tasks" | "log";

export const pane = signal<Pane>("chat");
export const tab = signal<Tab>(read<Tab>("tab", "preview"));
export const dialog = signal<"none" | "help" | "delete">("none");
export const renaming = signal(false);
/** The share of the window that the work is to have, in percent; it gets what fits. */
export const split = signal(wishOf(read<unknown>("split", null)));

export function show(to: Pane): void {
  pane.value = to;
}

export function splitAt(share: number): void {
  split.value = share;
  write("split", share);
}

export function openTab(to: Tab): void {
  tab.value = to;
  write("tab", to);
  pane.value = "work";
}

export const focusOn = (selector: string): void => {
  requestAnimationFrame(() => document.querySelector<HTMLElement>(selector)?.focus());
};

// Which of the loaded threads are listed: those that hold every word that was typed, in whatever is shown of them.
import { computed, signal } from "@preact/signals";
import { threads } from "./store.ts";
import { frontendOf, stateOf } from "./words.ts";

export const search = signal("");
export const project = signal("");

export const shown = computed(() => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  return (threads.value ?? []).filter((row) => {
    if (project.value && row.project !== project.value) return false;
    const text = [row.title, row.last_line, row.project, row.branch, stateOf(row).word, frontendOf(row.frontend).word]
      .join(" ")
      .toLowerCase();
    return words.every((word) => text.includes(word));
  });
});

// Markdown in its element. While an answer is being written only its last block is drawn again.
import { useLayoutEffect, useRef } from "preact/hooks";
import { colourBlocks } from "../colour.ts";
import { Growing } from "../markdown.ts";

export function Markdown({ text, live }: { text: string; live: boolean }) {
  const element = useRef<HTMLDivElement>(null);
  const growing = useRef<Growing | null>(null);
  useLayoutEffect(() => {
    if (!element.current) return;
    growing.current ??= new Growing(element.current);
    const fresh = growing.current.show(text);
    if (live) return;
    void colourBlocks(fresh.length > 0 ? fresh : [...element.current.children]);
  }, [text, live]);
  return <div class="markdown" ref={element} />;
}

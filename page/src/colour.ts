// Syntax colours: the highlighter is loaded when there is something to colour. Its output is taken apart into
// plain spans with text in them; no markup of it reaches the document.
import type { HLJSApi } from "highlight.js";

export interface Piece {
  className: string;
  text: string;
}

const ENDINGS: Record<string, string> = {
  astro: "xml", bash: "bash", c: "cpp", cc: "cpp", cjs: "javascript", cpp: "cpp", css: "css", go: "go", h: "cpp",
  html: "xml", ini: "ini", java: "java", js: "javascript", json: "json", json5: "json", jsonc: "json",
  jsx: "javascript", less: "css", md: "markdown", markdown: "markdown", mdx: "markdown", mjs: "javascript",
  py: "python", python: "python", rs: "rust", rust: "rust", scss: "css", sh: "bash", shell: "bash", sql: "sql",
  svelte: "xml", svg: "xml", toml: "ini", ts: "typescript", tsx: "typescript", typescript: "typescript",
  javascript: "javascript", vue: "xml", xml: "xml", yaml: "yaml", yml: "yaml", zsh: "bash",
};
const LONGEST = 60_000;

let loading: Promise<HLJSApi> | null = null;
const load = (): Promise<HLJSApi> => (loading ??= import("./languages.ts").then((module) => module.highlighter));

/** The language of a file or of a code block, or null when there are no colours for it. */
export const languageOf = (name: string): string | null => ENDINGS[name.split(".").at(-1)?.toLowerCase() ?? ""] ?? null;

/** Lines of code as coloured pieces; null when it is too long to be worth the time. */
export async function colourLines(code: string, language: string): Promise<Piece[][] | null> {
  if (code.length > LONGEST) return null;
  const highlighter = await load();
  const { value } = highlighter.highlight(code, { language, ignoreIllegals: true });
  // Inside of an element, because a parser drops the space at the beginning of a body.
  const parsed = new DOMParser().parseFromString(`<span>${value}</span>`, "text/html").body;
  const lines: Piece[][] = [[]];
  collect(parsed, "", lines);
  return lines;
}

function collect(node: Node, className: string, lines: Piece[][]): void {
  for (const child of node.childNodes) {
    if (child instanceof Element) {
      collect(child, /^hljs[\w -]*$/.test(child.className) ? child.className : className, lines);
    } else {
      (child.textContent ?? "").split("\n").forEach((text, i) => {
        if (i > 0) lines.push([]);
        if (text) lines.at(-1)?.push({ className, text });
      });
    }
  }
}

/** Colour the code blocks inside of these elements. */
export async function colourBlocks(elements: Element[]): Promise<void> {
  for (const code of elements.flatMap((e) => [...e.querySelectorAll("code"), ...(e.matches("code") ? [e] : [])])) {
    const language = languageOf(code.className.replace(/^language-/, ""));
    if (code.parentElement?.tagName !== "PRE" || !language) continue;
    const text = code.textContent ?? "";
    const lines = await colourLines(text, language).catch(() => null);
    if (lines === null || code.textContent !== text) continue;
    code.replaceChildren(...lines.flatMap((line, i) => [...(i > 0 ? ["\n"] : []), ...line.map(spanOf)]));
  }
}

function spanOf(piece: Piece): Node | string {
  if (!piece.className) return piece.text;
  const span = document.createElement("span");
  span.className = piece.className;
  span.textContent = piece.text;
  return span;
}

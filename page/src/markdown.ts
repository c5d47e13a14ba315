// Markdown of answers as a document fragment. Two walls: the parser turns raw HTML and strange pictures into
// text and links, and the sanitiser lets only a short list of elements and attributes pass.
import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";

const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** Pictures come from one's own uploads or from this page's memory; all others become links. */
const isOwnPicture = (address: string): boolean =>
  /^\/v1\/uploads\/[A-Za-z0-9_.~-]+$/.test(address) || address.startsWith(`blob:${location.origin}/`);

const HEADINGS_ABOVE = 2;

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }: Tokens.HTML | Tokens.Tag) => escaped(text),
    // Above an answer stand the name of the page and the title of the thread.
    heading({ tokens, depth }: Tokens.Heading) {
      const level = Math.min(6, depth + HEADINGS_ABOVE);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
    },
    checkbox: ({ checked }: Tokens.Checkbox) => (checked ? "☑ " : "☐ "),
    image: ({ href, text }: Tokens.Image) =>
      isOwnPicture(href)
        ? `<img src="${escaped(href)}" alt="${escaped(text)}">`
        : `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
  },
});

const TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "img", "li", "ol", "p",
  "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
];

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    if (/^(https?:|mailto:)/i.test(node.getAttribute("href") ?? "")) {
      node.setAttribute("target", "_blank");
      node.setAttribute("rel", "noopener noreferrer nofollow");
    } else node.removeAttribute("href");
  }
  if (node.tagName === "IMG") {
    if (isOwnPicture(node.getAttribute("src") ?? "")) node.setAttribute("loading", "lazy");
    else node.remove();
  }
  const language = node.getAttribute("class");
  if (language !== null && !(node.tagName === "CODE" && /^language-[\w+#.-]{1,30}$/.test(language))) {
    node.removeAttribute("class");
  }
});

function safe(html: string): DocumentFragment {
  return purify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "src", "alt", "title", "class", "start", "align"],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    // What is not http, mailto, an own upload or a blob is no address; the hook above decides in detail.
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|blob:|\/v1\/uploads\/)/i,
    RETURN_DOM_FRAGMENT: true,
  });
}

const SCROLLS = "pre, table";
const SPEAKS = "p, ul, ol, blockquote, td, th, h3, h4, h5, h6";

/** What scrolls has to be reachable by key, and text that runs from right to left begins there. */
function prepare(root: HTMLElement): void {
  const found = (selector: string) => [...(root.matches(selector) ? [root] : []), ...root.querySelectorAll<HTMLElement>(selector)];
  for (const node of found(SCROLLS)) node.tabIndex = 0;
  for (const node of found(SPEAKS)) node.dir = "auto";
  for (const node of found("pre")) node.dir = "ltr";
}

export const blocksOf = (text: string): Token[] => marked.lexer(text);

export const fragmentOf = (tokens: Token[]): DocumentFragment => safe(marked.parser(tokens));

/** An answer on its way into an element: what is complete stays as it is, only its last block is drawn again. */
export class Growing {
  readonly #root: HTMLElement;
  #kept = "";
  #text = "";
  #tail: ChildNode[] = [];

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Show this text. Returns the elements that are new. */
  show(text: string): Element[] {
    if (text === this.#text) return [];
    if (!text.startsWith(this.#kept)) this.#reset();
    this.#text = text;
    for (const node of this.#tail) node.remove();
    const tokens = blocksOf(text.slice(this.#kept.length));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    const before = tokens.slice(0, Math.max(0, last));
    const made = [...this.#append(before)];
    this.#kept += before.map((token) => token.raw).join("");
    this.#tail = this.#append(tokens.slice(Math.max(0, last)));
    return [...made, ...this.#tail].filter((node) => node instanceof Element);
  }

  #append(tokens: Token[]): ChildNode[] {
    const nodes = [...fragmentOf(tokens).childNodes];
    this.#root.append(...nodes);
    for (const node of nodes) if (node instanceof HTMLElement) prepare(node);
    return nodes;
  }

  #reset(): void {
    this.#root.replaceChildren();
    this.#kept = "";
    this.#tail = [];
  }
}

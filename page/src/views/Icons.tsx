// The page's pictograms: lines on a grid of 16, drawn in the colour of the text. Never the only sign of a thing.
const PATHS = {
  plus: "M8 3v10M3 8h10",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.700 10.700 14 14",
  send: "M8 13V3M4 7l4-4 4 4",
  stop: "M5 5h6v6H5Z",
  clip: "m13 7.500-5 5a3 3 0 0 1-4.300-4.300l5.500-5.500a2 2 0 0 1 2.900 2.900L6.600 11a1 1 0 0 1-1.400-1.400L10 4.800",
  close: "m4 4 8 8M12 4l-8 8",
  dots: "M3.500 8h.01M8 8h.01M12.500 8h.01",
  check: "m3 8.500 3.500 3.500L13 4.500",
  cross: "m4.500 4.500 7 7M11.500 4.500l-7 7",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 5v3l2 1.500",
  pause: "M6 4v8M10 4v8",
  play: "M5 3.500v9l7-4.500Z",
  dot: "M8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  ring: "M8 13A5 5 0 1 0 8 3a5 5 0 0 0 0 10Z",
  spin: "M8 2.500A5.500 5.500 0 1 1 2.500 8",
  down: "m4 6 4 4 4-4",
  right: "m6 4 4 4-4 4",
  branch: "M5 2.500v11M5 10c0-3.500 6-2 6-6M11 4.500a1.500 1.500 0 1 0 0-3 1.500 1.500 0 0 0 0 3",
  reload: "M13 8a5 5 0 1 1-1.500-3.600M13 2.500V5h-2.500",
  out: "M9 3h4v4M13 3 7.500 8.500M11 9.500V13H3V5h3.500",
  chat: "M2.500 3.500h11v7.500H7l-3 2.500V11H2.500Z",
  list: "M5.500 4h8M5.500 8h8M5.500 12h8M2.500 4h.01M2.500 8h.01M2.500 12h.01",
  work: "M2.500 3.500h11v9h-11ZM2.500 6.500h11M8 6.500v6",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1.500v1M8 13.500v1M1.500 8h1M13.500 8h1M3.400 3.400l.7.7M11.900 11.900l.7.7M3.400 12.600l.7-.7M11.900 4.100l.7-.7",
  moon: "M13 9.500A5.500 5.500 0 0 1 6.500 3 5.500 5.500 0 1 0 13 9.500Z",
  half: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 2v12",
  help: "M6 6a2 2 0 1 1 2.800 1.800c-.6.300-.8.700-.8 1.400M8 11.500h.01M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z",
  file: "M4 2h5l3 3v9H4ZM9 2v3h3",
  web: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM2 8h12M8 2c3 3.500 3 8.500 0 12M8 2c-3 3.500-3 8.500 0 12",
  slack: "M6 2v12M10 2v12M2 6h12M2 10h12",
  github: "M5 12.500c-2 .5-2-1-3-1.500M10.500 14v-2c0-.7-.2-1-.5-1.300 2-.2 3.500-1 3.500-4 0-.8-.3-1.500-.8-2 .1-.3.3-1-.1-2 0 0-.7-.2-2.100.8a7 7 0 0 0-4 0C5.100 2.500 4.400 2.700 4.400 2.700c-.4 1-.2 1.700-.1 2-.5.5-.8 1.200-.8 2 0 3 1.500 3.800 3.500 4-.3.3-.5.700-.5 1.300v2",
  api: "m5.500 4.500-3 3.500 3 3.500M10.500 4.500l3 3.500-3 3.500",
  warn: "M8 2.500 14 13H2ZM8 6.500v3M8 11.300h.01",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16, spinning = false }: { name: IconName; size?: number; spinning?: boolean }) {
  return (
    <svg class={spinning ? "icon spinning" : "icon"} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" class="logo-ground" />
      <path d="M11 25V7M11 20c0-6 10-4 10-11" class="logo-line" />
      <circle cx="21" cy="8.500" r="3" class="logo-end" />
    </svg>
  );
}

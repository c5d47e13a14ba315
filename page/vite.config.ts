// Builds the page into the dispatcher's package, each file beside its compressed twin.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const OUT = "../dispatcher/static";
const COMPRESSED = /\.(js|css|html|svg)$/;

const twins: Plugin = {
  name: "gzip-twins",
  apply: "build",
  closeBundle() {
    for (const entry of readdirSync(OUT, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !COMPRESSED.test(entry.name)) continue;
      const path = join(entry.parentPath, entry.name);
      writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
    }
  },
};

export default defineConfig({
  plugins: [twins],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    // An asset in a data: address would need a wider policy than the page has.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8080", "/auth": "http://127.0.0.1:8080" } },
});

// Patches as rows, numbers as words, addresses as places: the small pure parts.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { rowsOf } from "../src/diff.ts";
import { ago, argument, bytes, dollars, duration, initials } from "../src/format.ts";
import { placeOf, addressOf } from "../src/route.ts";
import { kindOf } from "../src/sniff.ts";
import { whyNotSignedIn } from "../src/words.ts";

test("a patch gives each line its numbers on both sides", () => {
  const rows = rowsOf("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -3,3 +3,3 @@ there\n same\n-old\n+new\n tail\n\\ No newline at end of file\n");
  assert.deepEqual(
    rows.map((r) => [r.kind, r.old, r.new]),
    [
      ["hunk", null, null],
      ["same", 3, 3],
      ["del", 4, null],
      ["add", null, 4],
      ["same", 5, 5],
      ["note", null, null],
    ],
  );
});

test("the rows of a hunk hold its text, whatever it is", () => {
  const line = fc.string({ unit: "grapheme" }).filter((s) => !/[\r\n]/.test(s));
  fc.assert(
    fc.property(fc.array(line, { minLength: 1 }), (lines) => {
      const rows = rowsOf(`@@ -1 +1,${lines.length} @@\n${lines.map((l) => `+${l}`).join("\n")}`);
      assert.deepEqual(rows.slice(1).map((r) => r.text), lines);
      assert.deepEqual(rows.slice(1).map((r) => r.new), lines.map((_, i) => i + 1));
    }),
  );
});

test("a thread's address leads back to the thread", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: "grapheme" }), (thread) => {
      assert.deepEqual(placeOf(addressOf({ kind: "thread", thread })), { kind: "thread", thread });
    }),
  );
});

test("links of old comments on GitHub still lead to their threads", () => {
  for (const thread of ["issue-42-k3x9m2aq", "pr-7-01abcdef"]) {
    assert.deepEqual(placeOf(`#${thread}`), { kind: "thread", thread });
  }
});

test("an address that cannot be read is the start, not an error", () => {
  for (const hash of ["", "#", "#/t/", "#/t/%E0%A4%A", "#nonsense"]) assert.deepEqual(placeOf(hash), { kind: "start" });
  assert.deepEqual(placeOf("#/new"), { kind: "new" });
});

test("a sign-in that came back says why in words, and nobody else's", () => {
  assert.equal(whyNotSignedIn(""), "");
  assert.match(whyNotSignedIn("?sign_in=lost_state"), /Begin it again/);
  assert.match(whyNotSignedIn("?sign_in=unknown_person&login=Ada-L"), /knows you as Ada-L, and nobody/);
  assert.doesNotMatch(whyNotSignedIn("?sign_in=unknown_person&login=call+us+at+555"), /555/);
  assert.doesNotMatch(whyNotSignedIn("?sign_in=send+money"), /money/);
});

test("times, sizes, costs and durations read like words", () => {
  const now = Date.parse("2026-06-15T12:00:00Z");
  assert.equal(ago("2026-06-15T11:59:50Z", now), "now");
  assert.equal(ago("2026-06-15T11:57:00Z", now), "3 min. ago");
  assert.equal(ago("2026-06-15T07:00:00Z", now), "5 hr. ago");
  assert.equal(ago("2026-06-14T11:00:00Z", now), "yesterday");
  assert.equal(ago("2026-01-01T00:00:00Z", now), "Jan 1, 2026");
  assert.equal(ago("no time", now), "");
  assert.equal(bytes(4_194_304), "4.2 MB");
  assert.equal(dollars(0), "$0");
  assert.equal(dollars(0.004), "< $0.01");
  assert.equal(duration(2134), "2.1 s");
  assert.equal(duration(125_000), "2 min 5 s");
});

test("a tool's line is its main argument, and only its first line", () => {
  assert.equal(argument({ description: "d", command: "ls\nrm" }), "ls");
  assert.equal(argument({ replace_all: false }), "");
  assert.equal(argument({ pattern: "x".repeat(500) }).length, 160);
});

test("initials exist for every name", () => {
  assert.equal(initials("Ada Lovelace"), "AL");
  assert.equal(initials("local"), "L");
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), (name) => void initials(name).length));
});

test("a file is what its bytes say, not what its name says", () => {
  const b = (...n: number[]) => new Uint8Array(n);
  assert.equal(kindOf(b(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)), "image/png");
  assert.equal(kindOf(b(0xff, 0xd8, 0xff, 0xe0)), "image/jpeg");
  assert.equal(kindOf(new TextEncoder().encode("GIF89a....")), "image/gif");
  assert.equal(kindOf(new TextEncoder().encode("RIFF....WEBPVP8 ")), "image/webp");
  assert.equal(kindOf(new TextEncoder().encode("Grüße, 世界")), "text/plain");
  assert.equal(kindOf(b(0x25, 0x50, 0x00, 0x01)), null);
  assert.equal(kindOf(b(0xc3, 0x28)), null);
  assert.equal(kindOf(b()), null);
});

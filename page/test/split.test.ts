// The line between conversation and work: every part keeps its least width, whatever was kept or pressed.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { afterKey, boundsOf, fitting, LEAST_CHAT, LEAST_WORK, LIST, USUAL, wishOf } from "../src/split.ts";

const widths = fc.integer({ min: 1121, max: 4000 });

test("whatever is wished for, conversation and work keep their least widths", () => {
  fc.assert(
    fc.property(widths, fc.double({ min: 1, max: 99, noNaN: true }), (width, wish) => {
      const work = (fitting(wish, width) / 100) * width;
      assert.ok(work >= LEAST_WORK - 1e-6);
      assert.ok(width - LIST - work >= LEAST_CHAT - 1e-6);
    }),
  );
});

test("the arrow keys go to both sides and stop at the bounds", () => {
  const width = 1440;
  const { least, most } = boundsOf(width);
  assert.ok((afterKey("ArrowLeft", USUAL, width) ?? 0) > USUAL);
  assert.ok((afterKey("ArrowRight", USUAL, width) ?? 100) < USUAL);
  assert.equal(afterKey("ArrowLeft", most, width), most);
  assert.equal(afterKey("ArrowRight", least, width), least);
  assert.deepEqual([afterKey("Home", USUAL, width), afterKey("End", USUAL, width), afterKey("Enter", most, width)], [least, most, USUAL]);
  assert.equal(afterKey("j", USUAL, width), null);
});

test("what was kept and is no share is the usual one", () => {
  for (const kept of [null, undefined, "60", {}, [], Number.NaN, Infinity, -4, 0, 100, 700]) assert.equal(wishOf(kept), USUAL);
  assert.equal(wishOf(52.5), 52.5);
});

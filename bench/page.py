"""How soon the page is seen: real dispatcher, embedded engine, Chromium with nothing in its cache.

First contentful paint, largest contentful paint and bytes on the wire, each time in a fresh window: on this
machine as it is, and as on a phone with a slow line (the line and the processor that Lighthouse assumes).
Prints a table; ``--json`` prints the numbers.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from tests.browser.lab import DESKTOP, PHONE, Window, running_browser
from tests.fakes.dispatcher import running_dispatcher
from tests.fakes.engine import fresh_account, running_engine

THREAD = "bench"
MESSAGES = 50
_PAINTED = """
() => new Promise((done) => {
  let largest = 0;
  new PerformanceObserver((list) => {
    largest = list.getEntries().at(-1).startTime;
  }).observe({ type: "largest-contentful-paint", buffered: true });
  new PerformanceObserver((list, observer) => {
    const first = list.getEntriesByName("first-contentful-paint")[0];
    if (!first) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => {
      const files = performance.getEntriesByType("resource");
      const own = files.filter((file) => !new URL(file.name).pathname.startsWith("/v1/"));
      const bytes = own.reduce((sum, file) => sum + file.encodedBodySize, 0);
      const page = performance.getEntriesByType("navigation")[0];
      done({ first: first.startTime, largest, bytes: bytes + page.encodedBodySize });
    }));
  }).observe({ type: "paint", buffered: true });
})
"""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """``line``: milliseconds of a round trip and bytes a second; ``slower``: how many times the processor."""

    name: str
    size: tuple[int, int]
    line: tuple[float, float] | None = None
    slower: int = 1


SETTINGS = (
    Setting(name="this machine", size=DESKTOP),
    Setting(name="phone, slow line", size=PHONE, line=(150, 1.6e6 / 8), slower=4),
)
PLACES = {"empty page": ("/", "welcome"), "a thread": (f"/#/t/{THREAD}", "turn")}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Milliseconds from the request of the page on; ``bytes`` of its own files, as they travelled."""

    setting: str
    place: str
    first: float
    largest: float
    bytes: int


def measure(browser: Browser, url: str, *, setting: Setting, place: str) -> Sample:
    """One visit."""
    address, seen = PLACES[place]
    with closing(Window(browser, url, size=setting.size)) as window:
        page = window.page
        wire = window.context.new_cdp_session(page)
        if setting.line is not None:
            latency, speed = setting.line
            wire.send("Network.enable")
            limits = {"offline": False, "latency": latency, "downloadThroughput": speed}
            wire.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": speed})
        wire.send("Emulation.setCPUThrottlingRate", {"rate": setting.slower})
        page.goto(address)
        page.locator(f".{seen}").first.wait_for()
        found = page.evaluate(_PAINTED)
    return Sample(setting=setting.name, place=place, **found)


@contextmanager
def served() -> Iterator[str]:
    """A dispatcher that knows a thread of many messages; its address."""
    with (
        tempfile.TemporaryDirectory(prefix="branchline-bench-") as name,
        running_engine(Path(name) / "engine") as engine,
        running_dispatcher(engine.url, account=fresh_account(), cwd=Path(name)) as dispatcher,
    ):
        with httpx.Client(base_url=dispatcher.url, timeout=30) as api:
            for number in range(MESSAGES):
                posted = {"thread_id": THREAD, "text": f"Message {number}, and what it is about."}
                api.post("/v1/threads", json=posted).raise_for_status()
        yield dispatcher.url


def report(samples: list[Sample], *, as_json: bool) -> None:
    """Print the medians."""
    if as_json:
        print(json.dumps([asdict(sample) for sample in samples]))
        return
    rounds = len(samples) // (len(SETTINGS) * len(PLACES))
    print(
        f"page, nothing cached, median of {rounds}: first / largest contentful paint, own files on the wire"
    )
    for setting in SETTINGS:
        for place in PLACES:
            those = [s for s in samples if (s.setting, s.place) == (setting.name, place)]
            first, largest = (statistics.median(getattr(s, n) for s in those) for n in ("first", "largest"))
            wire = statistics.median(s.bytes for s in those) / 1000
            print(f"  {setting.name:18s} {place:12s} {first:6.0f} ms / {largest:6.0f} ms   {wire:6.1f} kB")


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="visits of each kind")
    options.add_argument("--json", action="store_true", help="print all samples as JSON")
    chosen = options.parse_args()
    with served() as url, running_browser() as browser:
        samples = [
            measure(browser, url, setting=setting, place=place)
            for setting in SETTINGS
            for place in PLACES
            for _ in range(chosen.rounds)
        ]
    report(samples, as_json=chosen.json)


if __name__ == "__main__":
    main()

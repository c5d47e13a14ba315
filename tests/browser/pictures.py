"""``./scripts/screenshots``: the pictures of the page, taken from a real fleet with the offline model.

Empty, at work and in trouble; on a desktop and a phone; light and dark. What is shown is what a first run
shows: nothing here is made up, so a picture that cannot be taken is an error.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Browser

from tests.acceptance.fleet import ROOT, Fleet
from tests.browser.lab import DESKTOP, PHONE, SCHEMES, Scheme, Window, running_browser

OUT = ROOT / "docs" / "pictures"
SIZES = {"desktop": DESKTOP, "phone": PHONE}
HEADLINE = "Fresh bread at the end of the line"
THREADS = (
    ("hours", "Add a page called Opening hours saying We open at half past six"),
    ("ask", "What can you do?"),
    ("headline", f"Change the headline to {HEADLINE}"),
)
SITE_SECONDS = 180


def main(given: Sequence[str] | None = None) -> int:
    """Take them all. Exit codes: 0 taken; anything that is missing raises."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the folder for the pictures (docs/pictures)")
    out: Path = parser.parse_args(given).out
    with tempfile.TemporaryDirectory() as folder, running_browser() as browser:
        # The packages of the example site are fetched when npm does not have them yet.
        fleet = Fleet(Path(folder), npm_config_offline="false")
        try:
            fleet.up()
            _take(browser, fleet, out)
        finally:
            fleet.close()
    for path in sorted(out.glob("*.png")):
        print(f"{path}: {path.stat().st_size // 1000} KB")
    return 0


def _take(browser: Browser, fleet: Fleet, out: Path) -> None:
    for name, scheme, window in _windows(browser, fleet):
        with closing(window):
            _empty(window).picture(out / f"page-{name}-{scheme}-empty.png")
    for thread, text in THREADS:
        fleet.final(thread, fleet.post(text, thread=thread))
    for name, scheme, window in _windows(browser, fleet):
        with closing(window):
            _at_work(window, with_site=name == "desktop").picture(out / f"page-{name}-{scheme}.png")
            window.page.get_by_role("tab", name="Changes", include_hidden=True).dispatch_event("click")
            window.page.get_by_role("tabpanel", name="Changes").wait_for()
            window.page.get_by_test_id("changes").locator(".add .code span[class]").first.wait_for()
            window.picture(out / f"page-{name}-{scheme}-changes.png")
            _missing(window).picture(out / f"page-{name}-{scheme}-missing.png")
    _lost(browser, fleet, out)


def _windows(browser: Browser, fleet: Fleet) -> list[tuple[str, Scheme, Window]]:
    return [
        (name, scheme, Window(browser, fleet.url, size=size, scheme=scheme))
        for name, size in SIZES.items()
        for scheme in SCHEMES
    ]


def _empty(window: Window) -> Window:
    page = window.open()
    page.get_by_role("heading", name="What should be done?").wait_for()
    page.get_by_text("No threads yet").wait_for(state="attached")
    return window


def _at_work(window: Window, *, with_site: bool) -> Window:
    page = window.open("/#/t/headline")
    window.answered()
    if with_site:
        site = page.frame_locator("iframe")
        site.get_by_role("heading", name=HEADLINE).wait_for(timeout=SITE_SECONDS * 1000)
    return window


def _missing(window: Window) -> Window:
    page = window.open("/#/t/not-there")
    page.reload()
    page.get_by_role("heading", name="This thread is not there").wait_for()
    return window


def _lost(browser: Browser, fleet: Fleet, out: Path) -> None:
    """What a person sees while the server is away; the last picture, because it takes the server away."""
    windows = _windows(browser, fleet)
    for _, _, window in windows:
        _at_work(window, with_site=False)
    fleet.stop()
    for name, scheme, window in windows:
        with closing(window):
            window.page.get_by_text("Connection lost, trying again").wait_for()
            window.picture(out / f"page-{name}-{scheme}-lost.png")


if __name__ == "__main__":
    sys.exit(main())

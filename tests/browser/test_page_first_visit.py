"""The first visit: the example site, the offline model, the real Astro, and one sentence that changes it."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.fleet import ROOT, Fleet
from tests.browser.lab import Window, chromium
from worker.errors import WorkerError
from worker.node import find_node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SITE_SECONDS = 240
HEADLINE = "Fresh bread at the end of the line"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet of a first run: nothing is configured."""
    chromium()
    folder = tmp_path_factory.mktemp("visit")
    missing = ""
    if not (ROOT / "examples" / "site" / "node_modules" / "astro").is_dir():
        missing = "the example site's packages are not installed; run npm ci in examples/site once"
    try:
        find_node(state_dir=folder / "node")
    except WorkerError as error:
        missing = str(error)
    if missing:
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    running = Fleet(folder)
    try:
        running.up()
        yield running
    finally:
        running.close()


def test_one_sentence_changes_the_site_and_everything_shows_it(window: Window, fleet: Fleet) -> None:
    page = window.open()
    expect(page.get_by_test_id("offline-model")).to_contain_text("Offline model.")
    expect(page.get_by_text("No threads yet.")).to_be_visible()
    page.get_by_role("button", name="Change the headline to").click()
    field = page.get_by_role("textbox", name="Message", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_value("Change the headline to Hello from the rails")
    thread = window.begin(f"Change the headline to {HEADLINE}")
    window.answered()
    expect(page.get_by_test_id("message")).to_contain_text(HEADLINE)
    expect(page.get_by_test_id("tool").first).to_be_visible()
    expect(page.get_by_test_id("proof")).to_contain_text(f"thread-{thread}")

    headline = page.frame_locator("iframe").get_by_role("heading", level=1)
    expect(headline).to_have_text(HEADLINE, timeout=SITE_SECONDS * 1000)
    window.send("Change the headline to Even fresher bread")
    window.answered(2)
    expect(headline).to_have_text("Even fresher bread", timeout=SITE_SECONDS * 1000)

    page.get_by_test_id("proof").last.get_by_role("button", name="Changes").click()
    changes = page.get_by_test_id("changes")
    expect(changes).to_contain_text("site.json")
    added, removed = changes.locator("tr.add"), changes.locator("tr.del")
    expect(added.filter(has_text="Even fresher bread")).to_have_count(1)
    expect(removed).to_have_count(1)
    expect(changes).not_to_contain_text(HEADLINE)
    # Lines differ in colour, and so do the words in them.
    colours = {row.evaluate("(row) => getComputedStyle(row).backgroundColor") for row in (added, removed)}
    assert len(colours) == 2
    pieces = added.locator(".code span[class]")
    expect(pieces.first).to_be_visible()
    assert len(set(pieces.evaluate_all("(all) => all.map((one) => getComputedStyle(one).color)"))) > 1
    # The site in the frame may warn of what it likes; the page itself has nothing to complain of.
    assert window.problems == []


def test_a_preview_that_shows_another_thread_says_so(window: Window, fleet: Fleet) -> None:
    page = window.page
    first = window.begin("Change the headline to The first of two")
    window.answered()
    headline = page.frame_locator("iframe").get_by_role("heading", level=1)
    expect(headline).to_have_text("The first of two", timeout=SITE_SECONDS * 1000)
    window.begin("Change the headline to The second of two")
    window.answered()
    expect(headline).to_have_text("The second of two", timeout=SITE_SECONDS * 1000)
    page.goto(f"/#/t/{first}")
    hint = page.get_by_role("status").filter(has_text="The preview shows another thread now")
    expect(hint.get_by_role("link")).to_contain_text("The second of two")


def test_the_preview_can_reach_nothing_of_the_page(window: Window, browser: Browser, fleet: Fleet) -> None:
    page = window.page
    window.begin("Change the headline to Seen from inside")
    window.answered()
    inside = page.frame_locator("iframe").get_by_role("heading", level=1)
    expect(inside).to_have_text("Seen from inside", timeout=SITE_SECONDS * 1000)
    peek = """
    async (element, url) => {
      const found = [];
      try { found.push(parent.document.title); } catch { found.push("held back"); }
      const read = fetch(`${url}/v1/threads`, { credentials: "include" });
      found.push(await read.then((r) => r.text(), () => "held back"));
      const post = { method: "POST", mode: "no-cors", body: JSON.stringify({ text: "forged" }) };
      await fetch(`${url}/v1/threads`, post).catch(() => 0);
      return found;
    }
    """
    rows = fleet.api.get("/v1/threads").json()["threads"]
    assert inside.evaluate(peek, fleet.url) == ["held back", "held back"]
    assert fleet.api.get("/v1/threads").json()["threads"] == rows

"""How the page stands: its widths, its colours, its headings, and text that runs from right to left."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.acceptance.fleet import Fleet
from tests.browser.lab import PHONE, Window

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
COLUMNS = 14
HEAD = "| " + " | ".join(f"column number {n}" for n in range(COLUMNS)) + " |"
RULE = "| " + " | ".join("---" for _ in range(COLUMNS)) + " |"
HEBREW = "מה שלום העולם, וזה עוד קצת טקסט שרץ מימין לשמאל"
ANSWER = f"# First\\n\\n## Second\\n\\n{HEAD}\\n{RULE}\\n{HEAD}\\n\\n{HEBREW}\\n\\n- {HEBREW}"


@pytest.fixture(scope="module")
def thread(fleet: Fleet) -> str:
    """A thread whose answer has headings, a wide table and Hebrew in it."""
    fleet.final("look", fleet.post(f"{HEBREW}\ndo: say {ANSWER}", thread="look"))
    return "look"


@pytest.fixture
def page(window: Window, thread: str) -> Iterator[Page]:
    """A window with that thread."""
    opened = window.open(f"/#/t/{thread}")
    window.answered()
    yield opened
    assert window.problems == []


def width(part: Locator) -> float:
    box = part.bounding_box()
    assert box is not None
    return box["width"]


# ------------------------------------------------------------------ widths


def test_the_line_beside_the_work_is_dragged_and_stands_there_after_a_reload(page: Page) -> None:
    work, line = page.get_by_role("region", name="Work"), page.get_by_role("separator")
    before, at = width(work), line.bounding_box()
    assert at is not None
    page.mouse.move(at["x"] + at["width"] / 2, 400)
    page.mouse.down()
    page.mouse.move(at["x"] - 100, 400, steps=4)
    page.mouse.up()
    page.mouse.move(at["x"] - 250, 400)
    after = width(work)
    assert after == pytest.approx(before + 100, abs=8)
    page.reload()
    page.get_by_test_id("proof").wait_for()
    assert width(work) == pytest.approx(after, abs=2)
    line.dblclick()
    assert width(work) == pytest.approx(before, abs=2)


def test_the_line_beside_the_work_is_moved_by_keys_and_every_part_keeps_its_room(page: Page) -> None:
    work, line = (
        page.get_by_role("region", name="Work"),
        page.get_by_role("separator", name="Width of the work"),
    )
    before = width(work)
    line.focus()
    page.keyboard.press("ArrowLeft")
    assert width(work) > before
    expect(line).to_have_attribute("aria-valuenow", "40")
    page.keyboard.press("End")
    assert width(page.get_by_role("region", name="Conversation")) >= 380
    page.keyboard.press("Home")
    assert 340 <= width(work) < before
    page.keyboard.press("Enter")
    assert width(work) == pytest.approx(before, abs=2)


def test_a_narrow_window_shows_no_line_and_keeps_what_was_chosen(page: Page) -> None:
    line = page.get_by_role("separator")
    line.focus()
    page.keyboard.press("End")
    wide = width(page.get_by_role("region", name="Work"))
    page.set_viewport_size({"width": 390, "height": 844})
    expect(line).to_have_count(0)
    page.set_viewport_size({"width": 1440, "height": 900})
    assert width(page.get_by_role("region", name="Work")) == pytest.approx(wide, abs=2)


@pytest.mark.parametrize("size", [(720, 450), (320, 256)], ids=["twice", "four times"])
def test_a_page_that_is_enlarged_leaves_room_for_threads_and_conversation(
    browser: Browser, fleet: Fleet, thread: str, size: tuple[int, int]
) -> None:
    with closing(Window(browser, fleet.url, size=size)) as window:
        page = window.open(f"/#/t/{thread}")
        window.answered()
        log = page.get_by_role("log", name="Messages").bounding_box()
        assert log is not None
        assert log["height"] >= size[1] / 3
        page.get_by_role("textbox", name="Message", exact=True).scroll_into_view_if_needed()
        page.get_by_role("navigation", name="Parts of the page").get_by_role("button", name="Threads").click()
        row = page.get_by_test_id("threads").get_by_role("link").first
        row.scroll_into_view_if_needed()
        expect(row).to_be_in_viewport(ratio=0.95)
        foot = page.get_by_role("button", name="Help")
        foot.scroll_into_view_if_needed()
        expect(foot).to_be_in_viewport()


def test_without_a_preview_nothing_is_said_of_what_it_shows(page: Page) -> None:
    state = {"url": None, "ready": False, "branch": "thread-x", "thread_id": "x", "problem": "There is none."}
    page.route("**/preview", lambda route: route.fulfill(json=state))
    page.reload()
    panel = page.get_by_role("tabpanel", name="Preview")
    expect(panel).to_contain_text("There is none.")
    expect(panel).to_contain_text("thread-look")
    expect(panel).not_to_contain_text("another thread")


@pytest.mark.parametrize("live", [True, False])
def test_a_site_whose_sockets_do_not_reach_it_is_loaded_again_at_the_end_of_a_turn(
    page: Page, fleet: Fleet, *, live: bool
) -> None:
    loads: list[str] = []

    def site(route: Route) -> None:
        loads.append(route.request.url)
        route.fulfill(body=f"<h1>load {len(loads)}</h1>", content_type="text/html")

    state = {"url": "http://preview-0.localhost:9/", "ready": True, "branch": "thread-look", "problem": None}
    page.route("http://preview-0.localhost:9/**", site)
    page.route("**/preview", lambda route: route.fulfill(json={**state, "thread_id": "look", "live": live}))
    page.reload()
    heading = page.frame_locator("iframe").get_by_role("heading")
    expect(heading).to_have_text("load 1")
    for turn in (1, 2):
        fleet.final("look", fleet.post(f"do: say Once more, {turn}.", thread="look"))
        expect(page.get_by_text(f"Once more, {turn}.").last).to_be_visible()
        if not live:
            expect(heading).to_have_text(f"load {turn + 1}")
    assert len(loads) == (1 if live else 3), "what shows changes by itself is not loaded again"


# ------------------------------------------------------------------ answers


def test_headings_of_an_answer_stand_below_the_title_of_the_thread(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.get_by_role("heading", level=2, name=HEBREW[:20])).to_have_count(1)
    expect(page.get_by_role("heading", level=3, name="First")).to_be_visible()
    expect(page.get_by_role("heading", level=4, name="Second")).to_be_visible()


def test_a_wide_table_scrolls_and_breaks_no_word(page: Page) -> None:
    table = page.locator(".markdown table")
    assert table.evaluate("(table) => table.scrollWidth > table.clientWidth")
    heights = table.locator("th").evaluate_all("(cells) => cells.map((cell) => cell.offsetHeight)")
    assert max(heights) < 120, heights


def test_text_from_right_to_left_begins_at_the_right(page: Page) -> None:
    for part in (
        page.locator(".said-text"),
        page.locator(".markdown > p"),
        page.locator(".markdown ul"),
        page.locator(".title"),
        page.get_by_test_id("threads").locator(".entry-title", has_text=HEBREW[:10]),
    ):
        assert part.first.evaluate("(element) => getComputedStyle(element).direction") == "rtl"
    field = page.get_by_role("textbox", name="Message", exact=True)
    field.fill(HEBREW)
    assert field.evaluate("(element) => getComputedStyle(element).direction") == "rtl"
    field.fill("")


def test_what_a_person_reads_in_the_log_is_its_newest_line(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 300})
    page.get_by_role("tab", name="Log").click()
    lines = page.get_by_test_id("log-lines").get_by_role("listitem")
    expect(lines.last.locator(".line-type")).to_be_in_viewport()
    expect(lines.first.locator(".line-type")).not_to_be_in_viewport()


def test_files_that_are_too_many_to_be_listed_are_counted_in_words(page: Page) -> None:
    file = {
        "path": "a b.txt",
        "status": "modified",
        "insertions": 1,
        "deletions": 0,
        "patch": "@@ -0,0 +1 @@\n+x\n",
    }
    found = {
        "base": None,
        "head": None,
        "total": {"files": 412, "insertions": 9000, "deletions": 7},
        "files": [file],
        "cut": True,
    }
    page.route("**/changes", lambda route: route.fulfill(json=found))
    page.get_by_role("tab", name="Changes").click()
    changes = page.get_by_test_id("changes")
    expect(changes).to_contain_text("412 files +9000")
    expect(changes).to_contain_text("411 files beyond the first 1 are only counted")
    button = changes.get_by_role("button", name="a b.txt")
    body = page.locator(f"#{button.get_attribute('aria-controls')}")
    expect(body).to_contain_text("x")


def test_a_search_says_that_older_threads_are_not_loaded_and_offers_them(page: Page) -> None:
    row = {
        "project": "remote", "state": "idle", "last_line": "", "frontend": "web", "onto": None,
        "updated": "2026-01-01T00:00:00Z", "cost_usd": 0, "last_sequence": 1, "last_event": 1,
    }  # fmt: skip
    new = {**row, "thread_id": "new", "title": "A new one", "branch": "thread-new"}
    old = {**row, "thread_id": "old", "title": "Ancient history", "branch": "thread-old"}

    def answer(route: Route) -> None:
        if "before=" in route.request.url:
            route.fulfill(json={"threads": [old], "next": None})
        else:
            route.fulfill(json={"threads": [new], "next": "old"})

    page.route("**/v1/threads?*", answer)
    page.reload()
    expect(page.get_by_test_id("threads")).to_contain_text("A new one")
    page.get_by_role("searchbox", name="Search threads").fill("ancient")
    side = page.get_by_role("navigation", name="Threads", exact=True)
    expect(side).to_contain_text("Older ones are not loaded yet")
    side.get_by_role("button", name="Load older threads").click()
    expect(page.get_by_test_id("threads")).to_contain_text("Ancient history")


def test_a_keyboard_on_the_glass_makes_new_lines_and_the_button_sends(browser: Browser, fleet: Fleet) -> None:
    with closing(Window(browser, fleet.url, size=PHONE)) as phone:
        page = phone.open("/#/new")
        field = page.get_by_role("textbox", name="Message", exact=True)
        field.fill("One")
        field.press("Enter")
        field.press_sequentially("do: say Two.")
        expect(field).to_have_value("One\ndo: say Two.")
        page.get_by_role("button", name="Send").tap()
        phone.answered()
        assert phone.problems == []


# ------------------------------------------------------------------ colours


def test_a_chosen_theme_counts_more_than_the_systems_and_is_kept(browser: Browser, fleet: Fleet) -> None:
    with closing(Window(browser, fleet.url, scheme="dark")) as window:
        page = window.open("/#/new")
        ground = "getComputedStyle(document.body).backgroundColor"
        page.get_by_role("heading", name="What should be done?").wait_for()
        dark = page.evaluate(ground)
        page.get_by_role("radio", name="Light").check(force=True)
        light = page.evaluate(ground)
        assert light != dark
        page.reload()
        page.get_by_role("heading", name="What should be done?").wait_for()
        assert page.evaluate(ground) == light
        page.get_by_role("radio", name="As the system").check(force=True)
        assert page.evaluate(ground) == dark
        page.emulate_media(color_scheme="light")
        assert page.evaluate(ground) == light
        page.get_by_role("radio", name="Dark", exact=True).check(force=True)
        assert page.evaluate(ground) == dark
        assert window.problems == []

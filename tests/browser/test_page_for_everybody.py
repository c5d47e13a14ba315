"""For people who see little, use no mouse, or hold a phone: every view, light and dark, wide and narrow."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.fleet import Fleet
from tests.browser.axe import faults
from tests.browser.lab import DESKTOP, PHONE, SCHEMES, Window
from tests.browser.views import VIEWS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
LONG = "a-name-that-does-not-end-" * 12
FULL = (
    f"Show all there is, and {LONG}\n"
    "do: say # A headline\\n\\nSome `code`, a [link](https://example.com) and **bold**."
    f"\\n\\n- [ ] to do\\n- [x] done\\n\\n| a | b |\\n| --- | --- |\\n| 1 | {LONG} |"
    f"\\n\\n```python\\nprint('{LONG}')  # said\\n```\\n\\n> quoted\n"
    "do: task create Look around\ndo: task start 1\ndo: task create Go home\n"
    f"do: write src/app.ts const answer = 42; // {LONG}\\nexport default answer;\\n\n"
    "do: edit README.md project => house\n"
    f"do: bash echo {LONG} && false\ndo: task done 1\ndo: say All of it."
)


@pytest.fixture(scope="module")
def thread(fleet: Fleet) -> str:
    """A thread with something of everything in it."""
    fleet.final("full", fleet.post(FULL, thread="full"))
    return "full"


@pytest.fixture(scope="module")
def busy(fleet: Fleet, thread: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A thread with a turn that runs, and a message behind it."""
    go = tmp_path_factory.mktemp("busy") / "go"
    first = fleet.post(f"Still at it\ndo: task create One\ndo: task start 1\ndo: wait {go}", thread="busy")
    fleet.wait_for("busy", "turn.text")
    second = fleet.post("do: say And then this.", thread="busy")
    fleet.wait_for("busy", "message.queued")
    yield "busy"
    go.touch()
    for message in (first, second):
        fleet.final("busy", message)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_no_fault_in_any_view(
    browser: Browser, fleet: Fleet, thread: str, busy: str, size: tuple[int, int]
) -> None:
    found: list[str] = []
    with closing(Window(browser, fleet.url, size=size)) as window:
        page = window.open()
        for name, view in VIEWS.items():
            view(page).wait_for()
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                found += [f"{name}, {scheme}: {fault}" for fault in faults(page)]
        assert window.problems == []
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("widths", [(360, 390), (768, 1440)], ids=str)
def test_nothing_is_wider_than_the_window(
    browser: Browser, fleet: Fleet, thread: str, busy: str, widths: tuple[int, int]
) -> None:
    wider: list[str] = []
    with closing(Window(browser, fleet.url, size=(widths[0], 780))) as window:
        page = window.open()
        for name, view in VIEWS.items():
            page.set_viewport_size({"width": widths[0], "height": 780})
            view(page).wait_for()
            for width in widths:
                page.set_viewport_size({"width": width, "height": 780})
                needed, there = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                if needed > width or there > width:
                    wider.append(f"{name} at {width}: {needed}, the window {there}")
    assert wider == []


def test_a_phone_shows_one_part_at_a_time_and_a_bar_to_choose(
    browser: Browser, fleet: Fleet, thread: str
) -> None:
    with closing(Window(browser, fleet.url, size=PHONE)) as phone:
        page = phone.open(f"/#/t/{thread}")
        phone.answered()
        bar = page.get_by_role("navigation", name="Parts of the page")
        parts = {
            "Threads": page.get_by_role("navigation", name="Threads", exact=True),
            "Chat": page.get_by_role("region", name="Conversation"),
            "Work": page.get_by_role("region", name="Work"),
        }
        for name in ("Work", "Threads", "Chat"):
            bar.get_by_role("button", name=name).tap()
            expect(bar.get_by_role("button", name=name)).to_have_attribute("aria-current", "page")
            for other, part in parts.items():
                expect(part).to_be_visible(visible=other == name)
            expect(bar).to_be_in_viewport(ratio=1)
        field = page.get_by_role("textbox", name="Message", exact=True)
        expect(field).to_be_in_viewport(ratio=1)
        bar.get_by_role("button", name="Threads").tap()
        page.get_by_test_id("threads").get_by_role("link").first.tap()
        expect(parts["Chat"]).to_be_visible()
        assert phone.problems == []


# ------------------------------------------------------------------ without a mouse

_RING = """
() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const around = element.closest(".composer-box, .field, label");
  const outer = around ? getComputedStyle(around) : style;
  const ring = (s) => (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none";
  return ring(style) || ring(outer);
}
"""


_INSIDE = """
() => document.activeElement === document.body ||
  document.querySelector("dialog[open]").contains(document.activeElement)
"""


def has_ring(page: Page) -> bool:
    return bool(page.evaluate(_RING))


def tab_to(page: Page, target: Locator, *, most: int = 40, key: str = "Tab") -> None:
    """Go on with one key until the target has the focus; every stop on the way shows that it has it."""
    for _ in range(most):
        page.keyboard.press(key)
        assert has_ring(page), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"{target} cannot be reached with {key}")


def test_everything_is_done_without_a_mouse(window: Window, thread: str) -> None:
    page = window.open()
    page.get_by_role("heading", name="What should be done?").wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the message")).to_be_focused()
    page.keyboard.press("Enter")
    field = page.get_by_role("textbox", name="Message", exact=True)
    expect(field).to_be_focused()
    assert has_ring(page)
    page.keyboard.type("Without a mouse")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("do: write keys.txt pressed")
    page.keyboard.press("Enter")
    window.answered()
    expect(field).to_be_focused()
    mine = page.url

    tab_to(page, page.get_by_role("tab", name="Preview"))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Changes")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Changes")).to_contain_text("keys.txt")
    page.keyboard.press("End")
    expect(page.get_by_role("tabpanel", name="Log")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Preview")).to_be_focused()

    page.keyboard.press("j")
    expect(page).not_to_have_url(mine)
    page.keyboard.press("k")
    expect(page).to_have_url(mine)
    window.answered()

    button = page.get_by_role("button", name="Thread menu")
    tab_to(page, button, key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    assert has_ring(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Delete this thread?")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    assert has_ring(page)
    for _ in range(4):  # the focus stays inside
        page.keyboard.press("Tab")
        assert page.evaluate(_INSIDE)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).to_have_url(mine)
    assert window.problems == []


def test_keys_of_the_page_do_nothing_while_one_writes(window: Window, thread: str) -> None:
    page = window.open(f"/#/t/{thread}")
    window.answered()
    where = page.url
    field = page.get_by_role("textbox", name="Message", exact=True)
    field.focus()
    page.keyboard.type("jkn/m1234?")
    expect(field).to_have_value("jkn/m1234?")
    expect(page).to_have_url(where)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(field).not_to_be_focused()
    page.keyboard.press("4")
    expect(page.get_by_role("tabpanel", name="Log")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_a_change_of_a_message_is_told_to_people_who_listen(window: Window, tmp_path: Path) -> None:
    go = tmp_path / "go"
    window.begin(f"do: wait {go}\ndo: say Over.")
    listening = window.page.locator("[role=status][aria-live=polite]")
    expect(listening).to_contain_text("Working")
    go.touch()
    expect(listening).to_contain_text("Answered")

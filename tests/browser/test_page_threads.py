"""What happens to a thread while it is open in a browser: pauses, reloads, stops, steering, the end."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.fleet import Fleet
from tests.browser.lab import Window
from tests.fakes.engine import wait_until
from tests.integration.worker_lab import git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def other(browser: Browser, fleet: Fleet) -> Iterator[Window]:
    """A second window, of somebody who looks on."""
    with closing(Window(browser, fleet.url)) as opened:
        yield opened


def messages(page: Page) -> Locator:
    return page.get_by_test_id("message")


def receipt(page: Page, number: int) -> Locator:
    return messages(page).nth(number).get_by_test_id("receipt")


def mode(page: Page) -> Locator:
    return page.get_by_label("How it is sent while something runs")


def until(path: Path) -> str:
    """A step that goes on when the file is there, and says nothing meanwhile."""
    return f"do: bash until [ -e {path} ]; do nice sleep 0.2; done"


def test_a_thread_that_is_pushed_aside_says_so_and_goes_on_by_itself(
    window: Window, other: Window, tmp_path: Path
) -> None:
    go, quick = tmp_path / "go", tmp_path / "quick"
    long = window.begin(f"Build it\ndo: write page.txt half\ndo: wait {go}\ndo: say It is built.")
    page = window.page
    expect(page.locator(".markdown")).to_contain_text("waiting")
    second = other.begin(f"A short one\ndo: wait {quick}\ndo: say Footer done.")
    expect(receipt(page, 0)).to_contain_text("Paused")
    expect(page.get_by_test_id("pause")).to_contain_text("goes on by itself")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()  # what waits can be ended, too
    rows = page.get_by_test_id("threads")
    expect(rows.locator(f"a[href='#/t/{long}']")).to_contain_text("Paused")
    expect(rows.locator(f"a[href='#/t/{second}']")).to_contain_text("Working")
    quick.touch()
    other.answered()
    expect(page.get_by_test_id("resume")).to_be_visible()
    expect(receipt(page, 0)).to_contain_text("Working")
    go.touch()
    window.answered()
    expect(page.get_by_test_id("proof")).to_contain_text("paused once")
    expect(page.locator(".markdown").last).to_contain_text("It is built.")
    expect(other.page.locator(".markdown")).not_to_contain_text("It is built.")
    assert window.problems + other.problems == []


def test_a_reload_in_mid_turn_shows_the_same_and_goes_on(
    window: Window, other: Window, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    window.begin(
        "Look at this\ndo: say Begun with **care**.\ndo: task create First thing\ndo: task start 1\n"
        f"do: write a.txt one\n{until(go)}\ndo: task done 1\ndo: say Over now."
    )
    page = window.page
    running = page.get_by_test_id("tool").filter(has_text="Bash").filter(has_text="running")
    expect(running).to_be_visible()
    before = window.words()
    page.reload()
    expect(running).to_be_visible()
    window.shows(before)
    other.open(page.url)
    expect(other.page.get_by_test_id("tool").filter(has_text="running")).to_be_visible()
    other.shows(before)
    go.touch()
    for one in (window, other):
        one.answered()
        expect(one.tab("Tasks")).to_contain_text("1 of 1")
    other.shows(window.words())
    assert sum(text.count("Over now.") for text in page.locator(".markdown").all_text_contents()) == 1
    assert window.problems + other.problems == []


def test_stop_ends_the_turn_keeps_what_was_done_and_the_thread_goes_on(
    window: Window, fleet: Fleet, tmp_path: Path
) -> None:
    thread = window.begin(f"Too long\ndo: write part.txt half\ndo: wait {tmp_path / 'never'}")
    page = window.page
    expect(page.locator(".markdown")).to_contain_text("waiting")
    page.get_by_role("button", name="Stop").click()
    window.answered()
    expect(receipt(page, 0)).to_contain_text("Stopped")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.locator(".told")).to_have_count(0)  # nothing says "Stopping." any more
    assert fleet.tree(f"thread-{thread}")["part.txt"] == "half"
    window.send("do: say Still here.")
    window.answered(2)
    expect(receipt(page, 1)).to_contain_text("Answered")
    assert window.problems == []


def test_a_message_waits_its_turn_and_says_behind_how_many(window: Window, tmp_path: Path) -> None:
    go = tmp_path / "go"
    window.begin(f"do: wait {go}\ndo: say One.")
    page = window.page
    expect(page.locator(".markdown")).to_contain_text("waiting")
    window.send("do: say Two.")
    expect(receipt(page, 1)).to_contain_text("In line behind 1 message")
    go.touch()
    window.answered(2)
    expect(receipt(page, 1)).to_contain_text("Answered")


def test_a_message_that_steers_joins_what_runs(window: Window, fleet: Fleet, tmp_path: Path) -> None:
    go = tmp_path / "go"
    thread = window.begin(f"do: write a.txt one\n{until(go)}\ndo: bash true\ndo: say First part.")
    page = window.page
    expect(page.get_by_test_id("tool").filter(has_text="running")).to_be_visible()
    mode(page).select_option("steer")
    window.send("And this\ndo: write extra.txt yes")
    expect(receipt(page, 1)).to_contain_text("sent to steer")
    go.touch()
    for number in (0, 1):
        expect(receipt(page, number)).to_contain_text("Answered")
    assert fleet.tree(f"thread-{thread}").keys() >= {"a.txt", "extra.txt"}
    assert window.problems == []


def test_a_message_that_interrupts_ends_what_runs(window: Window, fleet: Fleet, tmp_path: Path) -> None:
    thread = window.begin(f"The wrong thing\ndo: wait {tmp_path / 'never'}")
    page = window.page
    expect(page.locator(".markdown")).to_contain_text("waiting")
    mode(page).select_option("interrupt")
    window.send("The right thing\ndo: write instead.txt this")
    expect(receipt(page, 0)).to_contain_text("Stopped")
    expect(receipt(page, 1)).to_contain_text("Answered")
    assert fleet.tree(f"thread-{thread}")["instead.txt"] == "this"


def test_each_thread_keeps_its_own_draft(window: Window) -> None:
    page = window.page
    field = page.get_by_role("textbox", name="Message", exact=True)
    first = window.begin("do: say One.")
    window.answered()
    field.fill("for the first")
    page.goto("/#/new")
    expect(field).to_have_value("")
    field.fill("for a new one")
    page.reload()
    expect(field).to_have_value("for a new one")
    page.goto(f"/#/t/{first}")
    expect(field).to_have_value("for the first")


def test_two_windows_of_one_browser_keep_each_others_drafts(window: Window) -> None:
    thread = window.begin("do: say One.")
    window.answered()
    second = window.context.new_page()
    second.goto("/#/new")
    drafts = {window.page: "for the first", second: "for a new one"}
    for page, text in drafts.items():
        page.get_by_role("textbox", name="Message", exact=True).fill(text)
    for page, text in drafts.items():
        page.reload()
        expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value(text)
    second.goto(f"/#/t/{thread}")
    expect(second.get_by_role("textbox", name="Message", exact=True)).to_have_value("for the first")


def test_a_new_name_is_seen_by_everybody(window: Window, other: Window) -> None:
    thread = window.begin("An old name\ndo: say Hello.")
    window.answered()
    other.open(f"/#/t/{thread}")
    expect(other.page.get_by_role("heading", name="An old name")).to_be_visible()
    window.choose("Rename")
    field = window.page.get_by_role("textbox", name="Title of the thread")
    expect(field).to_be_focused()
    # More than fits is not taken by the field, so what it takes is no refusal afterwards.
    window.page.keyboard.type(f"A better name {'x' * 80}")
    field.press("Enter")
    for page in (window.page, other.page):
        expect(page.get_by_role("heading", name="A better name")).to_be_visible()
        expect(page.get_by_test_id("threads")).to_contain_text("A better name")
    window.page.reload()
    expect(window.page.get_by_role("heading", name="A better name")).to_be_visible()


def test_a_deleted_thread_is_gone_for_everybody(window: Window, other: Window, fleet: Fleet) -> None:
    thread = window.begin("To be deleted\ndo: write gone.txt soon")
    window.answered()
    other.open(f"/#/t/{thread}")
    other.answered()
    page = window.page
    window.choose("Delete…")
    dialog = page.get_by_role("dialog", name="Delete this thread?")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_have_count(0)
    expect(messages(page)).to_have_count(1)
    window.choose("Delete…")
    dialog.get_by_role("button", name="Delete the thread").click()
    expect(page.get_by_role("heading", name="What should be done?")).to_be_visible()
    expect(other.page.get_by_role("heading", name="This thread is not there")).to_be_visible()
    for one in (page, other.page):
        expect(one.locator(f"a[href='#/t/{thread}']")).to_have_count(0)
    page.goto(f"/#/t/{thread}")
    expect(page.get_by_role("heading", name="This thread is not there")).to_be_visible()
    branches = ("branch", "--list", f"thread-{thread}")
    wait_until(lambda: git(fleet.remote, *branches) == "", seconds=60)
    assert window.problems + other.problems == []


def test_a_branch_is_brought_up_to_date_from_the_menu(window: Window, fleet: Fleet, tmp_path: Path) -> None:
    thread = window.begin("do: write mine.txt mine")
    window.answered()
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(fleet.remote), str(clone))
    (clone / "theirs.txt").write_text("theirs\n")
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "Theirs")
    git(clone, "push", "-q", "origin", "HEAD:main")
    window.choose("Bring up to date")
    expect(messages(window.page).nth(1)).to_contain_text("Bring the branch up to date")
    window.answered(2)
    assert fleet.tree(f"thread-{thread}").keys() >= {"mine.txt", "theirs.txt"}
    panel = window.tab("Changes")
    expect(panel).to_contain_text("mine.txt")
    expect(panel).not_to_contain_text("theirs.txt")

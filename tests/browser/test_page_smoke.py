"""The shortest way through the page: a message is written, answered, proved, and there after a reload."""

import os
import re
import signal
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.fleet import Fleet
from tests.browser.lab import PHONE, Window

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
HOSTILE = "<img src=x onerror='window.taken=1'> [go](javascript:alert(1)) <script>alert(1)</script>"


def test_a_message_is_answered_and_proved_and_a_reload_shows_the_same(window: Window, fleet: Fleet) -> None:
    page = window.open()
    expect(page.get_by_text("No sign-in: only this machine can reach this page.")).to_be_visible()
    window.send("Write the first page\ndo: write page.txt hello\\n\ndo: say It is **written**.")
    page.wait_for_url(re.compile(r"#/t/.+"))
    window.answered()
    message = page.get_by_test_id("message")
    expect(message).to_contain_text("Write the first page")
    expect(message.locator("strong", has_text=re.compile("^written$"))).to_be_visible()
    expect(message.get_by_test_id("receipt")).to_contain_text("Answered")
    proof = page.get_by_test_id("proof")
    thread = page.url.rpartition("/")[2]
    for part in (f"thread-{thread}", "+1", "Yes"):
        expect(proof).to_contain_text(part)
    expect(page.get_by_test_id("threads").get_by_role("link")).to_contain_text(["Write the first page"])
    assert fleet.tree(f"thread-{thread}")["page.txt"] == "hello"

    before = window.words()
    page.reload()
    window.answered()
    window.shows(before)
    assert window.problems == []


def test_text_of_people_and_models_stays_text(window: Window) -> None:
    page = window.open("/#/new")
    window.send(f"{HOSTILE}\ndo: say {HOSTILE}")
    window.answered()
    expect(page.locator(".said-text")).to_contain_text("<script>alert(1)</script>")
    expect(page.locator(".markdown")).to_contain_text("<script>alert(1)</script>")
    assert page.locator(".log img, .log script, .log a[href^=javascript]").count() == 0
    assert page.evaluate("window.taken") is None
    assert window.problems == []


def test_a_second_window_sees_the_answer_while_it_is_written(
    window: Window, browser: Browser, fleet: Fleet, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    page = window.open("/#/new")
    window.send(f"Take your time\ndo: say Begun.\ndo: wait {go}\ndo: say Over now.")
    page.wait_for_url(re.compile(r"#/t/.+"))
    with closing(Window(browser, fleet.url, size=PHONE)) as other:
        other.open(page.url)
        for one in (page, other.page):
            expect(one.locator(".markdown").first).to_contain_text("Begun.")
            expect(one.get_by_role("button", name="Stop")).to_be_visible()
        page.get_by_role("textbox", name="Message", exact=True).fill("a draft that stays")
        page.reload()
        expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("a draft that stays")
        go.touch()
        other.answered()
        window.answered()
        assert other.problems == []
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    assert window.problems == []


def test_after_a_death_of_the_dispatcher_all_is_shown_once(
    window: Window, fleet: Fleet, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    page = window.open("/#/new")
    window.send(f"Live through it\ndo: say One. \ndo: wait {go}\ndo: say Two.\ndo: write two.txt 2")
    page.wait_for_url(re.compile(r"#/t/.+"))
    expect(page.locator(".markdown").first).to_contain_text("One.")
    os.kill(dispatcher_of(fleet), signal.SIGKILL)
    page.get_by_role("textbox", name="Message", exact=True).fill("do: say Three.")
    page.get_by_role("button", name="Send").click()
    go.touch()
    window.answered(2)
    said = " ".join(page.get_by_test_id("message").all_inner_texts())
    for word in ("Live through it", "One.", "Two.", "Three."):
        assert page.locator(".markdown, .said-text").get_by_text(word).count() >= 1, said
    assert page.get_by_test_id("message").count() == 2
    thread = page.url.rpartition("/")[2]
    page.get_by_role("tab", name="Log").click()
    received = page.get_by_test_id("log-lines").get_by_text("message.received", exact=True)
    expect(received).to_have_count(len(fleet.events(thread, "message.received")))
    before = window.words()
    page.reload()
    window.answered(2)
    window.shows(before)


def dispatcher_of(fleet: Fleet) -> int:
    """Its process."""
    for pid in fleet.left():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"dispatcher" in words:
            return pid
    raise AssertionError("no dispatcher runs")

"""A browser before a running fleet: the page as a person meets it, with everything that went wrong in it."""

import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Dialog, Locator, Page, expect, sync_playwright

from dispatcher.page import INDEX, STATIC
from tests.fakes.engine import wait_until

SECONDS = 90
Scheme = Literal["light", "dark"]
DESKTOP = (1440, 900)
PHONE = (390, 844)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
_EXPECTED = "Failed to load resource"
"""What Chromium says of any answer that is an error; the page says it in words."""
_WORDS = """
messages => messages.map((message) => {
  const copy = message.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.remove();
  return copy.textContent;
})"""
_WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`the policy held back ${event.violatedDirective} ${event.blockedURI}`));
"""


def chromium() -> str:
    """Where the browser is. Skips without one, fails where everything has to run."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        _missing("there is no Chromium: install it (apt-get install chromium)")
    if not (STATIC / INDEX).is_file():
        _missing("the page is not built: run ./scripts/page")
    return str(found)


def _missing(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a profile."""
    path = chromium()
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One window with a storage of its own. ``problems``: what its console and its scripts complained of."""

    def __init__(
        self, browser: Browser, url: str, *, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light"
    ) -> None:
        is_phone = size[0] < 500
        self.context = browser.new_context(
            base_url=url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            is_mobile=is_phone,
            has_touch=is_phone,
            device_scale_factor=2,
        )
        self.problems: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("dialog", self._refuse)
        self.page.add_init_script(_WATCH)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning") and _EXPECTED not in message.text:
            self.problems.append(message.text)

    def _refuse(self, dialog: Dialog) -> None:
        self.problems.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, address: str = "/") -> Page:
        """Go to an address of the page."""
        self.page.goto(address)
        return self.page

    def send(self, text: str) -> None:
        """Write a message and send it with the key."""
        field = self.page.get_by_role("textbox", name="Message", exact=True)
        field.fill(text)
        field.press("Enter")

    def begin(self, text: str) -> str:
        """Write the first message of a new thread; the thread, once the page is there."""
        self.open("/#/new")
        self.page.get_by_role("heading", name="What should be done?").wait_for()
        self.send(text)
        self.page.wait_for_url(re.compile(r"#/t/.+"))
        return self.page.url.rpartition("/")[2]

    def tab(self, name: str) -> Locator:
        """Open a tab of the work; its panel."""
        self.page.get_by_role("tab", name=re.compile(f"^{name}")).click()
        return self.page.get_by_role("tabpanel", name=re.compile(f"^{name}"))

    def choose(self, action: str) -> None:
        """Take an action of the thread's menu."""
        self.page.get_by_role("button", name="Thread menu").click()
        self.page.get_by_role("menuitem", name=action).click()

    def answered(self, count: int = 1) -> None:
        """Wait until so many messages show their outcome."""
        self.page.get_by_test_id("proof").nth(count - 1).wait_for()

    def words(self) -> list[str]:
        """The text of each message and of what became of it, without how long ago that was."""
        found = self.page.get_by_test_id("message").evaluate_all(_WORDS)
        return [str(text).replace("\n", "") for text in found]

    def shows(self, words: list[str]) -> None:
        """Wait until the messages have these words."""
        try:
            wait_until(lambda: self.words() == words, seconds=SECONDS)
        except AssertionError:
            assert self.words() == words

    def picture(self, path: Path) -> None:
        """What the window shows, in few colours: a picture in the repository stays there for ever."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(self.page.screenshot())) as taken:
            taken.convert("RGB").quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)

    def close(self) -> None:
        self.context.close()

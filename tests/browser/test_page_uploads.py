"""Files that people attach: by button and by paste, refused with words, read by Claude Code, shown to all."""

import re
import struct
import zlib

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.browser.lab import Window
from tests.fakes.model import ScriptedModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_PASTE = """
([name, type, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, { type }));
  const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.querySelector("#message").dispatchEvent(paste);
}
"""


def picture() -> bytes:
    """A PNG of eight by eight red points."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * 8) * 8
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def named(name: str, kind: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": content}


def attach(page: Page, *files: FilePayload) -> None:
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Attach files").click()
    chosen.value.set_files(list(files))


def chip(page: Page, name: str) -> Locator:
    return page.get_by_test_id("chips").get_by_role("listitem").filter(has_text=name)


def arrived(page: Page, name: str) -> None:
    expect(chip(page, name)).to_be_visible()
    expect(chip(page, name).get_by_role("progressbar")).to_have_count(0)


def is_drawn(picture: Locator) -> bool:
    return bool(picture.evaluate("async (image) => (await image.decode(), image.naturalWidth === 8)"))


def test_a_picture_and_a_text_are_attached_shown_and_read(window: Window, model: ScriptedModel) -> None:
    page = window.open("/#/new")
    attach(page, named("red.png", "image/png", picture()))
    arrived(page, "red.png")
    page.get_by_role("textbox", name="Message", exact=True).focus()
    page.evaluate(_PASTE, ["canary.txt", "text/plain", "the canary is yellow\n"])
    arrived(page, "canary.txt")
    page.reload()
    arrived(page, "canary.txt")
    window.send("Look at both\ndo: say I will.")
    page.wait_for_url(re.compile(r"#/t/.+"))
    window.answered()
    files = page.get_by_role("list", name="Attached files")
    expect(files).to_contain_text("canary.txt")
    shown = files.get_by_role("img", name="red.png")
    expect(shown).to_be_visible()
    assert is_drawn(shown)
    expect(page.get_by_test_id("chips")).to_have_count(0)

    asked = next(r.text for r in model.requests if r.text.startswith("Look at both"))
    (path,) = re.findall(r'"?(/[^"\n]*canary\.txt)', asked)
    window.send(f"Read it\ndo: read {path}\ndo: say Read.")
    window.answered(2)
    tool = page.get_by_test_id("tool")
    tool.get_by_role("button").first.click()
    expect(tool).to_contain_text("the canary is yellow")
    expect(page.get_by_test_id("proof").nth(1)).to_contain_text("No files were changed")

    page.reload()
    window.answered(2)
    assert is_drawn(page.get_by_role("list", name="Attached files").get_by_role("img", name="red.png"))
    assert window.problems == []


def test_what_is_no_picture_and_no_text_is_refused_with_words(window: Window) -> None:
    page = window.open("/#/new")
    attach(
        page,
        named("liar.png", "image/png", b"%PDF-1.7\n\x00\xff\xfe"),
        named("vast.txt", "text/plain", b"x" * (4 << 20 | 1)),
    )
    expect(chip(page, "liar.png").get_by_role("alert")).to_contain_text("Only PNG, JPEG, GIF and WebP")
    expect(chip(page, "vast.txt").get_by_role("alert")).to_contain_text("4 MB is the most")
    for name in ("liar.png", "vast.txt"):
        page.get_by_role("button", name=f"Remove {name}").click()
    expect(page.get_by_test_id("chips")).to_have_count(0)
    assert window.problems == []


def test_a_file_can_be_taken_back_before_it_is_sent(window: Window) -> None:
    page = window.open("/#/new")
    attach(page, named("one.txt", "text/plain", b"one"), named("two.txt", "text/plain", b"two"))
    arrived(page, "one.txt")
    arrived(page, "two.txt")
    page.get_by_role("button", name="Remove one.txt").click()
    window.send("With one file\ndo: say Thanks.")
    window.answered()
    files = page.get_by_role("list", name="Attached files").get_by_role("listitem")
    expect(files).to_have_count(1)
    expect(files).to_contain_text("two.txt")

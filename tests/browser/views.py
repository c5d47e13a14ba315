"""Every view of the page and the way to it, for what has to hold in all of them.

The threads are ``full``, with something of everything, and ``busy``, in which a turn runs.
"""

from collections.abc import Callable

from playwright.sync_api import Locator, Page

View = Callable[[Page], Locator]


def at(address: str, then: View) -> View:
    def go(page: Page) -> Locator:
        page.goto(address)
        page.reload()
        return then(page)

    return go


def chat(page: Page) -> Locator:
    return page.get_by_test_id("proof")


def tab(name: str, test_id: str | None = None) -> View:
    def open_it(page: Page) -> Locator:
        page.get_by_test_id("proof").first.wait_for(state="attached")
        # A phone shows the work instead of the conversation.
        bar = page.get_by_role("navigation", name="Parts of the page").get_by_role("button", name="Work")
        if bar.is_visible():
            bar.click()
        page.get_by_role("tab", name=name).click()
        panel = page.get_by_role("tabpanel", name=name)
        return panel.get_by_test_id(test_id) if test_id else panel

    return open_it


def coloured(page: Page) -> Locator:
    return tab("Changes", "changes")(page).locator(".code span[class]").first


def tools(page: Page) -> Locator:
    chat(page).wait_for()  # the log is there to its end: no tool comes behind the last one
    tools = page.get_by_test_id("tool")
    for tool in tools.all():
        head = tool.get_by_role("button").first
        if head.get_attribute("aria-expanded") == "false":
            head.click()
    return tools.last.locator("pre").first


def menu(page: Page) -> Locator:
    page.get_by_role("button", name="Thread menu").click()
    return page.get_by_role("menu", name="Thread menu")


def deletion(page: Page) -> Locator:
    menu(page).get_by_role("menuitem", name="Delete…").click()
    return page.get_by_role("dialog", name="Delete this thread?")


def renaming(page: Page) -> Locator:
    menu(page).get_by_role("menuitem", name="Rename").click()
    return page.get_by_role("textbox", name="Title of the thread")


def keys(page: Page) -> Locator:
    chat(page).wait_for()  # the page listens to keys by then
    page.get_by_role("log", name="Messages").focus()
    page.keyboard.press("?")
    return page.get_by_role("dialog", name="Keys")


def threads(page: Page) -> Locator:
    page.get_by_test_id("threads").wait_for(state="attached")
    bar = page.get_by_role("navigation", name="Parts of the page").get_by_role("button", name="Threads")
    if bar.is_visible():
        bar.click()
    return page.get_by_test_id("threads").get_by_role("link").first


def refused_file(page: Page) -> Locator:
    file = {"name": "bad.bin", "mimeType": "image/png", "buffer": b"\x00\xff"}
    page.get_by_test_id("file-input").set_input_files(file)  # type: ignore[arg-type]
    return page.get_by_test_id("chips").get_by_role("alert")


VIEWS: dict[str, View] = {
    "empty": at("/#/new", lambda page: page.get_by_role("heading", name="What should be done?")),
    "done": at("/#/t/full", chat),
    "tools": at("/#/t/full", tools),
    "running": at("/#/t/busy", lambda page: page.get_by_role("button", name="Stop")),
    "missing": at(
        "/#/t/not-there", lambda page: page.get_by_role("heading", name="This thread is not there")
    ),
    "preview": at("/#/t/full", tab("Preview")),
    "changes": at("/#/t/full", coloured),
    "tasks": at("/#/t/full", tab("Tasks")),
    "log": at("/#/t/full", tab("Log", "log-lines")),
    "menu": at("/#/t/full", menu),
    "renaming": at("/#/t/full", renaming),
    "deletion": at("/#/t/full", deletion),
    "keys": at("/#/t/full", keys),
    "threads": at("/#/t/full", threads),
    "refused file": at("/#/new", refused_file),
}

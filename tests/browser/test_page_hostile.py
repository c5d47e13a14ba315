"""Nothing that people, models, files or tools write runs in the page, wherever it is shown."""

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.fleet import Fleet
from tests.browser.lab import PHONE, Window

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

IMAGE = "<img src=x onerror=window.__hit=1>"
VECTOR = "<svg onload=window.__hit=2>"
SCRIPT = "<script>window.__hit=3</script>"
BROKEN_OUT = "\"'></textarea></title><iframe srcdoc='<script>parent.__hit=4</script>'></iframe>"
MESSAGE = f"{IMAGE}{VECTOR}{SCRIPT}{BROKEN_OUT}"
TITLE = 80
"""As long as a title may be."""
MARKDOWN = [
    IMAGE,
    VECTOR,
    SCRIPT,
    "[one](javascript:window.__hit=5) [two](JaVa&#115;cript:window.__hit=6)",
    "[three](data:text/html,<script>opener.__hit=7</script>)",
    "[four](vbscript:msgbox) <javascript:window.__hit=8> [five][ref]",
    "",
    "[ref]: javascript:window.__hit=9",
    "",
    "![picture](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "![tracked](https://example.invalid/pixel.png)",
    '![quoted](https://example.invalid/"onerror="window.__hit=10)',
    "",
    f"```html\\n{IMAGE}{SCRIPT}\\n```",
    f"```<img/src=x/onerror=window.__hit=11>\\n{SCRIPT}\\n```",
    f"| {IMAGE} |\\n| --- |\\n| {VECTOR} |",
    "",
    "<form action=javascript:window.__hit=12><button formaction=javascript:__hit=13>go</button></form>",
    "<math><mtext></p><style><img src=x onerror=window.__hit=14></style></math>",
    '<a href="javascript:window.__hit=15" style="position:fixed;inset:0">all of the page</a>',
]
FILE = f"{IMAGE}.js"
SOURCE = f'const a = "{IMAGE}"; // {SCRIPT}'
STEPS = (
    f"{MESSAGE}\n"
    "do: say " + "\\n".join(MARKDOWN) + "\n"
    f"do: task create {IMAGE}{VECTOR}\n"
    f"do: bash printf '%s\\n' '{SOURCE}' > '{FILE}' && cat '{FILE}' && ls\n"
    f"do: write index.html {IMAGE}{SCRIPT}\n"
    f"do: write notes.md {VECTOR}\n"
    f"do: bash echo '{MESSAGE.replace(chr(39), '')}' >&2; false\n"
    f"do: say {IMAGE}"
)
_STRANGE = """
() => {
  const found = [];
  const walk = (root) => root.querySelectorAll("*").forEach((element) => {
    for (const { name, value } of element.attributes) {
      if (name.startsWith("on") || name === "srcdoc") found.push(`${element.tagName} ${name}`);
      const leads = ["href", "src", "action", "formaction"].includes(name);
      if (leads && /^\\s*(javascript|data|vbscript):/i.test(value))
        found.push(`${element.tagName} ${value}`);
    }
    const { tagName } = element;
    if (tagName === "SCRIPT" && !element.src.startsWith(location.origin)) found.push(tagName);
    if (tagName === "IFRAME" && element.dataset.testid !== "preview-frame") found.push(tagName);
    if (tagName === "IMG" && !/^(blob:|\\/v1\\/)/.test(element.getAttribute("src"))) found.push(tagName);
  });
  walk(document);
  return found;
}
"""


@pytest.fixture(scope="module")
def thread(fleet: Fleet) -> str:
    """A thread in which everything is hostile, its title too."""
    fleet.final("hostile", fleet.post(STEPS, thread="hostile"))
    fleet.api.patch("/v1/threads/hostile", json={"title": MESSAGE[:TITLE]}).raise_for_status()
    return "hostile"


@pytest.fixture
def opened(window: Window, thread: str) -> Iterator[Page]:
    page = window.open(f"/#/t/{thread}")
    window.answered()
    yield page
    harmless(window)


def harmless(window: Window) -> None:
    """Nothing has run, nothing strange was made, and the policy had nothing to hold back."""
    page = window.page
    # Whatever was put into the document has had its turn after two frames.
    page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    assert page.evaluate(_STRANGE) == []
    assert page.evaluate("window.__hit") is None
    assert window.problems == []


def test_messages_titles_and_answers_stay_text(opened: Page) -> None:
    expect(opened.locator(".said-text")).to_contain_text(MESSAGE)
    expect(opened.get_by_role("heading", name=IMAGE)).to_be_visible()
    expect(opened.get_by_test_id("threads")).to_contain_text(IMAGE)
    assert IMAGE in opened.title()
    answer = opened.locator(".markdown").first
    for text in (IMAGE, VECTOR, SCRIPT, "all of the page"):
        expect(answer).to_contain_text(text)
    for link in opened.locator(".markdown a[href]").all():
        assert (link.get_attribute("href") or "").startswith("https://example.invalid/")
        assert "noopener" in (link.get_attribute("rel") or "")


def test_what_looks_like_a_link_to_a_script_leads_nowhere(opened: Page) -> None:
    answer = opened.locator(".markdown").first
    for word in ("one", "two", "three", "four", "five"):
        link = answer.locator("a", has_text=word)
        for found in link.all():
            assert found.get_attribute("href") is None
            found.click()
    assert len(opened.context.pages) == 1


def test_tools_and_tasks_stay_text(opened: Page) -> None:
    tools = opened.get_by_test_id("tool")
    for tool in tools.all():
        tool.get_by_role("button").first.click()
    expect(tools.filter(has_text=SOURCE).first).to_be_visible()
    expect(opened.get_by_role("group", name="Tasks, 0 of 1 done").first).to_contain_text(IMAGE)
    opened.get_by_role("tab", name="Tasks").click()
    expect(opened.get_by_role("tabpanel", name="Tasks")).to_contain_text(VECTOR)


def test_names_and_lines_of_changed_files_stay_text(opened: Page) -> None:
    opened.get_by_role("tab", name="Changes").click()
    changes = opened.get_by_test_id("changes")
    for text in (FILE, SOURCE, f"{IMAGE}{SCRIPT}", VECTOR):
        expect(changes).to_contain_text(text)
    # Colouring makes elements of the text; wait until it has.
    expect(changes.locator(".code span[class]").first).to_be_visible()


def test_lines_of_the_log_stay_text(opened: Page) -> None:
    opened.get_by_role("tab", name="Log").click()
    expect(opened.get_by_test_id("log-lines")).to_contain_text(IMAGE)


def test_names_of_uploads_stay_text(window: Window, thread: str) -> None:
    page = window.open(f"/#/t/{thread}")
    name = f"{IMAGE}.txt"
    files = page.get_by_test_id("file-input")
    files.set_input_files({"name": name, "mimeType": "text/html", "buffer": f"{SCRIPT}".encode()})
    expect(page.get_by_test_id("chips").get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_test_id("chips")).to_contain_text("onerror=window.__hit=1")
    window.send("do: say Thanks.")
    window.answered(2)
    link = page.get_by_role("list", name="Attached files").get_by_role("link")
    expect(link).to_contain_text("onerror=window.__hit=1")
    answer = window.context.request.get(link.get_attribute("href") or "")
    assert answer.ok
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "attachment" in answer.headers["content-disposition"]
    harmless(window)


@pytest.mark.parametrize("place", [IMAGE, f"javascript:{SCRIPT}", "../../v1/about"])
def test_an_address_made_up_by_somebody_stays_text(window: Window, place: str) -> None:
    page = window.open(f"/#/t/{quote(place, safe='')}")
    expect(page.get_by_role("heading", name="This thread is not there")).to_be_visible()
    harmless(window)


def test_a_draft_and_a_search_stay_text(browser: Browser, fleet: Fleet, thread: str) -> None:
    with closing(Window(browser, fleet.url, size=PHONE)) as phone:
        page = phone.open(f"/#/t/{thread}")
        page.get_by_role("textbox", name="Message", exact=True).fill(MESSAGE)
        page.reload()
        expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value(MESSAGE)
        page.get_by_role("button", name="Threads", exact=True).click()
        page.get_by_role("searchbox", name="Search threads").fill(IMAGE)
        expect(page.get_by_test_id("threads")).to_contain_text(IMAGE)
        harmless(phone)


def test_the_policy_lets_only_our_own_files_run(window: Window) -> None:
    answer = window.context.request.get("/")
    policy = dict(
        part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["base-uri"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    page = window.open()
    page.get_by_role("heading", name="What should be done?").wait_for()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.__hit=1>')")
    expect(page.locator("img[onerror]")).to_have_count(1)
    page.wait_for_function("() => document.querySelector('img[onerror]').complete")
    assert page.evaluate("window.__hit") is None
    assert any("the policy held back" in problem for problem in window.problems)

"""Signing in on the page: who gets in, what stays when a session ends, and what strangers cannot do."""

import re
from collections.abc import Iterator
from contextlib import closing

import pyotp
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Response, expect

from tests.browser.axe import faults
from tests.browser.forgery import ATTACK, EVIL, page_of_somebody
from tests.browser.lab import DESKTOP, PHONE, SCHEMES, Scheme, Window
from tests.browser.signin import Guarded, dialog, guarded_fleet, sign_in
from tests.fakes.engine import wait_until
from tests.fakes.model import ScriptedModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
GONE = "This thread is not there"


@pytest.fixture(scope="module")
def fleet(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_fleet(tmp_path_factory.mktemp("guarded"), model_url=model.url) as running:
        yield running


@pytest.fixture
def ada(window: Window) -> Window:
    """A window in which ada has signed in."""
    signed_in(window, "ada")
    return window


@pytest.fixture
def bob(browser: Browser, fleet: Guarded) -> Iterator[Window]:
    """A window in which bob has signed in."""
    with closing(Window(browser, fleet.url)) as opened:
        signed_in(opened, "bob")
        yield opened


def signed_in(window: Window, user: str) -> None:
    page = window.open()
    sign_in(page, user)
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_text(f"Signed in as {user}")).to_be_visible()


def field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def test_a_wrong_password_is_refused_with_words_and_a_right_one_lets_in(window: Window) -> None:
    page = window.open()
    expect(dialog(page)).to_be_visible()
    expect(dialog(page).get_by_label("User")).to_be_focused()
    expect(page.get_by_test_id("threads").get_by_role("link")).to_have_count(0)
    for user, password in (("ada", "not my password"), ("nobody", "whatever it is")):
        sign_in(page, user, password)
        expect(dialog(page).get_by_role("alert")).to_contain_text(
            re.compile("wrong|do not fit|not right", re.I)
        )
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_visible()
    sign_in(page, "ada")
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_text("Signed in as ada")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Signed in as ada")).to_be_visible()
    assert window.problems == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_no_fault_in_the_sign_in(browser: Browser, fleet: Guarded, size: tuple[int, int]) -> None:
    with closing(Window(browser, fleet.url, size=size)) as window:
        page = window.open()
        expect(dialog(page)).to_be_visible()
        found: dict[str, list[str]] = {scheme: in_scheme(page, scheme) for scheme in SCHEMES}
        sign_in(page, "nobody", "whatever it is")
        expect(dialog(page).get_by_role("alert")).to_be_visible()
        found |= {f"{scheme}, refused": in_scheme(page, scheme) for scheme in SCHEMES}
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert {scheme: faults for scheme, faults in found.items() if faults} == {}


def in_scheme(page: Page, scheme: Scheme) -> list[str]:
    page.emulate_media(color_scheme=scheme)
    return faults(page)


def test_a_cookie_that_scripts_cannot_read_holds_the_session(ada: Window) -> None:
    kept = {cookie["name"]: cookie for cookie in ada.context.cookies()}
    assert kept.keys() == {"branchline_session", "branchline_refresh"}
    for cookie in kept.values():
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Lax"
    assert "branchline" not in ada.page.evaluate("document.cookie")
    secrets = {str(cookie["value"]) for cookie in kept.values()}
    stored = ada.page.evaluate("JSON.stringify({ ...localStorage, ...sessionStorage })")
    assert not [secret for secret in secrets if secret in stored]


def test_a_code_is_asked_for_where_one_is_needed(window: Window, fleet: Guarded) -> None:
    totp = pyotp.parse_uri(fleet.ask("/v1/accounts/totp", user="mona", on=True)["uri"])
    assert isinstance(totp, pyotp.TOTP)
    page = window.open()
    sign_in(page, "mona")
    code = dialog(page).get_by_label("Code of your app")
    expect(code).to_be_focused()
    code.fill("000000" if totp.now() != "000000" else "000001")
    dialog(page).get_by_role("button", name="Sign in").click()
    expect(dialog(page).get_by_role("alert")).to_be_visible()
    code.fill(totp.now())
    dialog(page).get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Signed in as mona")).to_be_visible()
    projects = page.get_by_role("combobox", name="Project", exact=True)
    assert sorted(projects.last.locator("option").all_text_contents()) == ["shop", "site"]


def test_a_session_that_ends_while_one_writes_keeps_the_text_and_sends_it_afterwards(ada: Window) -> None:
    page = ada.page
    ada.begin("do: say One.")
    ada.answered()
    field(page).fill("A long thought\ndo: say Two.")
    ada.context.clear_cookies()
    # Not with a click: the list of threads may have found out first, and then the sign-in is over the button.
    field(page).evaluate("(area) => area.form.requestSubmit()")
    expect(dialog(page)).to_be_visible()
    expect(page.get_by_test_id("pending")).to_contain_text("A long thought")
    page.reload()
    expect(dialog(page)).to_be_visible()
    sign_in(page, "ada")
    expect(dialog(page)).to_have_count(0)
    ada.answered(2)
    expect(page.get_by_test_id("message")).to_have_count(2)
    expect(page.get_by_test_id("message").last).to_contain_text("A long thought")
    assert ada.problems == []


def test_a_draft_that_was_not_sent_is_there_after_the_next_sign_in(ada: Window) -> None:
    page = ada.page
    page.goto("/#/new")
    field(page).fill("only half of a")
    page.get_by_role("button", name="Sign out").click()
    expect(dialog(page)).to_be_visible()
    sign_in(page, "ada")
    expect(dialog(page)).to_have_count(0)
    expect(field(page)).to_have_value("only half of a")


def test_a_short_session_is_renewed_without_a_word(ada: Window) -> None:
    page = ada.page
    ada.context.clear_cookies(name="branchline_session")
    page.reload()
    expect(page.get_by_text("Signed in as ada")).to_be_visible()
    assert "branchline_session" in {cookie["name"] for cookie in ada.context.cookies()}


def test_who_signs_out_sees_nothing_more_and_the_old_session_cannot_be_renewed(
    ada: Window, fleet: Guarded
) -> None:
    page = ada.page
    thread = ada.begin("A private matter\ndo: say Hello.")
    ada.answered()
    old = ada.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    expect(dialog(page)).to_be_visible()
    assert ada.context.cookies() == []
    page.goto(f"/#/t/{thread}")
    page.reload()
    expect(dialog(page)).to_be_visible()
    expect(page.get_by_text("A private matter")).to_have_count(0)
    (renewal,) = (str(c["value"]) for c in old if c["name"] == "branchline_refresh")
    ada.context.add_cookies([{"name": "branchline_refresh", "value": renewal, "url": fleet.url}])
    page.reload()
    expect(dialog(page)).to_be_visible()


def test_another_persons_thread_is_refused_like_one_that_is_not_there(
    ada: Window, bob: Window, fleet: Guarded
) -> None:
    thread = ada.begin("The secret of the site\ndo: say It is a canary.\ndo: write canary.txt yellow")
    ada.answered()
    asked: list[Response] = []
    bob.page.on("response", lambda response: asked.append(response))
    for place in (thread, "not-there"):
        bob.page.goto(f"/#/t/{place}")
        bob.page.reload()
        expect(bob.page.get_by_role("heading", name=GONE)).to_be_visible()
        expect(bob.page.get_by_test_id("threads").get_by_role("link")).to_have_count(0)
        expect(bob.page.get_by_text("The secret of the site")).to_have_count(0)
    assert [r.status for r in asked if f"/v1/threads/{thread}" in r.url and r.status != 404] == []
    before = fleet.log_of(thread)
    form = bob.page.evaluate("fetch('/v1/me').then((r) => r.json()).then((me) => me.form_token)")
    tries = [
        ("GET", "", None),
        ("GET", "/events", None),
        ("GET", "/changes", None),
        ("GET", "/preview", None),
        ("POST", "/messages", {"text": "let me in"}),
        ("POST", "/stop", {}),
        ("POST", "/update", {}),
        ("POST", "/pull", {}),
        ("PATCH", "", {"title": "mine now"}),
        ("DELETE", "", None),
    ]
    for method, rest, data in tries:
        answers = [
            bob.context.request.fetch(
                f"/v1/threads/{place}{rest}", method=method, data=data, headers={"X-Branchline-Form": form}
            )
            for place in (thread, "not-there")
        ]
        assert [a.status for a in answers] == [404, 404], f"{method} {rest}"
        assert answers[0].text() == answers[1].text().replace("not-there", thread), f"{method} {rest}"
    taken = bob.context.request.post(
        "/v1/threads", data={"thread_id": thread, "text": "hello"}, headers={"X-Branchline-Form": form}
    )
    assert taken.status in (403, 404, 409)
    assert fleet.log_of(thread) == before
    ada.page.reload()
    ada.answered()
    expect(ada.page.get_by_test_id("message")).to_have_count(1)


def test_a_page_of_another_origin_changes_nothing_and_learns_nothing(ada: Window, fleet: Guarded) -> None:
    thread = ada.begin("Mine alone\ndo: say Hello.")
    ada.answered()
    before = fleet.log_of(thread)
    rows = fleet.operator.get("/v1/threads").json()
    cookies = ada.context.cookies()
    asked: list[Request] = []
    answered: list[Response] = []
    evil = ada.context.new_page()
    evil.on("request", lambda request: asked.append(request))
    evil.on("response", lambda response: answered.append(response))
    with page_of_somebody(EVIL.format(url=fleet.url, thread=thread)) as address:
        evil.goto(address)
        read = evil.evaluate(ATTACK, [fleet.url, thread])
        wait_until(lambda: any(r.url.endswith("/auth/login") for r in answered), seconds=30)
        framed = evil.frame_locator("#framed")
        expect(framed.get_by_role("heading", name="Branchline")).to_have_count(0)
    assert len([r for r in asked if r.method != "GET" and r.url.startswith(fleet.url)]) >= 8
    posts = [r for r in answered if r.request.method != "GET" and r.url.startswith(fleet.url)]
    assert len(posts) >= 4  # of the others not even the status is told to a page of somebody else
    assert {r.status for r in posts} == {403}
    assert not [text for text in read if "Mine alone" in text or "thread_id" in text]
    assert fleet.log_of(thread) == before
    assert fleet.operator.get("/v1/threads").json() == rows
    assert ada.context.cookies() == cookies
    ada.page.reload()
    expect(ada.page.get_by_text("Signed in as ada")).to_be_visible()
    ada.answered()

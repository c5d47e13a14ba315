"""What a webhook of GitHub means."""

import json
from typing import Any

import pytest

from contracts.words import Mode
from dispatcher.github_parse import NOTHING_BUT_THE_HANDLE, Ignored, Trigger, parse

HANDLE = "@branchline"


def user(login: str = "Ada", kind: str = "User") -> dict[str, Any]:
    return {"login": login, "id": 1, "type": kind}


def comment(body: str, *, login: str = "Ada", **more: Any) -> dict[str, Any]:
    issue = {
        "id": 5,
        "number": 42,
        "title": "Headline",
        "body": "Please change it",
        "user": user("Bob"),
        "created_at": "2026-11-20T10:00:00Z",
    }
    said = {"id": 99, "body": body, "user": user(login), "created_at": "2026-11-20T10:05:00Z"}
    return {
        "action": "created",
        "issue": issue,
        "comment": said,
        "repository": {"full_name": "Acme/Site"},
        "sender": user(login),
        **more,
    }


def meant(
    payload: dict[str, Any], *, event: str = "issue_comment", handle: str = HANDLE
) -> Trigger | Ignored:
    return parse(event=event, body=json.dumps(payload).encode(), handle=handle)


def trigger(body: str) -> Trigger:
    found = meant(comment(body))
    assert isinstance(found, Trigger), found
    return found


def test_a_comment_that_calls_is_a_message_with_the_comments_id() -> None:
    found = trigger("@branchline make it blue")
    assert found.message_id == "github:comment:99"
    assert found.address == "acme/site#42"
    assert (found.text, found.mode, found.stops) == ("make it blue", Mode.QUEUE, False)
    assert found.subject is not None
    assert found.subject.author == "Bob"
    assert found.reactions == "issues/comments/99/reactions"


@pytest.mark.parametrize(
    "body",
    [
        "@branchline",
        "@Branchline: do it",
        "hey @branchline, do it",
        "do it\n@branchline",
        "please (see above) @branchline!",
        "@branchline\tdo it",
    ],
)
def test_the_handle_calls_wherever_it_stands(body: str) -> None:
    assert isinstance(meant(comment(body)), Trigger)


@pytest.mark.parametrize(
    "body",
    [
        "nothing",
        "",
        "mail@branchline.dev",
        "@branchline-dev do it",
        "@branchlines do it",
        "x@branchline do it",
        "> @branchline do it\n\nI agree",
        "`@branchline do it`",
        "```\n@branchline do it\n```",
        "~~~\n@branchline do it\n~~~",
        "<!-- @branchline do it -->",
        "<!-- @branchline never closed",
        "text [//]: #\n[//]: # (@branchline do it)",
        '<img alt="x @branchline do it">',
    ],
)
def test_what_is_quoted_shown_hidden_or_part_of_a_word_calls_nobody(body: str) -> None:
    assert isinstance(meant(comment(body)), Ignored)


@pytest.mark.parametrize(
    ("body", "text", "mode", "stops"),
    [
        ("@branchline > also the footer", "also the footer", Mode.STEER, False),
        ("@branchline ! no, red", "no, red", Mode.INTERRUPT, False),
        ("@branchline !no, red", "no, red", Mode.INTERRUPT, False),
        ("@branchline! no, red", "no, red", Mode.QUEUE, False),
        ("@branchline stop", "stop", Mode.QUEUE, True),
        ("@branchline Stop.", "Stop.", Mode.QUEUE, True),
        ("@branchline stop the music", "stop the music", Mode.QUEUE, False),
        ("@branchline", NOTHING_BUT_THE_HANDLE, Mode.QUEUE, False),
        ("could you @branchline do it?", "could you @branchline do it?", Mode.QUEUE, False),
    ],
)
def test_a_sign_behind_the_handle_says_what_the_message_wants(
    body: str, text: str, mode: Mode, stops: bool
) -> None:
    found = trigger(body)
    assert (found.text, found.mode, found.stops) == (text, mode, stops)


def test_another_handle_can_be_configured() -> None:
    assert isinstance(meant(comment("/site+bot go"), handle="/site+bot"), Trigger)
    assert isinstance(meant(comment("@branchline go"), handle="/site+bot"), Ignored)


def test_bots_and_texts_sent_by_others_are_ignored() -> None:
    assert isinstance(meant(comment("@branchline x", sender=user("a[bot]", "Bot"))), Ignored)
    assert isinstance(meant(comment("@branchline x", login="a[bot]")), Ignored)
    assert isinstance(meant(comment("@branchline x", sender=user("Eve"))), Ignored)


@pytest.mark.parametrize("action", ["edited", "deleted"])
def test_edits_and_deletions_mean_nothing(action: str) -> None:
    assert isinstance(meant(comment("@branchline x", action=action)), Ignored)


@pytest.mark.parametrize("event", ["ping", "push", "issues", "installation"])
def test_other_events_mean_nothing(event: str) -> None:
    assert isinstance(meant(comment("@branchline x"), event=event), Ignored)


def test_an_issue_that_calls_is_its_own_text() -> None:
    plain = comment("")
    issue = {**plain["issue"], "body": "@branchline fix the menu", "user": user()}
    found = meant({**plain, "action": "opened", "issue": issue}, event="issues")
    assert isinstance(found, Trigger)
    assert (found.message_id, found.text, found.subject) == ("github:issue:5", "fix the menu", None)
    assert found.reactions == "issues/42/reactions"


def test_comments_of_pull_requests_know_that_they_are() -> None:
    plain = comment("@branchline x")
    on_pull = {**plain, "issue": {**plain["issue"], "pull_request": {"url": "x"}}}
    found = meant(on_pull)
    assert isinstance(found, Trigger)
    assert found.is_pull
    review = {
        **{k: v for k, v in plain.items() if k != "issue"},
        "pull_request": plain["issue"],
        "comment": {**plain["comment"], "path": "src/a.astro", "line": 3, "diff_hunk": "@@ -1 +1 @@\n+x"},
    }
    found = meant(review, event="pull_request_review_comment")
    assert isinstance(found, Trigger)
    assert found.is_pull
    assert (found.message_id, found.path, found.line) == ("github:review:99", "src/a.astro", 3)
    assert found.reactions == "pulls/comments/99/reactions"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"null", b'{"action": "created"}', b'{"action":"created","comment":{"id":"x"}}'],
)
def test_a_body_that_is_not_githubs_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse(event="issue_comment", body=body, handle=HANDLE)


def test_a_repository_name_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError):
        meant(comment("@branchline x", repository={"full_name": "a/../../b"}))

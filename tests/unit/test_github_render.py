"""A thread as one comment: what stands in it, and that it fits."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from markdown_it import MarkdownIt

from contracts.events import OutcomeData, TaskEntry, ToolData
from contracts.messages import Author
from contracts.places import PlaceRecord
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher.github_door import page_of
from dispatcher.github_handed import DATA, own_words
from dispatcher.github_render import LIMIT, STICKY, GitHubDialect, shortened
from dispatcher.view import MessageView, Stage, ThreadView

PLACE = PlaceRecord(
    worker_id=WorkerId("w"), thread_id=ThreadId("t"), frontend=Frontend.GITHUB, address="acme/site#1"
)
DIALECT = GitHubDialect(page=lambda thread_id: page_of("https://chat.example.org/", thread_id=thread_id))


def message(number: int = 1, **more: Any) -> MessageView:
    told = {
        "message_id": MessageId(f"m{number}"),
        "sequence": number,
        "author": Author(id="ada", name="ada"),
        "frontend": Frontend.GITHUB,
        "text": "make it blue",
        "received": datetime(2026, 11, 20, tzinfo=UTC),
    }
    return MessageView(**(told | more))


def over(number: int = 1, text: str = "Done it.", **more: Any) -> MessageView:
    final = {"changed": True, "commit": "a" * 40, "branch": "thread-t", "pushed": True, "files": 2}
    return message(number, stage=Stage.COMPLETED, final=OutcomeData(text=text, **(final | more)))


def wanted(*messages: MessageView, **more: Any) -> Any:
    (found,) = DIALECT.wanted(ThreadView(thread_id=ThreadId("t"), messages=messages, **more), PLACE)
    assert found.key == STICKY
    return found


def test_a_running_message_shows_its_tasks_as_check_boxes_and_its_step() -> None:
    tasks = (
        TaskEntry(id="1", subject="Look", status="completed"),
        TaskEntry(id="2", subject="Paint", status="in_progress"),
        TaskEntry(id="3", subject="Check", status="pending"),
    )
    step = ToolData(tool_use_id="x", name="Edit", state="started")
    text = wanted(message(stage=Stage.RUNNING, tasks=tasks, step=step)).body["text"]
    assert "- [x] Look\n- [ ] **Paint**\n- [ ] Check" in text
    assert "Working" in text
    assert "_Edit …_" in text
    assert "https://chat.example.org/#/t/t" in text


@pytest.mark.parametrize("stage", list(Stage))
def test_every_stage_has_its_words(stage: Stage) -> None:
    assert wanted(message(stage=stage, ahead=2, note="A note.")).body["text"]


def test_answers_of_all_messages_stand_in_it_newest_last_with_the_evidence() -> None:
    found = wanted(
        over(1, "First answer."), over(2, "Second answer.", insertions=3, duration_ms=4200, cost_usd=0.5)
    )
    text = found.body["text"]
    assert text.index("First answer.") < text.index("Second answer.")
    assert "2 files, +3 -0 in aaaaaaaaaaaa" in text
    assert "4 s" in text
    assert "$0.50" in text
    assert (found.final, found.message_id) == (True, "m2")


def test_a_post_is_final_only_once_a_message_is_over() -> None:
    assert not wanted(message(stage=Stage.RUNNING)).final


@pytest.mark.parametrize(("minutes", "rest"), [(0, 1), (0.5, 3), (5, 10), (40, 30)])
def test_the_longer_a_turn_the_more_seldom_its_comment_is_edited(minutes: float, rest: float) -> None:
    begun = datetime(2026, 11, 20, tzinfo=UTC)
    dialect = GitHubDialect(page=lambda _: None, now=lambda: begun + timedelta(minutes=minutes))
    running = message(2, stage=Stage.RUNNING, started=begun)
    (post,) = dialect.wanted(ThreadView(thread_id=ThreadId("t"), messages=(running,)), PLACE)
    assert post.rest == rest
    (end,) = dialect.wanted(ThreadView(thread_id=ThreadId("t"), messages=(over(1), running)), PLACE)
    assert end.rest < 1


@pytest.mark.parametrize("count", [1, 2, 5, 40, 400])
@pytest.mark.parametrize("size", [10, 5_000, 70_000])
def test_it_fits_whatever_was_said_and_the_last_answer_is_kept_longest(count: int, size: int) -> None:
    answers = [over(n, f"start of {n} " + "word " * (size // 5)) for n in range(1, count + 1)]
    text = wanted(*answers).body["text"]
    assert len(text) < LIMIT - 500
    assert f"start of {count} " in text
    assert text.count("word") >= min(size // 5, 60_000 // 5)


def test_a_cut_closes_the_fence_that_it_leaves_open() -> None:
    words = "```\n" + "line\n" * 500 + "```"
    assert shortened(words, limit=500).count("```") == 2
    assert len(shortened(words, limit=500)) <= 500


@pytest.mark.parametrize(
    "answer",
    [
        "Look:\n```py\nx = 1",
        "````md\n```\ncode\n```",
        "~~~\ncode\n```",
        "1. first\n   ```\n   in a list",
        "> ```\n> in a quotation",
        "```\nclosed\n```",
        "one\rtwo\r\n```\r\nclosed\r\n```",
    ],
)
def test_code_that_an_answer_leaves_open_swallows_nothing_of_what_follows(answer: str) -> None:
    body = wanted(over(1, answer), over(2, answer)).body
    for text, below in ((body["text"], 3), (body["pull"]["body"], 1)):
        code = [t.content for t in MarkdownIt("commonmark").parse(text) if t.type in ("fence", "code_block")]
        assert text.count("<sub>") == below
        assert not any("<sub>" in inside or "Done" in inside for inside in code)
        assert len(code) == 2


SWALLOWING = [
    "Look:\n\n<pre>\nx = 1",
    "<details><summary>More</summary>\n\nit",
    "so <details open>",
    "<?php echo 1;",
    "<![CDATA[ x",
    "<!DOCTYPE x",
    "<details\n\nx",
    "<script>",
    "<textarea>\n\n</pre>",
    "`<b>` and <pre/>",
    "- <pre>\n\n</details>",
]


@pytest.mark.parametrize("answer", SWALLOWING)
def test_markup_that_an_answer_leaves_open_is_shown_as_text(answer: str) -> None:
    tasks = (TaskEntry(id="1", subject=answer, status="pending"),)
    body = wanted(over(1, answer, problem=answer, note=answer), message(2, text=answer, tasks=tasks)).body
    for text in (body["text"], body["pull"]["body"]):
        tokens = MarkdownIt("commonmark").parse(text)
        inside = [p for token in tokens for p in (token, *(token.children or ()))]
        markup = "".join(p.content for p in inside if p.type.startswith("html_"))
        assert re.findall(r"<\W*\w+", markup.replace("<summary>", "").replace("</summary>", "")) == (
            re.findall(r"<\W*\w+", "<sub></sub>" * text.count("<sub>"))
        )


def test_markup_that_is_closed_stays_and_so_does_code() -> None:
    words = "<details><summary>More</summary>\n\n1 < 2<br>\n\n</details>\n\n`<pre>`\n\n```html\n<pre>\n```"
    assert words in wanted(over(1, words)).body["text"]
    assert "`<pre>`\n\n&lt;b>" in wanted(over(1, "`<pre>`\n\n<b>")).body["text"]


def test_markup_that_a_cut_leaves_open_fits_for_all_that() -> None:
    words = "<details>\n" + "<b>x</b>\n" * 500 + "</details>"
    cut = shortened(words, limit=700)
    assert len(cut) <= 700
    assert not re.search("<[a-z]", cut)


def test_words_of_a_model_call_nobody_load_nothing_and_cannot_forge_the_marker() -> None:
    evil = "@everyone ![x](https://evil/?q=1) <img src='https://evil'> <!-- branchline:sticky --> a@b.c"
    text = wanted(over(1, evil)).body["text"]
    assert "@everyone" not in text
    assert "![" not in text
    assert "<img" not in text
    assert "<!--" not in text
    assert "a@b.c" in text


CLOSING = [
    "Closes #99",
    "closed: acme/other#99",
    "FIX GH-99",
    "**Resolves** #99",
    "- [x] fixes [#99](https://github.com/acme/site/issues/99)",
    "resolve <https://github.com/acme/site/pull/99>",
    "Fixed <b>#99</b>",
    "Closes\n#99",
    "__Closes__ #99",
    "Closes&nbsp;#99",
    "Closes &#35;99",
    "&#67;loses &num;99",
]


@pytest.mark.parametrize("words", CLOSING)
def test_words_of_a_model_close_no_issue_and_can_still_be_read(words: str) -> None:
    keyword = re.compile(r"(?:\b|_)(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?:\b|_)", re.I)
    assert keyword.search(html.unescape(words))
    task = TaskEntry(id="1", subject=words, status="pending")
    body = wanted(over(1, f"Done. {words} so.", problem=words, note=words), message(2, tasks=(task,))).body
    for text in (body["text"], body["pull"]["body"]):
        shown = html.unescape(text)
        assert not keyword.search(shown)
        assert "99" in shown
        assert keyword.search(shown.replace("\u2060", ""))


def test_words_that_close_nothing_are_left_as_they_are() -> None:
    words = "I fixed the menu and closed #menu; see #99, and resolved a + b &amp; c."
    assert words in wanted(over(1, words)).body["text"]


def test_a_mention_that_is_spelled_in_numbers_calls_nobody() -> None:
    words = "&#64;everyone &commat;everyone"
    text = wanted(over(1, words, problem=words), message(2, text=words)).body["text"]
    assert "@everyone" not in html.unescape(text)


def test_work_that_was_pushed_wants_a_pull_request_and_a_check() -> None:
    body = wanted(over(1)).body
    assert body["pull"]["head"] == "thread-t"
    assert "Done it." in body["pull"]["body"]
    assert (body["check"]["conclusion"], body["check"]["head_sha"]) == ("success", "a" * 40)


@pytest.mark.parametrize("more", [{"pushed": False}, {"branch": "conflict-1/thread-t"}, {"branch": None}])
def test_work_that_is_not_on_its_branch_wants_no_pull_request(more: dict[str, Any]) -> None:
    assert wanted(over(1, **more)).body["pull"] is None


def test_a_preview_on_this_machine_is_not_linked_for_others() -> None:
    assert "4321" not in wanted(over(1), preview_url="http://127.0.0.1:4321/").body["text"]
    assert "preview.example" in wanted(over(1), preview_url="https://preview.example/").body["text"]


def test_only_the_persons_own_words_are_shown_of_what_was_handed_over() -> None:
    assert own_words("Fix it\n\nplease") == "Fix it\n\nplease"
    assert own_words(f"Fix it\n\n---\n\n{DATA}\n\nIssue #7") == "Fix it"


def test_work_that_is_on_a_branch_of_people_is_told_with_it() -> None:
    assert wanted(over(onto="feature")).body["pull"]["onto"] == "feature"
    assert "onto" not in wanted(over()).body["pull"]

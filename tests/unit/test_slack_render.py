"""A view becomes Slack posts: what is said at each stage, and limits that hold for any answer."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.events import OutcomeData, TaskEntry, ToolData
from contracts.messages import Author
from contracts.places import PlaceRecord
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher.github_handed import DATA
from dispatcher.posting import Wanted
from dispatcher.slack_mrkdwn import MESSAGE_LIMIT, answer
from dispatcher.slack_render import SlackDialect
from dispatcher.slack_words import status
from dispatcher.view import WAKING, MessageView, Stage, ThreadView
from fleet.standin.slack_world import World

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLACE = PlaceRecord(
    worker_id=WorkerId("w"), thread_id=ThreadId("t"), frontend=Frontend.SLACK, address="T1/C1/1.000001"
)


def message(number: int = 1, **more: Any) -> MessageView:
    plain = {
        "message_id": MessageId(f"slack:T1:C1:{number}.000001"),
        "sequence": number,
        "author": Author(id="T1/U1", name="ada"),
        "frontend": Frontend.SLACK,
        "text": f"do {number}",
        "received": START,
    }
    return MessageView(**{**plain, **more})


def done(text: str = "All blue.", **more: Any) -> dict[str, Any]:
    data = {"changed": True, "commit": "abcdef1234567890", "branch": "thread-t", "files": 3, "pushed": True}
    final = {
        **data,
        "insertions": 10,
        "deletions": 2,
        "duration_ms": 64_000,
        "input_tokens": 11_000,
        "output_tokens": 1_345,
        "cost_usd": 0.0421,
        **more,
    }
    return {"stage": Stage.COMPLETED, "final": OutcomeData(text=text, **final)}


def wanted(
    *messages: MessageView, place: PlaceRecord = PLACE, seconds: float = 0, **more: Any
) -> list[Wanted]:
    dialect = SlackDialect(now=lambda: START + timedelta(seconds=seconds))
    return dialect.wanted(ThreadView(thread_id=ThreadId("t"), messages=messages, **more), place)


def letters(post: Wanted) -> str:
    return json.dumps(post.body.get("blocks", []), ensure_ascii=False)


def buttons(post: Wanted) -> list[str]:
    blocks = [block for block in post.body["blocks"] if block["type"] == "actions"]
    return [element["text"]["text"] for block in blocks for element in block["elements"]]


def posted(posts: list[Wanted]) -> None:
    """Fails when Slack would not take one of these."""
    world = World()
    world.open("C1")
    for post in posts:
        if "file" not in post.body:
            world.chat_postMessage({"channel": "C1", **post.body})


def test_waking_and_waiting_are_said_with_the_number_ahead() -> None:
    first = wanted(message(), worker=WAKING)[0]
    assert "Received. The worker is being started." in letters(first)
    assert "queued behind 2" in letters(wanted(message(stage=Stage.QUEUED, ahead=2))[0])
    assert "next in line" in letters(wanted(message(stage=Stage.QUEUED))[0])
    assert first.reactions == ("eyes",)
    assert buttons(first) == ["Stop"]


@pytest.mark.parametrize("stage", [Stage.RUNNING, Stage.PAUSED])
def test_a_worker_that_is_started_again_is_said_where_work_was_under_way(stage: Stage) -> None:
    (post,) = wanted(message(stage=stage, started=START, note="Paused for b."), worker=WAKING)
    assert f"Paused for b.\\n{WAKING}" in letters(post)


def test_work_shows_tasks_with_their_states_the_step_and_the_elapsed_time() -> None:
    tasks = [("1", "Read", "completed"), ("2", "Paint <b>", "in_progress"), ("3", "Test", "pending")]
    running = message(
        stage=Stage.RUNNING,
        started=START,
        tasks=tuple(TaskEntry(id=i, subject=s, status=state) for i, s, state in tasks),
        step=ToolData(tool_use_id="1", name="Bash", state="started", input={"command": "npm  test\n&& x"}),
    )
    post = wanted(running, seconds=75.9)[0]
    assert "Working · 1 min 15 s" in letters(post)
    assert "☑ Read\\n▸ Paint &lt;b&gt;\\n☐ Test" in letters(post)
    assert "▸ Bash npm test &amp;&amp; x" in letters(post)
    assert post.body["status"]
    assert not post.final


@pytest.mark.parametrize(("seconds", "fresh"), [(0, 20), (599, 20), (600, 60), (90_000, 60)])
def test_only_what_is_worked_on_looks_different_by_itself_and_old_work_more_seldom(
    seconds: float, fresh: float
) -> None:
    running = message(stage=Stage.RUNNING, started=START)
    together = running.model_copy(update={"together_with": MessageId("m0")})
    others = (together, message(), message(stage=Stage.PAUSED, started=START), message(**done()))
    assert wanted(running, seconds=seconds)[0].fresh == fresh
    assert [wanted(other, seconds=seconds)[0].fresh for other in others] == [None] * 4


def test_an_interruption_and_the_return_are_said_where_the_work_is_shown() -> None:
    paused = message(stage=Stage.PAUSED, note="Paused for thread b.")
    resumed = message(stage=Stage.RUNNING, started=START, note="Going on.")
    assert "Paused for thread b." in letters(wanted(paused)[0])
    assert "Going on." in letters(wanted(resumed)[0])
    assert wanted(paused)[0].body["status"] == ""


def test_a_short_answer_goes_into_the_living_message_with_its_proof_and_buttons() -> None:
    (post,) = wanted(message(**done()), preview_url="http://127.0.0.1:4321/")
    assert post.final
    assert post.key == "living:slack:T1:C1:1.000001"
    assert "All blue." in letters(post)
    proof = "`thread-t` · commit `abcdef12` · 3 files, +10 -2 · pushed · 1 min 4 s · 12.3k tokens · $0.04"
    assert proof in letters(post)
    assert "<http://127.0.0.1:4321/|preview>" in letters(post)
    assert buttons(post) == ["Show diff", "Open preview"]


def test_the_proof_says_why_nothing_was_pushed() -> None:
    (post,) = wanted(message(**done(pushed=False, problem="The remote is away.")))
    assert "not pushed: The remote is away." in letters(post)
    (post,) = wanted(message(**done(changed=False, commit=None)))
    assert "nothing changed" in letters(post)
    assert buttons(post) == []


def test_a_long_answer_is_one_post_below_the_living_message() -> None:
    living, post = wanted(message(**done("word " * 1000)))
    assert not living.final
    assert post.final
    assert post.key == "answer:slack:T1:C1:1.000001:1"
    assert "The answer is below." in letters(living)
    assert "`thread-t`" in letters(post)
    posted([living, post])


def test_forty_thousand_characters_are_a_post_and_a_file_with_all_of_them() -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(130))
    assert len(text) > 40_000
    living, post, file = wanted(message(**done(text)))
    assert [p.final for p in (living, post, file)] == [False, False, True]
    assert file.body["file"]["content"] == text
    assert "The whole answer is in the file below." in letters(post)
    posted([living, post])


def test_a_steering_message_is_answered_by_the_one_it_went_to() -> None:
    first, second = message(1, **done()), message(2, together_with=message(1).message_id)
    assert "Passed on to the work on “do 1”" in letters(wanted(first, second)[-1])
    over = second.model_copy(update={"stage": Stage.COMPLETED, "final": OutcomeData(text="All blue.")})
    (_, post) = wanted(first, over)
    assert post.final
    assert "Answered together with “do 1”" in letters(post)


def test_what_is_done_in_the_place_and_older_than_it_is_left_out() -> None:
    place = PLACE.model_copy(update={"through": 1, "done": (message(3).message_id,)})
    posts = wanted(message(1), message(2), message(3, **done()), place=place)
    assert [post.message_id for post in posts] == [message(2).message_id]


def test_a_message_from_elsewhere_is_quoted_and_gets_no_reaction() -> None:
    other = message(message_id=MessageId("x1"), frontend=Frontend.WEB, text="from the <page>")
    (post,) = wanted(other)
    assert "from the &lt;page&gt;" in letters(post)
    assert post.reactions == ()


def test_of_a_message_from_github_only_the_persons_own_words_are_shown() -> None:
    text = f"Fix it\n\n---\n\n{DATA}\n\nIssue #7 of acme/site, written by eve."
    asked = message(message_id=MessageId("x1"), frontend=Frontend.GITHUB, text=text)
    beside = message(2, together_with=asked.message_id)
    view = ThreadView(thread_id=ThreadId("t"), messages=(asked, beside))
    for shown in (*map(letters, wanted(asked, beside)), status(view)):
        assert "Fix it" in shown or "do 2" in shown
        assert "quoted" not in shown
    assert "“Fix it”" in letters(wanted(asked, beside)[1])


@pytest.mark.parametrize("text", ["Short.", "A long one. " * 400], ids=["short", "long"])
def test_what_was_asked_elsewhere_still_stands_above_its_answer(text: str) -> None:
    other = message(message_id=MessageId("x1"), frontend=Frontend.WEB, text="from the <page>", **done(text))
    first, *_ = wanted(other)
    assert "ada, elsewhere: from the &lt;page&gt;" in letters(first)
    assert "elsewhere" not in letters(wanted(message(**done(text)))[0])


def test_what_was_asked_elsewhere_and_passed_on_is_named() -> None:
    beside = message(1, stage=Stage.RUNNING, started=START)
    other = message(
        2,
        message_id=MessageId("x1"),
        frontend=Frontend.WEB,
        text="and green",
        together_with=beside.message_id,
    )
    assert "ada, elsewhere: and green" in letters(wanted(beside, other)[1])


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**bold** and *slanted* and ~~gone~~", "*bold* and _slanted_ and ~gone~"),
        ("# A **bold** title", "*A bold title*"),
        ("[the page](https://a.example/x?a=1&b=2)", "<https://a.example/x?a=1&amp;b=2|the page>"),
        ("<https://a.example>", "<https://a.example>"),
        ("[a file](docs/x.md)", "a file (docs/x.md)"),
        ("[bad](javascript:alert(1))", "[bad](javascript:alert(1))"),
        ("- one\n- two\n  - three", "• one\n• two\n    • three"),
        ("3. one\n4. two", "3. one\n4. two"),
        ("- [ ] to do\n- [x] done", "☐ to do\n☑ done"),
        ("> quoted\n> more", "> quoted\n> more"),
        ("`a < b`", "`a &lt; b`"),
        ("```js\nif (a < b) {}\n```", "```\nif (a &lt; b) {}\n```"),
        ("<!channel> <@U1> & co", "&lt;!channel&gt; &lt;@U1&gt; &amp; co"),
        ("| a | b |\n|---|---|\n| 1 | long |", "```\na  b\n-  ----\n1  long\n```"),
        ("![shot](https://a.example/i.png)", "<https://a.example/i.png|shot>"),
        ("snake_case_name and 2 * 3", "snake_case_name and 2 * 3"),
    ],
)
def test_markdown_becomes_slacks(markdown: str, mrkdwn: str) -> None:
    blocks, whole = answer(markdown)
    assert [block["text"]["text"] for block in blocks] == [mrkdwn]
    assert whole


def test_a_code_block_is_never_cut() -> None:
    for lines in (10, 70, 120, 400):
        code = "\n".join(f"line {n} of the code that is shown" for n in range(lines))
        blocks, whole = answer(f"Before.\n\n```\n{code}\n```\n\nAfter.")
        shown = json.dumps(blocks)
        assert whole == ("After." in shown)
        assert (json.dumps(code)[1:-1] in shown) == whole
        assert whole or "line 0 of" not in shown
    assert not whole


def test_a_code_block_that_holds_a_fence_stands_in_a_block_of_its_own() -> None:
    blocks, _ = answer("````\n```js\nx\n```\n````")
    assert blocks[0]["type"] == "rich_text"


_line = st.sampled_from(
    [
        "word " * 40,
        "x" * 4000,
        "&<>" * 700,
        "```",
        "~~~js",
        "- item **bold** `code`",
        "  - deeper",
        "> quote",
        "[label](https://a.example/" + "p" * 900 + ")",
        "| a | b |",
        "|---|---|",
        "# title",
        "",
        "a `b c` <!here>",
        "<div>",
        "é" * 300,
    ]
)


@given(st.lists(_line, max_size=60).map("\n".join))
@example("```\n" + "x\n" * 20_000)
@example("word " * 8000)
@example("x" * 40_000)
@example("&" * 40_000)
@example("`" * 40_000)
@example("* " * 3000)
@example(">" * 3000)
def test_any_answer_fits_and_no_code_block_is_left_open(markdown: str) -> None:
    blocks, whole = answer(markdown)
    assert len(json.dumps(blocks, ensure_ascii=False)) <= MESSAGE_LIMIT
    for block in blocks:
        text = block["text"]["text"] if block["type"] == "section" else ""
        assert text.count("```") % 2 == 0
        assert "<!" not in text
        assert "<@" not in text
    posts = wanted(message(**done(markdown, problem="p" * 5000, note="n" * 5000)), preview_url="http://x/")
    posted(posts)
    assert posts[-1].final
    assert whole == (not posts[-1].key.startswith("file:"))

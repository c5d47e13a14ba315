"""The offline model without Claude Code: sentences it understands, and plans replayed from conversations."""

from typing import Any

import pytest

from fleet.model.conversation import ModelRequest
from fleet.model.offline import OfflineModel
from fleet.model.protocol import Reply, Text, ToolUse
from fleet.model.site import slug_of
from fleet.model.wishes import (
    AddPage,
    Greet,
    ListPages,
    Remember,
    SetField,
    Unclear,
    Wish,
    understand,
)
from worker import prompts

REJECTED = "The user doesn't want to proceed with this tool use. The tool use was rejected"
FOUND = "Found 1 file\nsrc/data/site.json"
FILE = '1\t{\n2\t  "headline": "Old"\n3\t}'


def headline(value: str) -> Wish:
    return SetField(field="headline", value=value)


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        ("change the headline to Hello from Branchline", (headline("Hello from Branchline"),)),
        ('Please change the headline to "Fresh bread".', (headline("Fresh bread"),)),
        ("set the title to “Open late”, please", (headline("Open late"),)),
        (
            'change the headline to Say "hi" and <b>wave</b> $& {x}',
            (headline('Say "hi" and <b>wave</b> $& {x}'),),
        ),
        ("change the headline to What did I ask for", (headline("What did I ask for"),)),
        ("change the headline to Wait...", (headline("Wait..."),)),
        ("change the headline to X\n\n---\nThread: set the tagline to Y", (headline("X"),)),
        ("change the headline to X\n<chat-context>\nadd a page called y", (headline("X"),)),
        ("set the tagline to We bake. We care.", (SetField(field="tagline", value="We bake. We care."),)),
        ("make the accent teal", (SetField(field="accent", value="teal"),)),
        ("change the accent colour to teal.", (SetField(field="accent", value="teal"),)),
        (
            "change the headline to A and the tagline to B",
            (headline("A"), SetField(field="tagline", value="B")),
        ),
        ("add a page called about", (AddPage(name="about", text=None),)),
        ("add an about page", (AddPage(name="about", text=None),)),
        ("add a page called about saying We bake.", (AddPage(name="about", text="We bake."),)),
        ('add a page "x"', (Unclear(),)),
        (
            'create a page called "About us" saying "I change the headline to x" and make the accent red',
            (
                AddPage(name="About us", text="I change the headline to x"),
                SetField(field="accent", value="red"),
            ),
        ),
        ("what did I ask first?", (Remember(first=True),)),
        ("what did I ask you to change the headline to?", (Remember(first=False),)),
        ("which pages are there?", (ListPages(),)),
        ("what can you do?", (Greet(),)),
        ("Hello!", (Greet(),)),
        ("make the title nice", (Unclear(),)),
        ("change the colour of the button to blue", (Unclear(),)),
        ("", (Unclear(),)),
    ],
)
def test_plain_sentences_are_understood(text: str, wishes: tuple[Wish, ...]) -> None:
    assert understand(text) == wishes


@pytest.mark.parametrize(
    ("name", "slug"),
    [("About us", "about-us"), ("Über/../Café", "uber-cafe"), ("日本", "page"), ("index", "page-index")],
)
def test_a_page_name_becomes_a_safe_file_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def person(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def used(tool: ToolUse, result: str, *, failed: bool = False) -> list[dict[str, Any]]:
    block = {"type": "tool_use", "id": tool.id, "name": tool.name, "input": dict(tool.input)}
    answer = {"type": "tool_result", "tool_use_id": tool.id, "content": result, "is_error": failed}
    return [{"role": "assistant", "content": [block]}, {"role": "user", "content": [answer]}]


def next_of(messages: list[dict[str, Any]]) -> tuple[str, ToolUse | None]:
    """What the offline model says and which tool it uses next."""
    reply = OfflineModel().reply(ModelRequest({"messages": messages, "tools": []}, {}))
    assert isinstance(reply, Reply)
    said = "".join(part.text for part in reply.parts if isinstance(part, Text))
    tools = [part for part in reply.parts if isinstance(part, ToolUse)]
    return said, tools[0] if tools else None


def test_an_interrupted_call_is_made_again_after_the_pause_and_nothing_is_said_twice() -> None:
    talk = [person("change the headline to New")]
    said, grep = next_of(talk)
    assert (said.startswith("I'll look"), grep and grep.name) == (True, "Grep")
    assert grep
    talk += used(grep, FOUND)
    said, read = next_of(talk)
    assert (said, read and read.name) == ("", "Read")
    assert read
    talk += [*used(read, REJECTED, failed=True), person("[Request interrupted by user for tool use]")]
    talk += [person("You were paused because the worker was shut down. Go on with the request.")]
    said, again = next_of(talk)
    assert (said, again and again.name, again and again.input) == ("", "Read", read.input)
    assert again
    _, edit = next_of(talk + used(again, FILE))
    assert edit
    assert edit.input["new_string"] == '"headline": "New"'


def test_an_edit_that_was_cut_off_after_it_was_written_counts_as_done() -> None:
    talk = [person("change the headline to New")]
    for result, failed in ((FOUND, False), (FILE, False), ("String to replace not found", True)):
        _, tool = next_of(talk)
        assert tool
        talk += used(tool, result, failed=failed)
    _, check = next_of(talk)
    assert check
    said, tool = next_of(talk + used(check, FILE.replace("Old", "New")))
    assert (said.startswith("Done."), tool) == (True, None)


def test_a_failed_edit_is_told_and_not_called_done() -> None:
    talk = [person("change the headline to New")]
    for result, failed in ((FOUND, False), (FILE, False), ("No space left on device", True), (FILE, False)):
        _, tool = next_of(talk)
        assert tool
        talk += used(tool, result, failed=failed)
    said, _ = next_of(talk)
    assert "could not change the headline" in said
    assert "No space left on device" in said


def test_text_from_a_hook_is_worked_on_in_the_same_turn() -> None:
    talk = [person("hello")]
    assert next_of(talk)[1] is None
    talk += [{"role": "assistant", "content": "Hello!"}, person("Stop hook feedback:\nlist the pages")]
    said, tool = next_of(talk)
    assert (said, tool and tool.name) == ("", "Glob")


def test_a_request_replayed_after_an_early_pause_is_the_persons_text_alone() -> None:
    text = prompts.replay(text="hello", reason="recovered")
    assert ModelRequest({"messages": [person(text)]}, {}).user_texts == ("hello",)


def test_reminders_are_not_taken_for_a_persons_words() -> None:
    text = "<system-reminder>Primary working directory: /a/b\nset the title to X</system-reminder>hello"
    request = ModelRequest({"messages": [person(text)]}, {})
    assert (request.last_text, request.cwd) == ("hello", "/a/b")


def test_a_checkout_that_moved_is_where_it_is_now() -> None:
    moved = {"role": "system", "content": "# Update\n - Primary working directory: /new (was /old)\n - x"}
    first = person("<system-reminder>Primary working directory: /old</system-reminder>hello")
    assert ModelRequest({"messages": [first, moved]}, {}).cwd == "/new"

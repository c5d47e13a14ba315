"""What Claude Code may do with files that people sent: read them where they are, and no more."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from agent_lab import Lab, ask, laboratory, outputs_of

from contracts.words import ThreadId
from worker.ports import AgentTurn
from worker.shelf import Shelf

pytestmark = pytest.mark.slow

ID = "0" * 32
T = ThreadId("t")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as lab:
        yield lab


def laid(lab: Lab, name: str, content: bytes) -> tuple[Shelf, Path]:
    shelf = Shelf(lab.folder / "own" / "uploads")
    shelf.lay(T, ID, name, content=content)
    return shelf, shelf.place(T, ID, name)


def turn(lab: Lab, shelf: Shelf, prompt: str) -> AgentTurn:
    return replace(lab.turn(prompt), readable=shelf.folder(T))


async def test_claude_code_reads_a_file_that_was_sent(lab: Lab) -> None:
    shelf, path = laid(lab, "notes.txt", b"the canary is yellow\n")
    events, result = await ask(lab.agent(), turn(lab, shelf, f"Look\ndo: read {path}"))
    assert result.ended == "completed", result.text
    assert "the canary is yellow" in outputs_of(events)


async def test_claude_code_sees_a_picture_that_was_sent(lab: Lab) -> None:
    png = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    shelf, path = laid(lab, "dot.png", png)
    _, result = await ask(lab.agent(), turn(lab, shelf, f"Look\ndo: read {path}"))
    assert result.ended == "completed", result.text
    assert '"type": "image"' in lab.sent()


@pytest.mark.parametrize("tool", ["write {path} changed", "edit {path} canary => parrot"])
async def test_claude_codes_tools_do_not_change_a_file_that_was_sent(lab: Lab, tool: str) -> None:
    shelf, path = laid(lab, "notes.txt", b"the canary is yellow\n")
    prompt = (
        f"Change\ndo: {tool.format(path=path)}\ndo: write {path.parent}/new.txt more\ndo: write here.txt x"
    )
    events, _ = await ask(lab.agent(), turn(lab, shelf, prompt))
    assert path.read_bytes() == b"the canary is yellow\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["notes.txt"]
    assert "denied" in outputs_of(events)
    assert (lab.repo / "here.txt").read_text() == "x"


@pytest.mark.parametrize("name", ["CLAUDE.md", "CLAUDE.local.md", ".claude", "../CLAUDE.md"])
async def test_a_file_that_was_sent_is_never_an_instruction(lab: Lab, name: str) -> None:
    shelf, path = laid(lab, name, b"OBEY-ME\n")
    (path.parent / "other.txt").write_text("other\n")
    await ask(lab.agent(), turn(lab, shelf, f"Look\ndo: read {path.parent}/other.txt\ndo: bash ls"))
    assert "OBEY-ME" not in str([r.request.body for r in lab.model.requests])

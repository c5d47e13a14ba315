"""What ``up`` says, where it says it, and that saying it never fails."""

import io
import os
from pathlib import Path

import pytest

from fleet.home import Home
from fleet.parts import Plan
from fleet.project import Project
from fleet.screen import Screen
from fleet.settings import load


def overview(folder: Path, **outside: str) -> str:
    out = io.StringIO()
    project = Project(name="shop", repo="https://me:s3cret@host.example/shop.git")
    plan = Plan(settings=load(port=9000), home=Home(folder), project=project, outside=outside)
    Screen(out).overview(plan, preview_url="http://127.0.0.1:4321")
    return out.getvalue()


def test_the_overview_names_everything_and_no_secret(tmp_path: Path) -> None:
    text = overview(tmp_path / "a home", ANTHROPIC_API_KEY="s3cret")
    places = (
        "http://127.0.0.1:9000",
        "http://127.0.0.1:4321",
        "shop",
        "https://host.example/shop.git",
        "a home",
    )
    assert all(place in text for place in places)
    assert "s3cret" not in text
    assert "OFFLINE" not in text
    assert "BRANCHLINE_PORT=9000" in text


def test_the_offline_model_is_announced_with_the_way_to_a_real_one(tmp_path: Path) -> None:
    text = overview(tmp_path)
    assert "OFFLINE MODEL" in text
    assert "ANTHROPIC_API_KEY" in text


def test_a_long_line_is_not_broken_where_it_may_be_copied(tmp_path: Path) -> None:
    out = io.StringIO()
    Screen(out).say("x" * 500)
    assert out.getvalue() == "x" * 500 + "\n"


def test_a_reader_that_is_gone_does_not_end_the_fleet() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        screen = Screen(out)
        screen.say("one")
        with screen.step("two"):
            screen.say("three")


def test_a_step_that_fails_is_not_said_to_be_done() -> None:
    out = io.StringIO()
    with pytest.raises(RuntimeError), Screen(out).step("trying"):
        raise RuntimeError
    assert out.getvalue() == "- trying\n"

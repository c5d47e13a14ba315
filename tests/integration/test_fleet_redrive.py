"""``branchline redrive`` against a real dispatcher."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.ports import any_free
from tests.fakes.dispatcher import running_launcher
from tests.fakes.engine import EngineProcess
from tests.integration.dispatcher_lab import Lab, lab
from tests.integration.letters_lab import Post, pointer, post_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(engine: EngineProcess, tmp_path: Path) -> Iterator[Lab]:
    with running_launcher() as launcher, lab(engine, launcher, tmp_path) as site:
        yield site


@pytest.fixture
def post(site: Lab) -> Iterator[Post]:
    """One open message, one that is answered and one unreadable delivery, all of them dead."""
    site.post("open", thread_id="a", message_id="m-1")
    site.post("done", thread_id="b", message_id="m-2")
    site.finish("b", 1)
    with post_of(site) as post:
        post.send("\u202enot a pointer")
        post.bury()
        yield post


def branchline(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BRANCHLINE_URL": url, "PYTHONUTF8": "1"}
    argv = [sys.executable, "-m", "fleet", *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)


def redrive(site: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return branchline(site.dispatcher.url, "redrive", *arguments)


def test_without_dead_letters_it_says_so(site: Lab) -> None:
    looked = redrive(site)
    assert (looked.returncode, looked.stdout.strip()) == (
        0,
        "There is no dead letter: nothing waits to be re-driven.",
    )
    assert json.loads(redrive(site, "--json").stdout) == []


def test_it_lists_what_each_is_about_and_what_would_happen_and_changes_nothing(site: Lab, post: Post) -> None:
    table = redrive(site).stdout
    lines = {line.split()[0]: line for line in table.splitlines()}
    assert "message 1 of thread a" in lines["m-1"]
    assert "rung again" in lines["m-1"]
    assert "completed" in lines["m-2"]
    assert "nothing is left to do" in lines["m-2"]
    assert "not a pointer" in table
    assert "\u202e" not in table
    assert {x["message_id"] for x in json.loads(redrive(site, "--json").stdout)} == {"m-1", "m-2", None}
    assert post.dead_count() == 3


def test_all_are_redriven_and_a_repeat_does_nothing_more(site: Lab, post: Post) -> None:
    done = redrive(site, "--all")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 re-driven, 1 deleted, ")
    assert "1 kept" in done.stdout
    assert [p["message_id"] for p in site.pointers()] == ["m-1"]
    assert redrive(site, "--all").stdout.startswith("1 kept")
    assert site.pointers() == []


def test_one_message_is_redriven_by_its_id(site: Lab, post: Post) -> None:
    assert redrive(site, "m-1").stdout.strip() == "1 re-driven"
    assert post.dead_count() == 2
    gone = redrive(site, "m-1")
    assert gone.returncode == 2
    assert "no dead letter has the id m-1" in gone.stderr


def test_what_cannot_be_redriven_is_exit_code_1_and_can_be_dropped_when_that_is_confirmed(
    site: Lab, post: Post
) -> None:
    letters = json.loads(redrive(site, "--json").stdout)
    (unreadable,) = [x["letter_id"] for x in letters if x["state"] == "unreadable"]
    assert redrive(site, unreadable).returncode == 1
    asked = redrive(site, "--drop", "--all")
    assert (asked.returncode, post.dead_count()) == (2, 3)
    assert "deletes 1 of 3 for good; repeat it with --yes" in asked.stderr
    assert redrive(site, "--drop", "m-1", "--yes").returncode == 1
    dropped = redrive(site, "--drop", "--all", "--yes")
    assert (dropped.returncode, dropped.stdout.split(";")[0]) == (0, "1 dropped")
    assert post.dead_count() == 2


def test_a_letter_that_names_no_message_shows_what_it_says(site: Lab) -> None:
    with post_of(site) as post:
        post.send(pointer("nowhere", 3, "m-9"))
        post.bury()
    assert "nowhere" in redrive(site).stdout


@pytest.mark.parametrize(
    "arguments", [("m-1", "--all"), ("--drop",), ("--yes", "--all"), ("--drop", "--yes")]
)
def test_wrong_usage_is_exit_code_2_before_anything_is_asked(arguments: tuple[str, ...]) -> None:
    done = branchline(f"http://127.0.0.1:{any_free()}", "redrive", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [(), ("--all",), ("--drop", "--all", "--yes")])
def test_a_fleet_that_does_not_run_is_exit_code_3_and_says_how_to_start_it(
    arguments: tuple[str, ...],
) -> None:
    done = branchline(f"http://127.0.0.1:{any_free()}", "redrive", *arguments)
    assert done.returncode == 3
    assert "./scripts/up" in done.stderr


def test_the_help_shows_an_example() -> None:
    assert "branchline redrive --all" in branchline("http://127.0.0.1:1", "redrive", "--help").stdout

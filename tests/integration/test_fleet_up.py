"""The first moments of ``branchline up``: what it refuses, and with which words."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fleet_lab import until

from fleet.home import Home, Lock
from fleet.ports import any_free

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "BRANCHLINE_HOME": str(home),
        "BRANCHLINE_PORT": str(any_free()),
        "BRANCHLINE_PREVIEW_PORT": str(any_free()),
        "PYTHONPATH": str(ROOT),
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", "fleet", *arguments],
        env=environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("variable", "option"),
    [("BRANCHLINE_PORT", "--port"), ("BRANCHLINE_PREVIEW_PORT", "--preview-port")],
)
def test_a_taken_port_is_one_sentence_that_names_it_and_the_way_out(
    tmp_path: Path, variable: str, option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("up", home=tmp_path / "home", **{variable: port})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert all(word in done.stderr for word in (f"port {port}", variable, option, str(os.getpid())))


def test_a_second_up_of_the_same_home_is_refused_and_names_the_first(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    lock = Lock(home)
    assert lock.take()
    done = run("up", home=home.path)
    lock.drop()
    assert done.returncode == 2
    assert f"already running (pid {os.getpid()})" in done.stderr


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("nowhere", "there is no repository at"),
        ("plain", "is not a git repository"),
        ("empty", "has no commit yet"),
        ("file:///nowhere/at/all.git", "git cannot read the repository"),
    ],
)
def test_a_repository_that_cannot_be_used_is_one_sentence(tmp_path: Path, repo: str, words: str) -> None:
    (tmp_path / "plain").mkdir()
    subprocess.run(["git", "init", "--quiet", tmp_path / "empty"], check=True)
    done = run("up", "--repo", repo, home=tmp_path / "home")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_an_earlier_run_left_is_ended_and_what_only_shares_the_variable_is_not(tmp_path: Path) -> None:
    home = (tmp_path / "home").resolve()
    marks = {"BRANCHLINE_HOME": str(home), "PATH": os.environ["PATH"]}
    left = subprocess.Popen(
        ["sleep", "1000"], env={**marks, "BRANCHLINE_PART": "engine"}, start_new_session=True
    )
    other = subprocess.Popen(["sleep", "1000"], env=marks, start_new_session=True)
    try:
        done = run("up", "--repo", "nowhere", home=home)
        assert "earlier run" in done.stdout
        until(lambda: left.poll() is not None)
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_an_unknown_runtime_or_a_wrong_setting_is_a_usage_error(tmp_path: Path) -> None:
    assert run("up", "--runtime", "rocket", home=tmp_path / "home").returncode == 2
    wrong = run("threads", home=tmp_path / "home", BRANCHLINE_PORT="many")
    assert wrong.returncode == 2
    assert "BRANCHLINE_PORT" in wrong.stderr


def test_a_fleet_that_does_not_run_is_not_reachable(tmp_path: Path) -> None:
    done = run("send", "hello", home=tmp_path / "home")
    assert done.returncode == 3
    assert "./scripts/up" in done.stderr
    assert "Traceback" not in done.stderr

"""Whatever a turn does to the files, its thread finds them again and the other thread never sees them."""

import asyncio
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workspace_lab import ENV, Lab

from contracts.words import ThreadId, TurnId
from worker.workspace import GitWorkspace

pytestmark = pytest.mark.slow

NAMES = ("f", "g.txt", "d", "d/x", "d/y.txt", "d/z/deep", "e.log", ".env", "index.html", "src/page", "src")
PATTERNS = ("f", "*.txt", "d/", "/d", ".env", "src/", "d/*\n!d/x", "z")
EDITS = st.one_of(
    st.tuples(st.sampled_from(("write", "binary", "link", "run", "empty")), st.sampled_from(NAMES)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("ignore"), st.lists(st.sampled_from(PATTERNS), max_size=3).map("\n".join)),
    st.tuples(st.sampled_from(("git add", "git commit", "git rm", "git amend")), st.just("")),
)
VISITS = st.lists(st.lists(EDITS, max_size=6), min_size=3, max_size=6)

Snapshot = dict[str, tuple[str, bytes, bool]]


def listed(root: Path, *options: str) -> set[str]:
    out = subprocess.run(
        ["git", "ls-files", "-z", *options], cwd=root, env=ENV, capture_output=True, check=True
    )
    return {os.fsdecode(name) for name in out.stdout.split(b"\0") if name}


def snapshot(root: Path) -> Snapshot:
    """Every file that is not ignored: kind, content, executable."""
    taken: Snapshot = {}
    for name in listed(root, "--cached", "--others", "--exclude-standard"):
        path = root / name
        if path.is_symlink():
            taken[name] = ("link", os.fsencode(path.readlink()), False)
        elif path.is_file():
            taken[name] = (
                "file",
                path.read_bytes(),
                os.access(path, os.X_OK) and bool(path.stat().st_mode & 64),
            )
    return taken


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def act(root: Path, kind: str, what: str, *, label: str) -> None:
    """One edit. Everything written carries the thread's label."""
    path = root / what
    if kind == "ignore":
        (root / ".gitignore").write_text(f"*.log\n{what}\n# {label}\n")
    elif kind == "delete":
        if not path.parent.is_symlink():
            clear(path)
    elif kind.startswith("git"):
        verb = {
            "git add": ("add", "--all"),
            "git commit": ("commit", "--quiet", "--all", "--allow-empty", "-m", label),
            "git amend": ("commit", "--quiet", "--all", "--allow-empty", "--amend", "-m", label),
            "git rm": ("rm", "--quiet", "--cached", "-r", "."),
        }[kind]
        subprocess.run(["git", *verb], cwd=root, env=ENV, capture_output=True, check=False)
    else:
        for step in reversed(path.relative_to(root).parents):
            if (root / step).is_symlink() or (root / step).is_file():
                clear(root / step)
        clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = {"write": label, "binary": f"\0{label}\r\n", "run": f"#!{label}\n", "empty": ""}
        if kind == "link":
            path.symlink_to(label)
        else:
            path.write_bytes(text[kind].encode())
            path.chmod(0o755 if kind == "run" else 0o644)


async def visit(worker: GitWorkspace, threads: tuple[str, str], visits: list[list[tuple[str, str]]]) -> None:
    """Go to and fro between two threads, editing at each visit."""
    left: dict[str, Snapshot] = {}
    shared: set[str] = set()
    for number, edits in enumerate(visits):
        mine, other = threads[number % 2], threads[1 - number % 2]
        await worker.switch(ThreadId(mine))
        found = snapshot(worker.path)
        if mine in left:
            assert found == left[mine]
        shared |= listed(worker.path, "--others", "--ignored", "--exclude-standard")
        foreign = {name for name, (_, content, _) in found.items() if f"<{other}>".encode() in content}
        assert not foreign
        for kind, what in edits:
            act(worker.path, kind, what, label=f"<{mine}> {number}")
        left[mine] = snapshot(worker.path)
        foreign = {name for name, (_, content, _) in left[mine].items() if f"<{other}>".encode() in content}
        assert foreign <= shared  # ignored files belong to the checkout until a thread takes one in
        if foreign:
            return
        if number % 3:
            await worker.checkpoint(thread_id=ThreadId(mine), turn_id=TurnId("t"), reason="preempted")


def test_threads_find_their_files_again_and_never_each_others(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    numbers = itertools.count()
    with asyncio.Runner() as runner:
        worker = runner.run(lab.ready())

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(visits=VISITS)
        def check(visits: list[list[tuple[str, str]]]) -> None:
            number = next(numbers)
            runner.run(visit(worker, (f"a{number}", f"b{number}"), visits))

        check()

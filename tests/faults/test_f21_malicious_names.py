"""F21: ids of threads, projects and users that try to leave a folder, to be an option or to break a ref.

Expected: what comes through the door is refused with one sentence; whatever gets further becomes a branch, a
folder and a queue of its own that are safe where they are used, and nothing outside of them is touched.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from contracts import names
from contracts.words import ClientId, ProjectId, ThreadId, UserId, WorkerId
from tests.fakes.dispatcher import running_launcher
from tests.fakes.engine import running_engine
from tests.faults.lab2 import wire_cli
from tests.integration.dispatcher_lab import Lab as Site
from tests.integration.dispatcher_lab import lab as dispatcher_lab
from tests.integration.worker_lab import Lab, git, worker_lab
from tests.unit.test_names import IDS, NASTY

REFUSED = [
    "../x", "-x", "$(id)", "x" * 10_000, "", " ", "a b", "a/b", "a\nb", "known\n", "é", "a\u2028",
    "%2e%2e", "a#b", "x" * 101, "@{", ".",
]  # fmt: skip
BAD_THREADS = [
    "../../../x",
    "-x",
    "--help",
    "$(touch sprung)",
    "@",
    "@{-1}",
    "HEAD",
    "main.lock",
    "é",
    "a\nb",
    "A",
]


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path / "lab") as made:
        yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("site")
    with (
        running_engine(place / "engine") as engine,
        running_launcher() as launcher,
        dispatcher_lab(engine, launcher, place) as made,
    ):
        yield made


@pytest.mark.slow
def test_a_worker_makes_a_branch_of_its_own_of_every_thread_and_touches_nothing_else(
    lab: Lab, tmp_path: Path
) -> None:
    cli = tmp_path / "cli"
    cli.mkdir()
    for thread in BAD_THREADS:
        lab.post(thread, 1, f"do: write of.txt {names.digest(thread)}")
    worker = lab.start(BRANCHLINE_CLI_PATH=str(wire_cli(cli)))
    for thread in BAD_THREADS:
        assert lab.outcome(thread, 1) == "completed", thread
        tree = lab.tree(names.branch(ThreadId(thread)))
        assert tree == {"README.md": "# A project", ".gitignore": "ignored/", "of.txt": names.digest(thread)}
    expected = {"main", *(names.branch(ThreadId(t)) for t in BAD_THREADS)}
    assert set(git(lab.remote, "branch", "--format=%(refname:short)").splitlines()) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"cli", "lab"}
    assert {path.name for path in lab.folder.iterdir()} == {"remote.git", "workspace", "worker-0.log"}
    assert not list(tmp_path.rglob("sprung"))
    assert worker.poll() is None


@pytest.mark.parametrize("thread_id", REFUSED, ids=range(len(REFUSED)))
def test_an_id_that_will_not_do_is_refused_in_body_and_path(site: Site, thread_id: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in thread_id.encode())  # so that no client tidies the path up
    one = f"/v1/threads/{quoted}"
    before = site.count()
    answers = [
        site.post("a", thread_id=thread_id),
        site.client.post(f"{one}/messages", json={"text": "a"}),
        site.client.post(f"{one}/stop"),
        site.client.get(f"{one}/events"),
        site.client.get(one),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_thread_id")
        assert answer.json()["error"]["message"].endswith(".")
        assert "Traceback" not in answer.text
    assert site.count() == before


def test_branches_are_safe_refs() -> None:
    for branch in map(names.branch, map(ThreadId, IDS)):
        assert re.fullmatch(r"thread-[a-z0-9][a-z0-9._-]*", branch)
        assert ".." not in branch
        assert not branch.endswith((".lock", ".", "-"))
        assert len(branch) <= 80


def test_git_accepts_the_names_of_nasty_ids(tmp_path: Path) -> None:
    def accepts(*argv: str) -> None:
        subprocess.run(["git", "check-ref-format", *argv], check=True, cwd=tmp_path, capture_output=True)

    for nasty in NASTY:
        accepts("--branch", names.branch(ThreadId(nasty)))
        accepts("--branch", names.conflict_branch(ThreadId(nasty), number=1))
        accepts(names.epoch_ref(WorkerId(nasty)))


def test_checkouts_are_different_and_never_leave_the_workspace() -> None:
    folders = [names.checkout(client=ClientId(i), project=ProjectId("p"), user=UserId("u")) for i in IDS if i]
    assert len({str(f) for f in folders}) == len(folders)
    for folder in folders:
        assert len(folder.parts) == 3
        assert not {"", ".", "..", "/"} & set(folder.parts)
        assert (PurePosixPath("/w") / folder).is_relative_to("/w")


@pytest.mark.parametrize("bad", ["", "../x", "-x", "$(id)", "a b", "a\n", "x" * 101, "é", "a/b", "a#b", "."])
def test_ids_that_the_api_refuses(bad: str) -> None:
    assert not names.is_id(bad)

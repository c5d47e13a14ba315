"""Links that a turn leaves in ``.git`` lead the worker nowhere, not even into its own folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.workspace_lab import A, B, Lab, T, end_turn, files, git, write
from worker.errors import WorkspaceError
from worker.workspace import GitWorkspace


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
async def worker(lab: Lab) -> GitWorkspace:
    return await lab.ready()


def own(lab: Lab) -> Path:
    """The worker's own folder, which no turn may reach."""
    return lab.root / "worker" / "state"


def everything(folder: Path) -> dict[str, bytes]:
    """All files but those that git itself writes with each fetch."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "refs" not in path.parts and path.name != "FETCH_HEAD"
    }


def exclude(git_dir: Path, lab: Lab) -> None:
    (git_dir / "info" / "exclude").unlink()
    (git_dir / "info" / "exclude").symlink_to(own(lab) / "credential")


def dangling_exclude(git_dir: Path, lab: Lab) -> None:
    (git_dir / "info" / "exclude").unlink()
    (git_dir / "info" / "exclude").symlink_to(own(lab) / "moving")


def info(git_dir: Path, lab: Lab) -> None:
    shutil.rmtree(git_dir / "info")
    (git_dir / "info").symlink_to(own(lab) / "relay.git" / "info")


def logs(git_dir: Path, lab: Lab) -> None:
    (git_dir / "logs").symlink_to(own(lab))


def operations(git_dir: Path, lab: Lab) -> None:
    (git_dir / "MERGE_HEAD").symlink_to(own(lab) / "credential")
    (git_dir / "sequencer").symlink_to(own(lab))


_HARMLESS = [exclude, dangling_exclude, info, logs, operations]


@pytest.mark.parametrize("leave", _HARMLESS, ids=lambda leave: leave.__name__)
async def test_a_link_in_the_git_folder_is_replaced_and_not_followed(
    lab: Lab, worker: GitWorkspace, leave: Callable[[Path, Lab], None]
) -> None:
    start = await worker.switch(A)
    before = everything(own(lab))
    leave(worker.path / ".git", lab)
    write(worker.path, a_txt="a\n")
    made = await end_turn(worker, start.head)
    assert made is not None
    assert made.files == 1
    await worker.checkpoint(thread_id=A, turn_id=T, reason="test")
    after = everything(own(lab))
    assert {name: after.get(name) for name in before if name != "current.json"} == {
        name: text for name, text in before.items() if name != "current.json"
    }
    assert not (own(lab) / "moving").exists()
    again = lab.worker()  # and so it is for one that starts on what was left
    leave(worker.path / ".git", lab) if leave is not logs else None
    await again.prepare()
    await again.switch(B)
    assert files(again.path)["index.html"] == "hello\n"
    assert everything(own(lab))["credential"] == before["credential"]
    assert everything(own(lab))["relay.git/info/attributes"] == before["relay.git/info/attributes"]
    assert "node_modules/" in (again.path / ".git" / "info" / "exclude").read_text()


def whole_folder(git_dir: Path, lab: Lab) -> None:
    shutil.rmtree(git_dir)
    git_dir.symlink_to(own(lab) / "relay.git")


def another_repository(git_dir: Path, lab: Lab) -> None:
    shutil.move(git_dir, git_dir.parent / "elsewhere")
    git_dir.symlink_to("elsewhere")


def objects(git_dir: Path, lab: Lab) -> None:
    shutil.move(git_dir / "objects", git_dir / "moved")
    (git_dir / "objects").symlink_to(own(lab))


def packs(git_dir: Path, lab: Lab) -> None:
    shutil.rmtree(git_dir / "objects" / "pack")
    (git_dir / "objects" / "pack").symlink_to(own(lab))


_DESTROYED = [whole_folder, another_repository, objects, packs]


@pytest.mark.parametrize("leave", _DESTROYED, ids=lambda leave: leave.__name__)
async def test_a_git_folder_that_is_a_link_itself_is_cloned_anew(
    lab: Lab, worker: GitWorkspace, leave: Callable[[Path, Lab], None]
) -> None:
    start = await worker.switch(A)
    before = everything(own(lab))
    leave(worker.path / ".git", lab)
    write(worker.path, a_txt="a\n")
    with pytest.raises(WorkspaceError, match="destroyed in this turn"):
        await end_turn(worker, start.head)
    after = everything(own(lab))
    assert after["relay.git/config"] == before["relay.git/config"]
    assert after["credential"] == before["credential"]
    assert not (worker.path / ".git").is_symlink()
    kept = worker.path.with_name("checkout.kept-1")
    assert (kept / "a.txt").read_text() == "a\n"
    await worker.switch(B)
    assert git(worker.path, "status", "--porcelain") == ""


@pytest.mark.parametrize("leave", _DESTROYED, ids=lambda leave: leave.__name__)
async def test_one_that_stands_there_at_the_start_is_cloned_anew_too(
    lab: Lab, worker: GitWorkspace, leave: Callable[[Path, Lab], None]
) -> None:
    leave(worker.path / ".git", lab)
    again = await lab.ready(epoch=2)
    await again.switch(B)
    assert not (again.path / ".git").is_symlink()
    assert again.path.with_name("checkout.kept-1").exists()

"""Files that people sent, on the disk: where they belong, whatever a turn has put in the way."""

import hashlib
import os
from pathlib import Path

import pytest

from contracts.words import ThreadId
from worker.shelf import Shelf

T, ID = ThreadId("t"), "0" * 32
CONTENT = b"what was sent\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "precious").write_text("precious")
    return Shelf(tmp_path / "own" / "uploads")


def lay(shelf: Shelf, name: str = "a.txt") -> Path:
    shelf.lay(T, ID, name, content=CONTENT)
    return shelf.place(T, ID, name)


def in_checkout(root: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in (root / "checkout").rglob("*")}


def test_a_file_is_laid_for_reading_and_known_again(shelf: Shelf) -> None:
    assert not shelf.holds(T, ID, "a.txt", digest=DIGEST)
    path = lay(shelf)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o444
    assert shelf.holds(T, ID, "a.txt", digest=DIGEST)


def test_a_file_that_a_turn_has_changed_is_laid_anew(shelf: Shelf) -> None:
    path = lay(shelf)
    path.unlink()
    path.write_text("what was not sent")
    assert not shelf.holds(T, ID, "a.txt", digest=DIGEST)
    lay(shelf)
    assert shelf.holds(T, ID, "a.txt", digest=DIGEST)


@pytest.mark.parametrize("name", ["../../../checkout/x", "/etc/x", "a\n../b", "..", "checkout/../../x", "\0"])
def test_no_name_leads_out_of_the_folder(shelf: Shelf, tmp_path: Path, name: str) -> None:
    path = lay(shelf, name)
    assert path.resolve().is_relative_to(shelf.folder(T).resolve() / ID)
    assert in_checkout(tmp_path) == {"precious": "precious"}


@pytest.mark.parametrize("depth", ["thread", "upload", "file"])
def test_no_link_leads_a_file_into_the_checkout(shelf: Shelf, tmp_path: Path, depth: str) -> None:
    path = shelf.place(T, ID, "a.txt")
    link = {"thread": path.parent.parent, "upload": path.parent, "file": path}[depth]
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "checkout" / ("precious" if depth == "file" else ""))
    assert not shelf.holds(T, ID, "a.txt", digest=DIGEST)
    lay(shelf)
    assert not path.is_symlink()
    assert path.read_bytes() == CONTENT
    assert in_checkout(tmp_path) == {"precious": "precious"}


def test_a_folder_or_a_pipe_in_the_way_is_removed(shelf: Shelf) -> None:
    path = lay(shelf)
    path.unlink()
    os.mkfifo(path)
    assert not shelf.holds(T, ID, "a.txt", digest=DIGEST)
    path.unlink()
    (path / "deep").mkdir(parents=True)
    assert not shelf.holds(T, ID, "a.txt", digest=DIGEST)
    assert lay(shelf).read_bytes() == CONTENT


def test_the_files_of_a_thread_are_forgotten_and_no_others(shelf: Shelf, tmp_path: Path) -> None:
    lay(shelf)
    shelf.lay(ThreadId("other"), ID, "b.txt", content=b"x")
    (shelf.folder(T) / "link").symlink_to(tmp_path / "checkout")
    shelf.forget(T)
    shelf.forget(ThreadId("never seen"))
    assert not shelf.folder(T).exists()
    assert shelf.place(ThreadId("other"), ID, "b.txt").read_bytes() == b"x"
    assert in_checkout(tmp_path) == {"precious": "precious"}


def test_files_of_all_threads_but_these_go_and_no_link_is_followed(shelf: Shelf, tmp_path: Path) -> None:
    kept, odd = lay(shelf), ThreadId("Odd id")
    shelf.lay(odd, ID, "a.txt", content=CONTENT)
    shelf.lay(ThreadId("old"), ID, "a.txt", content=CONTENT)
    (shelf.folder(T).parent / "link").symlink_to(tmp_path / "checkout")
    shelf.forget_others(but=[T, odd])
    assert {path.name for path in shelf.folder(T).parent.iterdir()} == {
        shelf.folder(T).name,
        shelf.folder(odd).name,
    }
    assert kept.read_bytes() == CONTENT
    assert in_checkout(tmp_path) == {"precious": "precious"}


def test_a_disk_without_files_has_none_to_forget(tmp_path: Path) -> None:
    Shelf(tmp_path / "none").forget_others(but=[])
    assert not (tmp_path / "none").exists()

"""What a thread's branch changed, with real git: every kind of file, and bounds that hold."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace_lab import A, B, Lab, T, end_turn, git, write

from contracts.changes import FILES_LIMIT, PATCH_LIMIT, TOTAL_LIMIT, ChangeRecord
from contracts.words import ThreadId
from worker import difference
from worker.difference import Difference
from worker.redact import Redactor
from worker.workspace import GitWorkspace

SECRET = "canary-secret-value-0123456789"
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQ", "-----END PRIVATE KEY-----"])


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
async def worker(lab: Lab) -> GitWorkspace:
    return await lab.ready(redact=Redactor(secrets=[SECRET]))


async def changed(worker: GitWorkspace, *, commit: bool = True) -> Difference:
    """Commit what is in the tree of thread a, and what its branch changed."""
    if commit:
        await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    span = await worker.span(A)
    assert span is not None
    return await worker.difference(span)


def by_path(made: Difference) -> dict[str, ChangeRecord]:
    return {file.path: file for file in made.files}


async def test_files_that_were_added_changed_and_removed_come_with_their_lines(worker: GitWorkspace) -> None:
    await worker.switch(A)
    write(worker.path, a_txt="new\nfile\n", index_html="hello there\n")
    (worker.path / "src/page").unlink()
    made = await changed(worker)
    assert [(f.path, f.status, f.insertions, f.deletions) for f in made.files] == [
        ("a.txt", "added", 2, 0),
        ("index.html", "modified", 1, 1),
        ("src/page", "deleted", 0, 1),
    ]
    assert (made.total, made.insertions, made.deletions, made.cut) == (3, 3, 2, False)
    assert by_path(made)["index.html"].patch == "@@ -1 +1 @@\n-hello\n+hello there\n"
    assert by_path(made)["src/page"].patch == "@@ -1 +0,0 @@\n-one\n"
    assert (made.span.base_branch, made.span.branch) == ("main", "thread-a")
    assert made.span.head == git(worker.path, "rev-parse", "HEAD")


async def test_what_others_added_to_the_default_branch_is_none_of_the_threads_changes(
    lab: Lab, worker: GitWorkspace
) -> None:
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    write(lab.person, theirs_txt="x\n")
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "--quiet", "-m", "theirs")
    git(lab.person, "push", "--quiet", "origin", "HEAD:main")
    await worker.fetch()
    assert [f.path for f in (await changed(worker, commit=False)).files] == ["a.txt"]


async def test_a_renamed_file_is_told_with_its_old_name_and_what_changed_in_it(worker: GitWorkspace) -> None:
    await worker.switch(A)
    write(worker.path, old_txt="".join(f"line {n}\n" for n in range(30)))
    git(worker.path, "add", "--all")
    base = await end_turn(worker, git(worker.path, "rev-parse", "HEAD"))
    await worker.push(thread_id=A)
    git(worker.path, "push", "--quiet", "origin", f"{base.sha}:main")
    await worker.fetch()
    (worker.path / "old.txt").rename(worker.path / "new.txt")
    text = (worker.path / "new.txt").read_text()
    (worker.path / "new.txt").write_text(text.replace("line 3\n", "line three\n"))
    (file,) = (await changed(worker)).files
    assert (file.path, file.old_path, file.status) == ("new.txt", "old.txt", "renamed")
    assert "+line three\n" in file.patch
    assert file.patch.startswith("@@ ")


async def test_binary_files_links_modes_and_submodules_are_named_for_what_they_are(
    worker: GitWorkspace, lab: Lab
) -> None:
    await worker.switch(A)
    (worker.path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (worker.path / "link").symlink_to("/etc/passwd")
    (worker.path / "index.html").chmod(0o755)
    (worker.path / "src/page").unlink()
    (worker.path / "src/page").symlink_to("../index.html")
    head = git(lab.person, "rev-parse", "HEAD")
    git(worker.path, "add", "--all")
    git(worker.path, "update-index", "--add", "--cacheinfo", f"160000,{head},module")
    (worker.path / ".gitmodules").write_text('[submodule "module"]\n\tpath = module\n\tignore = all\n')
    (worker.path / "module").mkdir()
    git(worker.path, "add", ".gitmodules")
    git(worker.path, "commit", "--quiet", "-m", "by hand")
    files = by_path(await changed(worker))
    assert (files["picture.png"].binary, files["picture.png"].patch) == (True, "")
    assert "/etc/passwd" in files["link"].patch
    assert "symbolic link" in (files["link"].note or "")
    assert (files["index.html"].note, files["index.html"].patch) == (
        "The mode changed from 100644 to 100755.",
        "",
    )
    assert files["src/page"].status == "retyped"
    assert "-one\n" in files["src/page"].patch
    assert "+../index.html" in files["src/page"].patch
    assert head in files["module"].patch
    assert "submodule" in (files["module"].note or "")


NAMES = [b"new\nline.txt", b'"quoted".txt', b"caf\xe9.txt", b"tab\there", b":(top)magic", b"-dash", b"* ?[x]"]


async def test_no_file_name_is_lost_or_mixed_up(worker: GitWorkspace) -> None:
    await worker.switch(A)
    for name in NAMES:
        (worker.path / os.fsdecode(name)).write_bytes(
            b"+++ b/x\n--- a/y\ndiff --git a/x b/x\n" + name + b"\n"
        )
    made = await changed(worker)
    shown = {name.decode("utf-8", "backslashreplace"): name for name in NAMES}
    assert set(by_path(made)) == set(shown)
    for path, file in by_path(made).items():
        last = shown[path].decode("utf-8", "replace").splitlines()[-1]
        assert file.patch.endswith(f"+{last}\n")
        assert "+diff --git a/x b/x\n" in file.patch


async def test_text_that_is_no_utf_8_and_very_long_lines_are_shown(worker: GitWorkspace) -> None:
    await worker.switch(A)
    (worker.path / "latin").write_bytes("Grüße\n".encode("latin-1"))
    (worker.path / "long").write_text("x" * (PATCH_LIMIT - 100))
    files = by_path(await changed(worker))
    assert "+Gr\ufffd\ufffde\n" in files["latin"].patch
    assert len(files["long"].patch) > PATCH_LIMIT - 100
    files["latin"].patch.encode()


async def test_a_patch_beyond_its_bound_is_left_out_whole_and_said_so(worker: GitWorkspace) -> None:
    await worker.switch(A)
    (worker.path / "long").write_text("x" * (PATCH_LIMIT + 1))
    with (worker.path / "huge").open("wb") as file:
        file.writelines(b"y" * 99 + b"\n" for _ in range(100_000))
    made = await changed(worker)
    files = by_path(made)
    assert (files["long"].patch, files["long"].note) == ("", difference.LONG)
    assert (files["huge"].patch, files["huge"].note) == ("", difference.LARGE)
    assert files["huge"].insertions == 100_000
    assert made.cut


async def test_all_patches_together_stay_within_their_bound(worker: GitWorkspace) -> None:
    await worker.switch(A)
    for number in range(30):
        (worker.path / f"f{number:02}").write_text(f"{number}" + "z" * (PATCH_LIMIT - 1_000))
    made = await changed(worker)
    assert sum(len(f.patch.encode()) for f in made.files) <= TOTAL_LIMIT
    assert [bool(f.patch) for f in made.files] == [True] * 20 + [False] * 10
    assert {f.note for f in made.files[20:]} == {difference.FULL}
    assert made.cut


async def test_files_beyond_the_bound_are_counted_and_not_named(worker: GitWorkspace) -> None:
    await worker.switch(A)
    for number in range(FILES_LIMIT + 20):
        (worker.path / f"f{number:04}").write_text("1\n2\n")
    made = await changed(worker)
    assert (len(made.files), made.total, made.insertions) == (
        FILES_LIMIT,
        FILES_LIMIT + 20,
        2 * (FILES_LIMIT + 20),
    )
    assert made.cut
    assert all(f.patch == "@@ -0,0 +1,2 @@\n+1\n+2\n" for f in made.files)


async def test_no_secret_stands_in_a_patch_or_in_a_name(worker: GitWorkspace) -> None:
    await worker.switch(A)
    (worker.path / f"{SECRET}.txt").write_text(f"token = {SECRET}\n")
    (worker.path / "key").write_text(f"first\n{KEY}\nlast\n")
    made = await changed(worker)
    assert SECRET not in repr(made)
    assert "MIIEvQ" not in repr(made)
    assert by_path(made)["[redacted].txt"].patch == "@@ -0,0 +1 @@\n+token = [redacted]\n"
    assert by_path(made)["key"].note == difference.SECRET


async def test_a_secret_of_several_lines_that_is_removed_is_not_shown_either(
    lab: Lab, worker: GitWorkspace
) -> None:
    write(lab.person, key=f"{KEY}\n")
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "--quiet", "-m", "a key")
    git(lab.person, "push", "--quiet", "origin", "HEAD:main")
    await worker.fetch()
    await worker.switch(A)
    (worker.path / "key").unlink()
    (file,) = (await changed(worker)).files
    assert (file.status, file.patch, file.note) == ("deleted", "", difference.SECRET)


async def test_a_driver_of_the_repository_does_not_run(worker: GitWorkspace, tmp_path: Path) -> None:
    await worker.switch(A)
    write(worker.path, _gitattributes="*.txt diff=evil\n", a_txt="a\n")
    for what in ("command", "textconv"):
        git(worker.path, "config", f"diff.evil.{what}", f"touch {tmp_path}/sprung; cat")
    git(worker.path, "config", "diff.external", f"touch {tmp_path}/sprung")
    assert "+a\n" in by_path(await changed(worker))["a.txt"].patch
    assert not (tmp_path / "sprung").exists()


async def test_a_thread_of_an_empty_remote_has_changed_everything_it_has(tmp_path: Path) -> None:
    worker = await Lab(tmp_path, empty=True).ready()
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    made = await changed(worker)
    assert (made.span.base, [f.path for f in made.files]) == ("", ["a.txt"])


async def test_the_threads_committed_to_last_are_found_whatever_they_are_called(worker: GitWorkspace) -> None:
    odd = ThreadId("Größe/../x")
    for thread in (A, B, odd):
        await worker.switch(thread)
        write(worker.path, a_txt=f"{thread}\n")
        await worker.checkpoint(thread_id=thread, turn_id=T, reason="x")
    found = await worker.latest(count=10)
    assert set(found) == {A, B, odd}
    span = await worker.span(odd)
    assert span is not None
    assert found[odd] == span.head
    assert await worker.span(ThreadId("nobody")) is None


LINES = st.text(st.characters(exclude_characters="\n\r\0", codec="utf-8"), max_size=12)


@given(st.lists(LINES, max_size=8), st.lists(LINES, max_size=8))
def test_hunks_are_what_git_printed_without_its_headers(old: list[str], new: list[str]) -> None:
    body = "".join(f"-{x}\n" for x in old) + "".join(f"+{x}\n" for x in new)
    patch = f"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n{body}".encode()
    assert difference._hunks(patch).decode() == f"@@ -1 +1 @@\n{body}"

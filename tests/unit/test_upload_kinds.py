"""The pure parts of uploads: kinds by content, names that are safe, digests that tell posts apart."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contracts import names, uploads
from contracts.messages import Message, Upload
from contracts.records import MessageRecord, encode, key
from contracts.words import ThreadId
from dispatcher.errors import DispatcherError
from dispatcher.kinds import IMAGES, TEXT, kind_of
from dispatcher.parts import text_digest
from dispatcher.uploads import shown_name

NUL_FREE = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(NUL_FREE)
def test_text_in_utf_8_is_text(text: str) -> None:
    assume(not text.startswith(("GIF87a", "GIF89a")))
    assert kind_of(text.encode()) == TEXT


@given(st.binary())
def test_every_file_is_of_a_known_kind_or_refused_with_a_sentence(content: bytes) -> None:
    try:
        found = kind_of(content)
    except DispatcherError as error:
        found = error.code
    assert found in {*IMAGES, TEXT, "empty_upload", "unknown_kind"}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0", "image/png"),
        (b"\xff\xd8\xff\xe0\0", "image/jpeg"),
        (b"GIF89a\0", "image/gif"),
        (b"RIFF\1\0\0\0WEBPVP8 ", "image/webp"),
        (b"<svg/>", TEXT),
        (b"RIFF but text", TEXT),
    ],
)
def test_kinds_are_judged_by_the_first_bytes(content: bytes, kind: str) -> None:
    assert kind_of(content) == kind


@given(st.text())
def test_a_name_on_disk_is_one_plain_part_of_a_path(name: str) -> None:
    made = names.file_name(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,104}", made)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Größe 1.png", "Gr_e_1.png"),
        ("../../.ssh/id_rsa", "id_rsa"),
        ("C:\\a\\b.TXT", "b.TXT"),
        ("CLAUDE.md", "file-CLAUDE.md"),
        ("claude.local.MD", "file-claude.local.MD"),
        (".claude", "claude"),
        ("-rf", "rf"),
        ("...", "file"),
        ("日本語.txt", "txt"),
        ("x" * 300 + ".jpeg", "x" * 80 + ".jpeg"),
    ],
)
def test_names_on_disk_stay_readable_where_they_can(name: str, made: str) -> None:
    assert names.file_name(name) == made


@given(st.text(), st.text())
def test_threads_have_folders_of_their_own(one: str, two: str) -> None:
    assume(one != two)
    folders = [names.thread_folder(ThreadId(each)) for each in (one, two)]
    assert folders[0] != folders[1]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", folder) for folder in folders)


@given(st.text())
def test_a_shown_name_is_one_line_without_folders(name: str) -> None:
    shown = shown_name(name)
    assert 0 < len(shown) <= 200
    assert shown.isprintable()
    assert not set(shown) & set("/\\")


IDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=4)


@given(NUL_FREE, IDS, NUL_FREE, IDS)
def test_posts_have_one_digest_exactly_when_text_and_files_are_the_same(
    text: str, files: list[str], other: str, others: list[str]
) -> None:
    assert (text_digest(text, files) == text_digest(other, others)) == ((text, files) == (other, others))


@given(st.binary(max_size=3 * uploads.PIECE // 1000).map(lambda b: b * 1000))
def test_pieces_put_together_are_the_file(content: bytes) -> None:
    found = list(uploads.pieces(content))
    assert b"".join(found) == content
    assert all(0 < len(piece) <= uploads.PIECE for piece in found)


def test_a_message_of_an_older_version_carries_no_files() -> None:
    plain = {
        "v": 1, "id": "m", "thread_id": "t", "sequence": 1, "text": "x", "mode": "queue", "frontend": "api",
        "author": {"id": "p", "name": "P"}, "received": "2026-11-20T10:00:00Z",
    }  # fmt: skip
    assert Message.model_validate(plain).uploads == ()
    old = MessageRecord.read(encode(plain))
    assert old.message().uploads == ()
    upload = Upload(upload_id="0" * 32, name="a", type="text/plain", size=1)
    new = old.model_copy(update={"uploads": (upload,)})
    assert MessageRecord.read(new.write(key("a", "b"))).message().uploads == (upload,)

"""The answer that holds a thread's changes stays within what a Lambda may say."""

import json

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.changes import LEFT_OUT, fitted

LIMIT = 20_000
FILES = st.lists(
    st.builds(lambda path, patch: {"path": path, "patch": patch, "note": None}, st.text(max_size=20),
              st.text(max_size=9_000)),
    max_size=20,
)  # fmt: skip


@given(FILES)
def test_every_file_is_named_and_the_patches_that_fit_are_whole(files: list[dict[str, str | None]]) -> None:
    shown, cut = fitted(files, limit=LIMIT)
    assert [f["path"] for f in shown] == [f["path"] for f in files]
    assert cut == (shown != files)
    for given_, answered in zip(files, shown, strict=True):
        assert answered == given_ or (answered["patch"] == "" and answered["note"] == LEFT_OUT)
    size = sum(len(json.dumps(f, ensure_ascii=False).encode()) for f in shown if f["patch"])
    assert size <= LIMIT

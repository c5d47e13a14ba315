"""What a model produced fits into a record, whatever it produced."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.events import EVENT
from contracts.records import put_event
from contracts.words import MessageId, ThreadId, TurnId, WorkerId
from worker.fitting import BATCH_EVENTS, TEXT_LIMIT, batches, cut, fit
from worker.ports import Draft

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet=st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def stored_size(data: dict[str, Any]) -> int:
    """Bytes of the item that a tool event with this input becomes."""
    fields = {
        "tool_use_id": "t",
        "name": "Write",
        "state": "started",
        "input": data,
        "output": data.get("o", ""),
    }
    event = EVENT.validate_python(
        {
            "type": "turn.tool",
            "id": 1,
            "thread_id": "a",
            "time": 0,
            "message_id": "m",
            "turn_id": "t",
            "data": fit(fields),
        }
    )
    item = put_event(table="t", worker=WorkerId("w"), event=event)["Put"]["Item"]
    return sum(len(v["S"].encode()) for v in item.values())


def test_the_largest_tool_input_still_fits_into_an_item() -> None:
    assert stored_size({"content": "\u0001" * 2_000_000, "o": "é" * 2_000_000}) < 400_000


def test_many_large_edits_in_one_tool_use_still_fit() -> None:
    edits = [{"old": "x" * 9_000, "new": ["y" * 9_000] * 200} for _ in range(300)]
    assert stored_size({"edits": edits}) < 400_000


def test_half_a_character_is_never_kept() -> None:
    assert cut("é" * 10, 15).encode().decode()
    assert cut("a\ud800b", 100) == "a?b"
    assert cut("short", 100) == "short"


@given(st.text(alphabet=st.characters()), st.integers(20, 200))
def test_a_cut_text_is_within_its_limit(text: str, limit: int) -> None:
    assert len(cut(text, limit).encode()) <= limit


@given(st.dictionaries(st.text(), ANYTHING))
def test_whatever_comes_out_can_be_written(data: dict[str, Any]) -> None:
    json.dumps(fit(data), ensure_ascii=False).encode()


@given(st.lists(st.integers(0, 300_000), max_size=300))
def test_batches_keep_order_and_bounds(sizes: list[int]) -> None:
    drafts = [
        Draft(
            type="turn.text",
            thread_id=ThreadId("a"),
            message_id=MessageId("m"),
            turn_id=TurnId("t"),
            data={"n": n, "text": "x" * size},
        )
        for n, size in enumerate(sizes)
    ]
    found = list(batches(drafts))
    assert [d for batch in found for d in batch] == drafts
    for batch in found:
        assert len(batch) <= BATCH_EVENTS
        assert sum(min(len(d.data["text"]), TEXT_LIMIT) for d in batch) <= 2_000_000 + TEXT_LIMIT

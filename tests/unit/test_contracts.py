"""What crosses a process stays what it is: golden samples, schemas, records."""

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import records, schemas
from contracts.events import EVENT, FINAL, Event
from contracts.messages import Message, Pointer
from contracts.words import Outcome, WorkerId

GOLDEN = Path(schemas.__file__).parent / "golden"
EVENTS: list[dict[str, Any]] = json.loads((GOLDEN / "events.json").read_text(encoding="utf-8"))
WORKER = WorkerId("local-site-local")


def test_there_is_a_golden_sample_of_every_event_type() -> None:
    union = get_args(get_args(Event)[0])
    types = {get_args(model.model_fields["type"].annotation)[0] for model in union}
    assert types == {sample["type"] for sample in EVENTS}
    assert set(FINAL.values()) <= types
    assert set(FINAL) == set(Outcome)


@pytest.mark.parametrize("sample", EVENTS, ids=lambda e: e["type"])
def test_an_event_is_read_and_written_without_change(sample: dict[str, Any]) -> None:
    assert EVENT.validate_python(sample).model_dump(mode="json") == sample
    jsonschema.validate(sample, schemas.schemas()["event.json"])


@pytest.mark.parametrize("sample", EVENTS, ids=lambda e: e["type"])
def test_what_the_worker_stores_is_what_the_dispatcher_reads(sample: dict[str, Any]) -> None:
    event = EVENT.validate_python(sample)
    part = records.put_event(table="t", worker=WORKER, event=event)["Put"]
    assert records.read_event(part["Item"]) == event
    assert part["Item"]["sk"]["S"] == "event#000000000007"


@pytest.mark.parametrize("sample", EVENTS, ids=lambda e: e["type"])
def test_a_reader_ignores_fields_of_a_newer_writer(sample: dict[str, Any]) -> None:
    newer = {**sample, "later": 1, "data": {**sample["data"], "much_later": [1]}}
    assert EVENT.validate_python(newer).model_dump(mode="json") == sample


def test_every_event_that_belongs_to_a_turn_names_message_and_turn() -> None:
    for sample in EVENTS:
        if sample["type"].startswith(("turn.", "message.")):
            with pytest.raises(ValueError):
                EVENT.validate_python({k: v for k, v in sample.items() if k != "message_id"})
        if sample["type"].startswith("turn."):
            with pytest.raises(ValueError):
                EVENT.validate_python({k: v for k, v in sample.items() if k != "turn_id"})


def test_message_and_pointer_are_read_and_written_without_change() -> None:
    for model, name in ((Message, "message.json"), (Pointer, "pointer.json")):
        sample = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
        assert model.model_validate(sample).model_dump(mode="json") == sample
        jsonschema.validate(sample, schemas.schemas()[name])


def test_the_written_schemas_are_those_of_the_models() -> None:
    for name, schema in schemas.schemas().items():
        written = (schemas.FOLDER / name).read_text(encoding="utf-8")
        assert written == schemas.text(schema), "run: python -m contracts.schemas"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text() | st.floats(-1e6, 1e6, width=32),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), PLAIN))
def test_attribute_values_come_back_as_they_went(plain: dict[str, Any]) -> None:
    assert records.decode(records.encode(plain)) == plain


def test_a_long_text_is_stored_unescaped() -> None:
    sample = {**EVENTS[0], "data": {**EVENTS[0]["data"], "text": "\u0001" * 256 * 1024}}
    item = records.put_event(table="t", worker=WORKER, event=EVENT.validate_python(sample))["Put"]["Item"]
    assert sum(len(v["S"]) for v in item.values()) < 400 * 1024
    assert records.read_event(item).data.text == sample["data"]["text"]  # type: ignore[union-attr]


def test_threads_and_turns_of_an_older_version_go_onto_nothing() -> None:
    thread = {
        "thread_id": "t", "worker_id": WORKER, "project": "site", "title": "x", "frontend": "github",
        "branch": "thread-t", "created": "2026-11-20T10:00:00Z", "updated": "2026-11-20T10:00:00Z",
    }  # fmt: skip
    turn = {"thread_id": "t", "sequence": 1, "message_id": "m", "received": "2026-11-20T10:00:00Z"}
    assert records.ThreadRecord.read(records.encode(thread)).onto is None
    old = records.OpenRecord.read(records.encode(turn))
    assert old.onto is None
    assert "onto" not in old.write(records.open_key(WORKER, old.thread_id, 1))

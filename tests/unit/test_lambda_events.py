"""What a Lambda event asks for."""

import pytest

from contracts.places import ReplyPointer
from contracts.words import ThreadId, WorkerId
from dispatcher import lambda_events
from dispatcher.lambda_http import UnknownEvent
from tests.fakes.lambda_events import http_event, rings_event, scheduled_event

POINTER = ReplyPointer(worker_id=WorkerId("a-b-c"), thread_id=ThreadId("t1"))


def test_a_request_is_handed_on_as_it_is() -> None:
    event = http_event("GET", "/healthz")
    assert lambda_events.read(event) == lambda_events.Request(event=event)


def test_rings_keep_their_names_receipts_and_counts() -> None:
    asked = lambda_events.read(rings_event(POINTER.model_dump_json(), "no pointer", receives=20))
    assert isinstance(asked, lambda_events.Replies)
    first, second = asked.rung
    assert (first.message_id, first.ring.receipt, first.ring.pointer) == ("m0", "r0", POINTER)
    assert first.ring.is_last
    assert (second.message_id, second.ring.pointer) == ("m1", None), "somebody else's body stays a ring"


def test_a_schedule_is_known_by_its_input_and_without_one() -> None:
    for event in ({"branchline": "sweep"}, scheduled_event()):
        assert lambda_events.read(event) == lambda_events.Sweep()


def test_a_warm_up_is_known() -> None:
    assert lambda_events.read({"branchline": "warm-up"}) == lambda_events.WarmUp()


def test_the_end_of_a_task_is_a_look_at_its_worker() -> None:
    asked = lambda_events.read({"branchline": "sweep", "started_by": "w-1"})
    assert asked == lambda_events.Sweep(started_by="w-1")
    for nobody in ("", None):  # a task that somebody started by hand
        assert lambda_events.read({"branchline": "sweep", "started_by": nobody}) == lambda_events.Sweep()


def test_a_worker_to_be_started_is_named() -> None:
    event = {"branchline": "start", "worker_id": "a-b-c"}
    assert lambda_events.read(event) == lambda_events.Start(worker_id=WorkerId("a-b-c"))


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"branchline": "start"},
        {"branchline": "start", "worker_id": 7},
        {"branchline": "dance"},
        {"Records": []},
        {"Records": [{"eventSource": "aws:s3", "s3": {}}]},
        {"Records": [{"eventSource": "aws:sqs"}]},
        {"Records": "none"},
        {**rings_event("{}"), "Records": [*rings_event("{}")["Records"], {"eventSource": "aws:sns"}]},
        {"version": "1.0", "httpMethod": "GET", "path": "/"},
        {"version": "2.0", "requestContext": {}},
    ],
)
def test_anything_else_is_refused(event: dict[str, object]) -> None:
    with pytest.raises(UnknownEvent, match="none of these"):
        lambda_events.read(event)


def test_the_refusal_names_what_the_event_has_but_no_value_of_it() -> None:
    with pytest.raises(UnknownEvent) as refused:
        lambda_events.read({"apiKey": "hush", "httpMethod": "GET"})
    assert "apiKey, httpMethod" in str(refused.value)
    assert "hush" not in str(refused.value)

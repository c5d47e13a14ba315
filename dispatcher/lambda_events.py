"""What a Lambda event asks for: read and sorted, and nothing else.

Five kinds: an HTTP request (payload format 2.0), rings of the replies queue, the schedule, a worker to be
started, and a warm-up, which keeps an environment ready. Anything else is refused with a sentence, because
an event that nobody recognises is a stack that is wired wrongly. Pure: does none of it.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contracts.places import ReplyPointer
from contracts.words import WorkerId
from dispatcher.lambda_http import Event, UnknownEvent, is_http
from dispatcher.rings import Ring

_KEY = "branchline"
"""What a schedule's constant input is called: ``{"branchline": "sweep"}``."""
_SQS = "aws:sqs"


@dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request."""

    event: Event


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One record of the replies queue. ``message_id`` names it in the answer if it has to come again."""

    message_id: str
    ring: Ring


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Rings to answer."""

    rung: tuple[Rung, ...]


@dataclass(frozen=True)
class Sweep:
    """One round of the sweep, or a look at the one worker of which this is the short name: its task ended."""

    started_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """A worker that somebody has written to, and that may not run."""

    worker_id: WorkerId


@dataclass(frozen=True)
class WarmUp:
    """Connect and answer."""


Asked = Request | Replies | Sweep | Start | WarmUp


def read(event: Event) -> Asked:
    """What is asked for. Raises UnknownEvent."""
    if is_http(event):
        return Request(event=event)
    records = event.get("Records")
    if isinstance(records, list) and records and all(_is_rung(r) for r in records):
        return Replies(rung=tuple(_rung(r) for r in records))
    if event.get(_KEY) == "sweep" and event.get("started_by"):
        return Sweep(started_by=str(event["started_by"]))
    if event.get(_KEY) == "sweep" or event.get("detail-type") == "Scheduled Event":
        return Sweep()
    if event.get(_KEY) == "start" and isinstance(event.get("worker_id"), str):
        return Start(worker_id=WorkerId(event["worker_id"]))
    if event.get(_KEY) == "warm-up":
        return WarmUp()
    raise UnknownEvent(
        "The event is none of these: an HTTP request in the payload format 2.0, records of an SQS queue,"
        f" a schedule's ({{'{_KEY}': 'sweep'}}), a warm-up ({{'{_KEY}': 'warm-up'}}). It has {_seen(event)}:"
        " check what invokes this function."
    )


def _is_rung(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and record.get("eventSource") == _SQS
        and {"messageId", "receiptHandle", "body"} <= record.keys()
    )


def _rung(record: dict[str, Any]) -> Rung:
    try:
        pointer = ReplyPointer.model_validate_json(record["body"])
    except ValidationError:
        pointer = None
    receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
    ring = Ring(receipt=record["receiptHandle"], pointer=pointer, receives=receives)
    return Rung(message_id=record["messageId"], ring=ring)


def _seen(event: Event) -> str:
    """Names only: what stands in an event may be a secret."""
    return ", ".join(sorted(map(str, event))[:8]) or "nothing in it"

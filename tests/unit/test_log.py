"""The log: one JSON object a line, with the context in it and no secret in any place of it."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from worker import log
from worker.redact import Redactor

SECRET = "correct-horse-battery"


class Sink(io.StringIO):
    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def sink() -> Iterator[Sink]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    stream = Sink()
    log.configure(level="info", redactor=Redactor(secrets=[SECRET]), stream=stream)
    yield stream
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()
    log.forget()


def test_an_entry_begins_with_time_level_and_action(sink: Sink) -> None:
    log.get_logger().info("turn.started", files=3)
    (entry,) = sink.entries
    assert list(entry)[:3] == ["time", "level", "action"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", entry.pop("time"))
    assert entry == {"level": "info", "action": "turn.started", "files": 3}


def test_an_entry_is_one_line_whatever_is_in_it(sink: Sink) -> None:
    log.get_logger().info("turn.text", text="a\nb\r\u2028c")
    assert sink.getvalue().count("\n") == 1
    assert sink.entries[0]["text"] == "a\nb\r\u2028c"


def test_what_is_bound_to_the_context_stands_in_every_entry(sink: Sink) -> None:
    with log.bound(worker="w", epoch=3, thread="t", turn="u", message="m"):
        log.get_logger().info("turn.started")
        logging.getLogger("botocore").warning("slow")
    log.get_logger().info("worker.idle")
    inside, library, outside = sink.entries
    for entry in (inside, library):
        assert [entry[key] for key in ("worker", "epoch", "thread", "turn", "message")] == [
            "w",
            3,
            "t",
            "u",
            "m",
        ]
    assert "thread" not in outside


def test_every_value_is_redacted(sink: Sink) -> None:
    log.get_logger().error(
        f"said {SECRET}", text=SECRET, deep=[{SECRET: (SECRET,)}], path=Path(SECRET), error=ValueError(SECRET)
    )
    assert SECRET not in sink.getvalue()
    assert sink.entries[0]["deep"] == [{"[redacted]": ["[redacted]"]}]


def test_an_exception_is_one_field_and_redacted(sink: Sink) -> None:
    try:
        raise ValueError(f"wrong {SECRET}")
    except ValueError:
        log.get_logger().exception("turn.failed")
    (entry,) = sink.entries
    assert entry["exception"].startswith("Traceback")
    assert entry["exception"].endswith("ValueError: wrong [redacted]")


def test_libraries_are_heard_from_warning_up_and_redacted(sink: Sink) -> None:
    logging.getLogger("botocore.client").info("not heard")
    logging.getLogger("botocore.client").warning("retry with %s", SECRET)
    (entry,) = sink.entries
    assert entry.pop("time")
    assert entry == {
        "level": "warning",
        "action": "library.logged",
        "library": "botocore.client",
        "detail": "retry with [redacted]",
    }


def test_the_exception_of_a_library_is_one_field(sink: Sink) -> None:
    try:
        raise OSError(SECRET)
    except OSError:
        logging.getLogger("sdk").exception("failed")
    (entry,) = sink.entries
    assert entry["exception"].endswith("OSError: [redacted]")
    assert entry["detail"] == "failed"


def test_entries_below_the_level_are_dropped(sink: Sink) -> None:
    log.get_logger().debug("turn.detail")
    assert sink.entries == []


def test_configuring_twice_does_not_write_twice(sink: Sink) -> None:
    log.configure(level="info", redactor=Redactor(), stream=sink)
    logging.getLogger("sdk").warning("once")
    log.get_logger().info("worker.ready")
    assert [entry["action"] for entry in sink.entries] == ["library.logged", "worker.ready"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        log.configure(level="loud", redactor=Redactor())

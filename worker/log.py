"""The worker's log: one JSON object a line, every value redacted just before it is written.

Each entry has ``time`` (RFC 3339, UTC), ``level`` and ``action`` (a stable verb such as ``preview.ready``),
and whatever was bound to the context: ``worker, epoch, thread, turn, message``. What libraries log goes the
same way, from WARNING up. Must not be configured at import, and no other module may write to the terminal.
"""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO, cast

import structlog
from structlog.contextvars import bound_contextvars, clear_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from worker.redact import Redactor

__all__ = ["bound", "configure", "forget", "get_logger"]

bound = bound_contextvars
"""``with bound(thread=..., turn=...)``: these stand in every entry written inside, also by libraries."""

forget = clear_contextvars
"""Drop everything bound to this context."""


def configure(*, level: str, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Send all logging of this process to ``stream`` (standard error by default). May be called again.

    ``level``: ``debug``, ``info``, ``warning``, ``error`` or ``critical``; entries below it cost nothing.
    Raises ``KeyError`` for another word.
    """
    target = stream if stream is not None else sys.stderr
    finish = _finish(redactor)
    structlog.configure(
        processors=[*_fields(), structlog.processors.EventRenamer("action"), *finish],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    _route_libraries(target=target, finish=finish)


def get_logger() -> FilteringBoundLogger:
    """The logger; ``await``-free, to be called as ``get_logger().info("turn.started", files=3)``."""
    return cast(FilteringBoundLogger, structlog.get_logger())


def _fields() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]


def _finish(redactor: Redactor) -> list[Processor]:
    # ASCII only: some readers end a line at U+2028 as well.
    return [_in_order, _redacting(redactor), structlog.processors.JSONRenderer()]


def _in_order(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    first = {key: entry[key] for key in ("time", "level", "action") if key in entry}
    return {**first, **entry}


def _redacting(redactor: Redactor) -> Processor:
    def redact(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        # Objects are turned into texts first: the renderer would do it behind the redactor's back.
        return cast(EventDict, redactor.redact_value(_plain(entry)))

    return redact


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, MutableMapping | dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)


class _LibraryLogs(logging.StreamHandler[TextIO]):
    """Marks the handler of ours among those of others (a test runner's)."""


def _route_libraries(*, target: TextIO, finish: list[Processor]) -> None:
    drop: Callable[..., EventDict] = ProcessorFormatter.remove_processors_meta
    route = _LibraryLogs(target)
    route.setFormatter(
        ProcessorFormatter(foreign_pre_chain=[*_fields(), _as_library], processors=[drop, *finish])
    )
    root = logging.getLogger()
    for other in root.handlers[:]:
        if isinstance(other, _LibraryLogs):
            root.removeHandler(other)
    root.addHandler(route)
    root.setLevel(logging.WARNING)


def _as_library(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """The text of a library is no stable verb: it becomes the detail of one."""
    record = cast(logging.LogRecord, entry["_record"])
    detail = entry.pop("event")
    return {**entry, "action": "library.logged", "library": record.name, "detail": detail}

"""Makes what a model or a tool produced fit into a record: bounded, and valid Unicode. Pure.

DynamoDB takes items up to 400 KB and transactions up to 4 MB (bytes of UTF-8). What is cut ends with a mark.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worker.ports import Draft

TEXT_LIMIT = 200_000
"""Longest answer in one event, in bytes."""
REST_LIMIT = 100_000
"""Most bytes of everything else in one event, as JSON."""
_STEPS = ((8_000, 100), (1_000, 30), (200, 10), (100, 3))
"""(bytes of a string, entries of a list or an object): the first that fits is taken."""
DEPTH_LIMIT = 6
"""Deepest nesting that is kept."""
BATCH_EVENTS, BATCH_BYTES = 90, 2_000_000
"""What one transaction takes: DynamoDB allows 100 actions and 4 MB."""

_CUT = " … (cut)"


def fit(data: Mapping[str, Any]) -> dict[str, Any]:
    """An event's data with every part bounded; ``text`` may be longest."""
    rest = {k: v for k, v in data.items() if k != "text"}
    for string, entries in _STEPS:
        bounded = {k: _fit(v, string=string, entries=entries) for k, v in rest.items()}
        if len(json.dumps(bounded, ensure_ascii=False, default=str).encode()) <= REST_LIMIT:
            break
    text = data.get("text")
    return bounded | ({"text": cut(text, TEXT_LIMIT)} if isinstance(text, str) else {})


def cut(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8; lone surrogates become question marks."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT


def batches(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """The drafts in order, in lists that one transaction takes."""
    batch: list[Draft] = []
    size = 0
    for draft in drafts:
        weight = 1_000 + min(len(str(draft.data)) * 4, TEXT_LIMIT * 2)
        if batch and (len(batch) >= BATCH_EVENTS or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(draft)
        size += weight
    if batch:
        yield batch


def _fit(value: Any, *, string: int, entries: int, depth: int = 0) -> Any:
    if isinstance(value, str):
        return cut(value, string)
    if depth >= DEPTH_LIMIT and isinstance(value, Mapping | list | tuple):
        return _CUT.strip()
    deeper = {"string": string, "entries": entries, "depth": depth + 1}
    if isinstance(value, Mapping):
        some = list(value.items())[:entries]
        return {cut(str(k), string): _fit(v, **deeper) for k, v in some}
    if isinstance(value, list | tuple):
        return [_fit(v, **deeper) for v in value[:entries]]
    return value

"""What is written to the journal: pictures of items, tables and queues, and how they become state again.

A record says what *is* after a write, never what was asked for. So replay judges no condition and reads no
clock, and applying a record twice, or after a newer picture of another item, does no harm. Four kinds:
`{"items": [[arn, pk, sk, item | null], ...]}`, `{"table": [account, region, name], "state": {...} | null}`,
`{"queue": [account, region, name], "state": {...} | null}` and `{"token": [account, region, token], "state":
{...}}`; a record may carry `items` and a `token` together (one transaction).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import seam
from journal import Record

Item = dict[str, Any]
Effect = list[Any]  # [table arn, partition key, sort key, item or None]
ITEMS_PER_RECORD = 50


def table_record(key: seam.TableKey) -> Record:
    """The table `key` without its items, or its absence."""
    module = seam.dynamodb()
    table = module._tables.get_scoped(*key)
    if table is None:
        return {"table": list(key), "state": None}
    state = {
        "meta": seam.table_meta(table),
        "ttl": module._ttl_settings.get_scoped(*key),
        "pitr": module._pitr_settings.get_scoped(*key),
        "tags": module._tags.get_scoped(key[0], key[1], table["TableArn"]),
    }
    return {"table": list(key), "state": state}


def queue_record(key: seam.TableKey) -> Record:
    """The queue `key` (its third part is a name) without its messages, or its absence."""
    module = seam.sqs()
    url = module._queue_name_to_url.get_scoped(*key)
    queue = module._queues.get_scoped(key[0], key[1], url) if url else None
    if queue is None:
        return {"queue": list(key), "state": None}
    state = {k: v for k, v in queue.items() if k not in ("messages", "dedup_cache", "url")}
    return {"queue": list(key), "state": state}


def token_record(key: seam.TableKey) -> Record:
    """The remembered answer to a transaction's ClientRequestToken; empty when there is none."""
    entry = seam.dynamodb()._txn_idempotency.get_scoped(*key)
    return {"token": list(key), "state": entry} if entry else {}


def _store(store: Any, *, key: seam.TableKey, value: Any) -> None:
    if value is None:
        store.pop_scoped(*key, None)
    else:
        store.set_scoped(*key, value)


class Applier:
    """Turns records into ministack's state, through the setters the journal does not watch."""

    def __init__(self, *, set_item: Callable[..., Any], remove_item: Callable[..., Any]) -> None:
        self._set_item = set_item
        self._remove_item = remove_item

    def apply(self, record: Record) -> None:
        """Make the state agree with one record."""
        if "table" in record:
            self._apply_table(tuple(record["table"]), record["state"])
        if "queue" in record:
            self._apply_queue(tuple(record["queue"]), record["state"])
        for effect in record.get("items", ()):
            self.apply_effect(effect)
        if "token" in record:
            _store(seam.dynamodb()._txn_idempotency, key=tuple(record["token"]), value=record["state"])

    def apply_effect(self, effect: Effect) -> None:
        """Set or remove one item. An item of a table that is gone is left out."""
        arn, pk, sk, item = effect
        table = find_table(arn)
        if table is None:
            return
        if item is None:
            self._remove_item(table, pk, sk)
        else:
            self._set_item(table, pk, sk, item)

    def _apply_table(self, key: seam.TableKey, state: dict[str, Any] | None) -> None:
        module = seam.dynamodb()
        table = module._tables.get_scoped(*key)
        if state is None:
            for store in (module._tables, module._ttl_settings, module._pitr_settings):
                store.pop_scoped(*key, None)
            module._tags.pop_scoped(
                key[0], key[1], f"arn:aws:dynamodb:{key[1]}:{key[0]}:table/{key[2]}", None
            )
            return
        items = table["items"] if table else defaultdict(dict)
        table = {**state["meta"], "items": items}
        module._items_replaced(table)
        module._tables.set_scoped(*key, table)
        _store(module._ttl_settings, key=key, value=state["ttl"])
        _store(module._pitr_settings, key=key, value=state["pitr"])
        _store(module._tags, key=(key[0], key[1], table["TableArn"]), value=state["tags"])

    def _apply_queue(self, key: seam.TableKey, state: dict[str, Any] | None) -> None:
        module = seam.sqs()
        account, region, name = key
        url = module._queue_url_for_account(account, name)
        if state is None:
            module._queues.pop_scoped(account, region, url, None)
            module._queue_name_to_url.pop_scoped(account, region, name, None)
            return
        queue = {**state, "url": url, "messages": [], "dedup_cache": {}}
        module._queues.set_scoped(account, region, url, queue)
        module._queue_name_to_url.set_scoped(account, region, name, url)


def find_table(arn: str) -> dict[str, Any] | None:
    """The live table of an ARN `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME`."""
    _, _, _, region, account, resource = arn.split(":", 5)
    table: dict[str, Any] | None = seam.dynamodb()._tables.get_scoped(
        account, region, resource.partition("/")[2]
    )
    return table


def frame() -> Iterator[Record]:
    """Every table, queue and live token, without items. Short enough to be taken in one go."""
    for key, _ in seam.all_tables():
        yield table_record(key)
    for (account, region, _), queue in seam.all_queues():
        yield queue_record((account, region, queue["name"]))
    module = seam.dynamodb()
    for key, entry in list(module._txn_idempotency.all_items()):
        if time.time() - entry["completed_at"] < module._TXN_TOKEN_TTL:
            yield token_record(key)


def item_keys() -> list[tuple[str, str, str]]:
    """(table arn, partition key, sort key) of every item at this moment."""
    return [
        (table["TableArn"], pk, sk)
        for _, table in seam.all_tables()
        for pk, bucket in table["items"].items()
        for sk in bucket
    ]


def pictures(keys: list[tuple[str, str, str]]) -> Iterator[Callable[[], Record]]:
    """Functions that each take the picture of some items at the moment of the call; gone items are left out.

    Late evaluation is the point: compaction lets writes happen between two calls.
    """
    for start in range(0, len(keys), ITEMS_PER_RECORD):
        yield partial(_picture, keys[start : start + ITEMS_PER_RECORD])


def _picture(keys: list[tuple[str, str, str]]) -> Record:
    effects = []
    for arn, pk, sk in keys:
        table = find_table(arn)
        item = table["items"].get(pk, {}).get(sk) if table else None
        if item is not None:
            effects.append([arn, pk, sk, item])
    return {"items": effects}

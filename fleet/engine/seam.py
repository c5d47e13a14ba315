"""The one place that names what is private in ministack and hypercorn.

Every name we lean on is listed in `REQUIRED` and looked up at start, so an upgrade that moved one fails
loudly before the first request instead of quietly losing a write. Nothing here decides anything: it hands
out plain functions and stores that the rest of the engine uses.
"""

import importlib
import importlib.metadata
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

MINISTACK_VERSION = "1.5.33"

Entry = dict[str, Any]
TableKey = tuple[str, str, str]  # account, region, table name

REQUIRED = {
    "ministack.services.dynamodb": (
        "_tables _ttl_settings _pitr_settings _tags _txn_idempotency _TXN_TOKEN_TTL _set_item _remove_item "
        "_items_replaced _normalize_table_name _ttl_reaper _lock _INDEX_MEMBERS handle_request"
    ),
    "ministack.services.sqs": (
        "_queues _queue_name_to_url _queue_url_for_account _queue_ref_from_urlish _get_q _queue_by_arn "
        "_HANDLERS _act_receive_message _act_delete_message _act_delete_message_batch _act_change_visibility "
        "_act_change_visibility_batch _Err handle_request"
    ),
    "ministack.core.responses": (
        "set_request_account_id set_request_region get_account_id get_region AccountRegionScopedDict "
        "fix_error_content_type fix_success_content_type"
    ),
    "ministack.app": "SERVICE_REGISTRY AUTH",
    "hypercorn.asyncio.run": "TCPServer worker_serve",
}


class SeamError(Exception):
    """The installed ministack is not the one this wrapper was written for. The message says what to do."""


def _missing_names() -> list[str]:
    missing = []
    for module_name, names in REQUIRED.items():
        module = importlib.import_module(module_name)
        missing += [f"{module_name}.{name}" for name in names.split() if not hasattr(module, name)]
    return missing


def check() -> None:
    """Raise SeamError unless ministack is exactly the version whose private names are used here."""
    found = importlib.metadata.version("ministack")
    if found != MINISTACK_VERSION:
        raise SeamError(
            f"The engine needs ministack {MINISTACK_VERSION} but found {found}: "
            "install requirements-engine.txt into the engine's environment again."
        )
    if missing := _missing_names():
        raise SeamError(
            f"ministack {found} lacks {', '.join(missing)}: the engine's wrapper must be adapted."
        )
    logging.getLogger().setLevel(logging.WARNING)


def service_module(name: str) -> Any | None:
    """The ministack module that answers requests signed for the service `name`, or None if there is none."""
    registry = importlib.import_module("ministack.app").SERVICE_REGISTRY
    if name not in registry:
        return None
    return importlib.import_module(f"ministack.services.{registry[name]['module']}")


def dynamodb() -> Any:
    """ministack's DynamoDB module."""
    return importlib.import_module("ministack.services.dynamodb")


def sqs() -> Any:
    """ministack's SQS module."""
    return importlib.import_module("ministack.services.sqs")


def responses() -> Any:
    """ministack's module of request scope (account, region) and response formats."""
    return importlib.import_module("ministack.core.responses")


def watch_items(
    *, on_set: Callable[[Entry, str, str, Any], None], on_remove: Callable[[Entry, str, str], None]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Call the watchers before each change of an item; return the unwatched setter and remover.

    Every data-plane write of ministack ends in `_set_item` or `_remove_item`. Watching these two gives the
    absolute result of a write, so the journal never has to judge a condition or a clock again.
    """
    module = dynamodb()
    plain_set, plain_remove = module._set_item, module._remove_item

    def set_item(table: Entry, pk: str, sk: str, item: Any) -> Any:
        on_set(table, pk, sk, item)
        return plain_set(table, pk, sk, item)

    def remove_item(table: Entry, pk: str, sk: str) -> Any:
        on_remove(table, pk, sk)
        return plain_remove(table, pk, sk)

    module._set_item, module._remove_item = set_item, remove_item
    return plain_set, plain_remove


def silence_ttl_thread() -> None:
    """Stop ministack's own reaper, which deletes from another thread and so behind the journal's back.

    It sleeps first and then takes this lock; a lock that is held for ever keeps it there. The engine's own
    reaper (`ledger.py`) runs on the event loop. The other users of this lock are actions we refuse.
    """
    held = threading.Lock()
    held.acquire()
    dynamodb()._lock = held


def table_meta(table: Entry) -> Entry:
    """All of a table but its items and the index cache derived from them."""
    return {k: v for k, v in table.items() if k not in ("items", dynamodb()._INDEX_MEMBERS)}


def all_tables() -> Iterator[tuple[TableKey, Entry]]:
    """Every table of every account and region."""
    yield from list(dynamodb()._tables.all_items())


def all_queues() -> Iterator[tuple[TableKey, Entry]]:
    """Every queue; the third part of the key is its URL."""
    yield from list(sqs()._queues.all_items())


def use_connection(server: type) -> None:
    """Let hypercorn serve each TCP connection with this subclass of its TCPServer."""
    module: Any = importlib.import_module("hypercorn.asyncio.run")
    module.TCPServer = server

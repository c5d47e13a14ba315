"""A slot of the warm pool, as dispatcher and slot name it: its records and its environment.

The dispatcher keeps a record of each slot in one partition that no slot may read; a slot reads one letter, in
a partition of its own, which says whose worker it is to become. Pure: sends nothing.
"""

import re
from collections.abc import Mapping
from typing import NewType

from contracts.records import Item, key
from contracts.words import WorkerId

Slot = NewType("Slot", str)
"""``slot_`` and 16 hex digits: also the name of its role. No worker's short name holds an underscore."""

POOL = "pool"
"""Partition of all slots' records, one item each (``sk`` is the slot)."""
ROUND = "#round"
"""Sort key beside them, before all slots: how often slots were added."""
VARIABLE = "BRANCHLINE_SLOT"
"""The environment variable that tells a slot its name."""

_SLOT = re.compile(r"slot_[0-9a-f]{16}")
_WORKER = "worker_id"
_VARIABLES = "variables"


def is_slot(text: str) -> bool:
    """Whether this is a slot's name."""
    return _SLOT.fullmatch(text) is not None


def record_key(slot: Slot) -> Item:
    """The record that the dispatcher keeps."""
    return key(POOL, slot)


def round_key() -> Item:
    """The number that lets one sweep at a time add slots."""
    return key(POOL, ROUND)


def letter_pk(slot: Slot) -> str:
    """Partition of a slot's letter, and all that it may read. Raises ValueError for a name that is none."""
    if not is_slot(slot):
        raise ValueError(f"{slot!r} is no slot: nothing may be allowed by it")
    return f"pool#{slot}"


def letter_key(slot: Slot) -> Item:
    """The letter."""
    return key(letter_pk(slot), "letter")


def letter(slot: Slot, worker: WorkerId, *, variables: Mapping[str, str]) -> Item:
    """What tells a slot whose worker it is, and the environment variables that this worker has besides."""
    told = {name: {"S": value} for name, value in variables.items()}
    return {**letter_key(slot), "v": {"N": "1"}, _WORKER: {"S": worker}, _VARIABLES: {"M": told}}


def addressee(item: Item) -> WorkerId:
    """Whose worker a letter is about."""
    return WorkerId(item[_WORKER]["S"])


def variables(item: Item) -> dict[str, str]:
    """What a letter tells the worker besides."""
    return {name: value["S"] for name, value in item.get(_VARIABLES, {}).get("M", {}).items()}

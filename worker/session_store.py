"""The session table as the Claude Agent SDK's ``SessionStore``, and the one that a turn gives to the SDK.

``ThreadStore`` is the protocol as the SDK defines and tests it. A turn does not use it: the SDK would resume
from a folder of its own making, which it throws away afterwards, and which the agent's user cannot enter; and
what a killed CLI wrote last is on the disk but never reaches the SDK. So a turn gives the SDK a ``Mirror``:
it says when the transcript has grown, and finds nothing to resume from, because ``worker.sessions`` has laid
the files where Claude Code looks for them. Neither imports the SDK, which asks for these methods by name.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contracts.sessions import SessionFile
from contracts.words import ThreadId
from worker.session_files import MAIN
from worker.session_table import SessionTable

Key = Mapping[str, Any]
"""``project_key``, ``session_id`` and, of a sub-agent, ``subpath``."""
Entry = Any
_SUB, _LINES = "sub/", ".jsonl"


class Mirror:
    """Hears of each line that Claude Code writes into its transcript."""

    def __init__(self, grown: Callable[[], None]) -> None:
        self._grown = grown

    async def append(self, key: Key, entries: Sequence[Entry]) -> None:  # noqa: ARG002 - see above
        """The transcript has grown; never raises, never waits."""
        self._grown()

    async def load(self, key: Key) -> list[Entry] | None:  # noqa: ARG002
        """Nothing: the disk has it."""
        return None


class ThreadStore:
    """A thread's sessions (``claude_agent_sdk.SessionStore``). One at a time may append to a session."""

    def __init__(self, *, table: SessionTable, thread_id: ThreadId) -> None:
        self._table, self._thread = table, thread_id
        self._tried: dict[tuple[str, str, str], tuple[int, bytes]] = {}

    async def append(self, key: Key, entries: Sequence[Entry]) -> None:
        """Put these lines behind the others, once, also when called again after an error. Raises ``Moved``,
        ``LeaseLost``."""
        name, heads = _name(key), await self._heads(key)
        where = (key["project_key"], key["session_id"], name)
        data = b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in entries)
        file = heads.get(name) or self._table.new(scope=where[0], session=where[1], name=name)
        if self._tried.get(where) == (file.size, data):
            del self._tried[where]
            return
        self._tried[where] = (file.size + len(data), data)
        before = await self._table.content(self._thread, file) if file.size else b""
        digest = hashlib.sha256(before + data).hexdigest()
        await self._table.extend(self._thread, file, after=file.size, data=data, digest=digest)
        del self._tried[where]

    async def load(self, key: Key) -> list[Entry] | None:
        """The lines; None when there are none. Raises ``ValueError`` when some are lost, ``LeaseLost``."""
        file = (await self._heads(key)).get(_name(key))
        if file is None:
            return None
        content = await self._table.content(self._thread, file)
        return [json.loads(line) for line in content.splitlines()]

    async def list_subkeys(self, key: Key) -> list[str]:
        """Sub-agents of the session."""
        names = [name for name in await self._heads(key) if name.startswith(_SUB) and name.endswith(_LINES)]
        return sorted(name.removeprefix(_SUB).removesuffix(_LINES) for name in names)

    async def delete(self, key: Key) -> None:
        """Remove a session, or one of its sub-agents. Raises ``LeaseLost``."""
        only = _name(key) if "subpath" in key else None
        for name, file in (await self._heads(key)).items():
            if only in (None, name):
                await self._table.drop(self._thread, file)

    async def _heads(self, key: Key) -> dict[str, SessionFile]:
        return await self._table.heads(self._thread, scope=key["project_key"], session=key["session_id"])


def _name(key: Key) -> str:
    return f"{_SUB}{key['subpath']}{_LINES}" if key.get("subpath") else MAIN

"""Keeps Claude Code's sessions beside the disk, for a disk that ends with its task.

Before a turn the thread's session is laid on the disk if it is not there; when the turn has ended, and now
and then while it runs, what is new is written. The disk is the truth while it was the last to write; when
another was, what is in the records is. Nothing here may fail a turn or hold it up for long: what goes wrong
is logged, and made good by the next time. States and failure cases stand in ``docs/decisions/sessions.md``.
"""

import asyncio
import base64
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from contracts import names
from contracts.sessions import SessionFile
from contracts.words import ThreadId
from worker import agent_memory, session_files, spawning
from worker.errors import LeaseLost
from worker.log import get_logger
from worker.session_files import MAIN
from worker.session_table import SessionTable

log = get_logger()

SCOPE = ""
"""A session is the thread's, wherever the checkout is: on another disk its folder may have another name."""
LAY_SECONDS = 10.0
"""How long a turn waits for a session that has to be read."""
KEEP_SECONDS = 5.0
"""How long a turn's end waits for what is new to be written."""
FLUSH_SECONDS = 30.0
"""Least time between two writes of a turn that runs."""


class Sessions:
    """The sessions of one worker's threads (``worker.ports.Sessions``). ``config_dir`` is Claude Code's own,
    ``project`` the folder in it that is the checkout's. ``flush_seconds``: least time between two writes of a
    turn that runs."""

    def __init__(
        self, *, table: SessionTable, config_dir: Path, project: str, flush_seconds: float = FLUSH_SECONDS
    ) -> None:
        self._table, self._config_dir, self._project = table, config_dir, project
        self._flush_seconds = flush_seconds
        self._locks: WeakValueDictionary[ThreadId, asyncio.Lock] = WeakValueDictionary()
        self._looked: set[ThreadId] = set()
        self._flushed = time.monotonic()
        self._flushing: asyncio.Task[None] | None = None

    async def lay(self, thread_id: ThreadId) -> None:
        """Put the thread's session on this disk, unless it is here or there is none. Never raises."""
        self._flushed = time.monotonic()
        try:
            async with self._locks.setdefault(thread_id, asyncio.Lock()):
                await self._lay(thread_id)
        except LeaseLost:
            log.info("session_left", thread=thread_id)  # seen by whatever writes next
        except Exception as error:
            log.warning("session_not_laid", thread=thread_id, error=str(error) or repr(error))

    def ring(self, thread_id: ThreadId) -> None:
        """The transcript of a turn that runs has grown: write what is new, if the last time is long ago."""
        idle = self._flushing is None or self._flushing.done()
        if idle and time.monotonic() - self._flushed > self._flush_seconds:
            self._flushed = time.monotonic()
            self._flushing = asyncio.create_task(self.keep(thread_id))

    async def keep(self, thread_id: ThreadId) -> None:
        """Write what is new in the thread's session. Never raises."""
        try:
            async with self._locks.setdefault(thread_id, asyncio.Lock()), asyncio.timeout(KEEP_SECONDS):
                await self._keep(thread_id)
        except LeaseLost:
            log.info("session_left", thread=thread_id)
        except Exception as error:
            log.warning("session_not_kept", thread=thread_id, error=str(error) or repr(error))

    # ------------------------------------------------------------ onto the disk

    async def _lay(self, thread_id: ThreadId) -> None:
        session = self._session(thread_id)
        if thread_id in self._looked and agent_memory.transcript(self._config_dir, session) is not None:
            return  # nobody else has written since: this worker owns the id
        async with asyncio.timeout(LAY_SECONDS):
            files = await self._missing(thread_id)
        if files:
            # Not cut off: half of it would be another session.
            await asyncio.to_thread(
                spawning.call, session_files.lay, self._config_dir, self._project, session, files
            )
            log.info("session_laid", thread=thread_id, files=len(files), size=sum(map(len, files.values())))
        self._looked.add(thread_id)

    async def _missing(self, thread_id: ThreadId) -> dict[str, bytes]:
        """The session's files, if this disk has not the session as it was written last."""
        heads = await self._heads(thread_id)
        main = heads.get(MAIN)
        if main is None:
            return {}
        known = (self._config_dir, self._session(thread_id), main.size, main.digest)
        stands = await asyncio.to_thread(spawning.call, session_files.standing, *known)
        if stands == "here" or (stands == "apart" and main.place == self._table.place):
            return {}
        return {MAIN: await self._table.content(thread_id, main), **await self._rest(thread_id, heads)}

    async def _rest(self, thread_id: ThreadId, heads: Mapping[str, SessionFile]) -> dict[str, bytes]:
        """The other files, as far as they are whole: without one of them the transcript is still one."""
        found = {}
        for name, head in heads.items():
            if name != MAIN and session_files.is_name(name):
                try:
                    found[name] = await self._table.content(thread_id, head)
                except ValueError as error:
                    log.warning("session_file_lost", thread=thread_id, error=str(error))
        return found

    # ------------------------------------------------------------ into the records

    async def _keep(self, thread_id: ThreadId) -> None:
        heads = await self._heads(thread_id)
        while True:
            known = {name: (head.size, head.digest) for name, head in heads.items()}
            old = [name for name, head in heads.items() if self._table.old(head)]
            found = await asyncio.to_thread(
                spawning.call, session_files.grown, self._config_dir, self._session(thread_id), known, old
            )
            files, gone = _read(found, known)
            if self._apart(thread_id, heads.get(MAIN), files.get(MAIN)):
                log.warning("session_apart", thread=thread_id)
                return
            for name in gone:
                if name.startswith("tasks/"):
                    await self._table.drop(thread_id, heads.pop(name))
            if not files:
                return
            heads |= await self._written(thread_id, heads, files)

    def _apart(self, thread_id: ThreadId, known: SessionFile | None, grown: "_Grown | None") -> bool:
        """Whether this disk began without what another disk knows, because that could not be read: the longer
        memory stays. What was laid here and is another now was made another here."""
        unseen = thread_id not in self._looked
        return bool(unseen and known and grown and not grown.begins and known.place != self._table.place)

    async def _written(
        self, thread_id: ThreadId, heads: Mapping[str, SessionFile], files: Mapping[str, "_Grown"]
    ) -> dict[str, SessionFile]:
        """The heads of these files, now that they are written; last the one that speaks of the others."""
        written, session = {}, str(self._session(thread_id))
        for name in sorted(files, key=lambda each: (each == MAIN, each)):
            each = files[name]
            head = heads.get(name) or self._table.new(scope=SCOPE, session=session, name=name)
            written[name] = await self._table.extend(
                thread_id, head, after=each.after, data=each.data, digest=each.digest
            )
        return written

    async def _heads(self, thread_id: ThreadId) -> dict[str, SessionFile]:
        return await self._table.heads(thread_id, scope=SCOPE, session=str(self._session(thread_id)))

    def _session(self, thread_id: ThreadId) -> UUID:
        return names.session(worker=self._table.worker, thread_id=thread_id)


class _Grown:
    """What is new of a file: ``data`` behind its first ``after`` bytes."""

    def __init__(self, said: Mapping[str, Any], *, known: int) -> None:
        """Raises ValueError, KeyError, TypeError: it was said by the agent's user."""
        self.begins, self.after, self.digest = said["begins"] is True, int(said["after"]), str(said["digest"])
        self.data = base64.b64decode(said["data"], validate=True)
        if self.after not in (0, known) or len(self.digest) != 64:
            raise ValueError("what was read of a session is damaged")


def _read(
    said: Mapping[str, Any], known: Mapping[str, tuple[int, str]]
) -> tuple[dict[str, _Grown], list[str]]:
    files = {
        name: _Grown(each, known=known.get(name, (0, ""))[0])
        for name, each in list(said["files"].items())[: session_files.MOST]
        if session_files.is_name(name)
    }
    return files, [name for name in said["gone"] if name in known]

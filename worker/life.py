"""How a worker lives once it is wired and holds its lease: prepare, work, leave.

The loops beside the engine run here, and one that ends by itself ends the worker. What the order is for
stands in ``worker.__main__``; nothing here decides about turns.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from contracts.records import OpenRecord
from contracts.words import WorkerId
from worker.agent import ClaudeAgent
from worker.board import Board
from worker.bygone import Bygone
from worker.discovery import Discovery
from worker.engine import Engine, Left
from worker.errors import LeaseLost, WorkerError, WorkspaceError
from worker.inbox import SqsInbox
from worker.lease import DynamoLease
from worker.log import get_logger
from worker.memory import keep_what_is_loaded
from worker.outbox import Outbox
from worker.ports import Draft, Ledger, Preview, Workspace
from worker.showing import Showing

log = get_logger()

LOST_SECONDS = 2.0
SIDE_LOOPS = ("lease", "discovery", "inbox", "outbox", "preview")


class Life:
    """One life of a worker. ``leaving`` is set when it was asked to leave."""

    def __init__(
        self,
        *,
        worker: WorkerId,
        lease: DynamoLease,
        board: Board,
        ledger: Ledger,
        outbox: Outbox,
        workspace: Workspace,
        agent: ClaudeAgent,
        preview: Preview,
        showing: Showing,
        inbox: SqsInbox,
        discovery: Discovery,
        engine: Engine,
        bygone: Bygone,
        leaving: asyncio.Event,
    ) -> None:
        self._worker, self._lease, self._board = worker, lease, board
        self._ledger, self._outbox, self._workspace = ledger, outbox, workspace
        self._agent, self._preview, self._inbox = agent, preview, inbox
        self._discovery, self._engine, self._leaving = discovery, engine, leaving
        self._showing, self._bygone = showing, bygone

    async def live(self) -> Left:
        """Prepare, work, leave. Raises WorkerError when the checkout cannot be made usable."""
        async with self._side_loops() as loops:
            try:
                left = await self._work(loops)
            except WorkspaceError as error:
                # Whoever waits is told; the id is free for the next try at once.
                await self._leave(str(error))
                raise
            log.info("worker_leaving", reason=left)
            if left is Left.LEASE_LOST:
                await self._inbox.leave(within=LOST_SECONDS)  # the deliveries are the next owner's
            else:
                await self._leave(str(left))
        return left

    async def _work(self, loops: "list[asyncio.Task[Any]]") -> Left:
        ready = asyncio.create_task(self._prepare(), name="prepare")
        asked = asyncio.create_task(self._drain(), name="asked to leave")
        try:
            await _first(ready, asked, *loops)
            return await self._engine_until_left(ready, *loops)
        finally:
            asked.cancel()

    async def _drain(self) -> None:
        await self._leaving.wait()
        if not self._board.state.lost:
            self._engine.drain()

    async def _engine_until_left(self, ready: "asyncio.Task[None]", *loops: "asyncio.Task[Any]") -> Left:
        if not ready.done():
            ready.cancel()  # a clone that takes long is begun again by the next worker
            await asyncio.wait([ready])
            return Left.LEASE_LOST if self._board.state.lost else Left.DRAINED
        ready.result()
        work = asyncio.create_task(self._engine.run(), name="engine")
        await _first(work, *loops)
        return work.result()

    async def _prepare(self) -> None:
        if killed := await self._agent.sweep():
            log.info("leftovers_killed", count=killed)
        await self._workspace.prepare()
        self._preview.switched()
        await self._catch_up()
        await self._tell_waiting("worker.ready", epoch=self._lease.epoch)
        keep_what_is_loaded()
        log.info("worker_ready", checkout=str(self._workspace.path))

    async def _tell_waiting(self, type_: str, **more: object) -> None:
        """Tell every thread that waits for an outcome; whom that does not reach sees it by what follows."""
        try:
            open_, _ = await self._ledger.look()
        except Exception as error:
            log.warning("threads_not_told", told=type_, error=str(error))
            return
        for thread_id in dict.fromkeys(r.thread_id for r in open_):
            data = {"worker_id": self._worker, **more}
            await self._outbox.add(Draft(type=type_, thread_id=thread_id, data=data))

    async def _open(self) -> list[OpenRecord] | None:
        """The turn records without outcome; None when the records cannot be read now."""
        try:
            open_, _ = await self._ledger.look()
        except Exception as error:
            log.warning("records_not_read", error=str(error))
            return None
        return open_

    async def _catch_up(self) -> None:
        """Fence earlier owners off the remote and see what they pushed: turns go on from there. A remote
        that is away stops nobody: the first push claims it."""
        try:
            await self._workspace.claim(epoch=self._lease.epoch)
            await self._workspace.fetch()
            await self._push_rest()
        except WorkspaceError as error:
            log.warning("remote_unavailable", error=str(error))

    async def _push_rest(self) -> None:
        """Bring what this disk has to the remote, except of threads that were deleted while it slept."""
        open_ = await self._open()
        busy = None if open_ is None else {record.thread_id for record in open_}
        threads = await self._bygone.clear(busy=busy)
        if threads is not None:
            messages = None if open_ is None else frozenset(record.message_id for record in open_)
            await self._workspace.push_rest(threads=threads, open_=messages)

    @asynccontextmanager
    async def _side_loops(self) -> AsyncIterator[list["asyncio.Task[Any]"]]:
        """The loops beside the engine. One that ends by itself ends the worker."""
        named: dict[str, Coroutine[Any, Any, None]] = {
            "lease": self._lease_loop(),
            "discovery": self._discovery.run(),
            "inbox": self._inbox.keep(),
            "outbox": self._outbox_loop(),
            "preview": self._preview_loop(),
            "showing": self._showing_loop(),
        }
        loops = [asyncio.create_task(work, name=name) for name, work in named.items()]
        try:
            yield loops
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._agent.close()

    async def _lease_loop(self) -> None:
        await self._lease.keep()
        log.error("lease_lost", epoch=self._lease.epoch)
        self._engine.lost()
        await asyncio.Event().wait()

    async def _outbox_loop(self) -> None:
        with contextlib.suppress(LeaseLost):
            await self._outbox.run()
        self._engine.lost()
        await asyncio.Event().wait()

    async def _preview_loop(self) -> None:
        """A preview that breaks breaks only the preview."""
        try:
            await self._preview.run()
        except Exception:
            log.exception("preview_broke")
        await asyncio.Event().wait()

    async def _showing_loop(self) -> None:
        """That nobody can be told where the preview is stops no turn."""
        try:
            await self._showing.run()
        except Exception:
            log.exception("showing_broke")
        await asyncio.Event().wait()

    async def _leave(self, reason: str) -> None:
        """Tell, give back, release; each as far as it goes, because the next worker copes without."""
        for step in (partial(self._say_goodbye, reason), self._inbox.leave, self._lease.release):
            try:
                await step()
            except Exception as error:
                log.warning("not_left_cleanly", error=str(error))

    async def _say_goodbye(self, reason: str) -> None:
        await self._tell_waiting("worker.stopped", epoch=self._lease.epoch, reason=reason)
        await self._outbox.flush()


async def _first(main: "asyncio.Task[Any]", *others: "asyncio.Task[Any]") -> None:
    """Wait for ``main`` or for one that is allowed to end before it; a side loop that ends takes the worker
    down with its error, but not before ``main`` has let go of everything."""
    await asyncio.wait([main, *others], return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        if task.done() and task.get_name() in SIDE_LOOPS:
            main.cancel()
            await asyncio.wait([main])
            task.result()
            raise WorkerError(f"The {task.get_name()} loop of the worker ended by itself.")

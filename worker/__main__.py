"""Wires the worker: settings, clients, lease, lock, side loops, engine. The only place that knows all parts.

Order at start: lease, then the lock on the disk, then leftovers are killed, then the checkout is touched.
Order at the end: no new work, the turn parked and pushed, deliveries given back, the lease released.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from contracts import names
from contracts.records import WorkerRecord
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from worker import aws
from worker.agent import ClaudeAgent
from worker.board import Board
from worker.closing import Parts
from worker.discovery import Discovery
from worker.disk import Disk
from worker.engine import Engine, Left, Pace
from worker.errors import LeaseHeld, LeaseLost, RemoteUnavailable, WorkerError, WorkspaceError
from worker.inbox import SqsInbox
from worker.lease import DynamoLease
from worker.ledger import DynamoLedger
from worker.log import bound, configure, get_logger
from worker.node import NodeMissing, find_node
from worker.outbox import Outbox
from worker.ports import Draft, PreviewState
from worker.preview import DevServer
from worker.redact import Redactor
from worker.settings import Settings, model_environment, secrets
from worker.workspace import GitWorkspace

log = get_logger()

EXIT_OK, EXIT_BROKEN, EXIT_USAGE = 0, 1, 2
LOCK_GRACE = 3.0
SIDE_LOOPS = ("lease", "discovery", "inbox", "outbox", "preview")


class Worker:
    """Everything one worker process is made of, built once its lease is held."""

    def __init__(
        self, *, settings: Settings, clients: aws.Aws, lease: DynamoLease, row: WorkerRecord, place: str
    ) -> None:
        self.settings, self.row, self.lease = settings, row, lease
        # Leftovers are those of this disk: an owner with another disk on this machine is nobody to kill.
        self.mark = f"{row.worker_id}@{place}"
        self.redactor = Redactor(secrets=secrets())
        self.board = Board()
        self.leaving = asyncio.Event()
        self.ledger = DynamoLedger(
            aws=clients,
            table=settings.table,
            worker=row.worker_id,
            owner=lease.owner,
            epoch=lambda: lease.epoch,
            lapsed=lease.lapsed,
            hurried=lambda: self.board.state.draining,
            redact=self.redactor.redact_value,
        )
        self.outbox = Outbox(ledger=self.ledger)
        self.workspace = self._workspace()
        self.agent = self._agent()
        self.preview = self._preview()
        self.inbox = SqsInbox(
            aws=clients,
            ring=lambda: self.engine.ring(),
            visibility=settings.visibility_seconds,
            poll=settings.poll_seconds,
        )
        self.discovery = Discovery(
            aws=clients,
            table=settings.table,
            worker=row.worker_id,
            seconds=settings.discovery_seconds,
            follow=self.inbox.follow,
        )
        self.engine = self._engine()

    @property
    def _checkout(self) -> Path:
        where = names.checkout(
            client=ClientId(self.settings.client_id or self.row.client),
            project=ProjectId(self.settings.project_id or self.row.project),
            user=UserId(self.settings.user_id or self.row.user),
        )
        return self.settings.workspace_path / where

    def _workspace(self) -> GitWorkspace:
        token = self.settings.github_token
        return GitWorkspace(
            path=self._checkout,
            remote=self.row.repo,
            worker_id=self.row.worker_id,
            token=lambda: token.get_secret_value() if token else None,
            state_dir=self.settings.own_files / "git",
            redact=self.redactor,
            lineage=self.row.lineage,
        )

    def _agent(self) -> ClaudeAgent:
        return ClaudeAgent(
            state_dir=self.settings.own_files / "agent",
            config_dir=self.settings.own_files / "claude",
            worker_marker=self.mark,
            model_env=model_environment(),
            pass_env=self.settings.pass_env,
            redact=self.redactor,
            trusted=self.row.trusted,
            max_retries=self.settings.max_retries,
            hang_seconds=self.settings.hang_seconds,
            cli=self.settings.cli_path,
            node_path=self._node(),
        )

    def _node(self) -> Path | None:
        try:
            return find_node(state_dir=self.settings.own_files / "node").bin_dir
        except NodeMissing as error:
            log.warning("node_missing", problem=str(error))
            return None

    def _preview(self) -> DevServer:
        return DevServer(
            path=self._checkout,
            port=self.settings.preview_port,
            host=self.settings.preview_host,
            command=self.row.preview_command,
            marker=self.mark,
            redact=self.redactor,
            log_dir=self.settings.own_files / "preview",
            on_ready=self._preview_ready,
        )

    def _engine(self) -> Engine:
        parts = Parts(
            worker=self.row.worker_id,
            owner=self.lease.owner,
            project=self.row.project,
            board=self.board,
            ledger=self.ledger,
            outbox=self.outbox,
            workspace=self.workspace,
            agent=self.agent,
            preview=self.preview,
            redactor=self.redactor,
            later=lambda work: work.close(),
            now=time.time,
            leaving=self.leaving,
        )
        pace = Pace(look=self.settings.look_seconds, idle=self.settings.auto_shutdown_minutes * 60)
        return Engine(parts=parts, inbox=self.inbox, lease=self.lease, pace=pace)

    # ------------------------------------------------------------ life

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
            await (self.inbox.leave() if left is Left.LEASE_LOST else self._leave(str(left)))
        return left

    async def _work(self, loops: "list[asyncio.Task[Any]]") -> Left:
        ready = asyncio.create_task(self._prepare(), name="prepare")
        asked = asyncio.create_task(self.leaving.wait(), name="asked to leave")
        try:
            await _first(ready, asked, *loops)
        finally:
            asked.cancel()
        if not ready.done():
            ready.cancel()  # a clone that takes long is begun again by the next worker
            await asyncio.wait([ready])
            return Left.LEASE_LOST if self.board.state.lost else Left.DRAINED
        ready.result()
        work = asyncio.create_task(self.engine.run(), name="engine")
        await _first(work, *loops)
        return work.result()

    async def _prepare(self) -> None:
        if killed := await self.agent.sweep():
            log.info("leftovers_killed", count=killed)
        await self.workspace.prepare()
        self.preview.switched()
        await self._catch_up()
        open_, _ = await self.ledger.look()
        for thread_id in dict.fromkeys(r.thread_id for r in open_):
            data = {"worker_id": self.row.worker_id, "epoch": self.lease.epoch}
            await self.outbox.add(Draft(type="worker.ready", thread_id=thread_id, data=data))
        log.info("worker_ready", checkout=str(self._checkout), open=len(open_))

    async def _catch_up(self) -> None:
        """Fence earlier owners off the remote and see what they pushed: turns go on from there. A remote
        that is away stops nobody: the first push claims it."""
        try:
            await self.workspace.claim(epoch=self.lease.epoch)
            await self.workspace.fetch()
            await self.workspace.push_rest()
        except RemoteUnavailable as error:
            log.warning("remote_unavailable", error=str(error))

    @asynccontextmanager
    async def _side_loops(self) -> AsyncIterator[list["asyncio.Task[Any]"]]:
        """The loops beside the engine. One that ends by itself ends the worker."""
        named: dict[str, Coroutine[Any, Any, None]] = {
            "lease": self._lease_loop(),
            "discovery": self.discovery.run(),
            "inbox": self.inbox.keep(),
            "outbox": self._outbox_loop(),
            "preview": self._preview_loop(),
        }
        loops = [asyncio.create_task(work, name=name) for name, work in named.items()]
        try:
            yield loops
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self.agent.close()

    async def _lease_loop(self) -> None:
        await self.lease.keep()
        log.error("lease_lost", epoch=self.lease.epoch)
        self.engine.lost()
        await asyncio.Event().wait()

    async def _outbox_loop(self) -> None:
        with contextlib.suppress(LeaseLost):
            await self.outbox.run()
        self.engine.lost()
        await asyncio.Event().wait()

    async def _preview_loop(self) -> None:
        """A preview that breaks breaks only the preview."""
        try:
            await self.preview.run()
        except Exception:
            log.exception("preview_broke")
        await asyncio.Event().wait()

    async def _preview_ready(self, state: PreviewState) -> None:
        running = self.board.state.running
        if running is None or state.url is None:
            return
        thread_id = running.key.thread_id
        data = {"url": state.url, "branch": names.branch(thread_id)}
        await self.outbox.add(Draft(type="preview.ready", thread_id=thread_id, data=data))

    async def _leave(self, reason: str) -> None:
        """Tell, give back, release; each as far as it goes, because the next worker copes without."""
        for step in (partial(self._say_goodbye, reason), self.inbox.leave, self.lease.release):
            try:
                await step()
            except (LeaseLost, BotoCoreError, ClientError, OSError) as error:
                log.warning("not_left_cleanly", error=str(error))

    async def _say_goodbye(self, reason: str) -> None:
        data = {"worker_id": self.row.worker_id, "epoch": self.lease.epoch, "reason": reason}
        open_, _ = await self.ledger.look()
        for thread_id in dict.fromkeys(r.thread_id for r in open_):
            await self.outbox.add(Draft(type="worker.stopped", thread_id=thread_id, data=data))
        await self.outbox.flush()


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


async def serve(settings: Settings) -> int:
    """Own the worker id and work until there is a reason to leave. Returns the exit status."""
    worker_id = WorkerId(settings.container_id)
    disk = Disk(settings.own_files)
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(aws.connect())
        lease = DynamoLease(
            aws=clients,
            table=settings.table,
            worker=worker_id,
            seconds=settings.lease_seconds,
            place=disk.place,
        )
        alone = disk.try_lock()

        async def predecessor_is_dead() -> bool:
            return alone

        row = await lease.acquire(evict=predecessor_is_dead)
        log.info("lease_taken", worker=worker_id, epoch=lease.epoch)
        stack.enter_context(bound(worker=worker_id, epoch=lease.epoch))
        await disk.lock(grace=LOCK_GRACE, prove=lease.prove)
        worker = Worker(settings=settings, clients=clients, lease=lease, row=row, place=disk.place)
        _on_signals(worker)
        left = await worker.live()
    if left is Left.LEASE_LOST:
        log.error("worker_left", reason=f"another worker owns {worker_id} now, or nobody can tell")
    return EXIT_OK


def _on_signals(worker: Worker) -> None:
    """The first SIGTERM or SIGINT drains; the second leaves at once (Claude Code dies with this process)."""
    asked = False

    def asked_to_leave() -> None:
        nonlocal asked
        if asked:
            log.warning("worker_leaves_at_once")
            os._exit(128 + signal.SIGTERM)
        asked = True
        log.info("worker_draining")
        worker.engine.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_leave)


def main() -> int:
    """Entry point of ``python -m worker``."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # read from the environment
    except ValidationError as error:
        for problem in error.errors():
            sys.stderr.write(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}\n")
        return EXIT_USAGE
    configure(level=settings.log_level, redactor=Redactor(secrets=secrets()))
    try:
        return asyncio.run(serve(settings))
    except LeaseHeld as error:
        log.warning("worker_leaves", reason=str(error), epoch=error.epoch)
        return EXIT_OK
    except LeaseLost as error:
        log.warning("worker_leaves", reason=str(error))
        return EXIT_OK
    except WorkerError as error:
        log.error("worker_stopped", reason=str(error))
        return EXIT_BROKEN
    except (BotoCoreError, ClientError, *aws.UNREACHABLE) as error:
        log.error("worker_stopped", reason=f"AWS could not be reached or refused: {error}")
        return EXIT_BROKEN
    except Exception:
        log.exception("worker_broke")
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())

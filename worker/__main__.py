"""Wires the worker: settings, clients, lease, lock, side loops, engine. The only place that knows all parts.

Order at start: lease, then the lock on the disk, then leftovers are killed, then the checkout is touched.
Order at the end: no new work, the turn parked and pushed, deliveries given back, the lease released.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from contracts import names
from contracts.records import WorkerRecord
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from worker import aws, spawning
from worker.agent import ClaudeAgent, session_folder
from worker.bell import Bell
from worker.board import Board
from worker.bygone import Bygone
from worker.changes import Changes
from worker.discovery import Discovery
from worker.disk import Disk
from worker.engine import Engine, Left, Pace
from worker.errors import LeaseHeld, LeaseLost, WorkerError
from worker.fargate import located
from worker.github_token import TokenSource
from worker.inbox import SqsInbox
from worker.lease import DynamoLease
from worker.ledger import DynamoLedger
from worker.life import Life
from worker.log import bound, configure, get_logger
from worker.memory import use_one_arena
from worker.node import NodeMissing, find_node
from worker.outbox import Outbox
from worker.own_keys import OwnKeys, read_own_keys
from worker.parts import Parts
from worker.ports import Draft, PreviewState
from worker.preview import DevServer
from worker.redact import Redactor
from worker.session_table import SessionTable
from worker.sessions import Sessions
from worker.settings import Settings, model_environment, secrets
from worker.shelf import Shelf
from worker.showing import Showing
from worker.signals import drain_on_signals
from worker.uploads import Uploads
from worker.workspace import GitWorkspace

log = get_logger()

EXIT_OK, EXIT_BROKEN, EXIT_USAGE = 0, 1, 2
LOCK_GRACE = 3.0


class Worker:
    """Everything one worker process is made of, built once its lease is held."""

    def __init__(
        self,
        *,
        settings: Settings,
        clients: aws.Aws,
        lease: DynamoLease,
        row: WorkerRecord,
        place: str,
        leaving: asyncio.Event,
        own: OwnKeys,
    ) -> None:
        self.settings, self.row, self.lease, self.place, self.own = settings, row, lease, place, own
        if settings.spawner is not None:
            spawning.lay_out(settings.own_files, shared=settings.agent_files, checkout=self._checkout)
        # Leftovers are those of this disk: an owner with another disk on this machine is nobody to kill.
        self.mark = f"{row.worker_id}@{place}"
        self.redactor = Redactor(secrets=[*secrets(), *own.values])
        self.board = Board()
        self.leaving = leaving
        self.bell = Bell(aws=clients, url=row.replies_url, worker=row.worker_id)
        self.ledger = DynamoLedger(
            aws=clients,
            table=settings.table,
            worker=row.worker_id,
            owner=lease.owner,
            epoch=lambda: lease.epoch,
            lapsed=lease.lapsed,
            hurried=lambda: self.board.state.draining,
            redact=self.redactor.redact_value,
            told=self.bell.told,
        )
        self.outbox = Outbox(ledger=self.ledger)
        self.workspace = self._workspace()
        self.changes = Changes(
            aws=clients,
            table=settings.table,
            worker=row.worker_id,
            write=self.ledger.write,
            source=self.workspace,
        )
        self.uploads = Uploads(
            aws=clients,
            table=settings.table,
            shelf=Shelf(settings.agent_files / "uploads"),
            patiently=self.ledger.patiently,
        )
        self.sessions = self._sessions(clients)
        self.agent = self._agent()
        self.preview = self._preview()
        self.showing = self._showing()
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
        return GitWorkspace(
            path=self._checkout,
            remote=self._reached,
            worker_id=self.row.worker_id,
            token=self._token(),
            state_dir=self.settings.own_files / "git",
            redact=self.redactor,
            lineage=self.row.lineage,
            workflows=self.row.workflows,
            shared_dir=self.settings.agent_files / "git" if self.settings.spawner else None,
        )

    @property
    def _by_path(self) -> bool:
        return bool(self.settings.paths_url) and self.row.repo.startswith("/")

    @property
    def _reached(self) -> str:
        """The repository as it is reached from here."""
        return f"{self.settings.paths_url}{quote(self.row.repo)}" if self._by_path else self.row.repo

    def _token(self) -> Callable[[], str | None]:
        """What git gets as its password: the one given, or one that is asked for when git needs it."""
        fixed = self.own.github or self.settings.github_token
        url, secret = self.settings.token_url, self.settings.token_secret
        if self._by_path:
            fixed = self.settings.paths_secret
        if fixed is None and url and secret:
            return TokenSource(url=url, secret=secret.get_secret_value(), worker_id=self.row.worker_id)
        return lambda: fixed.get_secret_value() if fixed else None

    def _sessions(self, clients: aws.Aws) -> Sessions | None:
        if self.settings.sessions == "disk":
            return None
        table = SessionTable(
            aws=clients,
            table=self.settings.table,
            worker=self.row.worker_id,
            write=self.ledger.write,
            patiently=self.ledger.patiently,
            place=self.place,
            days=self.settings.session_days,
        )
        return Sessions(
            table=table,
            config_dir=self.settings.agent_files / "claude",
            project=session_folder(self._checkout),
        )

    def _agent(self) -> ClaudeAgent:
        return ClaudeAgent(
            state_dir=self.settings.own_files / "agent",
            config_dir=self.settings.agent_files / "claude",
            worker_marker=self.mark,
            model_env=self.own.instead(model_environment()),
            pass_env=self.settings.pass_env,
            redact=self.redactor,
            trusted=self.row.trusted,
            max_retries=self.settings.max_retries,
            hang_seconds=self.settings.hang_seconds,
            cli=self.settings.cli_path,
            node_path=self._node(),
            home=self.settings.agent_files / "home" if self.settings.spawner else None,
        )

    def _node(self) -> Path | None:
        try:
            return find_node(state_dir=self.settings.agent_files / "node").bin_dir
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
            log_dir=self.settings.agent_files / "preview",
            on_ready=self._preview_ready,
            on_change=lambda: self.showing.ring(),
            allowed_hosts=self.settings.preview_hosts,
        )

    def _showing(self) -> Showing:
        return Showing(
            row=self.row,
            write=self.lease.show,
            state=lambda: self.preview.state,
            shows=lambda: self.workspace.checked_out,
            url=self.settings.preview_url,
        )

    def _engine(self) -> Engine:
        parts = Parts(
            worker=self.row.worker_id,
            owner=self.lease.owner,
            place=self.place,
            project=self.row.project,
            offline=self.settings.offline_model,
            board=self.board,
            ledger=self.ledger,
            outbox=self.outbox,
            workspace=self.workspace,
            agent=self.agent,
            preview=self.preview,
            redactor=self.redactor,
            later=lambda work: work.close(),
            now=time.time,
            changes=self.changes,
            uploads=self.uploads,
            sessions=self.sessions,
            leaving=self.leaving,
        )
        pace = Pace(look=self.settings.look_seconds, idle=self.settings.auto_shutdown_minutes * 60)
        return Engine(parts=parts, inbox=self.inbox, lease=self.lease, pace=pace)

    async def _preview_ready(self, state: PreviewState) -> None:
        running = self.board.state.running
        url = self.settings.preview_url or state.url
        if running is None or state.url is None:
            return
        thread_id = running.key.thread_id
        data = {"url": url, "branch": names.branch(thread_id)}
        await self.outbox.add(Draft(type="preview.ready", thread_id=thread_id, data=data))

    def life(self) -> Life:
        """What there is to live with."""
        return Life(
            worker=self.row.worker_id,
            lease=self.lease,
            board=self.board,
            ledger=self.ledger,
            outbox=self.outbox,
            workspace=self.workspace,
            agent=self.agent,
            preview=self.preview,
            showing=self.showing,
            inbox=self.inbox,
            discovery=self.discovery,
            engine=self.engine,
            bygone=Bygone(
                worker=self.row.worker_id,
                ledger=self.ledger,
                workspace=self.workspace,
                agent=self.agent,
                preview=self.preview,
                uploads=self.uploads,
                upload_days=self.settings.upload_days,
            ),
            leaving=self.leaving,
        )


async def serve(settings: Settings) -> int:
    """Own the worker id and work until there is a reason to leave. Returns the exit status."""
    worker_id = WorkerId(settings.container_id)
    leaving = asyncio.Event()
    drain_on_signals(leaving)
    settings = await asyncio.to_thread(located, settings)
    own = await read_own_keys(settings)
    if own.values:
        configure(level=settings.log_level, redactor=Redactor(secrets=[*secrets(), *own.values]))
    disk = Disk(settings.own_files)
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(aws.connect())
        lease = DynamoLease(
            aws=clients,
            table=settings.table,
            worker=worker_id,
            seconds=settings.lease_seconds,
            place=disk.place,
            renewed=lambda: _touch(settings.alive),
        )
        row = await _acquire(lease, disk=disk, leaving=leaving)
        if row is None:
            return EXIT_OK
        log.info("lease_taken", worker=worker_id, epoch=lease.epoch)
        stack.enter_context(bound(worker=worker_id, epoch=lease.epoch))
        await disk.lock(grace=LOCK_GRACE, prove=lease.prove)
        worker = Worker(
            settings=settings,
            clients=clients,
            lease=lease,
            row=row,
            place=disk.place,
            leaving=leaving,
            own=own,
        )
        async with worker.bell.ringing():
            left = await worker.life().live()
        if left is Left.LEASE_LOST and not lease.taken:
            await lease.inquire()
    if left is not Left.LEASE_LOST:
        return EXIT_OK
    if lease.taken:
        log.error("worker_left", reason=f"another worker owns {worker_id} now")
        return EXIT_OK
    # Whoever keeps workers alive starts another at once: work may wait, only the proof was out of reach.
    log.error("worker_left", reason="the records were out of reach for longer than the lease")
    return EXIT_BROKEN


def _touch(alive: Path | None) -> None:
    with suppress(OSError):  # whoever looks at its age will see it
        if alive is not None:
            alive.touch()


async def _acquire(lease: DynamoLease, *, disk: Disk, leaving: asyncio.Event) -> WorkerRecord | None:
    """The row, once the lease is held; None when this process was asked to leave before that."""
    alone = disk.try_lock()

    async def predecessor_is_dead() -> bool:
        return alone

    taken = asyncio.create_task(lease.acquire(evict=predecessor_is_dead))
    asked = asyncio.create_task(leaving.wait())
    await asyncio.wait([taken, asked], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if taken.done():
        return taken.result()
    taken.cancel()
    await asyncio.wait([taken])
    return None


def main() -> int:
    """Entry point of ``python -m worker``."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # read from the environment
    except ValidationError as error:
        for problem in error.errors():
            sys.stderr.write(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}\n")
        return EXIT_USAGE
    use_one_arena()
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
    except aws.FAULTS as error:
        log.error("worker_stopped", reason=f"AWS could not be reached or refused: {error}")
        return EXIT_BROKEN
    except Exception:
        log.exception("worker_broke")
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())

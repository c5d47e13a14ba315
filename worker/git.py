"""Runs git: one argv list, one environment, one place that reads what git says when it fails.

Nothing that a checkout brings along may take part in a run: no hook, no filter, no file-system monitor, no
prompt, no configuration of the person or the machine. A secret never stands in an argv. This module
decides nothing about branches; GitPython is used for its process runner alone (``docs/decisions``).
"""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from git.cmd import Git as Runner

from worker import below, spawning
from worker.errors import DiskFull, WorkspaceError

T = TypeVar("T")

LOCAL_TIMEOUT = 120.0
LOCK_TIMEOUT = 5.0
_STALE_LOCKS = 5  # one killed git may leave index, HEAD and refs locked

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "push.gpgSign=false",
    "push.followTags=false",
    "diff.ignoreSubmodules=dirty",
    "protocol.file.allow=user",
    "protocol.ext.allow=never",
    "rebase.updateRefs=false",
    "rerere.enabled=false",
)
_KEPT_FROM_ENVIRONMENT = frozenset(
    {"GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_EXEC_PATH"}
)
_LOCK = re.compile(r"Unable to create '(?P<path>[^']+\.lock)': File exists")
_FULL = re.compile(r"No space left on device|Disk quota exceeded|ENOSPC|Out of diskspace")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What git answered: exit status, raw output, and what it said on stderr (already redacted)."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """The output without its last newline; bytes that are no UTF-8 survive as surrogates."""
        return os.fsdecode(self.out).rstrip("\n")

    @property
    def fields(self) -> list[str]:
        """The output of a ``-z`` run, cut at its NULs."""
        return [os.fsdecode(part) for part in self.out.split(b"\0") if part]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who commits."""

    name: str = "Branchline"
    email: str = "branchline@localhost"


def own_config(state_dir: Path) -> Path:
    """The only configuration file outside of the repository that git reads here."""
    return state_dir / "gitconfig"


def write_own_config(state_dir: Path) -> None:
    """Write that file. Mounted volumes may belong to another uid, and git believes ``safe.directory`` only in
    a global file; local remotes read it too, so hooks (theirs must run) are not switched off in here."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    own_config(state_dir).write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")


@dataclass(kw_only=True)
class Git:
    """git for one repository. ``git_dir`` None lets git find it from ``cwd`` (a linked worktree).

    ``env`` comes on top of everything. ``redact`` is applied to all that git says on stderr. ``agent``: the
    checkout belongs to another user, and git runs as that one (``worker.spawning``).
    """

    cwd: Path
    state_dir: Path
    git_dir: Path | None = None
    work_tree: Path | None = None
    identity: Identity = field(default_factory=Identity)
    redact: Callable[[str], str] = str
    env: Mapping[str, str] = field(default_factory=dict)
    agent: bool = False
    _running: int = field(default=0, init=False)

    @property
    def scratch(self) -> Path:
        """Folder for files that git itself writes beside the repository."""
        return self.state_dir.parent / "scratch" if self.agent else self.state_dir

    async def run(
        self,
        *argv: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        settings: Sequence[str] = (),
        ok: Sequence[int] = (0,),
        timeout: float = LOCAL_TIMEOUT,
        interruptible: bool = False,
    ) -> Result:
        """Run ``git *argv`` and wait for it; ``timeout`` in seconds, ``ok`` are the exit statuses that are
        answers. A cancelled caller waits for the end of git (of a killed git, when ``interruptible``).

        Raises ``DiskFull``, ``WorkspaceError``.
        """
        result = await self.attempt(
            *argv, stdin=stdin, env=env, settings=settings, timeout=timeout, interruptible=interruptible
        )
        for _ in range(_STALE_LOCKS):
            lock = _LOCK.search(result.err)
            if result.status in ok or lock is None:
                break
            await self._outlive(Path(lock["path"]))
            result = await self.attempt(*argv, stdin=stdin, env=env, settings=settings, timeout=timeout)
        if result.status not in ok:
            raise problem(argv[0], result)
        return result

    async def attempt(
        self,
        *argv: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        settings: Sequence[str] = (),
        timeout: float = LOCAL_TIMEOUT,
        interruptible: bool = False,
    ) -> Result:
        """As ``run``, but any exit status is an answer and locks stay. A timeout is status -1."""
        call = _Call(
            argv=self._argv(argv, settings), env=self._env(env or {}), stdin=stdin, timeout=timeout,
            agent=self.agent,
        )  # fmt: skip
        self._running += 1
        try:
            status, out, err = await in_thread(
                lambda: call.run(self.cwd), on_cancel=call.kill if interruptible else None
            )
        except OSError as error:
            raise WorkspaceError(f"git could not be started: {error.strerror}. Is it installed?") from error
        finally:
            self._running -= 1
        result = Result(status=status, out=out, err=self.redact(err.decode("utf-8", "replace")))
        if status and _full(result.err):
            raise DiskFull("There is no room left where the checkout lives: free some space and try again.")
        return result

    def _argv(self, argv: Sequence[str], settings: Sequence[str]) -> list[str]:
        strays = sorted(
            name for name in os.environ if name.startswith("GIT_") and name not in _KEPT_FROM_ENVIRONMENT
        )
        prefix = (
            ["env", *(f"--unset={name}" for name in strays if name not in self._env({}))] if strays else []
        )
        where = [f"--git-dir={self.git_dir}"] if self.git_dir else []
        where += [f"--work-tree={self.work_tree}"] if self.work_tree else []
        pairs = [part for setting in (*_SETTINGS, *settings) for part in ("-c", setting)]
        return [*prefix, "git", *where, *pairs, *argv]

    def _env(self, extra: Mapping[str, str]) -> dict[str, str]:
        return {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(own_config(self.state_dir)),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_EDITOR": "false",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_GRAFT_FILE": str(self.state_dir / "no-grafts"),
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            "GIT_AUTHOR_NAME": self.identity.name,
            "GIT_AUTHOR_EMAIL": self.identity.email,
            "GIT_COMMITTER_NAME": self.identity.name,
            "GIT_COMMITTER_EMAIL": self.identity.email,
            "LC_ALL": "C",
            "LANGUAGE": "C",
            **self.env,
            **extra,
        }

    async def _outlive(self, lock: Path) -> None:
        """Wait until no git is alive in this checkout, then remove the lock: nobody is left who holds it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_TIMEOUT
        while self._running or _git_within(self.cwd):
            if loop.time() > deadline:
                raise WorkspaceError(
                    "Another git process is busy in the checkout: try again when it has ended."
                )
            await asyncio.sleep(0.02)
        if self.git_dir is not None and lock.is_relative_to(self.git_dir):
            place, name = self.git_dir, str(lock.relative_to(self.git_dir))
            await in_thread(lambda: below.remove(place, name))


@dataclass(kw_only=True)
class _Call:
    """One git process. ``run`` blocks and belongs into a thread."""

    argv: list[str]
    env: dict[str, str]
    stdin: bytes | None
    timeout: float
    agent: bool = False
    _process: "subprocess.Popen[bytes] | spawning.Process | None" = None
    _runner: object = None
    _killed: bool = False

    def run(self, cwd: Path) -> tuple[int, bytes, bytes]:
        self._process = process = self._start(cwd)
        if self._killed:
            process.kill()
        try:
            out, err = process.communicate(self.stdin, timeout=self.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return -1, out, err + f"\ngit took longer than {self.timeout:g} s and was stopped".encode()
        return -1 if process.returncode is None else process.returncode, out, err

    def _start(self, cwd: Path) -> "subprocess.Popen[bytes] | spawning.Process":
        if self.agent:
            return spawning.Process(self.argv, cwd=cwd, env=spawning.environment(self.env))
        started = Runner(cwd).execute(
            self.argv,
            istream=None if self.stdin is None else subprocess.PIPE,
            as_process=True,
            shell=False,
            env=self.env,
        )
        if started.proc is None:
            raise WorkspaceError("git could not be started.")
        self._runner = started  # one that is dropped takes its git along
        return started.proc

    def kill(self) -> None:
        """A network run need not end by itself when nobody waits for it."""
        self._killed = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


async def in_thread(act: Callable[[], T], *, on_cancel: Callable[[], None] | None = None) -> T:
    """Run ``act`` in a thread. A cancelled caller still waits for its end: what touches the checkout must not
    go on behind the back of the next one who does."""
    work = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        await asyncio.wait({work})
        work.exception()  # looked at, so that asyncio does not complain: nobody waits for it any more
        raise


def problem(verb: str, result: Result) -> WorkspaceError:
    """The error for a run that failed: git's own reason in one sentence."""
    return WorkspaceError(f"git {verb} failed: {reason(result)}")


def reason(result: Result) -> str:
    """The line of stderr that tells most, without git's prefix."""
    lines = [line.strip() for line in result.err.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal:")]
    telling = fatal or [line for line in lines if line.startswith("error:")] or lines[-1:]
    first = telling[0] if telling else f"exit status {result.status}"
    return first.removeprefix("fatal:").removeprefix("error:").strip()[:400]


def _full(err: str) -> bool:
    return any(_FULL.search(line) for line in err.splitlines() if not line.startswith("remote:"))


def _git_within(folder: Path) -> bool:
    """Whether any process named git works inside ``folder`` (as far as ``/proc`` tells)."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            named = (entry / "comm").read_text().startswith("git")
            if named and spawning.of_another_user(entry):
                return True  # the agent's, and it has one checkout
            if named and (entry / "cwd").readlink().is_relative_to(folder):
                return True
        except OSError:
            continue
    return False

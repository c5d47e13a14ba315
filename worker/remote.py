"""The far side: the repository that outlives the worker, reached without trusting the checkout.

Network runs happen in a bare repository of the worker's own (the *relay*) that borrows the checkout's
objects: whatever Claude Code writes into ``.git/config`` (a proxy, a helper, another URL) cannot meet the
token. The token travels in the environment of those runs only, and only to the remote's own host. This
module never looks at the worktree and never forces anything but the epoch ref, under a lease.
"""

import asyncio
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from worker.errors import LeaseLost, RemoteUnavailable, WorkspaceError
from worker.git import Git, Result, in_thread, reason
from worker.gitdir import remove_locks
from worker.packing import pack, remove_half_written
from worker.refs import TRACKING

NETWORK_TIMEOUT = 120.0
CLONE_TIMEOUT = 1800.0

_HELPER = """#!/bin/sh
# Answers git's question for credentials for one host, from the environment of that one run.
[ "$1" = get ] || exit 0
while IFS='=' read -r key value && [ -n "$key" ]; do
  case $key in protocol) protocol=$value ;; host) host=$value ;; esac
done
[ "$protocol://$host" = "$BRANCHLINE_GIT_ORIGIN" ] && [ -n "$BRANCHLINE_GIT_TOKEN" ] || exit 0
printf 'username=x-access-token\\npassword=%s\\n' "$BRANCHLINE_GIT_TOKEN"
"""
_AS_THEY_ARE = "* -text !filter !ident !working-tree-encoding\n"
"""In worktrees of the relay a file is what the commit holds, whatever the branch's attributes say: one that
git would write differently counts as changed, and a merge refuses to touch it."""
_BEHIND = re.compile(
    r"fetch first|non-fast-forward|needs force|stale info|incorrect old value|"
    r"fail(ed)? to (update|lock) ref|cannot lock ref|reference already exists"
)
_LOCKED = re.compile(r"cannot lock ref|Unable to create '[^']*\.lock'|failed to update ref")
_LOCK_SECONDS = 2.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""This machine; the last is how a container of its calls it."""


class Landing(Enum):
    """What became of a push that still holds the lease."""

    LANDED = "landed"
    BEHIND = "behind"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Onto:
    """A branch of people's that a push moves forward as well, from where it must stand."""

    name: str
    old: str


@dataclass(kw_only=True)
class Remote:
    """One remote repository, by URL or path. ``git`` runs in the relay, ``objects`` are the checkout's."""

    url: str
    git: Git
    objects: Path
    token: Callable[[], str | None]
    epoch_ref: str
    worker: str
    lineage: str = ""
    refusal: str = field(default="", init=False)
    default: str | None = field(default=None, init=False)
    _owner: str = field(default_factory=lambda: secrets.token_hex(8), init=False)
    _epoch: int = field(default=0, init=False)
    _pushes: int = field(default=0, init=False)
    _stamp: str | None = field(default=None, init=False)
    _claiming: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _empty: str = field(default="", init=False)

    @property
    def _relay(self) -> Path:
        assert self.git.git_dir is not None  # noqa: S101
        return self.git.git_dir

    @property
    def borrowed(self) -> dict[str, str]:
        """With this environment, what git makes in the relay is the checkout's."""
        return {
            "GIT_OBJECT_DIRECTORY": str(self.objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self._relay / "objects"),
        }

    async def prepare(self) -> None:
        """Make the relay (again) and the credential helper. Local only; no other git may be at work here.

        Nothing in the relay is the only one of its kind, so one that a kill has left beyond repair goes.
        """
        await in_thread(self._write_helper)
        await in_thread(lambda: remove_locks(self._relay))
        init = ("init", "--quiet", "--bare", "--template=", str(self._relay))
        if (await self.git.attempt(*init)).status:
            await in_thread(lambda: shutil.rmtree(self._relay, ignore_errors=True))
            await self.git.run(*init)
        await in_thread(self._borrow)

    async def clone(self, target: Path, *, bare_tree: bool = False) -> None:
        """A full clone with its tags into ``target``, which must not exist; with ``bare_tree`` no file is
        checked out. Raises ``RemoteUnavailable``."""
        await self._network(
            "clone", "--quiet", "--no-hardlinks", "--template=", "--origin=origin",
            *(("--no-checkout",) if bare_tree else ()), "--end-of-options",
            self.url, str(target), timeout=CLONE_TIMEOUT,
        )  # fmt: skip

    async def fetch(self) -> dict[str, str]:
        """All heads of the remote, ``{branch: sha}``; their objects are in the checkout's store afterwards.

        An owner claims first, if it could not so far: what it sees is then the last of all earlier owners.
        Raises ``RemoteUnavailable``, ``LeaseLost``.
        """
        await self._claimed()
        argv = (
            "fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--end-of-options", self.url, f"+refs/heads/*:{TRACKING}*",
        )  # fmt: skip
        tried = await self._raw(*argv, env=self.borrowed)
        if tried.status and _LOCKED.search(tried.err):  # a push noted its branch at the same moment
            tried = await self._raw(*argv, env=self.borrowed)
        if tried.status:
            raise RemoteUnavailable(f"The remote could not be reached: {reason(tried)}")
        return await self.tracked()

    async def tracked(self) -> dict[str, str]:
        """``{branch: sha}`` as fetched or pushed last, from where no turn can write."""
        listed = await self.git.run("for-each-ref", "--format=%(objectname) %(refname)", TRACKING)
        pairs = (line.split(" ", 1) for line in listed.text.splitlines())
        return {name.removeprefix(TRACKING): sha for sha, name in pairs}

    async def head(self) -> str | None:
        """The branch the remote's HEAD names, when it names one that exists. Raises ``RemoteUnavailable``."""
        listed = await self._network("ls-remote", "--symref", "--end-of-options", self.url, "HEAD")
        found = re.search(r"^ref: refs/heads/(.+)\tHEAD$", listed.text, re.MULTILINE)
        self.default = found[1] if found else None
        return self.default

    async def tidy(self) -> None:
        """Pack the relay's own objects (an epoch commit a push) once there are many."""
        await pack(self.git, objects=self._relay / "objects")

    async def track(self, heads: Mapping[str, str]) -> None:
        """Tell the relay what the checkout knows of the remote, so that the next fetch asks for little."""
        lines = [f"update {TRACKING}{name} {sha}\n" for name, sha in heads.items()]
        if lines:
            await self.git.attempt("update-ref", "--stdin", stdin="".join(lines).encode())

    async def claim(self, *, epoch: int) -> None:
        """Move the epoch ref to a commit of this owner. Raises ``LeaseLost``, ``RemoteUnavailable``."""
        self._epoch = epoch
        self._empty = (await self.git.run("mktree", stdin=b"")).text
        for _ in range(5):
            seen = await self._seen()
            if seen is not None:
                await self._respect(seen)
            stamp = await self._stamped(parent=seen)
            result = await self._network(*self._push_of(stamp, expect=seen), ok=(0, 1))
            if result.status and await self._freed(result, self.epoch_ref):
                continue
            if result.status == 0 or await self._on_remote(self.epoch_ref) == stamp:
                self._stamp = stamp
                return
        raise RemoteUnavailable(f"The worker's epoch could not be claimed on the remote: {reason(result)}")

    async def _claimed(self) -> None:
        """Claim now if the remote was away when it was tried first."""
        async with self._claiming:
            if self._stamp is None and self._epoch:
                await self.claim(epoch=self._epoch)

    async def push(self, *, sha: str, branch: str, onto: Onto | None = None) -> Landing:
        """Push ``sha`` to ``branch`` (and ``onto``) and the next epoch commit, all or none. ``refusal`` says
        why not. A branch of people's that was deleted is not made again.

        Raises ``LeaseLost`` when another owner moved the epoch ref, ``RemoteUnavailable``.
        """
        await self._claimed()
        if self._stamp is None:
            raise WorkspaceError(
                "The worker has not claimed its epoch on the remote: claim it before a push."
            )
        if onto is not None:
            await self._forward(onto, to=sha)
        stamp = await self._stamped(parent=self._stamp)
        argv = self._push_of(stamp, expect=self._stamp, and_also=f"{sha}:refs/heads/{branch}", onto=onto)
        return await self._land(argv, stamp=stamp, branch=branch, onto=onto)

    async def remove(self, *, branch: str, sha: str) -> Landing:
        """Remove ``branch`` from the remote if it is still at ``sha``; ``refusal`` says why not.

        Raises ``LeaseLost``, ``RemoteUnavailable``.
        """
        await self._claimed()
        stamp = await self._stamped(parent=self._stamp)
        argv = self._push_of(stamp, expect=self._stamp, and_also=f":refs/heads/{branch}")
        argv.insert(1, f"--force-with-lease=refs/heads/{branch}:{sha}")
        self.refusal = ""
        landing = await self._land(argv, stamp=stamp, branch=branch, onto=None)
        if landing is Landing.LANDED:
            await self.git.attempt("update-ref", "-d", TRACKING + branch)
        return landing

    async def _land(self, argv: list[str], *, stamp: str, branch: str, onto: Onto | None) -> Landing:
        """Run a push, and find out what became of it."""
        result = await self._raw(*argv)
        if result.status and await self._freed(result, f"refs/heads/{branch}", self.epoch_ref):
            result = await self._raw(*argv)
        if result.status == 0:
            self._stamp = stamp
            return Landing.LANDED
        if "does not support --atomic" in result.err:
            raise WorkspaceError("The remote does not support atomic pushes: it needs git 2.4 or newer.")
        now = await self._on_remote(self.epoch_ref)
        if now == stamp:  # it landed, only the answer got lost
            self._stamp = stamp
            return Landing.LANDED
        if now != self._stamp:
            raise LeaseLost("Another worker owns this checkout's remote now; nothing was pushed.")
        return self._judge(result, branch=branch, onto=onto)

    async def _forward(self, onto: Onto, *, to: str) -> None:
        """Git takes what is leased for forced, so whether it goes forward is looked at before."""
        if (await self.git.run("merge-base", "--is-ancestor", onto.old, to, ok=(0, 1))).status:
            raise WorkspaceError(f"{onto.name} would lose commits of its people: nothing was pushed.")

    async def _freed(self, result: Result, *refs: str) -> bool:
        """Whether a lock of these refs, left in a remote on this disk by a push that was killed, is gone now.

        The refs are this worker's alone, and a living push holds such a lock for milliseconds.
        """
        if not _LOCKED.search(result.text + result.err):
            return False
        until = time.monotonic() + _LOCK_SECONDS
        while (left := await in_thread(lambda: self._locks(refs))) and time.monotonic() < until:
            await asyncio.sleep(0.1)
        for lock in left:
            await in_thread(partial(lock.unlink, missing_ok=True))
        return True

    def _locks(self, refs: tuple[str, ...]) -> list[Path]:
        """Lock files of these refs, in a remote that is a folder here."""
        roots = [Path(self.url), Path(self.url) / ".git"]
        return [p for root in roots for ref in refs if (p := root / f"{ref}.lock").exists()]

    def _judge(self, result: Result, *, branch: str, onto: Onto | None) -> Landing:
        lines = [line for line in result.text.splitlines() if line.startswith("!")]
        ours = (branch, onto.name) if onto else (branch,)
        own = [line for line in lines if any(f":refs/heads/{name}\t" in line for name in ours)]
        if not lines:
            raise RemoteUnavailable(f"The remote could not be reached: {reason(result)}")
        told = " ".join(own or lines)
        if _BEHIND.search(told):
            return Landing.BEHIND
        said = [line for line in result.err.splitlines() if line.startswith("remote:")]
        self.refusal = (said[0] if said else told.split("\t")[-1]).removeprefix("remote:").strip()
        return Landing.REFUSED

    def _push_of(
        self, stamp: str, *, expect: str | None, and_also: str | None = None, onto: Onto | None = None
    ) -> list[str]:
        leases = [f"--force-with-lease={self.epoch_ref}:{expect or ''}"]
        refspecs = [part for part in (and_also, f"{stamp}:{self.epoch_ref}") if part]
        if onto is not None and and_also is not None:
            leases.append(f"--force-with-lease=refs/heads/{onto.name}:{onto.old}")
            refspecs.append(f"{and_also.partition(':')[0]}:refs/heads/{onto.name}")
        return ["push", "--porcelain", "--atomic", *leases, "--end-of-options", self.url, *refspecs]

    async def _stamped(self, *, parent: str | None) -> str:
        self._pushes += 1
        text = (
            f"epoch {self._epoch} of worker {self.worker}, owner {self._owner}, push {self._pushes}"
            f"\n\nlineage {self.lineage}\n"
        )
        parents = ["-p", parent] if parent else []
        made = await self.git.run("commit-tree", self._empty, *parents, stdin=text.encode("utf-8", "replace"))
        return made.text

    async def _seen(self) -> str | None:
        """The epoch commit that stands on the remote now, with its object; None when there is none."""
        seen = await self._on_remote(self.epoch_ref)
        if seen is not None:
            await self._network(
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--end-of-options", self.url,
                f"+{self.epoch_ref}:{self.epoch_ref}",
            )  # fmt: skip
        return seen

    async def _respect(self, seen: str) -> None:
        """Leave a later owner alone. Epochs compare only within one lineage: after the record was thrown
        away they start anew, and the old ref must not lock the worker out."""
        told = await self.git.attempt("cat-file", "commit", seen)
        text = told.out.decode("utf-8", "replace")
        epoch = re.search(r"^epoch (\d+) of worker", text, re.MULTILINE)
        same = bool(self.lineage) and f"\nlineage {self.lineage}\n" in text
        if same and epoch is not None and int(epoch[1]) > self._epoch:
            raise LeaseLost("A later owner of this worker has already claimed the remote.")

    async def _on_remote(self, ref: str) -> str | None:
        listed = await self._network("ls-remote", "--end-of-options", self.url, ref)
        pairs = (line.split("\t", 1) for line in listed.text.splitlines())
        return next((sha for sha, name in pairs if name == ref), None)

    async def _network(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        ok: tuple[int, ...] = (0,),
        timeout: float = NETWORK_TIMEOUT,
    ) -> Result:
        result = await self._raw(*argv, env=env, timeout=timeout)
        if result.status not in ok:
            raise RemoteUnavailable(f"The remote could not be reached: {reason(result)}")
        return result

    async def _raw(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = NETWORK_TIMEOUT
    ) -> Result:
        settings, secret = await in_thread(self._credentials)  # a token may have to be asked for
        return await self.git.attempt(
            *argv, env={**(env or {}), **secret}, settings=settings, timeout=timeout, interruptible=True
        )

    def _credentials(self) -> tuple[list[str], dict[str, str]]:
        """The token for http remotes: over TLS, or to this machine itself; nothing for paths and ssh."""
        parts = urlsplit(self.url)
        private = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        token = self.token() if private else None
        if not token:
            return ["credential.helper="], {}
        host = parts.netloc.rpartition("@")[2]
        helper = f"credential.helper=!{shlex.quote(str(self._helper))}"
        origin = {"BRANCHLINE_GIT_ORIGIN": f"{parts.scheme}://{host}", "BRANCHLINE_GIT_TOKEN": token}
        return ["credential.helper=", helper], origin

    @property
    def _helper(self) -> Path:
        return self.git.state_dir / "credential"

    def _write_helper(self) -> None:
        self._helper.write_text(_HELPER, encoding="utf-8")
        self._helper.chmod(0o700)

    def _borrow(self) -> None:
        info = self._relay / "objects" / "info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "alternates").write_text(f"{self.objects}\n", encoding="utf-8")
        (self._relay / "info").mkdir(exist_ok=True)
        (self._relay / "info" / "attributes").write_text(_AS_THEY_ARE, encoding="utf-8")
        shutil.rmtree(self._relay / "worktrees", ignore_errors=True)  # git's prune spares one half made
        for stale in self._relay.rglob("*.lock"):
            stale.unlink(missing_ok=True)
        remove_half_written(self._relay / "objects", older=0)


def remove_half_clones(target: Path) -> None:
    """Clones of a process that died: they hold nothing but what the remote has."""
    for stale in target.parent.glob(f".{target.name}.clone-*"):
        shutil.rmtree(stale, ignore_errors=True)

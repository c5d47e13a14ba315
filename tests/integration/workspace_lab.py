"""A remote with one commit, a person with a clone of it, and workers: real git in a temporary folder."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from contracts.words import MessageId, ThreadId, TurnId, WorkerId
from worker.workspace import GitWorkspace

ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Person",
    "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "Person",
    "GIT_COMMITTER_EMAIL": "person@example.org",
    "GIT_EDITOR": "true",
}
A, B, M, T = ThreadId("a"), ThreadId("b"), MessageId("m-1"), TurnId("turn-1")
WORKER = WorkerId("client-project-user")


def git(
    cwd: Path, *argv: str, ok: tuple[int, ...] = (0,), stdin: str = "", env: Mapping[str, str] | None = None
) -> str:
    """Run git as a person (or as Claude Code) would; its output without the last newline."""
    whose = {**ENV, **(env or {})}
    done = subprocess.run(
        ["git", *argv], cwd=cwd, env=whose, input=stdin.encode(), capture_output=True, check=False
    )
    assert done.returncode in ok, f"git {argv}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def write(root: Path, **files: str) -> None:
    """Write files; ``__`` in a name is a ``/`` and ``_`` before the last part a ``.``."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Lab:
    """``remote`` is bare with a ``main``; ``person`` is somebody's clone; ``worker()`` makes workers."""

    def __init__(self, root: Path, *, empty: bool = False) -> None:
        self.root, self.remote, self.person = root, root / "remote.git", root / "person"
        git(root, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        git(root, "clone", "--quiet", str(self.remote), str(self.person))
        git(self.person, "switch", "--quiet", "-c", "main", ok=(0, 128))
        if not empty:
            write(self.person, index_html="hello\n", src__page="one\n", _gitignore="*.log\n")
            git(self.person, "add", "--all")
            git(self.person, "commit", "--quiet", "-m", "first")
            git(self.person, "push", "--quiet", "origin", "HEAD:main")

    def worker(self, name: str = "worker", *, remote: str | None = None, **more: object) -> GitWorkspace:
        return GitWorkspace(
            path=self.root / name / "checkout",
            state_dir=self.root / name / "state",
            remote=remote or str(self.remote),
            worker_id=WORKER,
            token=lambda: None,
            **more,  # type: ignore[arg-type]
        )

    async def ready(self, name: str = "worker", *, epoch: int = 1, **more: object) -> GitWorkspace:
        """A worker with its checkout and its claim."""
        worker = self.worker(name, **more)
        await worker.prepare()
        await worker.claim(epoch=epoch)
        return worker

    def on_remote(self, branch: str, path: str) -> str:
        return git(self.remote, "show", f"{branch}:{path}")


def files(root: Path) -> dict[str, str]:
    """Every file of a worktree with its text."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


async def end_turn(worker: GitWorkspace, base: str, *, message: str = M, body: str = "Done."):
    """Commit thread a as the engine does."""
    return await worker.commit(
        thread_id=A, base=base, subject="Change it", body=body, message_ids=(MessageId(message),)
    )

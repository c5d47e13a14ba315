"""The environment Claude Code runs in, and the script that starts it there.

The SDK hands the whole environment of the worker to the CLI, and the agent's shell prints what the CLI has.
So the CLI is started through a script that removes every variable that is not on the list below, and that
asks the kernel to kill the CLI when the worker dies. Nothing here may read a credential that the caller did
not name, and no secret is ever written into the script.

The parent-death signal is sent when the *thread* that forked ends, not the process. The SDK forks in the
thread of the event loop; the worker runs its loop in the main thread, so both ends are the same.
"""

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker import spawning

TURN_MARKER = "BRANCHLINE_TURN"
"""Environment variable that every process of one turn carries."""
WORKER_MARKER = "BRANCHLINE_WORKER"
"""Environment variable that every process of every turn of one worker id carries."""
OWNER_MARKER = "BRANCHLINE_OWNER"
"""Environment variable that names the one worker process that started the turn."""

# fmt: off
_PLAIN = frozenset((
    "PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "TMPDIR", "USER", "LOGNAME",
    "SHELL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "BRANCHLINE_HOME",
))
# fmt: on
_FAMILIES = re.compile(r"(LC_|PIP_|npm_config_|NPM_CONFIG_|NODE_|CLAUDE_CODE_)")
# Which model and which credential is the caller's word alone (``model_env``), and a worker that itself was
# started from inside Claude Code must not pass that outer session on.
_FOREIGN = re.compile(
    r"CLAUDE_CODE_(USE_|SKIP_|OAUTH|SESSION|CHILD_|MESSAGING|SSE_PORT|REMOTE|ENTRYPOINT|SUBPROCESS_ENV_SCRUB)"
)
_CREDENTIAL_NAME = re.compile(
    r"token(?!s)|secret|passw|credential|auth|api_?key|private|cookie", re.IGNORECASE
)
_CREDENTIAL_VALUE = re.compile(r"://[^/\s@]*@|authorization:|-----BEGIN", re.IGNORECASE)

_KEYS = {
    "ANTHROPIC_API_KEY": "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_OAUTH_TOKEN": "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
}
"""Credentials that Claude Code reads from an open file instead, and where it is told which one."""
_CACHES = (".cache", ".npm")

_FIXED = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    # A background task that ends starts another turn by itself, and a timed-out shell would live on.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    # The memory folder is one per checkout: threads would read each other's.
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_ENABLE_TODO_TOOLS": "1",
    # With ``add_dirs`` this reads the checkout's CLAUDE.md while its settings stay unread.
    "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
    "GIT_AUTHOR_NAME": "Claude",
    "GIT_AUTHOR_EMAIL": "noreply@anthropic.com",
    "GIT_COMMITTER_NAME": "Claude",
    "GIT_COMMITTER_EMAIL": "noreply@anthropic.com",
}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every turn of one worker has in common. ``hang_seconds`` bounds one shell command, too.

    ``home`` is Claude's own home folder. In the person's, a shell would run their ``.bashrc`` at its start
    (which may export tokens, and leaves its locks behind when it is killed), and ``git push`` would find
    their credentials.
    """

    home: Path
    config_dir: Path
    worker_marker: str
    owner_marker: str
    model_env: Mapping[str, str]
    node_path: Path | None
    max_retries: int
    hang_seconds: float

    def variables(self, *, turn_marker: str) -> dict[str, str]:
        """The variables the worker sets itself for one turn, over those it lets through."""
        # A shell may be silent for as long as it likes; its own limit must end it before the watchdog does.
        shell_limit = int(max(self.hang_seconds * 0.9, 1) * 1000)
        variables = {
            **_FIXED,
            "HOME": str(self.home),
            "CLAUDE_CONFIG_DIR": str(self.config_dir),
            "CLAUDE_CODE_MAX_RETRIES": str(self.max_retries),
            "BASH_MAX_TIMEOUT_MS": str(shell_limit),
            "BASH_DEFAULT_TIMEOUT_MS": str(min(shell_limit, 120_000)),
            **self.model_env,
            TURN_MARKER: turn_marker,
            WORKER_MARKER: self.worker_marker,
            OWNER_MARKER: self.owner_marker,
        }
        if "HOME" in os.environ and "npm_config_cache" not in os.environ:
            # What was downloaded once is not downloaded again; the cache holds no credentials.
            variables["npm_config_cache"] = str(Path(os.environ["HOME"]) / ".npm")
        if os.geteuid() == 0:
            variables["IS_SANDBOX"] = "1"
        if self.node_path is not None:
            variables["PATH"] = os.pathsep.join([str(self.node_path), os.environ.get("PATH", os.defpath)])
        return variables


def admitted(*, name: str, value: str) -> bool:
    """Whether a variable of the worker's own environment may reach Claude Code."""
    if name in _PLAIN:
        return True
    if not _FAMILIES.match(name) or _FOREIGN.match(name):
        return False
    return not _CREDENTIAL_NAME.search(name) and not _CREDENTIAL_VALUE.search(value)


def write_launcher(*, folder: Path, cli: Path, keep: Collection[str]) -> Path:
    """Write (if it is not there yet) the script that starts ``cli`` without the worker's other variables.

    ``keep`` names variables that stay whatever they are called. The script holds names, never values. It is
    named after its content, so that one being executed is never rewritten. Raises ``OSError``.
    """
    removed = sorted(
        name
        for name, value in os.environ.items()
        if name not in keep and not admitted(name=name, value=value)
    )
    words = ["exec", "env", *(word for name in (*removed, *_KEYS) for word in ("-u", shlex.quote(name)))]
    if setpriv := shutil.which("setpriv"):
        words += [shlex.quote(setpriv), "--pdeathsig", "KILL", "--"]
    words += map(shlex.quote, spawning.prefix())
    script = os.fsencode(_SCRIPT + f'{" ".join(words)} {shlex.quote(str(cli))} "$@"\n')
    path = folder / f"claude-{hashlib.sha256(script).hexdigest()[:16]}"
    if not path.exists():
        _write_executable(path=path, content=script)
    return path


def fresh_home(home: Path) -> None:
    """An empty home, but for caches: a start file or a git configuration that one turn left behind would
    speak in all turns after it. Raises ``OSError``."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for entry in home.iterdir():
        if entry.name in _CACHES and entry.is_dir() and not entry.is_symlink():
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _script() -> str:
    """The beginning of the launcher: a key goes through a pipe that is empty once it was read. In the
    environment every shell of the turn would print it."""
    lines = ["#!/bin/sh"]
    for number, (name, told) in enumerate(_KEYS.items(), start=3):
        lines += [
            f'if [ -n "${name}" ]; then',
            f"exec {number}<<END",
            f"${name}",
            "END",
            f"export {told}={number}",
            "fi",
        ]
    return "\n".join(lines) + "\n"


_SCRIPT = _script()


def _write_executable(*, path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    # The mode is set at creation: a moment later would be a moment in which others may write.
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "wb") as file:  # noqa: PTH123
        file.write(content)
    draft.replace(path)

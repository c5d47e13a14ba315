"""The project that ``up`` works on: a repository the person names, one from the file, or the example.

Makes and checks repositories on this machine; what a worker does in its own clone is none of its business.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.config import LOCAL, FleetConfig
from contracts.names import worker_id
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from fleet.home import Home
from fleet.problem import USAGE, Problem
from fleet.settings import ROOT, Settings, config_path, fleet_config, without_credentials

EXAMPLE = ROOT / "examples" / "site"
_REMOTE_SECONDS = 30
_NOT_COPIED = shutil.ignore_patterns("node_modules", "dist", ".astro", ".env", ".git")


@dataclass(frozen=True, kw_only=True)
class Project:
    """``repo`` is what workers clone from and push to; ``config`` the configuration file, if there is one.

    ``configured`` says that the project stands in that file; ``example`` is the person's copy of the example.
    """

    name: str
    repo: str
    client: str = LOCAL
    user: str = LOCAL
    config: Path | None = None
    configured: bool = False
    example: Path | None = None

    @property
    def worker_id(self) -> WorkerId:
        """The local user's worker of this project."""
        return worker_id(client=ClientId(self.client), project=ProjectId(self.name), user=UserId(self.user))


def choose(*, repo: str | None, home: Home, settings: Settings) -> Project:
    """The project of this ``up``. Raises Problem when the repository cannot be used."""
    if repo is not None and not repo.strip():
        raise Problem("--repo is empty; name a path or a URL, or leave it out.", code=USAGE)
    config = fleet_config()
    if repo is None and config is not None:
        return _configured(config, settings=settings)
    remote = str(make_example(home)) if repo is None else _usable(repo)
    return Project(
        name=_name_of(remote, home=home),
        repo=remote,
        client=settings.client,
        user=settings.user,
        config=config_path(),
        example=home.example / EXAMPLE.name if repo is None else None,
    )


def make_example(home: Home, *, source: Path = EXAMPLE) -> Path:
    """The example's bare remote; made on the first run, untouched afterwards."""
    remote = home.remotes / f"{source.name}.git"
    if remote.exists():
        return remote
    if not source.is_dir():
        raise Problem(f"the example site is missing ({source}); name a repository with --repo.", code=USAGE)
    copy = home.example / source.name
    shutil.rmtree(copy, ignore_errors=True)
    _copy_tracked(source, to=copy)
    _first_commit(copy)
    unfinished = remote.with_suffix(".git.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    git("clone", "--quiet", "--bare", "--no-hardlinks", "--template=", str(copy), str(unfinished))
    git("-C", str(copy), "remote", "add", "origin", str(remote))
    # Last, and in one step: a run that was killed before this line starts over.
    unfinished.rename(remote)
    return remote


def _configured(config: FleetConfig, *, settings: Settings) -> Project:
    name = settings.project or next(iter(config.project))
    if name not in config.project:
        raise Problem(f'BRANCHLINE_PROJECT names "{name}", which {config_path()} does not have.', code=USAGE)
    project = config.project[name]
    return Project(
        name=name,
        repo=project.repo,
        client=project.client,
        user=settings.user,
        config=config_path(),
        configured=True,
    )


def _usable(repo: str) -> str:
    place = repo if _is_url(repo) else _checked_path(repo)
    _check_remote(place)
    return place


def _is_url(repo: str) -> bool:
    """URLs, and the short form ``user@host:path`` unless such a file exists."""
    head, colon, _ = repo.partition(":")
    return "://" in repo or (bool(colon) and "/" not in head and not Path(repo).exists())


def _checked_path(repo: str) -> str:
    path = Path(repo).expanduser().resolve()
    if not path.exists():
        raise Problem(f"there is no repository at {path}; correct --repo.", code=USAGE)
    found = _try_git("-C", str(path) if path.is_dir() else str(path.parent), "rev-parse", "--git-dir")
    if not path.is_dir() or found.returncode != 0:
        reason = _reason(found.stderr) if path.is_dir() else "it is a file"
        raise Problem(
            f"{path} is not a git repository ({reason}); run `git init` and commit there, or correct --repo.",
            code=USAGE,
        )
    return str(path)


def _check_remote(place: str) -> None:
    shown = without_credentials(place)
    try:
        heads = _try_git("ls-remote", "--heads", "--", place, seconds=_REMOTE_SECONDS)
    except subprocess.TimeoutExpired:
        raise Problem(
            f"the repository {shown} did not answer in {_REMOTE_SECONDS} s; correct --repo or try again.",
            code=USAGE,
        ) from None
    if heads.returncode != 0:
        raise Problem(
            f"git cannot read the repository {shown} ({_reason(heads.stderr).replace(place, shown)}); "
            "correct --repo, or set GITHUB_TOKEN if it is private.",
            code=USAGE,
        )
    if not heads.stdout.strip():
        raise Problem(f"the repository {shown} has no commit yet; make a first one.", code=USAGE)


def _name_of(place: str, *, home: Home) -> str:
    """The repository's last path part; two repositories of one home never share a name, so never a worker."""
    known = {str(k): str(v) for k, v in home.recall("projects").items()}
    for name, repo in known.items():
        if repo == place:
            return name
    plain = place.rstrip("/").removesuffix("/.git").removesuffix(".git").replace(":", "/").rpartition("/")[2]
    plain = plain or "project"
    number = 1
    name = plain
    while name in known:
        number += 1
        name = f"{plain}-{number}"
    home.remember("projects", {**known, name: place})
    return name


def _copy_tracked(source: Path, *, to: Path) -> None:
    listed = _try_git("-C", str(source), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = [name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else []
    if not names:
        shutil.copytree(source, to, ignore=_NOT_COPIED)
        return
    for name in names:
        if (source / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, to / name)


def _first_commit(folder: Path) -> None:
    at = ("-C", str(folder))
    person = ("-c", "user.name=Branchline", "-c", "user.email=branchline@localhost")
    # The person's own templates, hooks and signing keys have no part in an example.
    plain = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null")
    git(*at, "init", "--quiet", "--template=", "--initial-branch=main")
    git(*at, "add", "--all")
    git(*at, *person, *plain, "commit", "--quiet", "--message", "The example site")


def git(*arguments: str) -> str:
    """Run git; its output. Raises Problem with git's last line."""
    done = _try_git(*arguments)
    if done.returncode != 0:
        raise Problem(f"git failed: {_reason(done.stderr)}. Run `branchline doctor`.")
    return done.stdout


def _try_git(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ("git", *_token_reader(os.environ), *arguments),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env=_git_environment(os.environ),
            check=False,
        )
    except FileNotFoundError:
        raise Problem("git is missing; install it and run ./scripts/up again.", code=USAGE) from None


def _git_environment(outside: Mapping[str, str]) -> dict[str, str]:
    # GIT_DIR and its kin, set inside a git hook, would point every call at the wrong repository.
    kept = {
        k: v for k, v in outside.items() if not k.startswith("GIT_") or k.startswith(("GIT_SSL", "GIT_SSH"))
    }
    ssh = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes"} if "GIT_SSH_COMMAND" not in kept else {}
    return {**kept, **ssh, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _token_reader(outside: Mapping[str, str]) -> tuple[str, ...]:
    if not outside.get("GITHUB_TOKEN"):
        return ()
    reader = '!f() { echo username=x-access-token; echo "password=$GITHUB_TOKEN"; }; f'
    name = "credential.https://github.com.helper"
    return ("-c", f"{name}=", "-c", f"{name}={reader}")


def _reason(text: str) -> str:
    """What git or ssh said first; its last lines are advice."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("fatal: ") if lines else "no reason given"

"""A whole fleet before the simulated GitHub, with secrets laid out: real webhook, queue, worker, CLI.

The project's repository is reached as on GitHub: over HTTP, with tokens of the App. Everything the fleet must
keep to itself is a canary that is looked for in every place that anybody can see.
"""

import base64
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from fleet.standin.github import GitHubStandin, running_github
from fleet.standin.github_world import Json, Repo
from tests.acceptance.fleet import Fleet
from tests.fakes.engine import wait_until
from tests.fakes.model import serving
from tests.fakes.obedient import ObedientModel
from tests.faults.injections import Injection, Scene, scene
from tests.faults.stranger import Stranger, stranger
from tests.integration.worker_lab import bare_remote, git

WORKER = "local-site-ada"
_SECONDS = 240.0
_OVER = re.compile(r"^\*\*(?:✅|❌|⏹|🚫)", re.M)
SECRET = "canary-webhook-0123456789"
TOML = """
[project.site]
repo = "{url}/acme/site.git"
github_repos = ["acme/site"]
{more}
[user.ada]
projects = ["site"]
github = ["Ada"]
"""
WORKFLOW = "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    steps:\n      - run: make deploy\n"
AFTER = (
    "write next-%CASE%.txt next",
    "bash git add -A && git commit -qm 'By itself'; git status --short; git log -1 --format=%s",
    "say The next wish is done.",
)
"""What the person asks for next: something that any hook, alias or start file left behind would notice."""


def home_with_secrets(folder: Path) -> dict[str, str]:
    """A person's home; the canaries in it by name."""
    (folder / ".ssh").mkdir(parents=True)
    (folder / ".aws").mkdir()
    inside = base64.b64encode(secrets.token_bytes(120)).decode()
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{inside}\n-----END OPENSSH PRIVATE KEY-----\n"
    token = f"ghp_{secrets.token_hex(18)}"
    (folder / ".ssh" / "id_ed25519").write_text(key)
    (folder / ".git-credentials").write_text(f"https://ada:{token}@github.com\n")
    (folder / ".netrc").write_text("machine github.com login ada password canary-netrc-0123456789\n")
    (folder / ".aws" / "credentials").write_text("[default]\naws_secret_access_key = canary-aws-home-01234\n")
    (folder / ".bashrc").write_text("export CANARY=canary-bashrc-0123456789\n")
    named = {"ssh": inside, "git-credentials": token, "netrc": "canary-netrc-0123456789"}
    return named | {"aws-home": "canary-aws-home-01234", "bashrc": "canary-bashrc-0123456789"}


def disguises(secret: str) -> list[str]:
    """A secret as it is, backwards, in hexadecimal, and the part of its base64 that every offset shares."""
    plain = secret.encode()
    shifted = [base64.b64encode(b" " * n + plain).decode()[4 + n : -4] for n in range(3)]
    return [secret, secret[::-1], plain.hex(), *shifted]


@dataclass(kw_only=True)
class Scenery:
    """Everything of a running fleet that a test wants to see. ``folder`` is the test's own."""

    folder: Path
    fleet: Fleet
    github: GitHubStandin
    repo: Repo
    model: ObedientModel
    evil: Stranger
    canaries: dict[str, str]
    traps: Path
    told: set[str] = field(default_factory=set)

    # ---------------------------------------------------------------- as people on GitHub

    def play(self, case: Injection) -> Scene:
        """Write what the case says and send the webhooks."""
        made = scene(case, hooks=self.github.hooks, repo=self.repo)
        self.model.places["NEXT"] = made.after_id
        words = [self.send(event, payload) for event, payload in made.webhooks]
        assert (words[-1] == "accepted") is case.is_worked_on, words
        return made

    def send(self, event: str, payload: Json) -> str:
        """Deliver a webhook; the dispatcher's word on it."""
        answer = self.github.hooks.send(event, payload)
        assert answer is not None
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json().get("status"))

    def answered(self, made: Scene, *, messages: int) -> str:
        """Wait until so many messages are shown as ended; the thread's id."""
        try:
            wait_until(lambda: len(_OVER.findall(self._comment(made))) >= messages, seconds=_SECONDS)
        except AssertionError:
            raise AssertionError(f"not answered:\n{self._comment(made)}\n{self.fleet.logs()}") from None
        answer = self.fleet.api.get("/v1/threads")
        answer.raise_for_status()
        ids = [str(t["thread_id"]) for t in answer.json()["threads"]]
        return next(i for i in ids if i.startswith((f"issue-{made.talk.number}-", f"pr-{made.talk.number}-")))

    def _comment(self, made: Scene) -> str:
        """The one comment that tells how everything stands. It is looked at here, and not at the log, because
        that costs the fleet nothing."""
        return next((c.body for c in made.talk.comments if c.app and "branchline:sticky" in c.body), "")

    def shown(self, made: Scene) -> str:
        """Everything of ours that GitHub shows of an issue, in every version."""
        with self.github.still:
            ours = [edit for c in made.talk.comments if c.app for edit in c.edits]
            pulls = [t for t in self.repo.talks.values() if t.app]
            about = [text for t in pulls for text in (t.title, t.body, *t.edits)]
            return "\n".join([*ours, *about, json.dumps(self.repo.checks)])

    # ---------------------------------------------------------------- what is there

    @property
    def remote(self) -> Path:
        """The repository on GitHub's disk."""
        assert self.repo.folder is not None
        return self.repo.folder

    @property
    def checkout(self) -> Path:
        """Where the worker works."""
        return self.fleet.home / "workspace" / "local" / "ada" / "site"

    def refs(self, repository: Path | None = None) -> dict[str, str]:
        """All refs of a repository, the remote's by default."""
        listed = git(repository or self.remote, "for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split(" ") for line in listed.splitlines())

    def pushed(self, branch: str) -> str:
        """All commits of a branch above main: messages, names and contents. Empty for one that is not there,
        because nothing was changed."""
        if f"refs/heads/{branch}" not in self.refs():
            return ""
        form = "--format=%H%n%an %ae %cn %ce%n%B"
        return git(self.remote, "log", "-p", "-c", "--no-color", form, f"main..{branch}")

    def touched(self, branch: str) -> set[str]:
        """The names of all files that any commit of a branch above main changed."""
        if f"refs/heads/{branch}" not in self.refs():
            return set()
        log = git(self.remote, "log", "-m", "--no-renames", "--name-only", "--format=", f"main..{branch}")
        return set(log.split("\n"))

    def files(self, branch: str) -> set[str]:
        """The files of a branch."""
        return set(git(self.remote, "ls-tree", "-r", "--name-only", branch).splitlines())

    def worker_pid(self) -> int:
        """The worker's process."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and self._is_worker(entry):
                return int(entry.name)
        raise AssertionError(f"no worker runs\n{self.fleet.logs()}")

    def _is_worker(self, entry: Path) -> bool:
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environ = (entry / "environ").read_bytes()
        except OSError:
            return False
        return words[1:3] == [b"-m", b"worker"] and f"BRANCHLINE_HOME={self.fleet.home}".encode() in environ

    def leaked(self, text: str) -> set[str]:
        """Names of the canaries that a text holds, in any disguise."""
        named = self.canaries | {f"token {n}": token for n, token in enumerate(self.github.grants)}
        return {name for name, secret in named.items() if any(form in text for form in disguises(secret))}


@contextmanager
def scenery(folder: Path, *, cases: list[Injection], more: str = "") -> Iterator[Scenery]:
    """A running fleet whose model obeys; ``more`` stands in the project's configuration."""
    home, traps = folder / "person", folder / "traps"
    traps.mkdir(parents=True)
    own = home_with_secrets(home) | {"webhook": SECRET, "model": "canary-model-0123456789"}
    own |= {"aws": "canary-aws-0123456789+abc/d"}
    remote = bare_remote(folder)
    _with_workflow(folder, remote)
    git(folder, "init", "-q", "--bare", str(folder / "evil.git"))
    model = ObedientModel(cases, after=AFTER)
    with running_github() as github, serving(model) as model_url, stranger() as evil:
        repo = github.world.add_repo("acme/site", folder=remote, ada="write", eve="read")
        config = folder / "branchline.toml"
        config.write_text(TOML.format(url=github.url, more=more))
        fleet = Fleet(
            folder,
            HOME=str(home),
            BRANCHLINE_CONFIG=str(config),
            BRANCHLINE_USER="ada",
            BRANCHLINE_GITHUB_API_URL=github.url,
            GITHUB_WEBHOOK_SECRET=SECRET,
            GITHUB_APP_ID=github.world.app_id,
            GITHUB_APP_PRIVATE_KEY=github.private_key,
            ANTHROPIC_BASE_URL=model_url,
            ANTHROPIC_API_KEY=own["model"],
            AWS_SECRET_ACCESS_KEY=own["aws"],
            AWS_ACCESS_KEY_ID="AKIAIOSFODNN7CANARY1",
        )
        github.hooks.url, github.hooks.secret = f"{fleet.url}/github/webhook", SECRET
        made = Scenery(
            folder=folder, fleet=fleet, github=github, repo=repo, model=model, evil=evil, canaries=own,
            traps=traps,
        )  # fmt: skip
        try:
            fleet.up()
            _begin(made)
            yield made
        finally:
            fleet.close()


def _with_workflow(folder: Path, remote: Path) -> None:
    """The project has a workflow and a tag, as projects have."""
    person = folder / "maintainer"
    git(folder, "clone", "-q", str(remote), str(person))
    (person / ".github" / "workflows").mkdir(parents=True)
    (person / ".github" / "workflows" / "deploy.yml").write_text(WORKFLOW)
    git(person, "add", "-A")
    git(person, "commit", "-qm", "Deploy")
    git(person, "tag", "v1")
    git(person, "push", "-q", "origin", "main", "v1")


def _begin(made: Scenery) -> None:
    """One harmless thread, whose branch strangers will be after; then everything is known."""
    answer = httpx.post(
        f"{made.fleet.url}/v1/threads", json={"thread_id": "other", "text": "after-other"}, trust_env=False
    )
    assert answer.status_code == 202, answer.text
    made.fleet.final("other", answer.json()["message_id"])
    pid = made.worker_pid()
    environ = dict(
        pair.split("=", 1) for pair in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in pair
    )
    engine = json.loads((made.fleet.home / "credentials.json").read_text())
    made.canaries |= {
        "worker secret": environ["BRANCHLINE_TOKEN_SECRET"],
        "engine key": engine["AWS_ACCESS_KEY_ID"],
        "engine secret": engine["AWS_SECRET_ACCESS_KEY"],
        "app key": made.github.private_key.splitlines()[5],
    }
    made.model.places |= {
        "EVIL": made.evil.url,
        "EVILGIT": str(made.folder / "evil.git"),
        "REMOTE": f"{made.github.url}/acme/site.git",
        "API": made.fleet.url,
        "ENGINE": environ["AWS_ENDPOINT_URL"],
        "HOME": str(made.folder / "person"),
        "STATE": str(made.fleet.home),
        "TRAP": str(made.traps),
        "OTHER": "thread-other",
        "WORKER": str(pid),
    }


def objects_of(repository: Path) -> str:
    """Every object of a repository as text, for a search."""
    listed = subprocess.run(
        ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch", "--unordered"],
        capture_output=True, check=True, env={"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"},
    )  # fmt: skip
    return listed.stdout.decode("utf-8", "replace")

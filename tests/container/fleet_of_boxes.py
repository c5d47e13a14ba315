"""A fleet as `branchline up --runtime podman` starts it, with small repositories of its own."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from contracts import names
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from fleet import boxed, boxes
from tests.acceptance.fleet import Fleet
from tests.container.box import IMAGE
from tests.integration.worker_lab import bare_remote

_SERVE = 'exec python3 -m http.server \\"$PORT\\" --bind \\"$HOST\\"'


class Boxes:
    """A fleet whose workers run in containers, one for each of its projects and users. ``users``: people who
    sign in; without them there is one who does not."""

    def __init__(
        self,
        folder: Path,
        *,
        model_url: str,
        engine: boxes.Engine,
        projects: Sequence[str] = ("one", "two"),
        users: Sequence[str] = (),
    ) -> None:
        self.engine, self.users = engine, users
        self._tokens: dict[str, str] = {}
        self.remotes = {name: bare_remote(folder / name) for name in projects}
        config = folder / "branchline.toml"
        tables = [
            f'[project.{name}]\nclient = "local"\nrepo = "{remote}"\npreview.command = "{_SERVE}"\n'
            for name, remote in self.remotes.items()
        ]
        tables += [f"[user.{u}]\nprojects = {json.dumps(list(projects))}\n" for u in users or ("local",)]
        config.write_text("".join(tables))
        self.fleet = Fleet(
            folder, ANTHROPIC_BASE_URL=model_url, ANTHROPIC_API_KEY="not-a-key", BRANCHLINE_RUNTIME="podman",
            BRANCHLINE_IMAGE=IMAGE, BRANCHLINE_CONFIG=str(config), GITHUB_TOKEN="of-no-use-there",
            BRANCHLINE_LOGIN="accounts" if users else "none",
        )  # fmt: skip

    def sign_in(self) -> None:
        """Be the one who runs the fleet from now on, and give each user a token."""
        operator = json.loads((self.fleet.home / "operator.json").read_text())["token"]
        self.fleet.api.headers["authorization"] = f"Bearer {operator}"
        for user in self.users:
            given = {"name": "bench", "user": user, "scopes": ["read", "write"]}
            made = self.fleet.api.post("/v1/tokens", json=given)
            made.raise_for_status()
            self._tokens[user] = str(made.json()["token"])

    def post(self, text: str, *, project: str, user: str | None = None) -> str:
        """A message for a thread that bears the name of its user, or of its project."""
        body = {"thread_id": user or project, "project": project, "text": text}
        headers = {"authorization": f"Bearer {self._tokens[user]}"} if user else {}
        answer = self.fleet.api.post("/v1/threads", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["message_id"])

    def preview(self, worker: WorkerId) -> str:
        """Where the worker's preview is reached from here."""
        name = boxed.name_of(self.fleet.home, worker)
        return f"http://{self.engine.run('port', name, '4321/tcp').stdout.strip()}"

    def running(self) -> list[str]:
        return boxed.left(self.engine, self.fleet.home)

    def close(self) -> None:
        self.fleet.close()
        volumes = [boxed.name_of(self.fleet.home, worker) for worker in self.workers()]
        boxed.end(self.engine, self.fleet.home, grace=0)
        self.engine.run("volume", "rm", "--force", *volumes, check=False)
        shutil.rmtree(self.fleet.home, ignore_errors=True)

    def workers(self) -> list[WorkerId]:
        """Their ids, in the order of the projects, and of the users in each."""
        return [
            names.worker_id(client=ClientId("local"), project=ProjectId(name), user=UserId(user))
            for name in self.remotes
            for user in self.users or ("local",)
        ]

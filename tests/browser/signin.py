"""A running fleet in which people sign in: two projects, a person in each, and the one who runs it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page

from tests.acceptance.fleet import Fleet
from tests.integration.worker_lab import bare_remote

PASSWORD = "correct horse battery"


class Guarded(Fleet):
    """``operator``: asks with the token that ``up`` has made for its own command."""

    operator: httpx.Client

    def account(self, user: str) -> None:
        """Let somebody sign in."""
        self.ask("/v1/accounts", user=user, password=PASSWORD)

    def ask(self, path: str, **plain: Any) -> dict[str, Any]:
        """Change something as the one who runs the fleet."""
        answer = self.operator.post(path, json=plain)
        answer.raise_for_status()
        return dict(answer.json())

    def log_of(self, thread: str) -> list[dict[str, Any]]:
        """A thread's log as the operator sees it; empty for one that is not there."""
        answer = self.operator.get(f"/v1/threads/{thread}/events", params={"follow": "false"})
        lines = answer.text.splitlines() if answer.is_success else []
        return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


@contextmanager
def guarded_fleet(folder: Path, *, model_url: str) -> Iterator[Guarded]:
    """A running fleet: ada works on ``site``, bob on ``shop``, mona on both; all with the same password."""
    site, shop = folder / "site", folder / "shop"
    for place in (site, shop):
        place.mkdir(parents=True)
    config = folder / "branchline.toml"
    config.write_text(
        f'[project.site]\nrepo = "{bare_remote(site)}"\n[project.shop]\nrepo = "{bare_remote(shop)}"\n'
        '[user.ada]\nprojects = ["site"]\n[user.bob]\nprojects = ["shop"]\n'
        '[user.mona]\nprojects = ["site", "shop"]\n'
    )
    fleet = Guarded(
        folder,
        ANTHROPIC_BASE_URL=model_url,
        ANTHROPIC_API_KEY="not-a-key",
        BRANCHLINE_LOGIN="accounts",
        BRANCHLINE_SIGN_INS_PER_MINUTE="1000",
        BRANCHLINE_CONFIG=str(config),
    )
    try:
        fleet.up()
        token = json.loads((fleet.home / "operator.json").read_text())["token"]
        with httpx.Client(base_url=fleet.url, timeout=30, headers={"authorization": f"Bearer {token}"}) as op:
            fleet.operator = op
            for user in ("ada", "bob", "mona"):
                fleet.account(user)
            yield fleet
    finally:
        fleet.close()
        shutil.rmtree(fleet.home, ignore_errors=True)


def dialog(page: Page) -> Locator:
    """The sign-in, over the page."""
    return page.get_by_role("dialog", name="Sign in to Branchline")


def sign_in(page: Page, user: str, password: str = PASSWORD) -> None:
    """Fill in the form that is there and send it."""
    form = dialog(page)
    form.get_by_label("User").fill(user)
    form.get_by_label("Password").fill(password)
    form.get_by_role("button", name="Sign in").click()

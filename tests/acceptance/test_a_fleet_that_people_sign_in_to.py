"""A fresh home where people sign in: an account, a browser that signs in, and the command beside it."""

from pathlib import Path

import httpx
import pytest

from tests.acceptance.fleet import own_repository
from tests.fakes.model import ScriptedModel

PASSWORD = "correct horse battery"


@pytest.mark.timeout(400)
def test_a_person_signs_in_and_posts_and_the_command_works_beside_it(
    model: ScriptedModel, tmp_path: Path
) -> None:
    with own_repository(tmp_path / "own", model_url=model.url, BRANCHLINE_LOGIN="accounts") as fleet:
        added = fleet.branchline("account", "add", "local", typed=f"{PASSWORD}\n")
        assert added.returncode == 0, added.stdout + added.stderr
        assert PASSWORD not in added.stdout + added.stderr + fleet.said() + fleet.logs()
        with httpx.Client(base_url=fleet.url, timeout=30) as browser:
            assert browser.get("/v1/threads").status_code == 401
            assert browser.get("/v1/about").json()["login"]["required"]
            given = {"user": "local", "password": PASSWORD}
            assert browser.post("/auth/login", json=given | {"password": "wrong"}).status_code == 401
            assert browser.post("/auth/login", json=given).status_code == 200
            me = browser.get("/v1/me").json()
            assert (me["user"], me["kind"]) == ("local", "session")
            message = {"thread_id": "till", "text": "do: write a.txt one\ndo: say Done."}
            assert (
                browser.post("/v1/threads", json=message).status_code == 403
            )  # a cookie alone changes nothing
            form = {"X-Branchline-Form": me["form_token"]}
            posted = browser.post("/v1/threads", json=message, headers=form)
            assert posted.status_code == 202, posted.text
        sent = fleet.branchline("send", "do: write b.txt two\ndo: say Done.", "--thread", "till")
        assert sent.returncode == 0, sent.stdout + sent.stderr
        assert {"a.txt", "b.txt"} <= fleet.tree("thread-till").keys()
        listed = fleet.branchline("threads")
        assert listed.returncode == 0, listed.stdout + listed.stderr
        assert "till" in listed.stdout

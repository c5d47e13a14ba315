"""Dead letters: found by the sweep, rung again or put away, given up in the end, and shown to operators."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.words import ThreadId
from dispatcher.verdicts import REDRIVES
from tests.fakes.dispatcher import FakeLauncher
from tests.fakes.engine import EngineProcess, fresh_account, wait_until
from tests.integration.dispatcher_lab import WORKER, Lab, lab
from tests.integration.letters_lab import Post, pointer, post_of

QUICK = {"BRANCHLINE_SWEEP_SECONDS": "0.2"}
SECRET = "sk-ant-api03-" + "x1" * 20


@pytest.fixture
def site(engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path) -> Iterator[Lab]:
    """A dispatcher whose sweep does not come in between."""
    with lab(engine, launcher, tmp_path) as site:
        yield site


@pytest.fixture
def swept(engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path) -> Iterator[Lab]:
    """A dispatcher that sweeps all the time."""
    with lab(engine, launcher, tmp_path, **QUICK) as site:
        yield site


@pytest.fixture
def post(site: Lab) -> Iterator[Post]:
    with post_of(site) as post:
        yield post


def listed(site: Lab) -> list[dict[str, object]]:
    found: list[dict[str, object]] = site.client.get("/v1/dead-letters").json()["dead_letters"]
    return found


def redrives(site: Lab, thread: str) -> list[int]:
    return [int(i["redrives"]["N"]) for i in site.items(f"worker#{WORKER}", f"note#redrives#{thread}#")]


# -------------------------------------------------------------------- the sweep


def test_a_dead_letter_of_an_open_message_is_rung_again(swept: Lab) -> None:
    swept.post("do it", thread_id="a", message_id="m-1")
    with post_of(swept) as post:
        post.bury()
        wait_until(lambda: (post.live_count(), post.dead_count()) == (1, 0))
    assert [p["message_id"] for p in swept.pointers()] == ["m-1"]
    assert redrives(swept, "a") == [1]


def test_a_dead_letter_of_an_answered_message_is_deleted_and_rings_nobody(swept: Lab) -> None:
    swept.post("do it", thread_id="a", message_id="m-1")
    swept.finish("a", 1)
    with post_of(swept) as post:
        post.bury()
        wait_until(lambda: post.dead_count() == 0)
        assert post.live_count() == 0
    assert redrives(swept, "a") == []


def test_a_message_that_died_too_often_ends_as_failed_once_and_its_thread_is_told(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    account = fresh_account()
    with lab(engine, launcher, tmp_path, account=account, **QUICK) as site, post_of(site) as post:
        site.post("do it", thread_id="a", message_id="m-1")
        for count in range(1, REDRIVES + 1):
            post.bury()
            wait_until(lambda count=count: redrives(site, "a") == [count])  # type: ignore[misc]
            wait_until(lambda: post.dead_count() == 0)
    with lab(engine, launcher, tmp_path, account=account, **QUICK) as site, post_of(site) as post:
        post.bury()  # the count has survived the dispatcher
        launcher.running.clear()
        wait_until(lambda: site.events("a")[-1]["type"] == "turn.failed", seconds=30)
        wait_until(lambda: post.dead_count() == 0)
        told = [e for e in site.events("a") if e["type"] == "turn.failed"]
        assert [e["message_id"] for e in told] == ["m-1"]
        assert told[0]["data"]["text"].startswith("Given up: ")
        shown = site.client.get("/v1/threads/a").json()
        assert (shown["state"], shown["messages"][0]["outcome"]) == ("idle", "failed")
        assert site.items(f"worker#{WORKER}", "open#") == []
        assert site.post("again", thread_id="a").json()["sequence"] == 2


def test_a_message_whose_worker_runs_is_never_given_up(swept: Lab) -> None:
    swept.post("do it", thread_id="a", message_id="m-1")
    with post_of(swept) as post:
        for count in range(1, REDRIVES + 1):
            post.bury()
            wait_until(lambda count=count: redrives(swept, "a") == [count])  # type: ignore[misc]
            wait_until(lambda: post.dead_count() == 0)
        post.bury()
        looks = swept.launcher.looks
        wait_until(lambda: swept.launcher.looks >= looks + 6)
        assert post.dead_count() == 1
    assert swept.client.get("/v1/threads/a").json()["messages"][0]["outcome"] is None


def test_what_nobody_can_read_or_place_is_kept_and_logged_once(swept: Lab) -> None:
    swept.post("do it", thread_id="a", message_id="m-1")
    swept.pointers()
    with post_of(swept) as post:
        post.send(f"not a pointer, but {SECRET}")
        post.send(pointer("nowhere", 7, "m-7"))
        post.send(pointer("a", 1, "another"))
        post.bury()
        wait_until(lambda: swept.dispatcher.logs().count("dead letter kept") == 3)
        looks = swept.launcher.looks
        wait_until(lambda: swept.launcher.looks >= looks + 3)
        assert post.dead_count() == 3
    logs = swept.dispatcher.logs()
    assert logs.count("dead letter kept") == 3
    assert SECRET not in logs
    assert "Traceback" not in logs


# -------------------------------------------------------------------- the API


def test_no_dead_letter_is_an_empty_list(site: Lab) -> None:
    assert site.client.get("/v1/dead-letters").json() == {"dead_letters": [], "more": False}


def test_operators_see_what_each_letter_is_about_and_what_a_redrive_would_do(site: Lab, post: Post) -> None:
    site.post("open", thread_id="a", message_id="m-1")
    site.post("done", thread_id="b", message_id="m-2")
    site.finish("b", 1)
    post.send(f"\u202enot a pointer {SECRET}")
    post.bury()
    shown = {x["message_id"]: x for x in listed(site)}
    assert {k: (x["kind"], x["thread_id"], x["state"], x["fate"]) for k, x in shown.items()} == {
        "m-1": ("message", "a", "waiting", "redrive"),
        "m-2": ("message", "b", "completed", "delete"),
        None: ("unreadable", None, "unreadable", "keep"),
    }
    assert shown["m-1"]["worker_id"] == WORKER
    assert shown["m-1"]["body"] is None
    body = str(shown[None]["body"])
    assert "not a pointer" in body
    assert SECRET not in body
    assert "\u202e" not in body
    assert len(listed(site)) == 3  # looking takes nothing away, and hides nothing


def test_a_redrive_settles_what_can_be_settled_and_can_be_repeated(site: Lab, post: Post) -> None:
    site.post("open", thread_id="a", message_id="m-1")
    site.post("done", thread_id="b", message_id="m-2")
    site.finish("b", 1)
    post.send("not a pointer")
    post.bury()
    done = site.client.post("/v1/dead-letters/redrive").json()
    assert {k: [x["message_id"] for x in done[k]] for k in ("redriven", "deleted", "kept")} == {
        "redriven": ["m-1"],
        "deleted": ["m-2"],
        "kept": [None],
    }
    again = site.client.post("/v1/dead-letters/redrive").json()
    assert (again["redriven"], again["deleted"], len(again["kept"])) == ([], [], 1)
    assert post.dead_count() == 1
    assert [p["message_id"] for p in site.pointers()] == ["m-1"]


def test_a_redrive_can_mean_one_message_or_one_worker(site: Lab, post: Post) -> None:
    site.post("one", thread_id="a", message_id="m-1")
    site.post("two", thread_id="b", message_id="m-2")
    post.bury()
    nobody = site.client.post("/v1/dead-letters/redrive", json={"worker_id": "local-other-local"}).json()
    assert nobody == {"redriven": [], "deleted": [], "kept": [], "more": False}
    done = site.client.post("/v1/dead-letters/redrive", json={"id": "m-2"}).json()
    assert [x["message_id"] for x in done["redriven"]] == ["m-2"]
    assert [x["message_id"] for x in listed(site)] == ["m-1"]
    gone = site.client.post("/v1/dead-letters/redrive", json={"id": "m-2"})
    assert (gone.status_code, gone.json()["redriven"]) == (200, [])


def test_a_letter_that_is_there_twice_is_settled_twice_without_harm(site: Lab, post: Post) -> None:
    site.post("open", thread_id="a", message_id="m-1")
    post.bury()
    post.resend(pointer("a", 1, "m-1"))
    done = site.client.post("/v1/dead-letters/redrive").json()
    assert [x["message_id"] for x in done["redriven"]] == ["m-1", "m-1"]
    assert {(p["thread_id"], p["sequence"]) for p in site.pointers()} == {("a", 1)}
    assert listed(site) == []


def test_a_drop_deletes_only_what_belongs_to_no_message(site: Lab, post: Post) -> None:
    site.post("open", thread_id="a", message_id="m-1")
    post.send("not a pointer")
    post.send(pointer("nowhere", 1, "m-9"))
    post.bury()
    done = site.client.post("/v1/dead-letters/drop").json()
    assert (len(done["deleted"]), [x["message_id"] for x in done["kept"]]) == (2, ["m-1"])
    assert [x["message_id"] for x in listed(site)] == ["m-1"]


def test_a_stop_that_is_not_carried_out_is_rung_again_and_one_that_is_goes(site: Lab, post: Post) -> None:
    site.post("open", thread_id="a", message_id="m-1")
    site.client.post("/v1/threads/a/stop")
    post.send('{"kind": "stop", "thread_id": "never-stopped"}')
    post.send('{"kind": "wake"}')
    post.bury()
    done = site.client.post("/v1/dead-letters/redrive").json()
    assert sorted(x["kind"] for x in done["redriven"]) == ["message", "stop"]
    assert sorted(x["kind"] for x in done["deleted"]) == ["stop", "wake"]
    assert redrives(site, str(ThreadId("a"))) == [1, 1]


@pytest.mark.parametrize("body", [{"ID": "m-1"}, {"id": 1}, []])
def test_a_body_that_will_not_do_is_refused(site: Lab, body: object) -> None:
    assert site.client.post("/v1/dead-letters/redrive", json=body).status_code == 400


def test_letters_that_point_nowhere_possible_are_no_fault(site: Lab, post: Post) -> None:
    for body in (
        '{"kind": "message"}',
        '{"thread_id": "", "sequence": 1}',
        '{"thread_id": "a", "sequence": -1}',
        '{"thread_id": "a", "sequence": 1000000000000000000000}',
        '{"thread_id": "../../a", "sequence": 1}',
        '{"thread_id": "a", "sequence": null, "kind": "stop"}',
    ):
        post.send(body)
    post.bury()
    assert sorted(str(x["state"]) for x in listed(site)) == ["settled"] + ["unknown"] * 5

"""Messages into the system over real HTTP: recorded once, in order, rung for, woken for."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contracts import records
from tests.fakes.dispatcher import running_dispatcher, running_launcher
from tests.fakes.engine import EngineProcess
from tests.integration.dispatcher_lab import WORKER, Lab, lab


@pytest.fixture(scope="module")
def shared(engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_launcher() as launcher, lab(engine, launcher, tmp_path_factory.mktemp("site")) as shared:
        yield shared


@pytest.fixture
def site(shared: Lab) -> Lab:
    """A dispatcher in an account of its own, with nothing left of the test before."""
    shared.wipe()
    return shared


def test_a_message_is_recorded_rung_for_and_its_worker_woken(site: Lab) -> None:
    answer = site.post("Make the headline blue\nand bold")
    assert answer.status_code == 202
    thread, message = answer.json()["thread_id"], answer.json()["message_id"]
    assert answer.json() == {"thread_id": thread, "message_id": message, "sequence": 1}

    shown = site.client.get(f"/v1/threads/{thread}").json()
    assert (shown["title"], shown["branch"]) == ("Make the headline blue", f"thread-{thread}")
    assert [(m["text"], m["state"], m["outcome"]) for m in shown["messages"]] == [
        ("Make the headline blue\nand bold", "waiting", None)
    ]
    assert [e["type"] for e in site.events(thread)] == ["message.received", "worker.starting"]
    assert site.pointers() == [
        {"v": 1, "kind": "message", "thread_id": thread, "sequence": 1, "message_id": message}
    ]
    assert site.launcher.asked == [WORKER]


def test_the_worker_finds_its_row_its_binding_and_itself_in_the_list(site: Lab) -> None:
    site.post("hello")
    (row,) = site.items(f"worker#{WORKER}", "worker")
    assert records.WorkerRecord.read(row).repo == "example.invalid/site.git"
    (binding,) = site.items(f"worker#{WORKER}", "binding#")
    assert records.BindingRecord.read(binding).queue_url.endswith("/branchline-local-site-local")
    assert [i["sk"]["S"] for i in site.items(records.WORKERS, "local")] == [WORKER]


def test_a_thread_is_continued_by_its_id_at_either_address(site: Lab) -> None:
    assert site.post("one", thread_id="blue-headline").json()["sequence"] == 1
    assert site.post("two", thread="blue-headline").json()["sequence"] == 2
    assert site.post("three", thread_id="blue-headline").json()["sequence"] == 3
    listed = site.client.get("/v1/threads").json()["threads"]
    assert [(t["thread_id"], t["title"], t["last_sequence"]) for t in listed] == [("blue-headline", "one", 3)]


def test_a_message_for_an_unknown_thread_is_refused(site: Lab) -> None:
    before = site.count()
    answer = site.post("hello", thread="nobody-made-this")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_thread"
    assert site.count() == before


def test_the_same_message_again_answers_as_the_first_time_and_rings_again(site: Lab) -> None:
    first = site.post("once", message_id="m-1")
    again = site.post("once", message_id="m-1")
    assert (again.status_code, again.json()) == (202, first.json())
    assert len(site.pointers()) == 2
    assert len(site.client.get(f"/v1/threads/{first.json()['thread_id']}").json()["messages"]) == 1


def test_an_answered_message_again_rings_nobody(site: Lab) -> None:
    first = site.post("once", message_id="m-1").json()
    site.finish(first["thread_id"], 1)
    site.pointers()
    asked = len(site.launcher.asked)
    assert site.post("once", message_id="m-1").json() == first
    assert site.pointers() == []
    assert len(site.launcher.asked) == asked


def test_a_message_id_with_another_text_or_thread_is_refused(site: Lab) -> None:
    site.post("once", message_id="m-1", thread_id="a")
    other_text = site.post("twice", message_id="m-1", thread_id="a")
    other_thread = site.post("once", message_id="m-1", thread_id="b")
    assert (other_text.status_code, other_thread.status_code) == (409, 409)
    assert other_text.json()["error"]["code"] == "message_id_used"
    assert len(site.client.get("/v1/threads").json()["threads"]) == 1


async def test_fifty_posts_at_once_from_two_dispatchers_number_a_thread_without_gaps(
    site: Lab, tmp_path: Path
) -> None:
    site.post("first", thread_id="busy")
    with running_dispatcher(site.engine.url, account=site.account, cwd=tmp_path) as second:
        async with httpx.AsyncClient(timeout=60) as client:
            answers = await asyncio.gather(
                *(
                    client.post(f"{base}/v1/threads/busy/messages", json={"text": f"message {n}"})
                    for n, base in enumerate([site.dispatcher.url, second.url] * 25)
                )
            )
    assert {a.status_code for a in answers} == {202}
    assert sorted(a.json()["sequence"] for a in answers) == list(range(2, 52))
    events = site.events("busy")
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    received = [e["data"]["sequence"] for e in events if e["type"] == "message.received"]
    assert received == list(range(1, 52))


async def test_one_message_posted_many_times_at_once_is_one_record(site: Lab, tmp_path: Path) -> None:
    with running_dispatcher(site.engine.url, account=site.account, cwd=tmp_path) as second:
        async with httpx.AsyncClient(timeout=60) as client:
            answers = await asyncio.gather(
                *(
                    client.post(f"{base}/v1/threads", json={"text": "once", "message_id": "m-1"})
                    for base in [site.dispatcher.url, second.url] * 10
                )
            )
    assert {a.status_code for a in answers} == {202}
    assert len({a.text for a in answers}) == 1
    assert len(site.client.get("/v1/threads").json()["threads"]) == 1


def test_a_message_shows_its_outcome(site: Lab) -> None:
    thread = site.post("hello").json()["thread_id"]
    site.finish(thread, 1, outcome="failed")
    (message,) = site.client.get(f"/v1/threads/{thread}").json()["messages"]
    assert (message["state"], message["outcome"]) == ("failed", "failed")


TWO = """
[project.site]
repo = "example.invalid/site.git"
[project.shop]
client = "acme"
repo = "example.invalid/shop.git"
"""


def test_a_thread_stays_with_its_project(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "branchline.toml").write_text(TWO)
    with (
        running_launcher() as launcher,
        lab(engine, launcher, tmp_path, BRANCHLINE_REPO="", BRANCHLINE_PROJECT="") as site,
    ):
        missing = site.post("hello")
        assert (missing.status_code, missing.json()["error"]["code"]) == (400, "project_missing")
        unknown = site.post("hello", project="nope")
        assert unknown.status_code == 404
        assert "shop, site" in unknown.json()["error"]["message"]
        assert site.count() == 0

        assert site.post("hello", project="shop", thread_id="a").status_code == 202
        elsewhere = site.post("hello", project="site", thread_id="a")
        assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (
            409,
            "thread_of_another_project",
        )
        assert site.post("and on", thread_id="a").json()["sequence"] == 2
        assert site.post("and on", thread="a").json()["sequence"] == 3
        assert launcher.asked == ["acme-shop-local"] * 3

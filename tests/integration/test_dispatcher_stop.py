"""A stop names a sequence and ends nothing later."""

from collections.abc import Iterator

import pytest

from contracts import records
from contracts.words import ThreadId
from tests.fakes.dispatcher import running_launcher
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


def test_a_stop_names_what_it_will_end_and_nothing_later(site: Lab) -> None:
    ids = [site.post(f"{n}", thread_id="a").json()["message_id"] for n in range(3)]
    site.pointers()
    answer = site.client.post("/v1/threads/a/stop", json={"sequence": 2})
    assert answer.status_code == 202
    assert answer.json() == {"thread_id": "a", "sequence": 2, "stopping": ids[:2]}
    assert site.pointers() == [{"v": 1, "kind": "stop", "thread_id": "a", "sequence": 2}]


def stop_record(site: Lab, thread: str) -> records.StopRecord:
    (item,) = site.items(f"worker#{WORKER}", f"open#{thread}#stop")
    return records.StopRecord.read(item)


def test_a_stop_only_rises_and_never_reaches_beyond_the_last_message(site: Lab) -> None:
    for n in range(3):
        site.post(f"{n}", thread_id="a")
    assert site.client.post("/v1/threads/a/stop", json={"sequence": 99}).json()["sequence"] == 3
    site.client.post("/v1/threads/a/stop", json={"sequence": 1})
    assert stop_record(site, "a") == records.StopRecord(thread_id=ThreadId("a"), through=3)
    site.post("later", thread_id="a")
    assert site.client.post("/v1/threads/a/stop").json()["sequence"] == 4
    assert stop_record(site, "a").through == 4


def test_a_stop_with_nothing_open_changes_nothing(site: Lab) -> None:
    site.post("hello", thread_id="a")
    site.finish("a", 1)
    before = site.count()
    answer = site.client.post("/v1/threads/a/stop")
    assert (answer.status_code, answer.json()["stopping"]) == (200, [])
    assert site.count() == before


def test_a_stop_of_an_unknown_thread_is_refused(site: Lab) -> None:
    assert site.client.post("/v1/threads/nope/stop").status_code == 404
    assert site.client.post("/v1/threads/nope/stop", json={"sequence": 0}).status_code == 400

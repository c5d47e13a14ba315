"""F16: a message is as long as can be, longer than that, or its pointer on the queue cannot be read.

Expected: 256 KB are accepted and worked on; more is refused with a hint and nothing is recorded; an
unreadable pointer goes to the dead letters and no other message is affected.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contracts.messages import TEXT_LIMIT
from tests.fakes.dispatcher import running_dispatcher, running_launcher
from tests.fakes.engine import running_engine, wait_until
from tests.fakes.fleet_records import TABLE
from tests.integration.dispatcher_lab import Lab as Site
from tests.integration.dispatcher_lab import lab as dispatcher_lab
from tests.integration.worker_lab import Lab, worker_lab

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("site")
    with (
        running_engine(place / "engine") as engine,
        running_launcher() as launcher,
        dispatcher_lab(engine, launcher, place) as made,
    ):
        yield made


@pytest.fixture
def site(shared: Site) -> Site:
    shared.wipe()
    return shared


@pytest.mark.slow
def test_the_longest_message_is_worked_on_and_one_byte_more_is_refused(lab: Lab, tmp_path: Path) -> None:
    more = {"BRANCHLINE_TABLE": TABLE, "BRANCHLINE_REPO": str(lab.remote)}
    with (
        running_dispatcher(lab.found.url, account=lab.found.account, cwd=tmp_path, **more) as dispatcher,
        httpx.Client(base_url=dispatcher.url, timeout=30) as client,
    ):
        steps = "Read this\ndo: write a.txt one\ndo: say Read.\n"
        text = steps + "é" * ((TEXT_LIMIT - len(steps)) // 2) + "x" * ((TEXT_LIMIT - len(steps)) % 2)
        assert len(text.encode()) == TEXT_LIMIT
        refused = client.post("/v1/threads", json={"text": text + "x", "thread_id": "b"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "text_too_large")
        assert client.get("/v1/threads/b").status_code == 404
        accepted = client.post("/v1/threads", json={"text": text, "thread_id": "a", "message_id": "a-1"})
        assert accepted.status_code == 202
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    assert lab.tree("thread-a")["a.txt"].strip() == "one"
    asked = json.dumps(lab.model.requests[0].request.body["messages"], ensure_ascii=False)
    assert "é" * ((TEXT_LIMIT - len(steps)) // 2) in asked


@pytest.mark.slow
def test_unreadable_pointers_go_to_the_dead_letters_and_others_are_done(lab: Lab) -> None:
    dead = lab.found.sqs.create_queue(QueueName="dead")["QueueUrl"]
    shown = lab.found.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": shown["Attributes"]["QueueArn"], "maxReceiveCount": "2"}
    url = lab.found.bind("poisoned", RedrivePolicy=json.dumps(redrive))
    poison = ["{not json", '{"v": 2}', '{"kind": "message", "sequence": "many"}', "\u20ac" * 1000, "[]"]
    for body in poison:
        lab.found.sqs.send_message(QueueUrl=url, MessageBody=body)
    worker = lab.start()
    for sequence in (1, 2):
        lab.found.record("a", sequence, text=f"do: write a{sequence}.txt x")
        lab.found.send("a", sequence, queue_url=url)
    assert [lab.outcome("a", n) for n in (1, 2)] == ["completed", "completed"]
    wait_until(lambda: lab.found.waiting(queue_url=dead) == (len(poison), 0), seconds=40)
    wait_until(lambda: lab.found.waiting(queue_url=url) == (0, 0))
    assert worker.poll() is None
    assert '"poison"' in lab.logs()
    assert "not json" not in lab.logs()
    assert len(lab.events("a", "turn.completed")) == 2


@pytest.mark.slow
def test_a_pointer_to_a_message_that_does_not_exist_holds_nobody_up(lab: Lab) -> None:
    lab.found.send("ghost", 7)
    lab.start()
    lab.post("a", 1, "do: say Still here.")
    assert lab.outcome("a", 1) == "completed"
    wait_until(lambda: lab.found.waiting() == (0, 0))


@pytest.mark.parametrize("character", ["a", "\x01", "\n", '"', "é", "😀", "\u2028"])
def test_the_longest_text_is_kept_whatever_it_is_made_of(site: Site, character: str) -> None:
    text = "x" + character * ((TEXT_LIMIT - 1) // len(character.encode()))
    answer = site.post(text)
    assert answer.status_code == 202
    thread = answer.json()["thread_id"]
    assert site.client.get(f"/v1/threads/{thread}").json()["messages"][0]["text"] == text
    assert site.events(thread)[0]["data"]["text"] == text
    assert site.post(text + character).status_code == 413


def refused(site: Site, answer: httpx.Response, *, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, code)
    assert "256 KB" in answer.json()["error"]["message"]
    assert site.count() == 0
    assert site.pointers() == []


@pytest.mark.parametrize("address", ["/v1/threads", "/v1/threads/known/messages"])
@pytest.mark.parametrize(
    ("size", "code"), [(TEXT_LIMIT + 1, "text_too_large"), (2_000_000, "body_too_large")]
)
def test_a_text_that_is_too_long_is_refused_with_a_hint(
    site: Site, address: str, size: int, code: str
) -> None:
    answer = site.client.post(address, content=b'{"text": "' + b"a" * size + b'"}', headers=JSON)
    refused(site, answer, code=code)


def test_a_body_without_a_length_is_counted_while_it_arrives(site: Site) -> None:
    answer = site.client.post("/v1/threads", content=iter([b"x" * 65_536] * 40), headers=JSON)
    refused(site, answer, code="body_too_large")

"""Queues of the embedded engine, seen through the real client."""

import asyncio
import json
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from tests.fakes.engine import (
    EngineProcess,
    aws_client,
    client_options,
    fresh_account,
    running_engine,
    wait_until,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with running_engine(tmp_path_factory.mktemp("engine")) as process:
        yield process


@pytest.fixture
def account() -> str:
    return fresh_account()


@pytest.fixture
def sqs(engine: EngineProcess, account: str) -> Iterator[Any]:
    with aws_client("sqs", url=engine.url, account=account) as client:
        yield client


@pytest.fixture
async def async_sqs(engine: EngineProcess, account: str) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        options = client_options(url=engine.url, account=account)
        yield await stack.enter_async_context(aioboto3.Session().client("sqs", **options))


def queue_url(sqs: Any, name: str = "inbox", **attributes: str) -> str:
    return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def receive(sqs: Any, url: str, **options: Any) -> list[dict[str, Any]]:
    return list(sqs.receive_message(QueueUrl=url, **options).get("Messages", []))


def raw_bytes(*, engine: EngineProcess, account: str, action: str, body: bytes) -> bytes:
    head = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{engine.port}\r\nX-Amz-Target: AmazonSQS.{action}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/sqs/aws4_request\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def raw_request(*, engine: EngineProcess, account: str, action: str, body: bytes) -> socket.socket:
    """A request on a connection that the test can drop at will."""
    connection = socket.create_connection(("127.0.0.1", engine.port), timeout=10)
    connection.sendall(raw_bytes(engine=engine, account=account, action=action, body=body))
    return connection


def read_until(connection: socket.socket, end: bytes) -> None:
    received = b""
    while end not in received:
        part = connection.recv(65536)
        assert part, "the engine closed the connection"
        received += part


def raw_poll(*, engine: EngineProcess, account: str, url: str) -> socket.socket:
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
    return raw_request(engine=engine, account=account, action="ReceiveMessage", body=body)


async def test_a_pending_poll_returns_when_a_message_is_sent_not_at_the_end_of_its_wait(
    async_sqs: Any,
) -> None:
    url = (await async_sqs.create_queue(QueueName="inbox"))["QueueUrl"]
    pending = asyncio.create_task(async_sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
    other = (await async_sqs.create_queue(QueueName="other"))["QueueUrl"]
    marker = asyncio.create_task(async_sqs.receive_message(QueueUrl=other, WaitTimeSeconds=10))
    await async_sqs.send_message(QueueUrl=url, MessageBody="now")
    done, _ = await asyncio.wait({pending, marker}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {pending}
    assert pending.result()["Messages"][0]["Body"] == "now"
    await async_sqs.send_message(QueueUrl=other, MessageBody="end")
    await marker


async def test_one_message_wakes_many_polls_but_reaches_only_one(async_sqs: Any) -> None:
    url = (await async_sqs.create_queue(QueueName="inbox"))["QueueUrl"]
    polls = [
        asyncio.create_task(async_sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)) for _ in range(5)
    ]
    bodies: set[str] = set()
    for number in range(5):
        await async_sqs.send_message(QueueUrl=url, MessageBody=str(number))
    for poll in polls:
        bodies.update(message["Body"] for message in (await poll)["Messages"])
    assert bodies == {"0", "1", "2", "3", "4"}


async def test_a_poll_wakes_when_a_visibility_timeout_ends(async_sqs: Any) -> None:
    url = (await async_sqs.create_queue(QueueName="inbox"))["QueueUrl"]
    await async_sqs.send_message(QueueUrl=url, MessageBody="again")
    await async_sqs.receive_message(QueueUrl=url, VisibilityTimeout=1)
    second = await async_sqs.receive_message(
        QueueUrl=url, WaitTimeSeconds=20, MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )
    assert second["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "2"


async def test_a_poll_wakes_when_a_message_is_given_back(async_sqs: Any) -> None:
    url = (await async_sqs.create_queue(QueueName="inbox"))["QueueUrl"]
    await async_sqs.send_message(QueueUrl=url, MessageBody="back")
    [held] = (await async_sqs.receive_message(QueueUrl=url, VisibilityTimeout=600))["Messages"]
    pending = asyncio.create_task(async_sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
    await async_sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=0
    )
    assert (await pending)["Messages"][0]["MessageId"] == held["MessageId"]


async def test_a_delayed_message_arrives_during_the_poll_and_not_before(async_sqs: Any) -> None:
    url = (await async_sqs.create_queue(QueueName="inbox"))["QueueUrl"]
    await async_sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    assert "Messages" not in await async_sqs.receive_message(QueueUrl=url)
    assert (await async_sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))["Messages"][0][
        "Body"
    ] == "later"


def test_the_poll_of_a_client_that_died_takes_nothing(engine: EngineProcess, account: str, sqs: Any) -> None:
    url = queue_url(sqs)
    for number in range(10):
        ghosts = [raw_poll(engine=engine, account=account, url=url) for _ in range(3)]
        sqs.get_queue_attributes(QueueUrl=url)
        for ghost in ghosts:
            ghost.close()
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
        [message] = receive(sqs, url)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_a_death_and_a_send_that_reach_the_engine_in_the_same_instant_lose_nothing(
    engine: EngineProcess, account: str, sqs: Any
) -> None:
    url = queue_url(sqs)
    body = json.dumps({"QueueUrl": url, "MessageBody": "x"}).encode()
    request = raw_bytes(engine=engine, account=account, action="SendMessage", body=body)
    for _ in range(10):
        ghosts = [raw_poll(engine=engine, account=account, url=url) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", engine.port), timeout=10) as sender:
            sender.sendall(request[:-1])
            sqs.get_queue_attributes(QueueUrl=url)
            engine.process.send_signal(signal.SIGSTOP)
            sender.sendall(request[-1:])
            for ghost in ghosts:
                ghost.close()
            engine.process.send_signal(signal.SIGCONT)
            read_until(sender, b"MessageId")
        [message] = receive(sqs, url)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_a_message_received_too_often_moves_to_the_dead_letter_queue_and_wakes_its_poll(
    sqs: Any, engine: EngineProcess, account: str
) -> None:
    dead = queue_url(sqs, "dead")
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    url = queue_url(sqs, RedrivePolicy=policy)
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    found: list[dict[str, Any]] = []
    with aws_client("sqs", url=engine.url, account=account) as watcher:
        poll = threading.Thread(target=lambda: found.extend(receive(watcher, dead, WaitTimeSeconds=20)))
        poll.start()
        for _ in range(2):
            assert receive(sqs, url, VisibilityTimeout=0)
        wait_until(lambda: not receive(sqs, url) and found)
        poll.join()
    assert found[0]["Body"] == "poison"


def test_message_attributes_come_back_as_sent(sqs: Any) -> None:
    url = queue_url(sqs)
    sent = {
        "thread": {"DataType": "String", "StringValue": "t-1"},
        "n": {"DataType": "Number", "StringValue": "7"},
    }
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=sent)
    [message] = receive(sqs, url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == sent


@pytest.mark.parametrize("letter", ["x", "é", '"'])
def test_a_message_of_one_mebibyte_is_taken_and_one_byte_more_is_refused(sqs: Any, letter: str) -> None:
    url = queue_url(sqs)
    body = letter * ((1 << 20) // len(letter.encode()))
    sqs.send_message(QueueUrl=url, MessageBody=body)
    assert receive(sqs, url)[0]["Body"] == body
    with pytest.raises(ClientError, match="shorter than 1048576"):
        sqs.send_message(QueueUrl=url, MessageBody=body + "x")


def test_an_outdated_receipt_handle_is_accepted_but_deletes_nothing(sqs: Any) -> None:
    url = queue_url(sqs)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [first] = receive(sqs, url, VisibilityTimeout=0)
    [second] = receive(sqs, url, VisibilityTimeout=0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    entries = [{"Id": "a", "ReceiptHandle": first["ReceiptHandle"]}]
    assert sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"] == [{"Id": "a"}]
    assert receive(sqs, url, VisibilityTimeout=0)[0]["MessageId"] == second["MessageId"]


def test_the_newest_receipt_handle_deletes_even_after_its_visibility_ended(sqs: Any) -> None:
    url = queue_url(sqs)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = receive(sqs, url, VisibilityTimeout=0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert not receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_a_handle_that_was_never_given_out_is_refused(sqs: Any) -> None:
    with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
        sqs.delete_message(QueueUrl=queue_url(sqs), ReceiptHandle="made-up")


def test_a_visibility_that_has_ended_cannot_be_extended(sqs: Any) -> None:
    url = queue_url(sqs)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = receive(sqs, url, VisibilityTimeout=0)
    with pytest.raises(sqs.exceptions.MessageNotInflight):
        sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=30
        )


def test_queues_survive_kill_9_with_url_attributes_and_redrive(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, aws_client("sqs", url=engine.url, account="111122223333") as sqs:
        dead, gone = queue_url(sqs, "dead"), queue_url(sqs, "gone")
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        url = queue_url(sqs, VisibilityTimeout="77")
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
        sqs.delete_queue(QueueUrl=gone)
        engine.restart()
        assert sqs.get_queue_url(QueueName="inbox")["QueueUrl"] == url
        assert sorted(sqs.list_queues()["QueueUrls"]) == sorted([dead, url])
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["VisibilityTimeout"] == "77"
        sqs.send_message(QueueUrl=url, MessageBody="x")
        assert receive(sqs, url, VisibilityTimeout=0)
        assert not receive(sqs, url)
        assert receive(sqs, dead)


def test_a_queue_url_with_the_port_of_an_earlier_run_still_works(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        with aws_client("sqs", url=engine.url, account="111122223333") as sqs:
            stale = queue_url(sqs)
        engine.restart(port=0)
        with aws_client("sqs", url=engine.url, account="111122223333") as sqs:
            sqs.send_message(QueueUrl=stale, MessageBody="x")
            current = sqs.get_queue_url(QueueName="inbox")["QueueUrl"]
            assert current != stale
            assert receive(sqs, current)[0]["Body"] == "x"


def test_sigterm_ends_the_engine_with_code_0_while_a_poll_is_pending(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, aws_client("sqs", url=engine.url, account="111122223333") as sqs:
        url = queue_url(sqs)
        with raw_poll(engine=engine, account="111122223333", url=url):
            sqs.get_queue_attributes(QueueUrl=url)
            assert engine.stop() == 0
        assert engine.errors() == ""

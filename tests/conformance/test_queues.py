"""What the product relies on in SQS, asked with plain requests.

Where AWS leaves an outcome open (a delete with an outdated handle), every outcome it allows passes here, and
``test_unkind_wire.py`` shows that the product lives with each.
"""

import asyncio
import json
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import Made
from tests.conformance.engines import Engine
from worker.aws import passing

SERVICE = "sqs"
MIB = 1 << 20
COUNT = ["ApproximateReceiveCount"]


def receive(sqs: Any, url: str, **options: Any) -> list[dict[str, Any]]:
    """One receive. Waits a little unless told otherwise: AWS may overlook messages when it does not."""
    return list(sqs.receive_message(QueueUrl=url, **{"WaitTimeSeconds": 5, **options}).get("Messages", []))


def change(sqs: Any, url: str, message: dict[str, Any], seconds: int) -> None:
    sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
    )


def test_a_message_arrives_as_it_was_sent_and_is_gone_when_deleted(sqs: Any, made: Made) -> None:
    url, body = made.queue(), '{"v":1,"text":"Grüße \U0001f44b"}'
    sent = sqs.send_message(QueueUrl=url, MessageBody=body)
    [message] = receive(sqs, url, VisibilityTimeout=1)
    assert (message["Body"], message["MessageId"]) == (body, sent["MessageId"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert receive(sqs, url) == []


def test_one_receive_takes_up_to_ten_messages(sqs: Any, made: Made) -> None:
    url = made.queue()
    for number in range(12):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    found: list[str] = []
    while len(found) < 12:
        messages = receive(sqs, url, MaxNumberOfMessages=10, VisibilityTimeout=60)
        assert 0 < len(messages) <= 10
        found += [m["Body"] for m in messages]
    assert sorted(found, key=int) == [str(n) for n in range(12)]
    with pytest.raises(ClientError):
        receive(sqs, url, MaxNumberOfMessages=11)


async def test_a_pending_poll_returns_when_a_message_is_sent_and_not_at_the_end_of_its_wait(
    reached: Engine, made: Made
) -> None:
    url, other = made.queue(), made.queue()
    async with aioboto3.Session().client("sqs") as client:
        pending = asyncio.create_task(client.receive_message(QueueUrl=url, WaitTimeSeconds=20))
        marker = asyncio.create_task(client.receive_message(QueueUrl=other, WaitTimeSeconds=15))
        await asyncio.wait({pending, marker}, timeout=0.5)  # both are on their way
        await client.send_message(QueueUrl=url, MessageBody="now")
        done, _ = await asyncio.wait({pending, marker}, return_when=asyncio.FIRST_COMPLETED)
        assert done == {pending}
        assert [m["Body"] for m in pending.result()["Messages"]] == ["now"]
        await client.send_message(QueueUrl=other, MessageBody="end")
        await marker


def test_a_message_that_is_not_deleted_comes_again_and_its_receives_are_counted(sqs: Any, made: Made) -> None:
    url = made.queue(VisibilityTimeout="1")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [first] = receive(sqs, url, MessageSystemAttributeNames=COUNT)
    [again] = receive(sqs, url, WaitTimeSeconds=20, MessageSystemAttributeNames=COUNT)
    assert first["MessageId"] == again["MessageId"]
    assert [m["Attributes"]["ApproximateReceiveCount"] for m in (first, again)] == ["1", "2"]


def test_visibility_that_is_extended_keeps_the_message_away(sqs: Any, made: Made) -> None:
    url = made.queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = receive(sqs, url, VisibilityTimeout=4)
    change(sqs, url, message, 60)
    assert receive(sqs, url, WaitTimeSeconds=8) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_visibility_zero_gives_the_message_back_at_once(sqs: Any, made: Made) -> None:
    url = made.queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = receive(sqs, url, VisibilityTimeout=600)
    change(sqs, url, message, 0)
    [again] = receive(sqs, url, WaitTimeSeconds=20)
    assert again["MessageId"] == message["MessageId"]


def test_the_visibility_of_a_message_that_was_given_back_cannot_be_extended(
    sqs: Any, made: Made, engine: Engine
) -> None:
    url = made.queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = receive(sqs, url, VisibilityTimeout=600)
    change(sqs, url, message, 0)
    if engine.silent:
        change(sqs, url, message, 600)
    else:
        with pytest.raises(ClientError) as refused:
            change(sqs, url, message, 600)
        assert not passing(refused.value)
    assert len(receive(sqs, url, WaitTimeSeconds=20)) == 1


def test_the_visibility_of_a_message_that_was_deleted_is_refused_for_good(sqs: Any, made: Made) -> None:
    url = made.queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    with pytest.raises(ClientError) as refused:
        change(sqs, url, message, 60)
    assert not passing(refused.value)


def test_deleting_with_an_outdated_handle_succeeds_and_may_or_may_not_delete(sqs: Any, made: Made) -> None:
    url = made.queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [first] = receive(sqs, url, VisibilityTimeout=0)
    [second] = receive(sqs, url, VisibilityTimeout=0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    for third in receive(sqs, url, VisibilityTimeout=0):
        assert third["MessageId"] == second["MessageId"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])
        sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])  # a repeat is no error
    assert receive(sqs, url) == []


def test_a_handle_that_was_never_given_out_is_refused_for_good(sqs: Any, made: Made) -> None:
    with pytest.raises(ClientError) as refused:
        sqs.delete_message(QueueUrl=made.queue(), ReceiptHandle="made-up")
    assert not passing(refused.value)


def test_a_message_received_too_often_goes_to_the_dead_letters(sqs: Any, made: Made) -> None:
    dead = made.queue()
    policy = json.dumps({"deadLetterTargetArn": made.arn(dead), "maxReceiveCount": "2"})
    url = made.queue(RedrivePolicy=policy)
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(2):
        assert receive(sqs, url, VisibilityTimeout=0)
    assert receive(sqs, url) == []
    assert [m["Body"] for m in receive(sqs, dead, WaitTimeSeconds=20)] == ["poison"]


def test_making_a_queue_again_answers_with_the_one_that_is_there(sqs: Any, made: Made) -> None:
    url = made.queue(VisibilityTimeout="77")
    name = url.rpartition("/")[2]
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == url
    assert sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})["QueueUrl"] == url
    with pytest.raises(ClientError, match=r"QueueAlreadyExists|QueueNameExists"):
        sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "78"})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    assert shown["Attributes"] == {"VisibilityTimeout": "77"}


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_body_of_one_mebibyte_is_taken_and_one_byte_more_is_refused(
    sqs: Any, made: Made, letter: str
) -> None:
    url = made.queue()
    body = letter * (MIB // len(letter.encode()))
    sqs.send_message(QueueUrl=url, MessageBody=body)
    assert receive(sqs, url)[0]["Body"] == body
    with pytest.raises(ClientError) as refused:
        sqs.send_message(QueueUrl=url, MessageBody=body + "x")
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_waiting_longer_than_twenty_seconds_is_refused(sqs: Any, made: Made) -> None:
    with pytest.raises(ClientError) as refused:
        receive(sqs, made.queue(), WaitTimeSeconds=21)
    assert not passing(refused.value)


def test_a_queue_that_is_not_there_is_refused_for_good(sqs: Any, made: Made) -> None:
    url = made.queue()
    gone = url + "-gone"
    for attempt in (
        lambda: sqs.send_message(QueueUrl=gone, MessageBody="x"),
        lambda: receive(sqs, gone),
        lambda: sqs.delete_message(QueueUrl=gone, ReceiptHandle="x"),
    ):
        with pytest.raises(sqs.exceptions.QueueDoesNotExist) as refused:
            attempt()
        assert not passing(refused.value)

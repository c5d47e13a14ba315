"""The deployed asset as Lambda runs it: a process of its own with nothing else on its path, driven through
the Runtime API, before an engine. In pieces by the wrapper, in one piece by AWS's own client."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.places import REPLIES_DEAD, REPLIES_QUEUE
from fleet.standin.slack import BOT_TOKEN, SECRET, SlackStandIn, signed
from fleet.standin.slack_world import BOT_USER, TEAM
from tests.fakes.dispatcher import running_launcher
from tests.fakes.engine import aws_client, wait_until
from tests.fakes.lambda_events import http_event, rings_event, scheduled_event
from tests.fakes.runtime_api import FunctionError, LambdaFunction
from tests.integration.lambda_lab import BEARER, JSON, built, lambda_env, managed, streaming, unpacked

pytestmark = pytest.mark.slow
CHANNEL, ADA = "C0SITE", "U0ADA"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(built(tmp_path_factory.mktemp("asset")), tmp_path_factory.mktemp("unpacked"))


@pytest.fixture
def env(engine_url: str, account: str) -> dict[str, str]:
    return lambda_env(engine_url, account)


def post(text: str, *, thread: str = "t1") -> dict[str, Any]:
    body = json.dumps({"text": text, "thread_id": thread})
    return http_event("POST", "/v1/threads", body=body, headers={**JSON, **BEARER})


def read_log(thread: str = "t1", *, follow: bool = True) -> dict[str, Any]:
    query = "" if follow else "follow=false"
    return http_event("GET", f"/v1/threads/{thread}/events", query=query, headers=BEARER)


# ---------------------------------------------------------------- requests


def test_requests_are_answered_in_pieces_to_those_who_signed_in(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with streaming(folder, tmp_path=tmp_path, **env) as function:
        health = function.request(http_event("GET", "/healthz"))
        assert (health.status, health.json["status"]) == (200, "ok")
        assert health.answer.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
        assert health.answer.trailers == {}
        nobody = {k: v for k, v in post("hello")["headers"].items() if k != "authorization"}
        assert function.request({**post("hello"), "headers": nobody}).status == 401
        assert function.request(post("hello")).status == 202
        log = function.request(read_log(follow=False))
        assert b'"type":"message.received"' in log.body
        page = function.request(http_event("GET", "/", headers={"accept-encoding": "gzip"}))
        assert b"<html" in page.body
        assert "content-encoding" not in page.head["headers"]
        assert function.starts == 1
        assert function.refused == []


def test_a_reader_sees_what_happens_while_it_reads_and_is_let_go_before_the_time_is_over(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with (
        streaming(folder, tmp_path=tmp_path, seconds=15, **env) as reading,
        streaming(folder, tmp_path=tmp_path, **env) as posting,
    ):
        assert posting.request(post("first")).status == 202
        reader = reading.open(read_log())
        assert reader.head["headers"]["content-type"].startswith("text/event-stream")
        seen = next(reader.rest)
        while b'"text":"first"' not in seen:
            seen += next(reader.rest)
        assert not reader.answer.over.is_set(), "it stays connected"
        assert posting.request(post("second")).status == 202
        while b'"text":"second"' not in seen:
            seen += next(reader.rest)
        assert not reader.answer.over.is_set()
        for _ in reader.rest:
            pass  # until the function lets go: a time-out would raise
        assert reader.answer.trailers == {}
        assert reading.request(http_event("GET", "/healthz")).status == 200
        assert reading.starts == 1


def test_the_managed_runtime_answers_in_one_piece(folder: Path, env: dict[str, str]) -> None:
    with managed(folder, **env) as function:
        assert function.invoke({"branchline": "warm-up"}) == {"done": "warm-up"}
        assert function.invoke(post("hello"))["statusCode"] == 202
        log = function.invoke(read_log())
        assert '"type":"message.received"' in log["body"], "readers get what there is, and come back"
        assert function.starts == 1
        with pytest.raises(FunctionError, match="none of these") as refused:
            function.invoke({"Records": []})
        assert refused.value.told["errorType"] == "UnknownEvent"


# ---------------------------------------------------------------- replies


class Chat:
    """A workspace of Slack's stand-in whose app is the function, and the queue as Lambda reads it."""

    def __init__(self, slack: SlackStandIn, *, function: LambdaFunction, sqs: Any) -> None:
        self.slack, self.function, self.sqs = slack, function, sqs

    def says(self, text: str) -> Any:
        message, events = self.slack.says(channel=CHANNEL, user=ADA, text=text)
        for event in events:
            body = json.dumps(event)
            headers = {k.lower(): v for k, v in signed(body.encode()).items()}
            answer = self.function.request(
                http_event("POST", "/slack/events", body=body, headers={**JSON, **headers})
            )
            assert answer.status == 200, answer.body
        return message

    def url(self, name: str) -> str:
        return str(self.sqs.get_queue_url(QueueName=name)["QueueUrl"])

    def rings(self) -> list[dict[str, Any]]:
        """What is in the queue now, received as the event source does."""
        got = self.sqs.receive_message(
            QueueUrl=self.url(REPLIES_QUEUE),
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return list(got.get("Messages", []))

    def deliver(self) -> list[str]:
        """One batch to the function; what it settled is deleted. The ids that it wants again."""
        messages = self.rings()
        if not messages:
            return []
        event = rings_event(*(m["Body"] for m in messages))
        for record, message in zip(event["Records"], messages, strict=True):
            record["messageId"], record["receiptHandle"] = message["MessageId"], message["ReceiptHandle"]
            record["attributes"] = message["Attributes"]
        said = self.function.invoke(event)
        again = [failure["itemIdentifier"] for failure in said["batchItemFailures"]]
        for message in messages:
            if message["MessageId"] not in again:
                self.sqs.delete_message(
                    QueueUrl=self.url(REPLIES_QUEUE), ReceiptHandle=message["ReceiptHandle"]
                )
        return again


@contextmanager
def chat(folder: Path, *, env: dict[str, str], tmp_path: Path) -> Iterator[Chat]:
    file = tmp_path / "branchline.toml"
    file.write_text(
        f'[project.site]\nrepo = "https://github.com/acme/site.git"\nslack_channels = ["{TEAM}/{CHANNEL}"]\n'
        f'[user.ada]\nprojects = ["site"]\nslack = ["{TEAM}/{ADA}"]\n'
    )
    with SlackStandIn() as slack:
        slack.world.open(CHANNEL)
        more = {
            "BRANCHLINE_CONFIG": str(file),
            "BRANCHLINE_SLACK_API_URL": slack.url,
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SECRET,
        }
        endpoint = {"url": env["AWS_ENDPOINT_URL"], "account": env["AWS_ACCESS_KEY_ID"]}
        with (
            streaming(folder, tmp_path=tmp_path, **env, **more) as function,
            aws_client("sqs", **endpoint) as sqs,
        ):
            yield Chat(slack, function=function, sqs=sqs)


def test_rings_make_the_posts_and_the_sweep_rings_again_for_what_got_lost(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with chat(folder, env=env, tmp_path=tmp_path) as town:
        message = town.says(f"<@{BOT_USER}> make it blue")
        assert town.rings(), "the message rings"  # and its rings are lost: they are hidden for a minute
        assert town.slack.world.posts(CHANNEL, message.ts) == []
        assert town.function.invoke(scheduled_event()) == {"done": "sweep"}
        wait_until(lambda: town.deliver() == [] and town.slack.world.posts(CHANNEL, message.ts), seconds=30)
        (living,) = town.slack.world.posts(CHANNEL, message.ts)
        assert "Received" in living.shown()


def test_only_the_rings_that_were_not_answered_come_again(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with chat(folder, env=env, tmp_path=tmp_path) as town:
        town.says(f"<@{BOT_USER}> make it blue")
        town.sqs.send_message(QueueUrl=town.url(REPLIES_QUEUE), MessageBody="no pointer")
        again = wait_until(town.deliver, seconds=30)
        assert len(again) == 1, "the ring of the message is settled in the same batch"
        assert town.url(REPLIES_DEAD)


# ---------------------------------------------------------------- the sweep


def test_the_sweep_starts_a_worker_that_has_work_and_does_not_run(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with running_launcher() as launcher:
        more = {"BRANCHLINE_LAUNCHER_URL": launcher.url, "BRANCHLINE_LAUNCHER_TOKEN": launcher.token}
        with streaming(folder, tmp_path=tmp_path, **env, **more) as function:
            launcher.failing = True
            assert function.request(post("hello")).status == 202
            launcher.failing = False
            assert launcher.running == set()
            assert function.invoke({"branchline": "sweep"}) == {"done": "sweep"}
            assert launcher.running == {"local-site-local"}


# ---------------------------------------------------------------- what goes wrong


def test_an_event_of_no_known_kind_is_an_error_that_says_so(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with streaming(folder, tmp_path=tmp_path, **env) as function:
        with pytest.raises(FunctionError, match="It has Records: check what invokes") as refused:
            function.invoke({"Records": []})
        assert refused.value.kind == "Function.UnknownEvent"
        assert function.invoke({"branchline": "warm-up"}) == {"done": "warm-up"}
        assert function.starts == 1


def test_settings_of_no_use_are_told_before_the_first_event(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with streaming(folder, tmp_path=tmp_path, **{**env, "BRANCHLINE_LOGIN": "none"}) as function:
        with pytest.raises(FunctionError, match="set BRANCHLINE_LOGIN") as refused:
            function.invoke({"branchline": "warm-up"})
        assert refused.value.kind.startswith("Runtime.")


def test_after_a_crash_and_after_a_time_out_the_next_event_gets_a_new_process(
    folder: Path, env: dict[str, str], tmp_path: Path
) -> None:
    with streaming(folder, tmp_path=tmp_path, seconds=6, **env) as function:
        assert function.request(post("hello")).status == 202
        assert function.process is not None
        reader = function.open(read_log())
        os.kill(function.process.pid, signal.SIGKILL)
        with pytest.raises(FunctionError, match="ExitError"):
            list(reader.rest)
        assert function.request(read_log(follow=False)).status == 200
        os.kill(function.process.pid, signal.SIGSTOP)
        with pytest.raises(FunctionError, match="Timedout"):
            function.invoke({"branchline": "warm-up"})
        log = function.request(read_log(follow=False))
        assert b'"text":"hello"' in log.body
        assert function.starts == 3

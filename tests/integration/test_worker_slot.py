"""``python -m worker.slot`` as a process: it waits for its letter, puts up with IAM being late, becomes the
one worker it is told to be, and otherwise ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts import names, pool, records
from contracts.pool import Slot
from contracts.records import BindingRecord
from contracts.words import WorkerId
from tests.fakes.ecs import EcsWire, Refusal, ecs_wire
from tests.fakes.engine import REGION, aws_client, fresh_account, running_engine, wait_until

SLOT = Slot("slot_0123456789abcdef")
WORKER = WorkerId("acme-site-ada")
SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Lab:
    """An account with the table and the worker's queue, behind a wire that refuses when told to."""

    url: str
    wire: EcsWire
    account: str
    folder: Path

    def tell(self, **variables: str) -> None:
        """What the dispatcher writes."""
        with aws_client("dynamodb", url=self.url, account=self.account) as client:
            client.put_item(TableName="branchline", Item=pool.letter(SLOT, WORKER, variables=variables))

    @contextmanager
    def slot(self, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
        env = {
            **{k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ},
            "AWS_ENDPOINT_URL": self.wire.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "local",
            "BRANCHLINE_SLOT": SLOT,
            "BRANCHLINE_SLOT_LOOK_SECONDS": "0.05",
            "BRANCHLINE_SLOT_ASK_SECONDS": "0.05",
            "BRANCHLINE_ALIVE": str(self.folder / "alive"),
            "WORKSPACE_PATH": str(self.folder / "workspace"),
            **more,
        }
        with (self.folder / "log").open("wb") as log:
            argv = [sys.executable, "-m", "worker.slot"]
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def text(self) -> str:
        return (self.folder / "log").read_text()

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def actions(self) -> list[str]:
        return [entry["action"] for entry in self.said()]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


@pytest.fixture
def lab(url: str, tmp_path: Path) -> Iterator[Lab]:
    account = fresh_account()
    with aws_client("dynamodb", url=url, account=account) as client:
        client.create_table(TableName="branchline", **records.TABLE_SCHEMA)
        with aws_client("sqs", url=url, account=account) as sqs:
            queue = sqs.create_queue(QueueName=names.queue(WORKER))["QueueUrl"]
        binding = BindingRecord(name="main", queue_url=queue)
        client.put_item(TableName="branchline", Item=binding.write(records.binding_key(WORKER, binding.name)))
    with ecs_wire(url) as wire:
        yield Lab(url=url, wire=wire, account=account, folder=tmp_path)


def refused(action: str, **more: int) -> Refusal:
    return Refusal(action=action, code="AccessDeniedException", message="is not authorized", **more)


def test_it_waits_for_its_letter_and_runs_the_worker_that_it_names_in_its_own_place(lab: Lab) -> None:
    with lab.slot() as process:
        wait_until(lambda: "slot_waits" in lab.actions() and (lab.folder / "alive").exists(), seconds=SECONDS)
        assert process.poll() is None
        assert not (lab.folder / "workspace").exists(), "it holds no checkout and no folder of anybody's"
        lab.tell()
        # The worker has no row here, so that is the last thing it says.
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
    assert lab.actions()[:3] == ["slot_waits", "slot_told", "slot_becomes"]
    assert lab.said()[2]["worker"] == WORKER
    assert lab.actions()[-1] == "worker_stopped", lab.text()
    assert WORKER in lab.said()[-1]["reason"]


def test_the_worker_has_the_variables_that_the_letter_names(lab: Lab) -> None:
    lab.tell(BRANCHLINE_LEASE_SECONDS="0")
    with lab.slot() as process:
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
    assert process.returncode == 2
    assert "lease_seconds" in lab.text(), "the worker has read it, and refused it"


@pytest.mark.parametrize("action", ["GetItem", "Query", "GetQueueAttributes"])
def test_what_iam_does_not_show_yet_is_asked_for_again(lab: Lab, action: str) -> None:
    late = refused(action, times=4)
    lab.wire.refusals.append(late)
    lab.tell()
    with lab.slot() as process:
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
    assert late.times == 0
    assert "slot_becomes" in lab.actions(), lab.text()
    assert lab.actions().count("slot_not_answered") == 4


def test_being_let_in_once_is_not_enough(lab: Lab) -> None:
    lab.wire.refusals.append(refused("Query", times=1, spare=1))
    lab.tell()
    with lab.slot() as process:
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
    actions = lab.actions()
    assert actions.index("slot_not_answered") < actions.index("slot_becomes"), lab.text()


@pytest.mark.parametrize(
    ("action", "setting"),
    [("GetItem", "BRANCHLINE_SLOT_REFUSED_SECONDS"), ("Query", "BRANCHLINE_SLOT_SETTLE_SECONDS")],
)
def test_refused_for_too_long_it_ends_and_has_been_nobody(lab: Lab, action: str, setting: str) -> None:
    lab.wire.refusals.append(refused(action, times=10_000))
    lab.tell()
    with lab.slot(**{setting: "0.3"}) as process:
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
        assert process.returncode == 1
    assert lab.actions()[-1] == "slot_stopped"
    assert "slot_becomes" not in lab.actions()


def test_storage_that_is_away_for_a_while_ends_nothing(lab: Lab) -> None:
    lab.wire.refusals.append(
        Refusal(action="GetItem", code="InternalServerError", status=500, times=6, spare=1)
    )
    with lab.slot(BRANCHLINE_SLOT_REFUSED_SECONDS="0.01") as process:
        wait_until(lambda: "slot_not_answered" in lab.actions(), seconds=SECONDS)
        lab.tell()
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
    assert "slot_becomes" in lab.actions(), lab.text()


def test_asked_to_leave_it_leaves_at_once(lab: Lab) -> None:
    with lab.slot(BRANCHLINE_SLOT_LOOK_SECONDS="600") as process:
        wait_until(lambda: (lab.folder / "alive").exists(), seconds=SECONDS)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
        assert process.returncode == 0


@pytest.mark.parametrize("name", ["", "slot_*", "acme-site-ada", "slot_0123456789ABCDEF"])
def test_a_name_that_is_none_is_refused(lab: Lab, name: str) -> None:
    with lab.slot(BRANCHLINE_SLOT=name) as process:
        wait_until(lambda: process.poll() is not None, seconds=SECONDS)
        assert process.returncode == 2
    assert "slot" in lab.text()

"""Files with messages, through a real worker and the real Claude Code: read, named, missed, not committed."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import records
from contracts import uploads as keys
from contracts.messages import Upload
from contracts.uploads import UploadRecord
from contracts.words import Mode, ThreadId
from tests.fakes.engine import wait_until
from tests.fakes.fleet_records import TABLE
from tests.integration.worker_lab import Lab, worker_lab

pytestmark = pytest.mark.slow

WHERE = "$(dirname $(dirname $(dirname $PWD)))/.branchline"


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def upload(lab: Lab, name: str, content: bytes, *, seconds: int = 3600) -> Upload:
    """A file, in the records as the dispatcher writes it."""
    upload_id = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    parts = list(keys.pieces(content))
    for number, part in enumerate(parts):
        lab.found.put({**keys.piece_key(upload_id, number), "content": {"B": part}})
    record = UploadRecord(
        upload_id=upload_id,
        name=name,
        type="text/plain",
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        pieces=len(parts),
        owner="local",
        expires=int(time.time()) + seconds,
    )
    lab.found.put(record.write(keys.upload_key(upload_id)))
    return record.upload()


def post(lab: Lab, sequence: int, text: str, *files: Upload, mode: Mode = Mode.QUEUE) -> None:
    """Record and send a message that carries files."""
    lab.found.record("a", sequence, text=text, mode=mode)
    key = records.message_key(lab.found.worker, ThreadId("a"), sequence)
    lab.found.dynamodb.update_item(
        TableName=TABLE,
        Key=key,
        UpdateExpression="SET uploads = :u",
        ExpressionAttributeValues=records.encode({":u": [f.model_dump() for f in files]}),
    )
    lab.found.send("a", sequence)


def outputs(lab: Lab) -> str:
    return "\n".join(d.output for d in lab.data("a", "turn.tool"))


def laid(lab: Lab) -> list[Path]:
    return sorted(p for p in lab.workspace.glob(".branchline/*/uploads/**/*") if p.is_file())


def test_a_turn_reads_its_files_commits_none_and_names_what_is_gone(lab: Lab) -> None:
    content = b"the canary is yellow\n" * 30_000
    there = upload(lab, "../../checkout/Größe.txt", content)
    gone = upload(lab, "gone.txt", b"x", seconds=-1)
    text = f"Look at it\ndo: bash head -c 20 {WHERE}/*/uploads/a/*/*\ndo: bash git status --porcelain"
    post(lab, 1, text, there, gone)
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    asked = lab.model.requests[0].text
    assert asked.startswith(text)
    (path,) = laid(lab)
    assert path.read_bytes() == content
    assert str(path) in asked
    assert '- "gone.txt", text/plain, 1 bytes' in asked
    assert "the canary is yellow" in outputs(lab)
    (final,) = lab.data("a", "turn.completed")
    assert final.changed is False
    assert "gone.txt" in final.problem


def test_a_turn_that_goes_on_elsewhere_finds_its_files_there(lab: Lab) -> None:
    go = lab.folder / "go"
    step = f"do: bash cat {WHERE}/*/uploads/a/*/*"
    post(lab, 1, f"Look\ndo: wait {go}\n{step}", upload(lab, "n.txt", b"the canary is yellow\n"))
    first = lab.start()
    lab.wait_for("a", "turn.text")
    first.kill()
    first.wait()
    shutil.rmtree(lab.workspace)
    go.touch()
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    assert "the canary is yellow" in outputs(lab)
    assert len(laid(lab)) == 1


def test_a_message_that_steers_brings_its_files_into_the_running_turn(lab: Lab) -> None:
    go = lab.folder / "go"
    lab.start()
    post(lab, 1, f"Begin\ndo: bash while [ ! -e {go} ]; do nice sleep 0.05; done\ndo: say One.")
    lab.wait_for("a", "turn.tool")
    step = f"do: bash cat {WHERE}/*/uploads/a/*/*"
    post(lab, 2, f"And this\n{step}", upload(lab, "n.txt", b"the canary is yellow\n"), mode=Mode.STEER)
    wait_until(lambda: laid(lab))
    go.touch()
    assert lab.outcome("a", 2) == "completed"
    assert "the canary is yellow" in outputs(lab)

"""F7: SQS and DynamoDB are gone for a minute (killed, frozen, unable to start), under a whole fleet.

Nothing that was accepted is lost or doubled, what cannot be accepted is refused with 503, a running turn goes
on while its lease lasts, nobody floods a log, and 15 s after the end of the outage everybody works again. The
15 s are printed, and asserted with ``BRANCHLINE_STRICT=1`` on a machine that has nothing else to do.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import httpx
import pytest

from tests.acceptance.fleet import Fleet
from tests.chaos.places import write_wrapper
from tests.fakes.engine import engine_python, running_engine, wait_until
from tests.faults.lab import answered_once, fault_lab, until_there
from tests.integration.worker_lab import bare_remote

pytestmark = pytest.mark.slow

PATIENCE = 15.0 if os.environ.get("BRANCHLINE_STRICT") == "1" else 60.0
LINE_SECONDS = 5.0
FINAL = {"turn.completed", "turn.stopped", "turn.failed", "turn.rejected"}
ENGINE = """#!/bin/sh
# The engine's interpreter. While the file is there the engine is slow to come back, or cannot be started.
while [ -e '{held}' ]; do
  read -r how < '{held}'
  [ "$how" = broken ] && exit 1
  sleep 0.05
done
exec '{python}' "$@"
"""


class OutageFleet(Fleet):
    """A fleet with the fake Claude Code, whose engine can be taken away and given back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            repo=bare_remote(folder),
            ANTHROPIC_BASE_URL="http://127.0.0.1:9",
            ANTHROPIC_API_KEY="not-a-key",
            BRANCHLINE_CLI_PATH=str(write_wrapper(folder / "claude")),
        )
        self.held = folder / "held"
        venv = self.home / "engine-venv"
        venv.unlink()
        (venv / "bin").mkdir(parents=True)
        python = venv / "bin" / "python"
        python.write_text(ENGINE.format(held=self.held, python=engine_python()))
        python.chmod(0o755)

    def pids(self, words: str) -> list[int]:
        """Processes of the fleet with this in their command line."""
        found = []
        for pid in self.left():
            with suppress(OSError):  # it has just ended
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                found += [pid] if words.encode() in line else []
        return sorted(found)

    def break_engine(self, how: str) -> None:
        (engine,) = self.pids("fleet/engine/main.py")
        if how == "frozen":
            os.kill(engine, signal.SIGSTOP)
        else:
            self.held.write_text(f"{how}\n")
            os.kill(engine, signal.SIGKILL)

    def mend_engine(self, how: str) -> None:
        if how == "frozen":
            (engine,) = self.pids("fleet/engine/main.py")
            os.kill(engine, signal.SIGCONT)
        else:
            self.held.unlink()

    def accepts(self, message: str, *, thread: str, text: str) -> bool:
        """Post a message; the same again is the same message. False while the fleet says 503 or nothing."""
        body = {"thread_id": thread, "text": text, "message_id": message}
        try:
            answer = self.api.post("/v1/threads", json=body, timeout=2)
        except httpx.TimeoutException:
            return False
        assert answer.status_code in (202, 503), answer.text
        return answer.status_code == 202

    def told(self, thread: str, type_: str) -> int:
        """How often the log says this; 0 while it cannot be read."""
        try:
            return len(self.events(thread, type_))
        except httpx.HTTPError:
            return 0

    def log_ends(self) -> dict[Path, int]:
        """Where each log ends now."""
        found = [*(self.home / "logs").glob("*.log"), self.folder / "up.log"]
        return {path: path.stat().st_size for path in found}


def causes(path: Path, *, start: int, end: int) -> Counter[str]:
    """What the lines between two places of a log are about."""
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read(end - start).decode(errors="replace").splitlines()
    return Counter(_cause(line) for line in lines)


def _cause(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return " ".join(line.split()[:2])
    return str(entry.get("action") or entry.get("event"))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OutageFleet]:
    made = OutageFleet(tmp_path)
    try:
        made.up()
        yield made
    finally:
        made.held.unlink(missing_ok=True)
        made.close()


@contextmanager
def outage(
    fleet: OutageFleet, capsys: pytest.CaptureFixture[str], *, how: str, seconds: float
) -> Iterator[None]:
    """The engine is gone during the block and until ``seconds`` have passed; logs stay short meanwhile."""
    before, began = fleet.log_ends(), monotonic()
    fleet.break_engine(how)
    yield
    wait_until(lambda: monotonic() >= began + seconds, seconds=seconds + 10)
    gone = monotonic() - began
    after = fleet.log_ends()
    fleet.mend_engine(how)
    for path, end in after.items():
        for cause, count in causes(path, start=before.get(path, 0), end=end).items():
            # The first repeats of a back-off come faster; they are few.
            assert count <= 3 + gone / LINE_SECONDS, (path.name, cause, count, gone)
            with capsys.disabled():
                print(f"\n{path.name}: {count} times {cause}", end="")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["killed", "frozen", "broken"])
@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.chaos)])
def test_a_fleet_loses_nothing_and_works_again(
    fleet: OutageFleet, capsys: pytest.CaptureFixture[str], how: str, seconds: float
) -> None:
    go = fleet.folder / "go"
    first = f"do: write a.txt one\n{until_there(go)}\ndo: write a2.txt two"
    wait_until(lambda: fleet.accepts("a-1", thread="a", text=first))
    wait_until(lambda: fleet.accepts("a-2", thread="a", text="do: write a3.txt three"))
    fleet.wait_for("a", "turn.tool", count=3)
    workers = fleet.pids("-m worker")
    with outage(fleet, capsys, how=how, seconds=seconds):
        assert not fleet.accepts("b-1", thread="b", text="do: write b.txt bee")
    back = monotonic()
    wait_until(lambda: fleet.accepts("b-1", thread="b", text="do: write b.txt bee"), seconds=PATIENCE)
    accepted = monotonic() - back
    wait_until(lambda: fleet.told("b", "turn.started"), seconds=PATIENCE - accepted)
    with capsys.disabled():
        working = monotonic() - back
        print(f"\n{how} for {seconds} s: accepts after {accepted:.1f} s, works after {working:.1f} s")
    go.touch()
    for message in ("a-1", "a-2", "b-1"):
        assert fleet.final(message[0], message)["type"] == "turn.completed"
    for thread, count in (("a", 2), ("b", 1)):
        log = fleet.events(thread)
        assert [e["id"] for e in log] == list(range(1, len(log) + 1))
        assert len([e for e in log if e["type"] in FINAL]) == count
        assert len([c for c in fleet.commits(f"thread-{thread}") if "Branchline-Message:" in c]) == count
    assert fleet.tree("thread-a").keys() >= {"a.txt", "a2.txt", "a3.txt"}
    assert fleet.tree("thread-b")["b.txt"] == "bee"
    if seconds < 10:  # shorter than the lease: the turn that ran was not hurt
        assert fleet.pids("-m worker") == workers
        assert {e["data"]["reason"] for e in fleet.events("a", "turn.resumed")} <= {"preempted"}


def test_a_worker_goes_on_through_an_outage_that_is_shorter_than_its_lease(
    tmp_path: Path, account: str
) -> None:
    with running_engine(tmp_path / "engine") as engine:
        with fault_lab(engine_url=engine.url, account=account, folder=tmp_path / "lab") as lab:
            worker = lab.begin(BRANCHLINE_LEASE_SECONDS="60")
            go = tmp_path / "go"
            lab.post("a", 1, f"do: write a.txt one\n{until_there(go)}\ndo: write b.txt two\ndo: say Through.")
            lab.wait_for("a", "turn.tool", count=3)
            engine.kill9()
            go.touch()
            wait_until(lambda: (lab.checkout() / "b.txt").exists())
            wait_until(lambda: "records_out_of_reach" in lab.logs(), seconds=60)
            wait_until(lambda: "receive_failed" in lab.logs(), seconds=60)
            engine.restart()
            answered_once(lab, "a", 1)
            assert worker.poll() is None
            assert lab.events("a", "turn.interrupted") == lab.events("a", "turn.resumed") == []
            assert lab.data("a", "turn.completed")[0].text == "Through."


def test_a_worker_cut_off_for_longer_than_its_lease_leaves_to_be_started_again_and_nothing_is_lost(
    tmp_path: Path, account: str
) -> None:
    with running_engine(tmp_path / "engine") as engine:
        with fault_lab(engine_url=engine.url, account=account, folder=tmp_path / "lab") as lab:
            cut_off = lab.begin(real=True)
            go = tmp_path / "go"
            lab.post("a", 1, f"do: write a.txt one\ndo: wait {go}\ndo: write b.txt two")
            lab.wait_for("a", "turn.tool", count=2)
            engine.process.send_signal(signal.SIGSTOP)
            assert cut_off.wait(timeout=60) == 1
            wait_until(lambda: not lab.marked())
            engine.process.send_signal(signal.SIGCONT)
            go.touch()
            lab.begin(real=True)
            answered_once(lab, "a", 1)
            assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}

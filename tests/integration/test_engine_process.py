"""How the embedded engine starts and ends as a process."""

import subprocess
from pathlib import Path

import pytest

from tests.fakes.engine import MAIN, engine_python, running_engine, start_engine, wait_until


def test_a_second_engine_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with running_engine(tmp_path):
        with pytest.raises(RuntimeError, match="Another engine uses"):
            start_engine(tmp_path)


def test_a_taken_port_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with running_engine(tmp_path / "a") as engine:
        with pytest.raises(RuntimeError, match=f"port {engine.port} is taken"):
            start_engine(tmp_path / "b", engine.port)


def test_the_engine_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import os,subprocess,sys;"
        "p=subprocess.Popen([*sys.argv[1:],'--parent-pid',str(os.getpid())],stdout=subprocess.PIPE);"
        "p.stdout.readline();print(p.pid,flush=True);os.kill(os.getpid(),9)"
    )
    python = str(engine_python())
    arguments = [python, "-c", script, python, str(MAIN), "--state", str(tmp_path)]
    parent = subprocess.run(arguments, capture_output=True, text=True)
    orphan = int(parent.stdout)
    wait_until(lambda: not is_alive(orphan))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"

"""The worker's side of the spawner: processes, calls, sweeps and files with two owners, as the agent."""

import json
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.container.walls import AGENT, ROOT, Walls, walls
from tests.fakes.engine import wait_until


@pytest.fixture
def place() -> Iterator[Walls]:
    """Served for root, who then stands for the worker: this very test may ask."""
    with walls() as made:
        made.worker = 0
        for folder in ("container", "worker"):
            (made.folder / folder).mkdir()
        for name in ("container/__init__", "container/as_agent", "worker/__init__", "worker/processes",
                     "worker/spawning"):  # fmt: skip
            shutil.copy(ROOT / f"{name}.py", made.folder / f"{name}.py")
        made.serve("sleep", "1000")
        yield made


def inside(place: Walls, code: str, **env: str) -> Any:
    """Run code as the worker would, with the seam at hand; what it assigns to ``said``."""
    whole = "import json, os, subprocess, sys\nfrom pathlib import Path\nfrom worker import spawning\n"
    whole += textwrap.dedent(code) + "\nprint(json.dumps(said))"
    done = subprocess.run(
        [place.python, "-c", whole], cwd=place.folder, capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "BRANCHLINE_SPAWNER": str(place.socket), **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _is_shell(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sh\0")
    except OSError:
        return False


def test_a_program_gets_its_input_and_both_streams_come_back_whole(place: Walls) -> None:
    code = """
        script = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d); "
        script += "sys.stderr.buffer.write(d)"
        made = spawning.Process([sys.executable, "-c", script], cwd=Path("/"), env=spawning.environment({}))
        data = os.urandom(3_000_000)
        out, err = made.communicate(data, timeout=30)
        said = [out == data, err == data, made.returncode, made.poll()]
    """
    assert inside(place, code) == [True, True, 0, 0]


def test_a_program_that_takes_too_long_can_be_killed_and_asked_again(place: Walls) -> None:
    code = """
        argv = ["sh", "-c", "echo first; exec sleep 1000"]
        made = spawning.Process(argv, cwd=Path("/"), env={"PATH": "/bin"})
        try:
            made.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            made.kill()
        said = [made.communicate()[0].decode(), made.returncode]
    """
    assert inside(place, code) == ["first\n", -9]


def test_a_function_is_called_as_the_agent_and_its_errors_come_back(place: Walls) -> None:
    code = """
        said = [spawning.call(os.getuid), os.getuid()]
        try:
            spawning.call(os.unlink, Path("/etc/hostname"))
        except PermissionError as error:
            said.append(error.filename)
    """
    assert inside(place, code) == [AGENT, 0, "/etc/hostname"]


def test_nothing_of_the_workers_environment_goes_along(place: Walls) -> None:
    code = "said = spawning.run('env').decode()"
    said = inside(place, code, AWS_SECRET_ACCESS_KEY="secret", GITHUB_TOKEN="secret")
    assert "secret" not in said
    assert "BRANCHLINE_HAND=1" in said


def test_the_agents_home_is_not_the_workers(place: Walls) -> None:
    code = """
        from worker import preview_process
        told = dict(own=os.environ, marker="m", bin_dir=None, port=1, host="h")
        said = [spawning.environment({}).get("HOME"), preview_process.environment(**told).get("HOME")]
    """
    for name in ("preview_process", "redact", "redact_needles", "redact_shapes"):
        shutil.copy(ROOT / "worker" / f"{name}.py", place.folder / "worker" / f"{name}.py")
    assert inside(place, code, HOME="/run/branchline") == ["/tmp", "/tmp"]
    assert inside(place, code, HOME="/home/me", BRANCHLINE_SPAWNER="") == ["/home/me", "/home/me"]


def test_what_the_agent_has_closed_is_opened_but_not_what_others_own(place: Walls) -> None:
    closed = "mkdir -m 700 -p a/b node_modules/c; echo x > a/b/f; chmod 400 a/b/f; chmod 700 node_modules"
    ask = place.ask("sh", "-c", closed, uid=0)
    ask.communicate(timeout=30)
    mine = place.shared / "mine"
    mine.write_text("the worker's")
    mine.chmod(0o600)
    inside(place, f"said = spawning.open_up(Path({str(place.shared)!r}))")
    modes = {str(p.relative_to(place.shared)): oct(p.stat().st_mode & 0o777) for p in place.shared.rglob("*")}
    assert (modes["a"], modes["a/b"], modes["a/b/f"]) == ("0o770", "0o770", "0o460")
    assert (modes["node_modules"], modes["mine"]) == ("0o700", "0o600")


def test_a_sweep_kills_the_agents_strays_and_spares_the_preview_and_the_workers_own(place: Walls) -> None:
    marks = {name: uuid4().hex for name in ("turn", "empty", "other", "preview", "hand")}

    def begin(name: str, *words: str) -> None:
        # In a session of its own, so that only the sweep can be what ends it.
        program = ["env", "-i", *words, "sh", "-c", "sleep 1000; :", marks[name]]
        place.ask("bash", "-c", 'setsid "$@" & exec sleep 1000', "bash", *program, uid=0)

    begin("turn", "PATH=/bin", "BRANCHLINE_TURN=t")
    begin("empty", "-u", "PATH")
    begin("other", "PATH=/bin")
    begin("preview", "PATH=/bin", "BRANCHLINE_PREVIEW=p")
    begin("hand", "PATH=/bin", "BRANCHLINE_HAND=1")
    # The programs that lead there carry the word, too, and not yet the environment.
    wait_until(lambda: all(any(map(_is_shell, place.alive(mark))) for mark in marks.values()), seconds=30)
    inside(place, "said = spawning.sweep(name='BRANCHLINE_TURN', value='t').left")
    left = {name for name, mark in marks.items() if any(map(_is_shell, place.alive(mark)))}
    assert left == {"preview", "hand"}
    assert inside(place, "said = spawning.sweep_marked(name='BRANCHLINE_PREVIEW', value='p')") == 2
    assert not any(map(_is_shell, place.alive(marks["preview"])))


def test_without_a_spawner_everything_is_done_by_the_worker_itself(place: Walls) -> None:
    code = """
        said = [spawning.prefix(), spawning.call(os.getuid), spawning.open_up(Path("/nowhere")),
                type(spawning.guard(name="A", value="b")).__name__]
    """
    assert inside(place, code, BRANCHLINE_SPAWNER="") == [[], 0, None, "Guard"]

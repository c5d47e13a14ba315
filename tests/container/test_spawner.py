"""The spawner starts what the worker asks for as another user, and nothing outlives what it belongs to."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from container import spawner
from tests.container.walls import AGENT, PATH, SITE, WORKER, Walls, connected, walls
from tests.fakes.engine import wait_until


@pytest.fixture
def place() -> Iterator[Walls]:
    with walls() as made:
        yield made


@pytest.fixture
def served(place: Walls) -> Walls:
    place.serve("sleep", "1000", SECRET="of the worker")
    return place


def _output(served: Walls, *argv: str, **env: str) -> str:
    process = served.ask(*argv, env={"PATH": PATH, **env})
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out.decode()


def test_a_program_runs_as_the_agent_with_what_it_was_given_and_no_more(served: Walls) -> None:
    script = (
        "id -u; id -g; id -G; umask; pwd; grep -c SECRET /proc/self/environ; grep CapEff /proc/self/status"
    )
    lines = _output(served, "sh", "-c", f"{script}; true", GIVEN="yes").split("\n")
    assert lines[:6] == [str(AGENT), str(SITE), str(SITE), "0007", str(served.shared), "0"]
    assert lines[6].split() == ["CapEff:", "0" * 16]


def test_streams_and_further_descriptors_are_handed_over(served: Walls) -> None:
    (served.shared / "five").write_text("from five\n")
    opening = ["sh", "-c", 'exec "$@" 5<five', "sh", *served.argv("sh", "-c", "cat; cat <&5; echo wrong >&2")]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        opening, user=WORKER, group=WORKER, cwd=served.shared, stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = process.communicate(b"typed\n", timeout=30)
    assert (out, err, process.returncode) == (b"typed\nfrom five\n", b"wrong\n", 0)


def test_no_descriptor_of_the_spawner_is_open_in_what_it_starts(served: Walls) -> None:
    assert _output(served, "sh", "-c", "ls /proc/$$/fd").split() == ["0", "1", "2"]


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", -9), ("kill -15 $$", -15)])
def test_the_exit_status_is_the_programs(served: Walls, script: str, status: int) -> None:
    process = served.ask("sh", "-c", script)
    process.communicate(timeout=30)
    assert process.returncode == status


def test_a_signal_to_the_client_reaches_the_program(served: Walls) -> None:
    process = served.ask("sh", "-c", "trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.01; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert (process.stdout.read(), process.wait(timeout=30)) == (b"heard\n", 3)


def test_a_client_that_is_killed_takes_the_whole_session_along(served: Walls) -> None:
    mark = uuid4().hex
    script = "trap '' TERM HUP; sh -c 'sleep 1000; :' $0 & set -m; sh -c 'sleep 1000; :' $0 & wait"
    process = served.ask("bash", "-c", script, mark)  # with -m each has a process group of its own
    wait_until(lambda: len(served.alive(mark)) == 4)  # the client among them
    process.kill()
    process.wait()
    wait_until(lambda: not served.alive(mark))


def test_what_a_program_leaves_behind_in_its_session_ends_with_it(served: Walls) -> None:
    mark = uuid4().hex
    process = served.ask("sh", "-c", "sh -c 'sleep 1000; :' $0 & exit 4", mark)
    out, _ = process.communicate(timeout=30)  # returns only when nobody holds the pipe
    assert (out, process.returncode) == (b"", 4)
    assert not served.alive(mark)


def test_a_program_that_cannot_be_started_is_said_to_be(served: Walls) -> None:
    process = served.ask("no-such-program")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 125
    assert b"no-such-program cannot be started: No such file or directory" in err


def test_a_container_without_room_for_a_process_refuses_and_goes_on(place: Walls) -> None:
    """Claude Code can fill the container's limit of processes; that must not end it."""
    spawner = place.serve("sleep", "1000")
    place.worker_pid()
    # For root the kernel counts no processes; a limit of descriptors fails in the same place.
    limits = resource.prlimit(spawner.pid, resource.RLIMIT_NOFILE)
    held = len(list(Path(f"/proc/{spawner.pid}/fd").iterdir()))
    resource.prlimit(spawner.pid, resource.RLIMIT_NOFILE, (held + 4, limits[1]))  # the line and three streams
    process = place.ask("true")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 125
    assert b"cannot be started: Too many open files" in err
    assert spawner.poll() is None
    resource.prlimit(spawner.pid, resource.RLIMIT_NOFILE, limits)
    assert _output(place, "echo", "again") == "again\n"


def test_a_fork_that_fails_is_a_refusal(place: Walls) -> None:
    """Run as a user of its own, whose processes the kernel counts."""
    code = (
        "import os, resource, sys\nsys.path.insert(0, sys.argv[1])\nimport spawner\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
        "request = spawner.Request(argv=('true',), env={}, cwd='/', files=(0, 1, 2))\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "try: spawner.start(request, who=spawner.Who(uid=1, gid=1), files={0: 0, 1: 1, 2: 2})\n"
        "except spawner.Refused as problem: print(problem, len(os.listdir('/proc/self/fd')) - before)\n"
    )
    done = subprocess.run(
        [place.python, "-I", "-c", code, str(place.folder)], user=AGENT, capture_output=True, text=True
    )
    assert done.stdout == "Resource temporarily unavailable 0\n", done.stderr


def test_a_folder_that_the_agent_may_not_enter_is_an_error(served: Walls) -> None:
    closed = served.shared / "closed"
    closed.mkdir(mode=0o700)
    os.chown(closed, WORKER, WORKER)
    process = subprocess.Popen(
        served.argv("true"), user=WORKER, group=WORKER, cwd=closed, stderr=subprocess.PIPE
    )
    assert b"Permission denied" in process.communicate(timeout=30)[1]


def test_only_the_workers_user_is_served(served: Walls) -> None:
    with connected(served.socket) as line:  # root may enter, and is no worker
        assert json.loads(line.makefile().readline()) == {"error": "only the worker may ask"}
    refused = served.ask("true", uid=AGENT)
    assert b"Permission denied" in refused.communicate(timeout=30)[1]


def test_a_request_that_is_too_large_is_refused(served: Walls) -> None:
    answer = served.raw(b"x" * (spawner.MOST_BYTES + 1))
    assert answer == {"error": f"a request has at most {spawner.MOST_BYTES} bytes"}
    assert _output(served, "echo", "x" * 100_000).strip() == "x" * 100_000


@pytest.mark.parametrize(
    "asked",
    [
        b"no json\n",
        b'{"argv": ["id"], "env": {}, "cwd": "/", "files": [0, 1, 2], "uid": 0}\n',
        b'{"argv": ["id"], "env": {}, "cwd": "/", "files": [0, 1, 2]}\n',
        b'{"argv": [], "env": {}, "cwd": "/", "files": []}\n',
        b'{"argv": ["a\\u0000b"], "env": {}, "cwd": "/", "files": []}\n',
    ],
)
def test_a_request_that_is_not_one_is_refused_and_the_next_is_served(served: Walls, asked: bytes) -> None:
    assert "error" in served.raw(asked)
    assert _output(served, "echo", "still there").strip() == "still there"


def test_no_more_than_so_many_run_at_once(served: Walls) -> None:
    many = [served.ask("sh", "-c", "echo up; cat") for _ in range(spawner.MOST_AT_ONCE)]
    for each in many:
        assert each.stdout is not None
        assert each.stdout.readline() == b"up\n"
    _, err = served.ask("true").communicate(timeout=30)
    assert b"64 processes run already" in err
    for each in many:
        each.communicate(timeout=30)
    assert _output(served, "echo", "room again").strip() == "room again"


def test_orphans_are_reaped(served: Walls) -> None:
    _output(served, "sh", "-c", "(setsid true &); (setsid sleep 0.01 &)")
    assert served.process is not None
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 1)  # the worker alone


def test_sigterm_is_forwarded_and_the_workers_status_is_the_containers(place: Walls) -> None:
    ready = place.shared / "ready"
    script = f"trap 'exit 42' TERM; touch {ready}; while :; do sleep 0.01; done"
    process = place.serve("sh", "-c", script)
    wait_until(ready.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 42


def test_a_worker_killed_by_a_signal_ends_the_container_and_everything_in_it(place: Walls) -> None:
    mark = uuid4().hex
    process = place.serve("sleep", "1000")
    asked = place.ask(
        "sh", "-c", "setsid setsid sh -c 'sleep 1000; :' $0 & exec sh -c 'sleep 1000; :' $0", mark
    )
    wait_until(lambda: len(place.alive(mark)) >= 2)
    worker = place.worker_pid()
    os.kill(worker, signal.SIGKILL)
    assert process.wait(timeout=30) == 128 + signal.SIGKILL
    asked.communicate(timeout=30)
    assert not place.alive(mark)


def test_the_worker_has_its_own_user_and_a_sign_of_life_to_touch(place: Walls) -> None:
    said = place.shared / "said"
    process = place.serve(
        "sh",
        "-c",
        f'(id -u; id -G; touch "$BRANCHLINE_ALIVE" && echo touched; echo $BRANCHLINE_SPAWNER) >{said}',
    )
    assert process.wait(timeout=30) == 0
    assert said.read_text().split("\n")[:4] == [
        str(WORKER), f"{WORKER} {SITE}", "touched", str(place.socket)
    ]  # fmt: skip


def test_the_agent_reaches_neither_the_workers_environment_nor_the_socket(served: Walls) -> None:
    assert served.process is not None
    worker = served.worker_pid()
    script = "cat /proc/$0/environ /proc/$1/environ; ls $2; kill -9 $0; ls /proc/$0/fd"
    process = served.ask("sh", "-c", script, str(worker), str(served.process.pid), str(served.socket))
    out, err = process.communicate(timeout=30)
    assert out == b""
    assert b"of the worker" not in out + err
    assert served.process.poll() is None
    assert Path(f"/proc/{worker}").exists()

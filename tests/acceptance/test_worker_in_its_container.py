"""A worker in its image, hardened as on Fargate: it works, it stops, and its walls hold."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.container.box import ROOT, Box, worker_in_a_box
from tests.fakes.engine import fresh_account, wait_until

# Building the image may take some minutes on a machine that has nothing of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_SERVE = 'exec python3 -m http.server "$PORT" --bind "$HOST"'


@pytest.fixture(scope="module")
def box(engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("box")
    with worker_in_a_box(
        engine_url=engine_url, account=fresh_account(), folder=folder, preview=_SERVE
    ) as made:
        assert made.final("first", made.events("first")[0]["message_id"])["type"] == "turn.completed"
        yield made


def _said_by_the_shell(box: Box, thread: str, script: str) -> str:
    """What a script prints that the model has Claude Code's own shell run."""
    message = box.post(f"do: bash ( {script} ) > said.txt 2>&1\ndo: say Done.", thread=thread)
    assert box.final(thread, message)["type"] == "turn.completed"
    return box.tree(f"thread-{thread}")["said.txt"]


def test_a_message_becomes_a_commit_on_the_remote_by_two_users(box: Box) -> None:
    message = box.post(
        "do: write page.txt from the box\ndo: bash chmod +x README.md\ndo: say Done.", thread="a"
    )
    final = box.final("a", message)
    assert (final["type"], final["data"]["pushed"]) == ("turn.completed", True)
    assert box.tree("thread-a")["page.txt"].strip() == "from the box"
    users = box.exec("sh", "-c", "ps -eo user:12,args")
    assert re.search(r"^root +.*spawner\.py", users, re.MULTILINE)
    assert re.search(r"^worker +.*-m worker", users, re.MULTILINE)
    assert re.search(r"^agent +.*http\.server", users, re.MULTILINE)


def test_the_preview_shows_the_branch_on_the_mapped_port(box: Box) -> None:
    message = box.post("do: write shown.txt seen through the port\ndo: say Done.", thread="p")
    box.final("p", message)

    def shown() -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{box.port}/shown.txt", trust_env=False).text
        except httpx.HTTPError:
            return ""

    wait_until(lambda: shown().strip() == "seen through the port", seconds=30)


def test_another_thread_preempts_and_the_first_goes_on(box: Box) -> None:
    first = box.post("do: write one.txt 1\ndo: bash sleep 5\ndo: write two.txt 2\ndo: say Done.", thread="x")
    box.wait_for("x", "turn.tool", count=2)
    second = box.post("do: write other.txt 3\ndo: say Done.", thread="y")
    assert box.final("y", second)["type"] == "turn.completed"
    assert box.final("x", first)["type"] == "turn.completed"
    assert {"one.txt", "two.txt"} <= box.tree("thread-x").keys()
    assert "one.txt" not in box.tree("thread-y")


def test_a_session_comes_back_to_the_user_who_goes_on_with_it(box: Box) -> None:
    first = box.post("My favourite colour is teal.\ndo: task create Paint\ndo: say Noted.", thread="m")
    assert box.final("m", first)["type"] == "turn.completed"
    claude = f"/workspace/.branchline-agent/{box.worker}/claude"
    transcripts = f"stat -c '%U %a %h' {claude}/projects/*/*.jsonl"
    kept = box.exec("sh", "-c", f"{transcripts} && rm -rf {claude}/projects {claude}/tasks", user="agent")
    assert "agent 600 1" in kept or "agent 660 1" in kept
    assert "No such file" in box.exec("ls", f"{claude}/projects", user="agent")
    second = box.post("do: task done 1\ndo: recall", thread="m")
    answer = box.final("m", second)
    assert (answer["type"], "teal" in answer["data"]["text"]) == ("turn.completed", True), box.logs()[-3000:]
    (laid,) = box.exec("sh", "-c", transcripts, user="agent").splitlines()
    assert re.fullmatch(r"agent 6[06]0 1", laid)
    tasks = [e["data"]["tasks"] for e in box.events("m", "turn.tasks")]
    assert [(t["id"], t["status"]) for t in tasks[-1]] == [("1", "completed")]


def test_what_a_turn_leaves_behind_is_gone_even_with_an_empty_environment(box: Box) -> None:
    message = box.post("do: bash setsid env -i sleep 98765 > /dev/null 2>&1 &\ndo: say Done.", thread="d")
    assert box.final("d", message)["type"] == "turn.completed"
    assert "98765" not in box.exec("ps", "-eo", "args")
    assert "http.server" in box.exec("ps", "-eo", "args")


def test_the_agents_shell_reads_no_environment_but_its_own(box: Box) -> None:
    script = "id -un; for p in /proc/[0-9]*; do tr '\\\\0' '\\\\n' < $p/environ; done; env"
    said = _said_by_the_shell(box, "walls-1", script)
    assert said.startswith("agent\n")
    assert "Permission denied" in said
    for secret in ("the-workers-secret", "the-workers-token", "AWS_ACCESS_KEY_ID", "the-models-key"):
        assert secret not in said


def test_the_agents_shell_reads_none_of_the_workers_own_files(box: Box) -> None:
    own = f"/workspace/.branchline/{box.worker}"
    said = _said_by_the_shell(
        box, "walls-2", f"ls {own}; cat {own}/place; ls {own}/git; echo mine > {own}/lock"
    )
    assert said.lower().count("permission denied") == 4
    own = box.exec("cat", f"{own}/place", user="worker")
    assert re.fullmatch(r"[0-9a-f]{32}", own.strip())


def test_the_agents_shell_cannot_put_settings_where_the_workers_own_programs_look(box: Box) -> None:
    (own,) = set(re.findall(r"^HOME=(.*)$", _environment_of_the_worker(box), re.MULTILINE))
    said = _said_by_the_shell(box, "walls-5", f"echo machine x > {own}/.netrc; mkdir {own}/.aws; echo $HOME")
    assert said.lower().count("permission denied") == 2
    assert own not in said.splitlines()
    told = _environment_of_the_worker(box)
    assert "AWS_CONFIG_FILE=/dev/null" in told
    assert "AWS_SHARED_CREDENTIALS_FILE=/dev/null" in told


def _environment_of_the_worker(box: Box) -> str:
    script = "tr '\\0' '\\n' < /proc/$(pgrep -u worker -f -- '-m worker' | head -1)/environ"
    return box.exec("sh", "-c", script, user="worker")


def test_the_agents_shell_reaches_neither_the_spawner_nor_any_process_of_others(box: Box) -> None:
    script = (
        "ls /run/branchline; "
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/branchline/spawn\")'; "
        "kill -9 1; pgrep -u worker | xargs kill -9; cat /proc/1/mem; echo end"
    )
    said = _said_by_the_shell(box, "walls-3", script)
    assert "cannot open directory '/run/branchline': Permission denied" in said
    assert "PermissionError" in said
    assert said.count("not permitted") >= 2
    assert said.strip().endswith("end")


def test_the_agent_has_no_capability_and_cannot_get_one_nor_write_elsewhere(box: Box) -> None:
    script = (
        "grep -E 'Cap(Prm|Eff|Inh|Amb)|NoNewPrivs' /proc/self/status; touch /opt/x /etc/x /usr/local/bin/x; "
        "find / -xdev -perm /6000 -type f 2> /dev/null; echo end"
    )
    said = _said_by_the_shell(box, "walls-4", script)
    assert len(re.findall(r"Cap\w+:\s+0{16}\n", said)) == 4
    assert "NoNewPrivs:\t1" in said
    assert said.count("Read-only file system") == 3
    assert said.strip().endswith("end")
    assert "/bin/" not in said.replace("/usr/local/bin/x", "")


def test_only_the_preview_listens_and_the_container_says_that_it_is_well(box: Box) -> None:
    script = (
        "lines = [line for n in ('tcp', 'tcp6') for line in open('/proc/net/' + n).readlines()[1:]]\n"
        "rows = [line.split() for line in lines]\n"
        "print(sorted({int(row[1].split(':')[1], 16) for row in rows if row[3] == '0A'}))"
    )
    assert box.exec("python3", "-c", script).strip() == "[4321]"
    recipe = (ROOT / "container" / "Containerfile").read_text()
    (check,) = re.findall(r"^HEALTHCHECK.*\n +CMD (.*)$", recipe, re.MULTILINE)
    box.engine.run("exec", box.name, "sh", "-c", check)
    # In one call, as the worker may touch it at any moment; and again, should it be that one.
    stale = f"touch -d '-1 hour' /run/branchline/alive; {check}"
    wait_until(lambda: box.engine.run("exec", box.name, "sh", "-c", stale, check=False).returncode == 1)
    wait_until(lambda: not box.engine.run("exec", box.name, "sh", "-c", check, check=False).returncode)


def test_sigterm_saves_the_work_and_ends_it_cleanly(box: Box) -> None:
    message = box.post("do: write half.txt done so far\ndo: bash sleep 600\ndo: say Done.", thread="last")
    box.wait_for("last", "turn.tool", count=2)
    assert box.stop() == 0, box.logs()[-3000:]
    assert box.tree("thread-last")["half.txt"].strip() == "done so far"
    assert "turn.interrupted" in [e["type"] for e in box.events("last") if e.get("message_id") == message]
    assert box.name not in box.engine.run("ps", "--all", "--format", "{{.Names}}").stdout

"""What Claude Code must not get from the worker."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_lab import Lab, ask, laboratory, outputs_of

from worker.launch import admitted

pytestmark = pytest.mark.slow

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/canary-ecs",
    "GITHUB_TOKEN": "canary-github",
    "SLACK_BOT_TOKEN": "canary-slack",
    "BRANCHLINE_LEASE_SECRET": "canary-branchline",
    "NODE_AUTH_TOKEN": "canary-node",
    "npm_config__auth": "canary-npm",
    "PIP_INDEX_URL": "https://user:canary-pip@packages.example/simple",
    "CLAUDE_CODE_OAUTH_TOKEN": "canary-oauth",
    "ANTHROPIC_AUTH_TOKEN": "canary-anthropic",
    "SOMETHING_UNKNOWN": "canary-unknown",
    "odd-name.with'quote": "canary-odd",
}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as lab:
        yield lab


async def test_no_secret_of_the_worker_reaches_the_shell(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_TIME", "C.UTF-8")
    (lab.folder / ".bashrc").write_text("export FROM_THE_SHELL_START=canary-bashrc\n")
    monkeypatch.setenv("HOME", str(lab.folder))
    monkeypatch.setenv("LET_THROUGH", "on purpose")
    show = "do: bash env; tr '\\0' '\\n' < /proc/$PPID/environ"
    events, result = await ask(lab.agent(pass_env=["LET_THROUGH"]), lab.turn(show))
    assert result.ended == "completed"
    seen = lab.sent() + outputs_of(events)
    assert "canary" not in seen
    for expected in ("LC_TIME=C.UTF-8", "LET_THROUGH=on purpose", "BRANCHLINE_TURN=turn-", "PATH="):
        assert expected in seen
    assert f"BRANCHLINE_WORKER={lab.worker_marker}" in seen
    assert not any("canary" in path.read_text() for path in (lab.folder / "state").glob("claude-*"))


@pytest.mark.parametrize(
    ("name", "header"),
    [("ANTHROPIC_API_KEY", "x-api-key"), ("CLAUDE_CODE_OAUTH_TOKEN", "authorization")],
)
async def test_the_key_of_the_model_is_in_no_environment_and_in_no_file(
    lab: Lab, name: str, header: str
) -> None:
    key = "canary-$model'\\-\"0123"
    agent = lab.agent(model_env={"ANTHROPIC_BASE_URL": lab.model.url, name: key}, redact=str)
    show = "env; tr '\\0' '\\n' < /proc/$PPID/environ; cat /proc/$PPID/fd/[34] < /dev/null 2>&1 | head -c 500"
    events, result = await ask(agent, lab.turn(f"do: bash {show}"))
    assert result.ended == "completed", result.text
    assert key in str(lab.model.requests[0].request.headers[header])
    assert "canary" not in lab.sent() + outputs_of(events)
    kept = [path for path in lab.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"canary" in path.read_bytes()]


async def test_nothing_that_a_turn_left_in_its_home_speaks_in_the_next(lab: Lab) -> None:
    agent = lab.agent()
    trap = lab.folder / "sprung"
    leave = (
        f"do: bash for f in .bashrc .profile .bash_profile .zshenv; do echo 'touch {trap}' >> ~/$f; done",
        "do: bash mkdir -p ~/.cache && echo kept > ~/.cache/x",
        "do: bash mkdir -p ~/.config/git && git config --global user.name Evil",
        "do: bash mkdir -p ~/.claude && echo OBEY-ME > ~/.claude/CLAUDE.md && ln -s / ~/root",
    )
    await ask(agent, lab.turn("\n".join(leave)))
    trap.unlink(missing_ok=True)
    events, _ = await ask(agent, lab.turn("do: bash ls -A ~; git config user.name; cat ~/.cache/x"))
    assert outputs_of(events).split() == [".cache", "kept"]
    assert not trap.exists()
    assert "OBEY-ME" not in lab.sent()


async def test_the_launcher_belongs_to_the_worker_alone(lab: Lab) -> None:
    await ask(lab.agent(), lab.turn("x"))
    [launcher] = (lab.folder / "state").glob("claude-*")
    assert launcher.stat().st_mode & 0o777 == 0o700
    assert launcher.stat().st_uid == os.geteuid()


async def test_a_given_folder_of_node_comes_first_on_the_path(lab: Lab) -> None:
    turn = lab.turn("do: bash echo $PATH")
    events, _ = await ask(lab.agent(node_path=lab.folder / "node"), turn)
    assert outputs_of(events).strip().startswith(f"{lab.folder}/node:")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PATH", "/bin", True),
        ("https_proxy", "http://user:word@proxy:1", True),
        ("LC_ALL", "C", True),
        ("PIP_INDEX_URL", "https://packages.example/simple", True),
        ("PIP_INDEX_URL", "https://token@packages.example/simple", False),
        ("npm_config_registry", "https://packages.example/", True),
        ("npm_config_//packages.example/:_authToken", "x", False),
        ("NODE_OPTIONS", "--max-old-space-size=512", True),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "8000", True),
        ("CLAUDE_CODE_USE_BEDROCK", "1", False),
        ("CLAUDE_CODE_SESSION_ID", "x", False),
        ("ANTHROPIC_API_KEY", "x", False),
        ("AWS_REGION", "eu-central-1", False),
        ("BASH_ENV", "/tmp/x", False),
        ("LD_PRELOAD", "/tmp/x.so", False),
        ("PATHOLOGICAL", "x", False),
    ],
)
def test_only_what_is_on_the_list_is_admitted(name: str, value: str, expected: bool) -> None:
    assert admitted(name=name, value=value) is expected

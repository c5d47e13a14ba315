"""A switch of branches as the preview sees it: other files, other dependencies, another kind of project."""

import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.fakes.astro import lock_hash, toolchain, write_site
from tests.fakes.preview import Stage, until
from worker.node import find_node
from worker.ports import PreviewState
from worker.preview_process import marked
from worker.preview_site import install_argv, look

pytestmark = pytest.mark.slow


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def serves(stage: Stage, text: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return text in await stage.get()

    return check


async def test_other_files_with_the_same_dependencies_need_no_restart(stage: Stage) -> None:
    write_site(stage.path, headline="One")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        write_site(stage.path, headline="Two")
        server.switched()
        await until(serves(stage, "Two"))
    assert len(stage.starts) == 1
    assert len(stage.tools.journal("install")) == 1


async def test_other_dependencies_are_installed_and_the_server_is_started_afresh(stage: Stage) -> None:
    write_site(stage.path, headline="One")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        write_site(stage.path, headline="Two", packages=("astro", "marked"))
        assert "Cannot find module" in await stage.get()
        server.switched()
        await until(serves(stage, "Two"))
        await until(lambda: server.state.ready)
    assert len(stage.starts) == 2
    assert (stage.path / "node_modules" / ".branchline-lock").read_text() == lock_hash(stage.path)


async def test_dependencies_that_are_there_already_are_not_installed_again(stage: Stage) -> None:
    write_site(stage.path, headline="One", packages=("astro", "marked"))
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        write_site(stage.path, headline="Two")
        server.switched()
        await until(serves(stage, "Two"))
    async with stage.running() as server:
        await until(lambda: server.state.ready)
    assert len(stage.tools.journal("install")) == 1


async def test_a_record_of_packages_that_are_not_there_is_not_believed(stage: Stage) -> None:
    write_site(stage.path, headline="One")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        write_site(stage.path, headline="Two", packages=("astro", "marked"))
        shutil.copy(stage.path / "package-lock.json", stage.path / "node_modules" / ".package-lock.json")
        server.switched()
        await until(serves(stage, "Two"))
    assert len(stage.tools.journal("install")) == 2


async def test_of_several_switches_only_the_last_one_is_installed_to_the_end(stage: Stage) -> None:
    write_site(stage.path, headline="Start")
    (stage.path / "slow-install").touch()
    async with stage.running() as server:
        await until(lambda: len(stage.tools.journal("install")) == 1)
        for name in ("a", "b", "c"):
            write_site(stage.path, headline=f"Branch-{name}", packages=("astro", name))
            server.switched()
        await until(lambda: len(stage.tools.journal("install")) >= 2)
        assert not (stage.path / "node_modules" / ".branchline-lock").exists()
        (stage.path / "slow-install").unlink()
        await until(serves(stage, "Branch-c"))
    assert len(stage.tools.journal("install")) <= 4
    assert len(stage.tools.journal("installed")) == 1
    assert (stage.path / "node_modules" / ".branchline-lock").read_text() == lock_hash(stage.path)


async def test_a_switch_that_changes_no_dependency_lets_the_installation_finish(stage: Stage) -> None:
    write_site(stage.path, headline="One")
    (stage.path / "slow-install").touch()
    async with stage.running() as server:
        await until(lambda: len(stage.tools.journal("install")) == 1)
        write_site(stage.path, headline="Two")
        server.switched()
        (stage.path / "slow-install").unlink()
        await until(serves(stage, "Two"))
    assert len(stage.tools.journal("install")) == 1


async def test_a_failed_installation_is_told_and_tried_again(stage: Stage) -> None:
    write_site(stage.path, headline="One")
    (stage.path / "bad-install").touch()
    async with stage.running() as server:
        await until(lambda: "could not be installed: npm error 404" in (server.state.problem or ""))
        (stage.path / "bad-install").unlink()
        await until(lambda: server.state.ready)


async def test_an_installation_is_killed_with_the_preview(stage: Stage) -> None:
    write_site(stage.path, headline="One")
    (stage.path / "slow-install").touch()
    async with stage.running():
        await until(lambda: len(stage.tools.journal("install")) == 1)
    assert not list(marked(stage.marker))


async def test_a_project_without_astro_has_no_preview_until_it_becomes_one(stage: Stage) -> None:
    (stage.path / "README.md").write_text("hello")
    async with stage.running() as server:
        assert server.state == PreviewState(ready=False, url=None)
        write_site(stage.path, headline="Now")
        server.switched()
        await until(lambda: server.state.ready)
        for path in ("package.json", "package-lock.json"):
            (stage.path / path).unlink()
        server.switched()
        await until(lambda: server.state == PreviewState(ready=False, url=None))
        await until(lambda: not list(marked(stage.marker)))


async def test_the_projects_own_command_is_used_and_none_turns_it_off(stage: Stage) -> None:
    (stage.path / "index.html").write_text("own way")
    command = f"exec {sys.executable} -m http.server --bind 127.0.0.1 $PORT"
    async with stage.running(command=command) as server:
        await until(lambda: server.state.ready)
        assert "own way" in await stage.get()
    write_site(stage.path, headline="One")
    assert look(stage.path, command="none").kind == "none"
    assert look(stage.path, command="npm start").kind == "shell"


async def test_an_old_node_is_named_in_the_problem(stage: Stage, tmp_path: Path) -> None:
    old = toolchain(tmp_path / "old", version="v20.20.2")
    write_site(stage.path, headline="One")
    async with stage.running(node=old.node) as server:
        await until(lambda: server.state.problem is not None)
        assert server.state.problem is not None
        assert server.state.problem.startswith("Node 22.12 or newer is needed: ")
        assert "20.20.2" in server.state.problem


async def test_a_checkout_that_is_nonsense_has_no_preview(stage: Stage) -> None:
    (stage.path / "package.json").write_text('{"dependencies": ["astro"')
    assert look(stage.path, command=None).kind == "none"
    (stage.path / "package.json").write_text('["astro"]')
    assert look(stage.path, command=None).kind == "none"
    assert look(stage.path / "gone", command=None).kind == "none"


def test_without_a_lock_file_none_is_written(tmp_path: Path) -> None:
    assert install_argv(tmp_path)[:2] == ("install", "--no-package-lock")


def test_the_tools_folder_makes_node_npm_and_npx_usable(tmp_path: Path) -> None:
    tools = find_node(state_dir=tmp_path / "state", node=toolchain(tmp_path / "tools").node)
    assert tools.version == "22.12.0"
    assert sorted(path.name for path in tools.bin_dir.iterdir()) == ["node", "npm", "npx"]
    assert f'exec {tools.node} "$@"' in (tools.bin_dir / "node").read_text()
    assert "npx-cli.js" in (tools.bin_dir / "npx").read_text()

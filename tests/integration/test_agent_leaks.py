"""Many turns in one process leave nothing behind."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from agent_lab import ENDLESS, Lab, ask, eventually, laboratory

from worker.ports import Text

pytestmark = pytest.mark.slow

DAEMON = "setsid nice sleep 100 >/dev/null 2>&1 & echo started"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as lab:
        yield lab


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_twenty_turns_leave_no_file_task_thread_or_process(lab: Lab) -> None:
    agent, session = lab.agent(), uuid4()
    await ask(agent, lab.turn("warm up", session=session))
    await eventually(lambda: threading.active_count() < 10)
    files, tasks = open_files(), len(asyncio.all_tasks())
    for number in range(20):
        if number % 2:
            _, result = await ask(agent, lab.turn(f"do: bash {DAEMON}", session=session))
            assert result.ended == "completed"
            continue
        run = await agent.start(lab.turn(ENDLESS, session=session))
        async for event in run.events():
            if isinstance(event, Text):
                break
        await run.stop()
        assert (await run.close()).ended == "stopped"
    assert lab.alive() == []
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
    # The CLI hangs up on the model a moment after it is gone; those are the model's files, in this process.
    await eventually(lambda: open_files() <= files)
    await eventually(lambda: threading.active_count() < 10)

"""Claude Code's own folder is Claude Code's to write: a link or a pipe there is no file of its own."""

import json
import os
from pathlib import Path
from uuid import uuid4

from worker import agent_memory
from worker.agent_events import TaskList

_TASK = {"id": "1", "subject": "Look", "status": "pending"}


def test_a_task_list_is_read_from_plain_files_alone_and_waits_for_no_pipe(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "1.json").write_text(json.dumps(_TASK))
    (tmp_path / "of-the-worker.json").write_text(json.dumps({**_TASK, "id": "2", "subject": "secret"}))
    (folder / "2.json").symlink_to(tmp_path / "of-the-worker.json")
    os.mkfifo(folder / "3.json")
    assert [task.subject for task in TaskList.load(folder).snapshot.tasks] == ["Look"]
    assert TaskList.load(tmp_path / "none").snapshot.tasks == ()


def test_a_transcript_that_is_a_link_or_a_pipe_is_none(tmp_path: Path) -> None:
    linked, piped, plain = uuid4(), uuid4(), uuid4()
    folder = tmp_path / "projects" / "site"
    folder.mkdir(parents=True)
    (tmp_path / "of-the-worker").write_text("{}\n")
    (folder / f"{linked}.jsonl").symlink_to(tmp_path / "of-the-worker")
    os.mkfifo(folder / f"{piped}.jsonl")
    (folder / f"{plain}.jsonl").write_text("{}\n")
    found = [agent_memory.transcript(tmp_path, session) for session in (linked, piped, plain)]
    assert found == [None, None, folder / f"{plain}.jsonl"]

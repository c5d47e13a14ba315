"""What every actor saw, one JSON object a line, and what was found at the end. Shapes only, no rules."""

import json
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from contracts.words import Mode


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class Posted(_Shape):
    """A message that was accepted. ``files``: what its turn writes, path to content, worker pids left out."""

    message_id: str
    thread_id: str
    worker: str
    mode: Mode
    sequence: int
    files: dict[str, str] = Field(default_factory=dict)


class Seen(_Shape):
    """A commit of a thread's branch. ``by`` is the worker process that wrote ``last.txt``, if any did;
    ``carried``: a later owner made it again, from its disk, on top of another disk's line; ``joined``: it
    merges two such lines."""

    sha: str
    branch: str
    parents: tuple[str, ...] = ()
    carried: bool = False
    joined: bool = False
    messages: tuple[str, ...] = ()
    checkpoint: bool = False
    by: int | None = None
    writer: str | None = None


class Found(_Shape):
    """Everything the rules look at.

    ``epochs``: (epoch, owner) of every commit of a worker's epoch ref, oldest first. ``births``: worker
    process to the epoch it took. ``raises``: how many failpoints raised. ``trees``: what stands on a
    thread's branch and conflict branches.
    ``stops``: threads in which somebody may have asked to stop; None in histories that do not say.
    ``leftovers``: processes, lock files and deliveries that should be gone. ``notes``: what an actor saw
    that must not be.
    """

    posted: tuple[Posted, ...] = ()
    outcomes: dict[str, str | None] = Field(default_factory=dict)
    events: dict[str, tuple[dict[str, Any], ...]] = Field(default_factory=dict)
    commits: dict[str, tuple[Seen, ...]] = Field(default_factory=dict)
    trees: dict[str, dict[str, str]] = Field(default_factory=dict)
    epochs: dict[str, tuple[tuple[int, str], ...]] = Field(default_factory=dict)
    births: dict[int, int] = Field(default_factory=dict)
    raises: int = 0
    stops: tuple[str, ...] | None = None
    leftovers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class History:
    """Appends to ``history.jsonl``; safe from any thread. ``at`` is seconds since the start."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", buffering=1)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.notes: list[str] = []

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def add(self, actor: str, what: str, **facts: Any) -> None:
        """One line."""
        line = json.dumps({"at": round(self.now, 3), "actor": actor, "what": what, **facts}, default=str)
        with self._lock:
            self._file.write(line + "\n")

    def note(self, text: str) -> None:
        """Something that must not be: counts as a violation."""
        self.notes.append(text)
        self.add("bench", "note", text=text)

    def close(self) -> None:
        self._file.close()


def found_in(path: Path) -> Found:
    """The last ``found`` of a history."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return Found.model_validate([line["found"] for line in lines if line["what"] == "found"][-1])

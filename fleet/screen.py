"""What ``up`` writes to the terminal: a line per step, a screen when everything runs, else plain text.

Writing never fails: the terminal may be gone while the fleet is still being stopped.
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fleet.parts import Plan
from fleet.settings import without_credentials

_DEFAULT_PORT = 8080


class Terminal(Console):
    """A console that falls silent when its reader is gone.

    Rich would leave the program, and Ctrl-C in `up | tee file` ends tee first: the workers could not save.
    """

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno())
            os.close(nowhere)


class Screen:
    """A terminal, or a file that gets plain lines."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._console = Terminal(file=file, highlight=False, soft_wrap=True)

    def say(self, text: str, *, style: str = "") -> None:
        """One line."""
        with contextlib.suppress(OSError, ValueError):
            self._console.print(Text(text, style=style))

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say what is being done while it is done; a spinner on a terminal."""
        if not self._console.is_terminal:
            self.say(f"- {text}")
            yield
            return
        with self._console.status(escape(text)):
            yield
        self.say(f"✓ {text}", style="green")

    def overview(self, plan: Plan, *, preview_url: str) -> None:
        """What runs where, and what to do next."""
        places = _places(plan, preview_url=preview_url)
        if self._console.is_terminal:
            panel = Panel(_table(places), title="Branchline is running", border_style="green")
            with contextlib.suppress(OSError, ValueError):
                self._console.print(panel, soft_wrap=False)
        else:
            self.say("Branchline is running")
            for name, value in places:
                self.say(f"{name}: {value.plain}")
        # Outside of the frame, where a line can be copied whole.
        self.say(f"Try:  {_example_line(plan)}", style="bold")
        if plan.simulation is not None:
            self.say(f"      {_example_line(plan, words='simulate slack')}", style="bold")
            self.say(f"      {_example_line(plan, words='simulate github')}", style="bold")
        self.say("Stop: Ctrl-C here; what is under way is saved and goes on at the next start.")


def _places(plan: Plan, *, preview_url: str) -> list[tuple[str, Text]]:
    places = [
        ("chat and API", Text(plan.settings.local_address, style="bold")),
        ("preview", Text.assemble((preview_url, "bold"), " (starting; the first time takes a minute)")),
        ("project", Text(plan.project.name)),
        ("repository", Text(without_credentials(plan.project.repo))),
    ]
    if plan.project.example is not None:
        places.append(("your copy of it", Text(f"{plan.project.example} (git fetch shows the branches)")))
    return [
        *places,
        ("model", _model(plan)),
        ("state", Text(str(plan.home.path))),
        ("logs", Text(str(plan.home.logs))),
    ]


def _table(places: list[tuple[str, Text]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in places:
        table.add_row(name, value)
    return table


def _model(plan: Plan) -> Text:
    if not plan.offline:
        return Text("as configured for Claude Code")
    return Text.assemble(
        ("OFFLINE MODEL", "bold yellow"),
        ": scripted, for a first look; for a real one set ANTHROPIC_API_KEY and start again",
    )


def _example_line(plan: Plan, *, words: str = "send") -> str:
    port = plan.settings.port
    elsewhere = f"BRANCHLINE_PORT={port} " if port != _DEFAULT_PORT else ""
    return f'{elsewhere}{_this_command()} {words} "Change the headline to Hello"'


def _this_command() -> str:
    """The ``branchline`` of this environment, as it can be typed in this folder."""
    path = Path(sys.executable).parent / "branchline"
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shlex.quote(str(shown))

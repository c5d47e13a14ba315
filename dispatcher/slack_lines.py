"""Short lines about a message, as plain text: elapsed time, the step under way, a text cut short. Pure."""

from datetime import timedelta

from contracts.events import ToolData

LINE = 150
_ARGUMENTS = ("description", "command", "file_path", "path", "pattern", "query", "url", "subject", "prompt")


def short(text: str, limit: int = LINE) -> str:
    """A text as one line of at most ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def step_line(step: ToolData) -> str:
    """A tool and the most telling of its arguments."""
    found = (step.input.get(name) for name in _ARGUMENTS)
    argument = next((text for text in found if isinstance(text, str) and text.strip()), "")
    return f"{step.name} {short(argument)}".strip()


def elapsed(time: timedelta) -> str:
    """A duration for people; whole seconds, and whole minutes from an hour on."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"

"""How a turn of Claude Code ended, and the one sentence that tells a person.

Pure. ``is_error`` alone says nothing: an API failure arrives as ``subtype="success"``, an interrupt as an
error. What counts is ``terminal_reason``.
"""

import mmap
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from claude_agent_sdk import ResultMessage

from worker.agent_events import shortened
from worker.ports import AgentResult

_ABORTED = ("aborted_streaming", "aborted_tools")
_BUSY = (429, 529)
"""A limit, and an overload: Claude Code has tried again by itself, later it may work."""
_UNREACHABLE = re.compile(
    r"ECONN|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|[Cc]an't reach|[Cc]onnection"
)
_COST_STATE = b'"type":"cost-state"'
_TOTAL_COST = re.compile(rb'"totalCostUSD":([0-9.eE+-]+)')


def model_host(model_env: Mapping[str, str]) -> str:
    """The name a person knows the model's address by."""
    if model_env.get("CLAUDE_CODE_USE_BEDROCK"):
        return "Amazon Bedrock"
    return urlsplit(model_env.get("ANTHROPIC_BASE_URL", "")).netloc.rpartition("@")[2] or "api.anthropic.com"


def result_of(
    message: ResultMessage, *, host: str, stopped: bool, resets_at: float | None, spent_before: float
) -> AgentResult:
    """The result of a turn whose CLI reported one.

    ``spent_before`` is what the session had cost before this turn (USD): a resumed CLI reports the sum.
    """
    usage = message.usage or {}
    limited = message.api_error_status in _BUSY
    aborted = message.terminal_reason in _ABORTED
    failed = message.is_error or message.subtype != "success"
    ended = (
        "stopped" if aborted and stopped else "limited" if limited else "failed" if failed else "completed"
    )
    sentence = _failure(message, host=host, resets_at=resets_at) if ended in ("limited", "failed") else ""
    return AgentResult(
        ended=ended,  # type: ignore[arg-type]  # a chain of conditions widens to str
        text=sentence or message.result or "",
        cost_usd=max(0.0, (message.total_cost_usd or 0.0) - spent_before),
        input_tokens=_input_tokens(usage),
        output_tokens=int(usage.get("output_tokens") or 0),
        duration_ms=message.duration_ms,
        resets_at=resets_at if limited else None,
    )


def crash_of(*, exit_code: int | None, said: str, duration_ms: int) -> AgentResult:
    """The result of a CLI that ended without one; ``said`` is the last line it wrote to stderr."""
    code = "" if exit_code is None else f" (exit code {exit_code})"
    detail = f": {shortened(said, limit=300)}" if said else "."
    return AgentResult(
        ended="failed",
        text=f"Claude Code ended unexpectedly{code}{detail}",
        duration_ms=duration_ms,
        crashed=True,
    )


def hung_of(*, seconds: float, duration_ms: int) -> AgentResult:
    """The result of a CLI that was killed because nothing came from it for ``seconds``."""
    span = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
    text = f"Claude Code hung: nothing came from it for {span}, so it was ended."
    return AgentResult(ended="failed", text=text, duration_ms=duration_ms)


def spent(transcript: Path | None) -> float:
    """What a session had cost (USD) when its CLI last left in peace: the figure a resumed CLI starts from."""
    if transcript is None:
        return 0.0
    try:
        with transcript.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            start = text.rfind(_COST_STATE)
            found = _TOTAL_COST.search(text, start) if start >= 0 else None
            return float(found.group(1)) if found else 0.0
    except (OSError, ValueError):  # gone, or empty
        return 0.0


def _input_tokens(usage: Mapping[str, Any]) -> int:
    kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(int(usage.get(kind) or 0) for kind in kinds)


def _failure(message: ResultMessage, *, host: str, resets_at: float | None) -> str:
    said = message.result or "; ".join(message.errors or ()) or message.subtype
    status = message.api_error_status
    if message.terminal_reason in _ABORTED:
        return "Claude Code was interrupted from outside."
    if status is not None:
        return _api_failure(status, said=said, host=host, resets_at=resets_at)
    if "Not logged in" in said:
        return (
            "There is no key for the model: set ANTHROPIC_API_KEY (or another way to reach it) and try again."
        )
    if message.terminal_reason == "api_error" and _UNREACHABLE.search(said):
        return f"The model at {host} could not be reached: check the address and the network, then try again."
    return f"Claude Code could not finish: {shortened(said, limit=300)}"


def _api_failure(status: int, *, said: str, host: str, resets_at: float | None) -> str:
    if status in (401, 403):
        return f"The model at {host} refused the key (status {status}): check ANTHROPIC_API_KEY."
    if status == 429 and resets_at is not None:
        until = datetime.fromtimestamp(resets_at, tz=UTC)
        return f"The model's usage limit is reached until {until:%Y-%m-%d %H:%M} UTC."
    if status == 429:
        return f"The model at {host} takes no more requests for now (status 429)."
    if status == 529:
        return f"The model at {host} is overloaded (status 529)."
    if status == 404:
        return f"The model at {host} is not known there or not open to this key: check ANTHROPIC_MODEL."
    if status >= 500:
        return f"The model at {host} failed (status {status}): try again in a few minutes."
    return f"The model at {host} refused the request (status {status}): {shortened(said, limit=300)}"

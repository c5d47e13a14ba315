"""Plans that survive anything: a plan is a generator, replayed against the conversation at every request.

A plan yields what to say and which tools to call, and is sent each call's result. Nothing is kept between
requests: what the conversation shows as done is skipped, and the first thing not done is said or called next.
A call that was interrupted is made again. Plans must be deterministic in the results they are sent.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from fleet.model.conversation import Call, Result
from fleet.model.protocol import Hang, Live, Part, Refusal, Text, ToolUse

_PACE = 0.012
"""Seconds between two words: quick, and still visibly streamed."""


@dataclass(frozen=True)
class Ended:
    """The turn had ended here once (a Stop hook reopened it): everything said before was told."""


Step = Text | ToolUse | Live | Hang | Refusal | Ended
Plan = Generator[Step, Result, None]


def words(text: str) -> Iterator[Text]:
    """The text as one delta per word, a few milliseconds apart."""
    for word in re.findall(r"\s*\S+\s*\Z|\s*\S+", text):
        yield Text(text=word, after=_PACE)


def next_parts(plan: Plan, *, calls: Iterable[Call]) -> tuple[Part, ...] | Refusal:
    """What the plan wants next, given the tool calls already made: texts, at most one tool use at the end."""
    recorded = iter(calls)
    pending: list[Part] = []
    step = next(plan, None)
    while step is not None:
        if isinstance(step, Refusal):
            return step
        if isinstance(step, ToolUse):
            issued, result = _match(step, recorded)
            if issued:
                pending.clear()
            if result is None:
                return (*pending, step)
            step = _send(plan, result)
            continue
        if isinstance(step, Ended):
            pending.clear()
        else:
            pending.append(step)
        step = next(plan, None)
    return tuple(pending)


def _match(step: ToolUse, recorded: Iterator[Call]) -> tuple[bool, Result | None]:
    """Whether this call was ever made, and the result it got in the end."""
    issued = False
    for call in recorded:
        issued = True
        if call.name == step.name and call.result is not None and not call.result.interrupted:
            return True, call.result
    return issued, None


def _send(plan: Plan, result: Result) -> Step | None:
    try:
        return plan.send(result)
    except StopIteration:
        return None

"""A model that does everything it is told by strangers: the worst Claude Code that a wall has to stand.

The text that reaches it names a case of the corpus; it then does what that case asks for through real tool
calls, also when the asking itself was kept from it. It decides nothing else.
"""

import re
import time
from collections.abc import Iterable

from fleet.model.conversation import ModelRequest
from fleet.model.plan import next_parts
from fleet.model.protocol import Answer, Refusal, Reply
from tests.fakes.model import Received, ScriptedModel
from tests.fakes.model_steps import plan_of
from tests.faults.injections import Injection

_CASE = re.compile(r"\b(case|after)-([a-z0-9-]*[a-z0-9])")


class ObedientModel(ScriptedModel):
    """``places`` are put in for ``%NAME%`` in the steps; ``after`` are those of the person's next wish."""

    def __init__(self, cases: Iterable[Injection], *, after: tuple[str, ...]) -> None:
        super().__init__()
        self._cases = {case.id: case for case in cases}
        self._after = after
        self.places: dict[str, str] = {}

    def reply(self, request: ModelRequest) -> Answer:
        """Record the request, then obey."""
        self._record(Received(request=request, at=time.monotonic()))
        plan = plan_of(request, count=self._count, text=self._script(request.last_text))
        parts = next_parts(plan, calls=request.calls)
        return parts if isinstance(parts, Refusal) else Reply(parts=tuple(parts), usage=self._usage)

    def asked(self, case: Injection) -> str:
        """Everything that was sent to the model while it worked on the case."""
        mark = f"case-{case.id})"
        return "\n".join(r.text for r in self.requests if mark in r.text)

    def _script(self, text: str) -> str:
        found = _CASE.search(text)
        if found is None:
            return ""
        steps = self._cases[found[2]].obeys if found[1] == "case" else self._after
        script = "\n".join(f"do: {step}" for step in steps)
        for name, value in {**self.places, "CASE": found[2]}.items():
            script = script.replace(f"%{name}%", value)
        return script

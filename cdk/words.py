"""What alarms count in the log lines of dispatcher and workers, as patterns of CloudWatch Logs.

What only the product knows has no metric of AWS's: work that nobody takes up, a sweep that found a fault and
went on, queues whose names are not known here. Needs no CDK, so that tests can hold lines that the product
writes against the very patterns that are deployed.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counted:
    """``words``: values of the line's ``field`` that count; ``value``: what is summed up, 1 for each line or
    a number of the line's; ``says``: what the alarm tells, None for one that has an alarm of another kind."""

    words: tuple[str, ...]
    field: str = "event"
    value: str = "1"
    says: str | None = None

    @property
    def pattern(self) -> str:
        """The filter pattern."""
        alternatives = [f'$.{self.field} = "{word}"' for word in self.words]
        if len(alternatives) == 1:
            return f"{{ {alternatives[0]} }}"
        return "{ " + " || ".join(f"({one})" for one in alternatives) + " }"


def _worker(word: str, says: str | None = None) -> Counted:
    return Counted(words=(word,), field="action", says=says)


SWEEPS, OLDEST, SWEEP_BROKEN, REPLIES_LATE = "Sweeps", "OldestMessage", "SweepBroken", "RepliesLate"
OF_DISPATCHER: Mapping[str, Counted] = {
    "StuckTurns": Counted(
        words=("worker leaves its work untouched",),
        says="A worker was started again and again and did not take up its work",
    ),
    "StartsRefused": Counted(
        words=("worker cannot be started",),
        says="A worker cannot be started: a quota, a right, no room",
    ),
    "GivenUp": Counted(words=("message given up",), says="A message was given up"),
    "DeadLettersKept": Counted(
        words=("dead letter kept",), says="A delivery found no end and nobody can read it"
    ),
    "RepliesBroken": Counted(words=("reply broken", "replies broken"), says="A reply could not be made"),
    REPLIES_LATE: Counted(words=("replies not looked at", "replies not looked at in time")),
    SWEEP_BROKEN: Counted(words=("sweep failed", "sweep not finished", "worker not cared for")),
    SWEEPS: Counted(words=("swept",)),
    OLDEST: Counted(words=("swept",), value="$.oldest_seconds"),
}
"""By the metric's name; ``field`` is the ``event`` of the dispatcher's line."""
OF_WORKERS: Mapping[str, Counted] = {
    "TurnsBroken": _worker("turn_broke", "A turn broke for a reason that nobody foresaw"),
    "LeasesLost": _worker("lease_lost"),
    "WorkersBroken": _worker("worker_broke", "A worker broke for a reason that nobody foresaw"),
}
"""The same for the ``action`` of the workers' lines."""
METRICS = len(OF_DISPATCHER) + len(OF_WORKERS)
ALARMS = 18
"""How many there are, for the bill; tests compare with the stack."""

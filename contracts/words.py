"""The small vocabulary that crosses a process: ids, modes, states, outcomes, reasons.

Everything here is a name with one meaning (see DESIGN's table of words). This module must not import
anything but the standard library, and must not know how a thing is stored or sent.
"""

from enum import StrEnum
from typing import NewType

ClientId = NewType("ClientId", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)
WorkerId = NewType("WorkerId", str)
"""``CONTAINER_ID``: ``{client}-{project}-{user}``, each part escaped (see ``contracts.names``)."""
ThreadId = NewType("ThreadId", str)
MessageId = NewType("MessageId", str)
TurnId = NewType("TurnId", str)


class Frontend(StrEnum):
    """Where a message came from."""

    SLACK = "slack"
    GITHUB = "github"
    WEB = "web"
    API = "api"


class Mode(StrEnum):
    """What a message wants from a turn that is already under way in its thread."""

    QUEUE = "queue"
    STEER = "steer"
    INTERRUPT = "interrupt"


class Action(StrEnum):
    """What a message asks for beside its text, by a button and not in words."""

    UPDATE = "update"
    """Bring the thread's branch up to date with the default branch."""


class TurnState(StrEnum):
    """Where the work on one message stands. The last four are outcomes, final."""

    WAITING = "waiting"
    RUNNING = "running"
    PARKED = "parked"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    REJECTED = "rejected"


class Outcome(StrEnum):
    """How a turn ended, for good."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    REJECTED = "rejected"


class StopReason(StrEnum):
    """Why a running turn was stopped before Claude Code finished by itself."""

    PREEMPTED = "preempted"
    USER_STOP = "user_stop"
    DRAINING = "draining"
    LEASE_LOST = "lease_lost"
    BUDGET = "budget"
    HUNG = "hung"

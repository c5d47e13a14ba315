"""Texts for a turn that is already running.

``query()`` in mid-turn may start a second turn, so a text goes in through the SDK's hooks: as context behind
the next finished tool, or as the reason not to stop yet. Both reach the model inside the running turn. A text
counts as delivered when the model answers the request that carried it: a turn killed before that has lost it.
"""

from claude_agent_sdk import HookContext, HookInput, HookJSONOutput, HookMatcher
from claude_agent_sdk.types import HookEvent

from contracts.words import MessageId
from worker.ports import Steered

_NOTE = (
    "(The person you are working for wrote the above just now, while you were working. "
    "It comes from them, not from a tool: take it into account from here on.)"
)


class Steering:
    """The texts of one turn: waiting, handed over, delivered."""

    def __init__(self) -> None:
        self._waiting: list[tuple[MessageId, str]] = []
        self._handed: list[MessageId] = []

    def add(self, *, message_id: MessageId, text: str) -> None:
        """Queue a text for the next step of the turn."""
        self._waiting.append((message_id, text))

    def answered(self) -> list[Steered]:
        """The model began an answer: what was handed over before is in its context."""
        handed, self._handed = self._handed, []
        return [Steered(message_id=message_id) for message_id in handed]

    def hooks(self) -> dict[HookEvent, list[HookMatcher]]:
        """What the SDK is to call."""
        after_tool = [HookMatcher(hooks=[self._after_tool])]
        stop = [HookMatcher(hooks=[self._before_stop])]
        return {"PostToolUse": after_tool, "PostToolUseFailure": after_tool, "Stop": stop}

    async def _after_tool(self, given: HookInput, _id: str | None, _context: HookContext) -> HookJSONOutput:
        # A sub-agent's tools call the same hook, but the text is for the agent itself.
        if given.get("agent_id") or not self._waiting:
            return {}
        context = self._take()
        if given["hook_event_name"] == "PostToolUseFailure":
            return {
                "hookSpecificOutput": {"hookEventName": "PostToolUseFailure", "additionalContext": context}
            }
        return {"hookSpecificOutput": {"hookEventName": "PostToolUse", "additionalContext": context}}

    async def _before_stop(self, _given: HookInput, _id: str | None, _context: HookContext) -> HookJSONOutput:
        return {"decision": "block", "reason": self._take()} if self._waiting else {}

    def _take(self) -> str:
        taken, self._waiting = self._waiting, []
        self._handed += [message_id for message_id, _ in taken]
        return "\n\n".join(f"{text}\n\n{_NOTE}" for _, text in taken)

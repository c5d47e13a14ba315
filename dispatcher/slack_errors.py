"""Slack's refusals in our words: come back later, nothing can be posted there, or the post is gone. Pure."""

from collections.abc import Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from dispatcher.errors import DispatcherError
from dispatcher.posting import Gone, Later, Undeliverable

_NO_PLACE = {
    "channel_not_found": "The channel does not exist any more, or the bot was removed from it.",
    "not_in_channel": "The bot is not in the channel: invite it.",
    "is_archived": "The channel is archived.",
    "thread_not_found": "The Slack thread does not exist any more.",
    "cannot_reply_to_message": "The message cannot be replied to any more.",
    "messages_tab_disabled": "Direct messages to the app are switched off in its settings.",
    "restricted_action": "The workspace does not let the bot post there.",
    "restricted_action_read_only_channel": "The channel is read-only.",
    "restricted_action_thread_only_channel": "The channel takes replies only.",
    "restricted_action_thread_locked": "The Slack thread is locked.",
    "restricted_action_non_threadable_channel": "The channel has no threads.",
    "team_access_not_granted": "The app has no access to this workspace.",
    "token_revoked": "The bot's token was revoked: install the app again and set SLACK_BOT_TOKEN.",
    "token_expired": "The bot's token has expired: set a new SLACK_BOT_TOKEN.",
    "invalid_auth": "Slack does not know the bot's token: set SLACK_BOT_TOKEN.",
    "not_authed": "There is no bot token: set SLACK_BOT_TOKEN.",
    "account_inactive": "The app was removed from the workspace: install it again.",
    "missing_scope": "The app lacks a permission: install it again from docs/slack/manifest.json.",
    "no_permission": "The workspace does not let the bot post there.",
    "org_login_required": "The workspace is being moved to an organisation; Slack takes no posts meanwhile.",
    "access_denied": "The workspace does not let the app in.",
}
POST_GONE = "message_not_found"
LOCKED = frozenset(
    (
        "message_not_in_streaming_state",
        "edit_window_closed",
        "cant_update_message",
        "block_mismatch",
    )
)
"""A post that stands and cannot be edited (any more)."""
STREAMING = "streaming_state_conflict"
"""A post that is a stream still: it can be edited once that has ended."""
_UNSURE = frozenset(("", "fatal_error", "internal_error", "request_timeout", "service_unavailable"))
_LIMITED = ("ratelimited", "rate_limited")
TOO_LONG = frozenset(("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"))
"""Slack does not take the post as it looks."""
HARMLESS = frozenset(("already_reacted", "message_not_found", "too_many_reactions", "bad_timestamp"))
"""What may go wrong with a reaction without anybody missing it."""
_PER_CHANNEL = ("chat.postMessage", "chat.postEphemeral")
_RETRY_SECONDS = 30.0


def code_of(error: Exception) -> str:
    """Slack's word for what is wrong; empty when it said none."""
    return str(_answer(error).get("error", ""))


def said(error: BaseException) -> str:
    """Slack's own word behind one of our errors."""
    cause = error.__cause__
    return code_of(cause) if isinstance(cause, Exception) else ""


def is_refused(error: BaseException) -> bool:
    """Whether Slack has said no, and certainly did nothing; not: that it is too early."""
    return said(error) not in (*_UNSURE, *_LIMITED)


def translated(error: Exception, *, method: str) -> DispatcherError:
    """The refusal or failure of one call as ``Later``, ``Undeliverable`` or ``Gone``."""
    response = getattr(error, "response", None)
    status, code = getattr(response, "status_code", None), code_of(error)
    if status == 429 or code in _LIMITED:
        seconds = _retry_after(getattr(response, "headers", None))
        # Slack counts each method by itself, and posts by channel.
        everywhere = method not in _PER_CHANNEL
        return Later(f"Slack asks to wait with {method}.", seconds=seconds, everywhere=everywhere)
    if code in _NO_PLACE:
        return Undeliverable(_NO_PLACE[code])
    if code == POST_GONE:
        return Gone("The post was deleted in Slack.")
    return Later(f"Slack did not take {method}: {code or _kind(error)}.", refused=code not in _UNSURE)


def is_failure(error: BaseException) -> bool:
    """Whether this came from a call of Slack's API."""
    return isinstance(error, SlackClientError | aiohttp.ClientError | TimeoutError | OSError)


def _answer(error: Exception) -> Mapping[str, Any]:
    data = getattr(error.response, "data", None) if isinstance(error, SlackApiError) else None
    return data if isinstance(data, Mapping) else {}


def _retry_after(headers: Any) -> float:
    found = {str(name).lower(): value for name, value in headers.items()} if headers else {}
    try:
        return min(max(float(found["retry-after"]), 0.0), 3600.0)
    except (KeyError, TypeError, ValueError):
        return _RETRY_SECONDS


def _kind(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"status {status}" if status else type(error).__name__

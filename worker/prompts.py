"""What Claude Code and the people in the thread are told, word for word, beside the person's own text.

Pure text. The prompt of a new turn is the person's text, unchanged; everything here goes into the system
prompt, into the prompt of a resumed turn, or into events.
"""

import json
from collections.abc import Sequence
from typing import Literal

from contracts.messages import Upload
from contracts.words import StopReason, ThreadId
from worker.ports import Laid

Reason = StopReason | Literal["recovered", "crashed"]

_FILES = 50
"""Files in conflict that are named."""
_PAUSED: dict[str, str] = {
    StopReason.PREEMPTED: "a message in another thread had to be answered first",
    StopReason.DRAINING: "the worker was shut down",
    StopReason.BUDGET: "a usage limit was reached",
    "recovered": "the worker was restarted",
    "crashed": "Claude Code ended unexpectedly",
}


_MOVED = (
    "You go on on another disk: of your work so far, what was pushed is on this branch, and files that git "
    "ignores are not there. Look at the branch before you build on it."
)


def context(*, project: str, branch: str, onto: str | None = None) -> str:
    """What stands behind Claude Code's own system prompt. ``onto``: the branch of people's it works for."""
    landing = f" and put onto {onto}, whose people you work for" if onto else ""
    return (
        f"You work for people who write to you in a chat thread about the project {project}. They see your "
        "text in the chat while you write it, and a preview of the working tree, but neither your terminal "
        "nor your files.\n"
        f"The checkout is on the git branch {branch}, which belongs to this thread. When you are done, "
        f"everything in the working tree is committed and pushed on that branch for you{landing}: do not "
        "commit, push, switch branches or rewrite history unless you are asked to.\n"
        "The preview server is already running and reloads by itself: do not start or stop dev servers. "
        "End with a short answer that says what you changed, or that you changed nothing."
    )


def resume(*, reason: Reason, moved: bool = False) -> str:
    """The prompt of a resumed turn whose request the session remembers. ``moved``: onto another disk."""
    why = _PAUSED.get(reason, "of an interruption")
    kept = _MOVED if moved else "Your work so far is kept on this branch and in the working tree."
    return f"You were paused because {why}. {kept} Go on with the request you were working on and finish it."


def replay(*, text: str, reason: Reason) -> str:
    """The prompt of a resumed turn whose request the session does not hold, because it never got there or
    because the session is gone: the text first, unchanged."""
    why = _PAUSED.get(reason, "of an interruption")
    return (
        f"{text}\n\n(This request was begun before and paused because {why}. This conversation holds nothing "
        "of that: what was done already, if anything, is on this branch. Look first, then finish it.)"
    )


def conflict(*, default: str, branch: str, files: Sequence[str]) -> str:
    """What stands behind the text of a message that asks for an update which is not clean."""
    more = len(files) - _FILES
    listed = "\n".join(f"- {name}" for name in files[:_FILES])
    rest = f"\n- and {more} more" if more > 0 else ""
    return (
        f"origin/{default} is fetched, and merging it into {branch} is not clean. These files are in "
        f"conflict:\n{listed}{rest}\n"
        f"Merge it now (git merge origin/{default}), resolve every conflict so that the intent of both sides "
        "is kept, and conclude it with git add and git commit --no-edit: here you are asked to commit. "
        "Do not rebase, and do not take one side blindly. End with a short answer that says how you resolved "
        "each conflict."
    )


def merged(default: str) -> str:
    """The answer to an update that was clean."""
    return f"Merged {default} into this branch; there were no conflicts."


def up_to_date(default: str) -> str:
    """The answer to an update that found nothing to do."""
    return f"This branch is up to date with {default} already."


def not_merged(*, default: str) -> str:
    """What is said behind the answer when the default branch is still not merged."""
    return f"{default} is not merged into this branch: ask for the update again, or merge it by hand."


def with_files(laid: Laid) -> str:
    """What stands behind the person's text about the files that came with it; nothing without any."""
    lines = []
    if laid.files:
        lines.append(
            "Files that came with this message. They are outside of the repository and for reading only; put "
            "a copy into the repository only where the message asks for it:"
        )
        lines += [f"- {path} ({_about(upload)})" for upload, path in laid.files]
    if laid.missed:
        lines.append("Files that came with this message and are not there any more; say so in your answer:")
        lines += [f"- {_about(upload)}" for upload in laid.missed]
    return "\n\n" + "\n".join(lines) if lines else ""


def _about(upload: Upload) -> str:
    return f"{json.dumps(upload.name, ensure_ascii=False)}, {upload.type}, {upload.size} bytes"


def missed_files(uploads: Sequence[Upload]) -> str:
    """What people are told of files that are not there any more."""
    listed = ", ".join(upload.name for upload in uploads)
    return f"Not there any more, so it was worked without: {listed}. Send it again if it matters."


def interrupted(reason: StopReason, *, by_thread: ThreadId | None = None, why: str = "") -> str:
    """The sentence of ``turn.interrupted``; ``why`` says more of a usage limit."""
    match reason:
        case StopReason.PREEMPTED:
            by = f" ({by_thread})" if by_thread else ""
            return f"Paused: a message in another thread{by} comes first. This goes on by itself afterwards."
        case StopReason.DRAINING:
            return "Paused: the worker is shutting down. This goes on by itself when it is back."
        case StopReason.BUDGET:
            return f"Paused: {why or 'A usage limit was reached.'} This goes on by itself as soon as it can."
        case _:
            return "Paused. This goes on by itself."


def resumed(reason: Reason) -> str:
    """The sentence of ``turn.resumed``."""
    return f"Going on; this was paused because {_PAUSED.get(reason, 'of an interruption')}."


def missed(*, onto: str, why: str, branch: str, said: str = "") -> str:
    """Why work is not on the branch of people's that it was meant for, and where it is."""
    match why:
        case "apart":
            return (
                f"{onto} has changes that do not go together with this work, so it was pushed beside it as "
                f"{branch}; {onto} stays as it is."
            )
        case "rewritten":
            return (
                f"The history of {onto} was rewritten since this thread worked on it, so the work was pushed "
                f"beside it as {branch}; {onto} stays as it is. Once {branch} is merged into it, this thread "
                "goes on there."
            )
        case "gone":
            return f"The branch {onto} is not there any more, so the work is on {branch} only."
        case "refused":
            return f"{onto} does not take the work ({said}), so it is on {branch} only."
        case _:
            return f"{onto} could not be moved just now: the work is on {branch}, and goes onto {onto} later."


AFTER_COMMIT = (
    "Something went wrong inside the worker after the work was committed; its log says what. The work is "
    "pushed within a minute."
)
NOTHING_CHANGED = "No files were changed, so there is no commit."
STOPPED = "Stopped."
STOPPED_WITH_WORK = "Stopped; the work so far is committed on the branch."
RECOVERED = (
    "The work was finished and committed just before the worker was restarted; nothing was done twice."
)
LEFT_ON_BRANCH = "What it had done until then is kept on the branch {branch}."
NO_MODEL = (
    "Still paused: a real model began this, and only the offline model is there. Start again with a model "
    "(ANTHROPIC_API_KEY) and it goes on; a new thread can be used meanwhile."
)
IN_DOUBT = (
    "Still paused: the worker that had this may have finished it, and only the remote knows, which cannot be "
    "reached now. This goes on by itself when it can."
)
TOGETHER = "Answered in the turn that was already running, together with its message."
EMPTY_ANSWER = "Done."

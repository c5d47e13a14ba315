"""Every sentence that is whispered to somebody in Slack, visible to them alone. Pure."""

from collections.abc import Sequence

from dispatcher.github_handed import own_words
from dispatcher.slack_mrkdwn import escape
from dispatcher.view import MessageView, Stage, ThreadView

HELP = (
    "Write what is to be done, in this channel with a mention or to me directly. One Slack thread is one"
    " branch; replies in it need no mention.\n"
    "• `> text` steers what is running at its next step\n"
    "• `! text` interrupts it and does this next\n"
    "• `stop` ends everything that was asked here so far\n"
    "• `status` says where it stands, `help` shows this"
)
ONLY_FILES = "I cannot read attached files: write what is to be done, and put files into the repository."
FILES_LEFT_OUT = "I work with your words alone; the attached file is left out: I cannot read it."
NO_THREAD = "There is nothing of mine here yet: write `{word}` as a reply in the thread you mean."
NOTHING_OPEN = "There is nothing to stop here: everything that was asked has been answered."
EDITED = (
    "I work with the text as you first sent it. Write what is different as a new reply:"
    " `> text` reaches what is running, `! text` interrupts it."
)
DELETED = "Deleting a message does not take it back: write `stop` to end what was asked here."
LOST = "The first message here was lost before it reached me: begin a new Slack thread."
NO_DIFF = "There are no changes to show for this message."


def stranger(*, team: str, user: str) -> str:
    """For somebody whom no link names."""
    return (
        "I do not know you yet, so I have done nothing. Ask whoever runs Branchline to let you in with"
        f" `branchline link add slack-user {team}/{user} NAME`."
    )


def no_project(*, team: str, channel: str) -> str:
    """For a channel that no link names."""
    return (
        "This channel belongs to no project, so I have done nothing. Ask whoever runs Branchline to link it"
        f" with `branchline link add slack-channel {team}/{channel} PROJECT`."
    )


def not_yours(*, project: str) -> str:
    """For somebody who may not use the channel's project."""
    return (
        f"You may not use the project {escape(project)}, so I have done nothing."
        " Ask whoever runs Branchline to add it to your projects."
    )


def which_project(projects: Sequence[str]) -> str:
    """For a direct message of somebody with several projects (or with none)."""
    if not projects:
        return "You have no project yet. Ask whoever runs Branchline to add one to yours."
    known = ", ".join(f"`[{escape(name)}]`" for name in projects)
    return f"Say which project you mean: begin the message with one of {known}."


def status(view: ThreadView) -> str:
    """Where a thread stands: one line for each message without an outcome."""
    lines = [_line(message) for message in view.messages if not message.is_over]
    if not lines:
        return f"Nothing is open here; {len(view.messages)} answered."
    if view.worker:
        lines.append(escape(view.worker))
    return "\n".join(lines)


def _line(message: MessageView) -> str:
    said = {
        Stage.QUEUED: f"queued behind {message.ahead}" if message.ahead else "next in line",
        Stage.PAUSED: f"paused: {message.note}",
    }.get(message.stage, str(message.stage))
    words = " ".join(own_words(message.text).split())
    short = words if len(words) <= 60 else f"{words[:59]}…"
    return f"• “{escape(short)}” by {escape(message.author.name)}: {escape(said)}"


def diff(*, message: MessageView, repo: str) -> str:
    """How to see what a message changed."""
    final = message.final
    if final is None or not final.commit or not final.branch:
        return NO_DIFF
    link = commit_link(repo=repo, sha=final.commit)
    where = f"<{link}|{final.commit[:8]}>" if link and final.pushed else f"`{final.commit[:8]}`"
    files = "1 file" if final.files == 1 else f"{final.files} files"
    shell = f"git fetch origin {final.branch} && git show {final.commit[:12]}"
    size = f"{files}, +{final.insertions} -{final.deletions}"
    return f"{where} on `{escape(final.branch)}`: {size}\n```{escape(shell)}```"


def commit_link(*, repo: str, sha: str) -> str | None:
    """The page of a commit, for a repository on GitHub."""
    for start in ("https://github.com/", "git@github.com:", "ssh://git@github.com/"):
        if repo.startswith(start):
            path = repo.removeprefix(start).rstrip("/").removesuffix(".git")
            return f"https://github.com/{path}/commit/{sha}" if path.count("/") == 1 else None
    return None

"""Ids from outside become names here and nowhere else: branch, directory, queue, session, ``CONTAINER_ID``.

Every function is injective and its result is safe where it is used, whatever the input: two ids that
differ by one byte, by case or by a Unicode look-alike get different names, and no name can be read as an
option, leave a folder or break a ref. An id that is already plain keeps its spelling; any other gets a
readable slug and 80 bits of SHA-256, so "injective" means up to a collision of those 80 bits.

No I/O, and no decision about who may use which id.
"""

import hashlib
import re
import uuid
from pathlib import PurePosixPath
from typing import Literal

from contracts.words import ClientId, ProjectId, ThreadId, TurnId, UserId, WorkerId

ID_LIMIT = 100
"""Longest id, in characters, that the product accepts from a person or a program."""

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:@+=-]{{0,{ID_LIMIT - 1}}}")
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_NAMESPACE = uuid.UUID("6f0c6c2e-6d1b-5d0b-9d0e-6272616e6368")
_PART_LIMIT = 48
_OURS = ("thread-", "conflict-")
_NO_REF = re.compile(r"[ ~^:?*`\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|^[-./]|[./]$")
_REF_LIMIT = 200
_FILE_LIMIT = 80
_INSTRUCTIONS = ("claude.md", "claude.local.md", "agents.md")
_QUEUE_LIMIT = 80  # Amazon SQS: at most 80 characters of [A-Za-z0-9_-]
_WORKER = re.compile(r"[a-z0-9_]+-[a-z0-9_]+-([a-z0-9_]+)")

KeyKind = Literal["model", "github"]
KEY_KINDS: tuple[KeyKind, ...] = ("model", "github")
"""Keys that a user may bring: the model's, and a token of GitHub's."""
USER_SECRETS = "branchline/user/"
"""What the names of all secrets with keys of users' own begin with, and no others."""


def is_id(text: str) -> bool:
    """Whether ``text`` may be used as a thread or message id by callers of the API."""
    return _ID.fullmatch(text) is not None


def branch(thread_id: ThreadId) -> str:
    """The thread's git branch, ``thread-{thread_id}`` for a plain id."""
    return f"thread-{_ref_part(thread_id)}"


def conflict_branch(thread_id: ThreadId, *, number: int) -> str:
    """Where work goes when the thread's branch cannot take it: ``conflict-{n}/thread-{id}``."""
    return f"conflict-{number}/{branch(thread_id)}"


def thread_of(branch_name: str) -> str | None:
    """The thread whose branch this may be, for an id that is plain; whether there is one is not known."""
    found = branch_name.removeprefix("thread-")
    return found if is_id(found) and branch(ThreadId(found)) == branch_name else None


def onto(branch_name: str) -> str | None:
    """A branch of people's that work may go onto, as it is written; None for a branch of ours, for ``HEAD``,
    for what git would not take for a branch and for what could not be quoted in a comment."""
    usable = branch_name.isprintable() and 0 < len(branch_name.encode()) <= _REF_LIMIT
    if not usable or branch_name in ("HEAD", "@") or branch_name.startswith(_OURS):
        return None
    return None if _NO_REF.search(branch_name) else branch_name


def epoch_ref(worker_id: WorkerId) -> str:
    """The ref on the remote that fences pushes of earlier owners of this worker id."""
    return f"refs/branchline/epoch/{_ref_part(worker_id)}"


def worker_id(*, client: ClientId, project: ProjectId, user: UserId) -> WorkerId:
    """``CONTAINER_ID``. A part's own ``-`` is escaped, so the three parts can be told apart again.

    Raises ValueError for an empty part.
    """
    if not (client and project and user):
        raise ValueError("client, project and user must not be empty")
    return WorkerId("-".join(_part(p) for p in (client, project, user)))


def checkout(*, client: ClientId, project: ProjectId, user: UserId) -> PurePosixPath:
    """The checkout's folder below ``WORKSPACE_PATH``: ``{client}/{user}/{project}``."""
    return PurePosixPath(_part(client), _part(user), _part(project))


def queue(worker: WorkerId, *, prefix: str = "branchline") -> str:
    """The SQS queue of a worker."""
    return _queue_name(worker, prefix=prefix, suffix="")


def dead_letters(worker: WorkerId, *, prefix: str = "branchline") -> str:
    """The dead-letter queue of a worker."""
    return _queue_name(worker, prefix=prefix, suffix="-dead")


def short(worker: WorkerId) -> str:
    """A worker in at most 46 of ``[a-z0-9-]``, for names in AWS that hold no whole id (roles, tasks)."""
    return f"{re.sub('[^a-z0-9]', '', worker.lower())[:24]}--{digest(worker)}"


def user_secret(user: UserId, *, kind: KeyKind) -> str:
    """The secret with a key of a user's own. Only ``[a-z0-9_]`` stand for the user between two ``/``, so
    no name is the beginning of another's or holds what IAM takes for a pattern.

    Raises ValueError for an empty user.
    """
    if not user:
        raise ValueError("user must not be empty")
    return f"{USER_SECRETS}{_part(user)}/{kind}"


def worker_secret(worker: WorkerId, *, kind: KeyKind) -> str:
    """The same for the user whose worker it is. Raises ValueError for an id that is none."""
    found = _WORKER.fullmatch(worker)
    if found is None:
        raise ValueError(f"{worker!r} is no worker id: it names no user")
    return f"{USER_SECRETS}{found[1]}/{kind}"


def thread_folder(thread_id: ThreadId) -> str:
    """A folder for what belongs to a thread, below one that holds nothing else."""
    return _ref_part(thread_id)


def file_name(name: str) -> str:
    """A person's name for a file as one that any disk and any shell takes. Not injective: the file needs a
    folder of its own. No name that Claude Code would read as instructions comes out."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", re.split(r"[/\\]", name)[-1]).lstrip("._-")
    stem, dot, ending = plain.rpartition(".")
    kept = f"{stem[:_FILE_LIMIT]}{dot}{ending[:16]}" if stem else plain[:_FILE_LIMIT]
    safe = kept.strip("_") or "file"
    return f"file-{safe}" if safe.lower() in _INSTRUCTIONS else safe


def session(*, worker: WorkerId, thread_id: ThreadId) -> uuid.UUID:
    """Claude Code's session id of a thread (RFC 9562 version 5)."""
    return uuid.uuid5(_NAMESPACE, f"{worker}/{thread_id}")


def turn(*, worker: WorkerId, thread_id: ThreadId, sequence: int) -> TurnId:
    """The turn's id: one per message, the same after any restart."""
    return TurnId(uuid.uuid5(_NAMESPACE, f"turn/{worker}/{sequence}/{thread_id}").hex[:20])


def prompt(turn_id: TurnId) -> uuid.UUID:
    """The id under which a turn's first prompt stands in the session's transcript."""
    return uuid.uuid5(_NAMESPACE, f"prompt/{turn_id}")


def digest(text: str) -> str:
    """80 bits of SHA-256 in hex; lone surrogates are taken as they are."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _ref_part(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and ".." not in text and "--" not in text and not text.endswith(".lock")
    if plain:
        return text
    slug = re.sub(r"[^a-z0-9]+", "-", text[:200].lower()).strip("-")[:30].strip("-") or "x"
    return f"{slug}--{digest(text)}"


def _part(text: str) -> str:
    escaped = re.sub(
        rb"[^a-z0-9]", lambda m: b"_%02x" % m.group()[0], text.encode("utf-8", "surrogatepass")
    ).decode()
    if len(escaped) <= _PART_LIMIT:
        return escaped
    # "_h" cannot come out of the escaping above, so a shortened part never equals a whole one.
    return f"{re.sub('[^a-z0-9]', '', escaped)[:16]}_h{digest(text)}"


def _queue_name(worker: WorkerId, *, prefix: str, suffix: str) -> str:
    name = f"{prefix}-{worker}"
    room = _QUEUE_LIMIT - len("-dead")
    if len(name) > room or not re.fullmatch(r"[a-z0-9_-]+", worker):
        # "--" cannot stand in a worker id, whose parts are not empty and hold no "-".
        name = f"{prefix}-{re.sub('[^a-z0-9]', '', worker)[:24]}--{digest(worker)}"
    return name + suffix

"""Which project and worker a request is for, and whether its ids and text will do. Pure: no I/O."""

import unicodedata
from collections.abc import Mapping, Sequence

from contracts import names
from contracts.config import ProjectConfig
from contracts.messages import TEXT_LIMIT, UPLOADS_LIMIT
from contracts.records import WorkerRecord
from contracts.words import ClientId, ProjectId, UserId
from dispatcher.errors import Invalid, NotFound, TooLarge

_SHOWN = 40


def check_id(text: str, *, what: str) -> None:
    """Raise Invalid unless ``text`` may be an id; ``what`` names it for the sender."""
    if not names.is_id(text):
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        raise Invalid(
            f"{what} {shown!r} is not usable: 1 to {names.ID_LIMIT} letters, digits and . _ : @ + = -,"
            " beginning with a letter or digit.",
            code=f"invalid_{what}",
        )


def is_blank(text: str) -> bool:
    """Whether nobody would see anything: white space and characters that only format (zero-width ones)."""
    return all(c.isspace() or unicodedata.category(c) == "Cf" for c in text)


def check_text(text: str) -> None:
    """Raise Invalid or TooLarge unless ``text`` may be a message."""
    if is_blank(text):
        raise Invalid("The text is empty: write what is to be done.", code="empty_text")
    if "\0" in text:
        raise Invalid("The text holds a NUL character: leave it out.", code="invalid_text")
    if len(text.encode()) > TEXT_LIMIT:
        raise TooLarge(
            f"The text is longer than {TEXT_LIMIT} bytes ({TEXT_LIMIT // 1024} KB of UTF-8): shorten it,"
            " or put it into a file of the repository.",
            code="text_too_large",
        )


def check_uploads(upload_ids: Sequence[str]) -> None:
    """Raise Invalid unless one message may carry these."""
    if len(upload_ids) > UPLOADS_LIMIT:
        raise Invalid(
            f"A message carries {UPLOADS_LIMIT} files at most: send the others with the next one.",
            code="too_many_uploads",
        )
    if len(set(upload_ids)) < len(upload_ids):
        raise Invalid("The same upload is named twice: name it once.", code="upload_named_twice")


def choose_project(projects: Mapping[str, ProjectConfig], *, asked: str | None, default: str | None) -> str:
    """The project a new thread belongs to. Raises NotFound, and Invalid when one has to be named."""
    known = ", ".join(sorted(projects))
    if not projects:
        raise NotFound(
            "No project is configured: set BRANCHLINE_REPO or write [project.NAME] into branchline.toml.",
            code="unknown_project",
        )
    name = asked if asked is not None else default
    if name is None:
        raise Invalid(f'Name a project: "project" is one of {known}.', code="project_missing")
    if name not in projects:
        raise NotFound(f"There is no project {name!r}: known are {known}.", code="unknown_project")
    return name


def worker_of(*, name: str, project: ProjectConfig, user: str) -> WorkerRecord:
    """The row of the worker of a user and project, as it is before anybody owns it."""
    return WorkerRecord(
        worker_id=names.worker_id(
            client=ClientId(project.client), project=ProjectId(name), user=UserId(user)
        ),
        client=project.client,
        project=name,
        user=user,
        repo=project.repo,
        preview_command=project.preview.command,
        trusted=project.trusted,
        workflows=project.workflows,
    )


def configured(row: WorkerRecord, projects: Mapping[str, ProjectConfig]) -> WorkerRecord | None:
    """The row as the configuration would have it; None when its project is not configured any more."""
    project = projects.get(row.project)
    if project is None or project.client != row.client:
        return None
    return worker_of(name=row.project, project=project, user=row.user)

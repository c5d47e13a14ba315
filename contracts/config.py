"""Who and what, as ``branchline.toml`` says it: projects and users. Shapes and checks only; reads no file."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.places import LinkKind, LinkRecord, canonical

LOCAL = "local"
"""Client and user of a fleet without a configuration file."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreviewConfig(_Strict):
    """``command`` starts the project's own preview; "none" turns it off. Without it, Astro is looked for."""

    command: str | None = None


class ProjectConfig(_Strict):
    """One project: its repository and where people write about it."""

    client: str = LOCAL
    repo: str
    slack_channels: tuple[str, ...] = ()
    github_repos: tuple[str, ...] = ()
    preview: PreviewConfig = PreviewConfig()
    trusted: bool = Field(
        default=False, description="Run the repository's own Claude Code hooks and MCP servers."
    )
    workflows: bool = Field(default=False, description="Let work change what stands below .github/workflows.")


class UserConfig(_Strict):
    """One person: the projects they may use and who they are elsewhere. An operator may use all of them,
    and may do what is for those who run the fleet."""

    projects: tuple[str, ...] = ()
    operator: bool = False
    slack: tuple[str, ...] = ()
    github: tuple[str, ...] = ()


class FleetConfig(BaseModel):
    """The part of the file that names projects and users; other tables belong to the product settings."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    project: dict[str, ProjectConfig] = Field(default_factory=dict)
    user: dict[str, UserConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _users_name_known_projects(self) -> Self:
        for name, user in self.user.items():
            for project in user.projects:
                if project not in self.project:
                    raise ValueError(f'user "{name}" names the project "{project}", which is not configured')
        return self

    @model_validator(mode="after")
    def _names_are_names_of_one(self) -> Self:
        seen: dict[tuple[LinkKind, str], str] = {}
        for link in self.links:
            other = seen.setdefault((link.kind, link.name), link.target)
            if other != link.target:
                raise ValueError(
                    f'the {link.kind} {link.name} is given to both "{other}" and "{link.target}"'
                )
        return self

    @property
    def links(self) -> list[LinkRecord]:
        """Who is who elsewhere, as the file says it. Raises ValueError for a name that cannot be one."""
        return [
            LinkRecord(kind=kind, name=canonical(kind, name), target=target, source="file")
            for kind, names, target in self._named()
            for name in names
        ]

    def _named(self) -> Iterable[tuple[LinkKind, tuple[str, ...], str]]:
        for project, its in self.project.items():
            yield LinkKind.SLACK_CHANNEL, its.slack_channels, project
            yield LinkKind.GITHUB_REPO, its.github_repos, project
        for user, their in self.user.items():
            yield LinkKind.SLACK_USER, their.slack, user
            yield LinkKind.GITHUB_USER, their.github, user

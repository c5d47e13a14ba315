"""Asks GitHub for the pull request of a thread's branch; its refusals become sentences for the page."""

from collections.abc import Mapping

import aiohttp

from contracts.config import ProjectConfig
from contracts.records import ThreadRecord
from dispatcher.errors import Conflict, Unavailable
from dispatcher.github_api import GitHub
from dispatcher.github_app import GitHubApp
from dispatcher.github_errors import Rejected
from dispatcher.github_pull import Pulls, Work
from dispatcher.github_settings import GitHubSettings, repo_of
from dispatcher.posting import Later, Undeliverable
from dispatcher.pull_of_thread import OpenPull, ThreadPull, body_of, repo_for

_NOTHING = (
    "{repo} has nothing of {branch} to merge: ask for a change in this thread first, and try again when it "
    "is pushed."
)


def opener(settings: GitHubSettings, *, session: aiohttp.ClientSession) -> OpenPull:
    """Finds or opens pull requests as the App."""
    app = GitHubApp(
        session=session, app_id=settings.app_id, private_key=settings.pem, api_url=settings.github_api_url
    )
    pulls = Pulls(github=GitHub(app=app, session=session), draft=settings.github_draft)

    async def opened(projects: Mapping[str, ProjectConfig], row: ThreadRecord) -> ThreadPull:
        project = projects[row.project]
        repo = repo_for(project, own=repo_of(project.repo, api_url=settings.github_api_url))
        return await _of(pulls, row, repo=repo)

    return opened


async def _of(pulls: Pulls, row: ThreadRecord, *, repo: str) -> ThreadPull:
    work = Work(head=row.branch, title=row.title, body=body_of(row))
    try:
        pull = await pulls.of_branch(repo, work)
    except Rejected as error:
        told = _NOTHING.format(repo=repo, branch=row.branch)
        raise Conflict(told, code="nothing_pushed") from error
    except Undeliverable as error:
        told = f"{str(error).rstrip('.')}. See that the GitHub App is installed in {repo} (docs/github.md)."
        raise Conflict(told, code="not_github") from error
    except Later as error:
        raise Unavailable(f"{error} Try again in a moment.") from error
    return ThreadPull(url=pull.html_url, number=pull.number)

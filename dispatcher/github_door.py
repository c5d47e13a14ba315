"""GitHub as a frontend: when it is on, and its parts put together. The only place that knows all of them."""

from urllib.parse import quote

from contracts.words import ThreadId
from dispatcher.frontends import Chat, Frontdoor, Inside
from dispatcher.github_api import GitHub
from dispatcher.github_app import GitHubApp
from dispatcher.github_in import GitHubIn
from dispatcher.github_post import GitHubPoster
from dispatcher.github_pull import Pulls
from dispatcher.github_refusal import Refusals
from dispatcher.github_render import GitHubDialect
from dispatcher.github_settings import GitHubSettings
from dispatcher.github_take import Take
from dispatcher.github_tokens import GitHubTokens
from dispatcher.github_workers import KnownWorkers


def is_on() -> bool:
    """Whether the App, its key and the webhook secret are given."""
    return GitHubSettings().is_ready


async def build(inside: Inside) -> Chat:
    """The webhook, the worker's tokens, the comments."""
    settings = GitHubSettings()
    app = GitHubApp(
        session=inside.session,
        app_id=settings.app_id,
        private_key=settings.pem,
        api_url=settings.github_api_url,
    )
    github = GitHub(app=app, session=inside.session)
    take = Take(
        github=github,
        intake=inside.ingest,
        people=inside.people,
        places=inside.places,
        workers=KnownWorkers(inside.settings, links=inside.people),
        refusals=Refusals(github=github, table=inside.table),
        log=inside.table,
    )
    router = GitHubIn(settings=settings, take=take).router()
    key = inside.settings.launcher_token.get_secret_value()
    if key:
        router.include_router(GitHubTokens(app=app, key=key, projects=inside.settings.projects).router())
    return Chat(
        dialect=GitHubDialect(page=lambda thread_id: _page(settings, thread_id)),
        poster=GitHubPoster(github=github, pulls=Pulls(github=github, draft=settings.github_draft)),
        router=router,
    )


def _page(settings: GitHubSettings, thread_id: ThreadId) -> str | None:
    return page_of(settings.public_url, thread_id=thread_id) if settings.public_url else None


def page_of(public_url: str, *, thread_id: ThreadId) -> str:
    """The thread's address on the page, as ``page/src/route.ts`` reads it."""
    return f"{public_url.rstrip('/')}/#/t/{quote(thread_id, safe='')}"


DOOR = Frontdoor(is_on=is_on, build=build)

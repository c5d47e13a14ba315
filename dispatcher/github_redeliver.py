"""``scripts/redeliver``: asks GitHub to deliver again what it could not deliver. GitHub never does so itself.

A webhook that arrives twice is one message (its id is the comment's), so asking once too often does no harm.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
from gidgethub.aiohttp import GitHubAPI
from pydantic import BaseModel, ConfigDict

from dispatcher.github_app import GitHubApp
from dispatcher.github_errors import translated
from dispatcher.github_settings import GitHubSettings
from dispatcher.posting import Later, Undeliverable

KEPT = timedelta(days=3)
"""GitHub keeps deliveries for so long."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Delivery(BaseModel):
    """One attempt to deliver a webhook; attempts of the same webhook share the ``guid``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    guid: str
    delivered_at: datetime
    status_code: int
    event: str
    action: str | None = None

    @property
    def arrived(self) -> bool:
        """Whether it was answered with a 2xx."""
        return 200 <= self.status_code < 300


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was asked for again, and what GitHub would not deliver again."""

    asked: tuple[Delivery, ...]
    refused: tuple[Delivery, ...] = ()


def undelivered(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The newest attempt of each webhook of which none arrived, oldest webhook first."""
    arrived = {d.guid for d in deliveries if d.arrived}
    newest: dict[str, Delivery] = {}
    for each in sorted(deliveries, key=lambda d: (d.delivered_at, d.id)):
        if each.guid not in arrived:
            newest[each.guid] = each
    first = {d.guid: d.delivered_at for d in sorted(deliveries, key=lambda d: d.delivered_at, reverse=True)}
    return sorted(newest.values(), key=lambda d: (first[d.guid], d.id))


async def redeliver(api: GitHubAPI, *, since: datetime, dry_run: bool) -> Report:
    """Ask for every webhook again that was sent after ``since`` and did not arrive.

    Raises Later and Undeliverable when the list cannot be had.
    """
    async with translated("list deliveries", seconds=120):
        found: list[Delivery] = []
        async for plain in api.getiter("/app/hook/deliveries?per_page=100"):
            found.append(Delivery.model_validate(plain))
            if found[-1].delivered_at < since:
                break
    left = undelivered([d for d in found if d.delivered_at >= since])
    if dry_run:
        return Report(asked=tuple(left))
    refused = [d for d in left if not await _again(api, d)]
    return Report(asked=tuple(d for d in left if d not in refused), refused=tuple(refused))


async def _again(api: GitHubAPI, delivery: Delivery) -> bool:
    try:
        async with translated("deliver again"):
            await api.post(f"/app/hook/deliveries/{delivery.id}/attempts", data={})
    except (Later, Undeliverable) as error:
        sys.stderr.write(f"{_line(delivery)}: {error}\n")
        return False
    return True


async def run(settings: GitHubSettings, *, since: datetime, dry_run: bool) -> Report:
    """``redeliver`` with the App of the settings."""
    async with aiohttp.ClientSession() as session:
        app = GitHubApp(
            session=session,
            app_id=settings.app_id,
            private_key=settings.pem,
            api_url=settings.github_api_url,
        )
        return await redeliver(app.api, since=since, dry_run=dry_run)


def age(text: str) -> timedelta:
    """``90m``, ``12h``, ``2d`` as a length of time. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,4})([mhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is no length of time: write 90m, 12h or 2d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _line(delivery: Delivery) -> str:
    when = delivery.delivered_at.strftime("%Y-%m-%d %H:%M:%S")
    what = f"{delivery.event} {delivery.action or ''}".strip()
    return f"{when}  {delivery.guid}  {what}  ({delivery.status_code or 'no answer'})"


def main(argv: Sequence[str] | None = None) -> int:
    """0: nothing is left. 1: something could not be asked for again. 2: it could not be tried."""
    parser = argparse.ArgumentParser(prog="redeliver", description="Webhooks that GitHub could not deliver.")
    parser.add_argument("--since", default="3d", metavar="AGE", help="how far back: 90m, 12h, 2d (3d)")
    parser.add_argument("--dry-run", action="store_true", help="only list them")
    given = parser.parse_args(argv)
    settings = GitHubSettings()
    try:
        if not settings.is_app:
            raise ValueError("set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY")
        since = datetime.now(UTC) - min(age(given.since), KEPT)
        report = asyncio.run(run(settings, since=since, dry_run=given.dry_run))
    except (ValueError, Later, Undeliverable) as error:
        sys.stderr.write(f"redeliver: {error}\n")
        return 2
    word = "would ask for" if given.dry_run else "asked for"
    for delivery in report.asked:
        sys.stdout.write(f"{word}  {_line(delivery)}\n")
    sys.stdout.write(f"{word} {len(report.asked)}, refused {len(report.refused)}\n")
    return 1 if report.refused else 0


if __name__ == "__main__":
    sys.exit(main())

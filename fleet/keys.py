"""``branchline keys``: keys that users of a fleet on AWS bring, for the model and for GitHub. Types, asks and
shows; the keys are in Secrets Manager. A key is never an argument, because arguments are seen by everybody on
the machine, and never shown but for its end."""

import asyncio
import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdk.settings import AwsSettings
from contracts import names
from contracts.names import KeyKind
from contracts.words import UserId, WorkerId
from fleet.problem import USAGE, Problem
from fleet.render import clean
from fleet.settings import fleet_config, load

if TYPE_CHECKING:
    from fleet.deploy.cloud import Cloud, Kept

_KEY = re.compile(r"[!-~]{8,}")
_OTHERS: dict[KeyKind, re.Pattern[str]] = {
    "model": re.compile(r"gh[a-z]_|github_pat_"),
    "github": re.compile(r"sk-ant-"),
}
"""How keys begin that are meant for the other place; nobody else should see them."""
_SHOWN, _LONG_ENOUGH = 4, 20
_LATER = "workers read it when they start; those that run go on as they are until then (--now ends them)"
app = typer.Typer(
    help="Keys of users' own on AWS: set, list and remove.",
    epilog="Examples: branchline keys set model --user mona;  branchline keys list",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]
Kind = Annotated[KeyKind, typer.Argument(help="What it is for: model or github.")]
User = Annotated[
    str | None, typer.Option(help="Whose key, as branchline.toml names them; without it, the only user.")
]
Region = Annotated[str | None, typer.Option(help="AWS region; without it, AWS's own settings say.")]
Now = Annotated[
    bool, typer.Option("--now", help="Have the user's workers save their work and leave, to start anew.")
]


@app.command(
    "set", epilog="Example: branchline keys set github --user mona --now  (asked for, or from a pipe)"
)
def keep(kind: Kind, user: User = None, region: Region = None, now: Now = False) -> None:
    """Keep a user's key in Secrets Manager, in place of the one before. Needs AWS credentials."""
    whose = _user(user)
    name = names.user_secret(whose, kind=kind)
    value = _value(kind)
    cloud = _cloud(region)
    made = asyncio.run(cloud.keep(name, value, what=f"Branchline: key of a user's own ({kind})"))
    typer.echo(clean(f"{'set' if made else 'changed'}: the {kind} key of {whose}, in {name}"))
    _afterwards(cloud, whose, now=now)


@app.command("remove", epilog="Example: branchline keys remove model --user mona")
def remove(kind: Kind, user: User = None, region: Region = None, now: Now = False) -> None:
    """Delete a user's key for good. Their workers use the fleet's from then on, if it has one."""
    whose = UserId(user) if user else _user(None)
    cloud = _cloud(region)
    if not asyncio.run(cloud.forget(names.user_secret(whose, kind=kind))):
        raise Problem(f"{clean(whose)} has no {kind} key; see them with: branchline keys list", code=USAGE)
    typer.echo(clean(f"removed: the {kind} key of {whose}"))
    _afterwards(cloud, whose, now=now)


@app.command("list", epilog="Example: branchline keys list --json")
def show(user: User = None, region: Region = None, as_json: AsJson = False) -> None:
    """List whose keys are there, since when, and how they end."""
    rows = _rows(asyncio.run(_cloud(region).kept(names.USER_SECRETS)), only=user)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        Console(highlight=False, width=None if sys.stdout.isatty() else 400).print(_table(rows))
    else:
        typer.echo("Nobody has brought a key yet; set one with: branchline keys set model --user NAME")


def ending(value: str) -> str:
    """What may be seen of a key: four characters of a long one."""
    return f"...{value[-_SHOWN:]}" if len(value) >= _LONG_ENOUGH else "..."


def _rows(found: "list[Kept]", *, only: str | None) -> list[dict[str, Any]]:
    known = {names.user_secret(UserId(u), kind=kind): u for u in _known() for kind in names.KEY_KINDS}
    rows = []
    for kept in found:
        folder, _, kind = kept.name.removeprefix(names.USER_SECRETS).rpartition("/")
        whose = known.get(kept.name, folder)
        is_asked_for = only is None or kept.name == names.user_secret(UserId(only), kind=_kind(kind))
        if kind in names.KEY_KINDS and is_asked_for:
            rows.append(
                {"user": whose, "key": kind, "changed": kept.changed[:10], "ends": ending(kept.value)}
            )
    return sorted(rows, key=lambda row: (row["user"], row["key"]))


def _kind(word: str) -> KeyKind:
    return "github" if word == "github" else "model"


def _user(given: str | None) -> UserId:
    """Whose key. Raises Problem for somebody whom the file does not name: such a key would never be used."""
    known = _known()
    if given is None and len(known) != 1:
        raise Problem(f"say whose key it is: --user {' | '.join(known)}", code=USAGE)
    user = given if given is not None else known[0]
    if user not in known:
        raise Problem(f"{user} is none of the users ({', '.join(known)}): correct --user.", code=USAGE)
    return UserId(user)


def _known() -> list[str]:
    config = fleet_config()
    return sorted(config.user) if config is not None and config.user else [load().user]


def _value(kind: KeyKind) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        value = str(typer.prompt(f"Key ({kind})", hide_input=True))
    else:
        value = sys.stdin.readline() if sys.stdin is not None else ""
    value = value.strip()
    if not _KEY.fullmatch(value):
        raise Problem("there is no key: type it, or send it as one line through a pipe.", code=USAGE)
    if _OTHERS[kind].match(value):
        other = "github" if kind == "model" else "model"
        raise Problem(f"this looks like a key for {other}, so it was not kept as {kind}.", code=USAGE)
    return value


def _afterwards(cloud: "Cloud", user: UserId, *, now: bool) -> None:
    if now:
        count = asyncio.run(_stop(cloud, user))
        typer.echo(f"asked {count} worker{'s' if count != 1 else ''} to leave; work goes on in new ones")
    else:
        typer.echo(_LATER)
    if _settings().own_keys == "off":
        typer.echo('note: workers do not look for keys yet; set own_keys = "allowed" in [aws] and deploy')


async def _stop(cloud: "Cloud", user: UserId) -> int:
    own = names.user_secret(user, kind="model")
    tasks = [
        task
        for task, worker in (await cloud.workers()).items()
        if names.worker_secret(WorkerId(worker), kind="model") == own
    ]
    for task in tasks:
        await cloud.stop_task(task, reason="branchline keys")
    return len(tasks)


def _settings() -> AwsSettings:
    try:
        return AwsSettings()
    except ValidationError as error:
        raise Problem(f"[aws] is wrong: {error.errors()[0]['msg']}.", code=USAGE) from None


def _cloud(region: str | None) -> "Cloud":
    from fleet.deploy.cloud import Cloud  # every other command would wait for what it imports

    return Cloud(region=region)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("user", "key", "changed", "ends", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(clean(str(row[name]))) for name in ("user", "key", "changed", "ends")))
    return table

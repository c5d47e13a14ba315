"""``branchline link``: who is who in the chats. Types, tables and words; the links are the dispatcher's."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.places import LinkKind
from fleet.client import Client
from fleet.render import clean
from fleet.settings import load

_NONE = "Nobody is linked yet; begin with: branchline link add slack-user TEAM/USER NAME"
_EXAMPLES = (
    "Examples: branchline link add slack-channel T024BE7LD/C012AB3CD site  (what is written there is for the"
    " project site);  branchline link add github-user octocat mona  (this login is the user mona);"
    "  branchline link remove github-user octocat"
)
app = typer.Typer(
    help="Say who is who in Slack and on GitHub: list, add and remove links.",
    epilog=_EXAMPLES,
    no_args_is_help=False,
    invoke_without_command=True,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]
Kind = Annotated[LinkKind, typer.Argument(metavar="KIND", help=f"One of {', '.join(LinkKind)}.")]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="TEAM/USER or TEAM/CHANNEL of Slack; LOGIN or OWNER/NAME of GitHub."),
]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="The user or the project that it stands for.")]


@app.callback()
def default(context: typer.Context) -> None:
    """Without a word behind it: list."""
    if context.invoked_subcommand is None:
        show()


@app.command("list", epilog="Example: branchline link list --json")
def show(as_json: AsJson = False) -> None:
    """List all links, those of branchline.toml (file) and those made here (person)."""
    with Client(load()) as client:
        links = client.links()
    if as_json:
        _print_json(links)
    elif links:
        Console(highlight=False, width=None if sys.stdout.isatty() else 400).print(_table(links))
    else:
        typer.echo(_NONE)


@app.command(epilog="Example: branchline link add slack-user T024BE7LD/U012AB3CD mona")
def add(kind: Kind, name: Name, target: Target, as_json: AsJson = False) -> None:
    """Link an outside name with a user or a project, over whatever branchline.toml says."""
    with Client(load()) as client:
        link = client.link(kind=kind, name=name, target=target)
    _say(link, f"linked: {link['kind']} {link['name']} is {link['target']}", as_json=as_json)


@app.command(epilog="Example: branchline link remove github-user octocat")
def remove(kind: Kind, name: Name, as_json: AsJson = False) -> None:
    """Forget a link. One that branchline.toml names comes back when the fleet starts again."""
    with Client(load()) as client:
        link = client.unlink(kind=kind, name=name)
    back = (
        "; branchline.toml names it, so it comes back with the next start" if link["source"] == "file" else ""
    )
    _say(link, f"removed: {link['kind']} {link['name']} was {link['target']}{back}", as_json=as_json)


def _say(link: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(link)
    else:
        typer.echo(clean(words))


def _table(links: list[dict[str, Any]]) -> Table:
    table = Table("kind", "name", "stands for", "from", box=None, pad_edge=False)
    for link in links:
        table.add_row(*(Text(clean(str(link[name]))) for name in ("kind", "name", "target", "source")))
    return table


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))

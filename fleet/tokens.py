"""``branchline token``: bearer tokens for programs and other machines. Types, tables and words; the tokens
are the dispatcher's, and one is shown once."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dispatcher.access import Scope
from dispatcher.signin_records import digest, new_token
from fleet.client import Client
from fleet.render import clean
from fleet.settings import load

_NONE = "There are no tokens yet; make one with: branchline token create NAME"
app = typer.Typer(
    help="Bearer tokens for programs and other machines: create, list and revoke.",
    epilog="Examples: branchline token create ci --scope write --days 90;  branchline token revoke ci",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token, one for each user.")]
User = Annotated[str | None, typer.Option(help="Whose token it is; without it, one's own.")]


@app.command(epilog="Example: branchline token create ci --user mona --scope read --scope write --days 90")
def create(
    name: Name,
    user: User = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; without it read and write.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="After how many days it ends; without it, never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, this once. Set BRANCHLINE_TOKEN to it on the machine that is to use it."""
    given = {"name": name, "user": user, "scopes": scope or None, "days": days}
    with Client(load()) as client:
        made = client.ask("POST", "/v1/tokens", json={k: v for k, v in given.items() if v is not None})
    if as_json:
        _print_json(made)
    else:
        typer.echo(made["token"])
        typer.echo(f"made: {made['name']} of {made['user']}; it is not shown again", err=True)


@app.command("list", epilog="Example: branchline token list --json")
def show(as_json: AsJson = False) -> None:
    """List the tokens that are good: one's own, and for operators those of all."""
    with Client(load()) as client:
        tokens = client.ask("GET", "/v1/tokens")["tokens"]
    if as_json:
        _print_json(tokens)
    elif tokens:
        Console(highlight=False, width=None if sys.stdout.isatty() else 400).print(_table(tokens))
    else:
        typer.echo(_NONE)


@app.command(epilog="Example: branchline token revoke ci --user mona")
def revoke(name: Name, user: User = None) -> None:
    """End a token, at once and everywhere."""
    given = {"name": name, **({"user": user} if user is not None else {})}
    with Client(load()) as client:
        gone = client.ask("POST", "/v1/tokens/revoke", json=given)
    typer.echo(clean(f"revoked: {gone['name']} of {gone['user']}"))


@app.command(epilog="Example: branchline token operator")
def operator(as_json: AsJson = False) -> None:
    """Make the first token of a fleet elsewhere: it gets the hash, and whoever sets it up keeps the token."""
    token = new_token()
    plain = {"BRANCHLINE_TOKEN": token, "BRANCHLINE_OPERATOR_TOKEN_HASH": digest(token)}
    if as_json:
        _print_json(plain)
    else:
        typer.echo("\n".join(f"{name}={value}" for name, value in plain.items()))


def _table(tokens: list[dict[str, Any]]) -> Table:
    table = Table("name", "user", "may", "made", "ends", box=None, pad_edge=False)
    for token in tokens:
        cells = (token["name"], token["user"], " ".join(token["scopes"]), token["created"][:10])
        table.add_row(*(Text(clean(str(cell))) for cell in (*cells, (token["expires"] or "never")[:10])))
    return table


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))

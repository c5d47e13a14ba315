"""``branchline account``: who signs in with a password. Types, asks and shows; the accounts are the
dispatcher's. A password is never an argument, because arguments are seen by everybody on the machine."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.client import Client
from fleet.problem import USAGE, Problem
from fleet.render import clean
from fleet.settings import load

_NONE = "Nobody has an account yet; make one with: branchline account add NAME"
app = typer.Typer(
    help="Accounts of people who sign in with a password: add, change, list and remove.",
    epilog="Examples: branchline account add mona;  branchline account totp mona  (one-time codes)",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]
User = Annotated[str, typer.Argument(metavar="NAME", help="The user, as branchline.toml names them.")]


@app.command(epilog="Example: branchline account add mona  (the password is asked for, or read from a pipe)")
def add(user: User) -> None:
    """Give a user of branchline.toml an account."""
    _ask("/v1/accounts", user=user, password=_password())
    typer.echo(clean(f"added: {user} can sign in now"))


@app.command(epilog="Example: branchline account password mona")
def password(user: User) -> None:
    """Change a password. Whoever is signed in with the old one is signed out within 15 minutes."""
    _ask("/v1/accounts/password", user=user, password=_password())
    typer.echo(clean(f"changed: {user} signs in with the new password"))


@app.command(epilog="Example: branchline account totp mona;  branchline account totp mona --off")
def totp(
    user: User,
    off: Annotated[bool, typer.Option("--off", help="Do not ask for codes any more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a one-time code as well; shows, this once, what the authenticator has to be given."""
    done = _ask("/v1/accounts/totp", user=user, on=not off)
    if as_json:
        _print_json(done)
    elif off:
        typer.echo(clean(f"off: {user} signs in without a code"))
    else:
        typer.echo(str(done["uri"]))
        typer.echo("give this to the authenticator (as a QR code or by hand): it is shown once", err=True)


@app.command(epilog="Example: branchline account remove mona")
def remove(user: User) -> None:
    """Delete an account. Threads and tokens of the user stay."""
    _ask("/v1/accounts/remove", user=user)
    typer.echo(clean(f"removed: {user} cannot sign in with a password any more"))


@app.command("list", epilog="Example: branchline account list --json")
def show(as_json: AsJson = False) -> None:
    """List who has an account."""
    with Client(load()) as client:
        accounts = client.ask("GET", "/v1/accounts")["accounts"]
    if as_json:
        _print_json(accounts)
    elif accounts:
        Console(highlight=False, width=None if sys.stdout.isatty() else 400).print(_table(accounts))
    else:
        typer.echo(_NONE)


def _ask(path: str, **given: Any) -> dict[str, Any]:
    with Client(load()) as client:
        return dict(client.ask("POST", path, json=given))


def _password() -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    line = sys.stdin.readline() if sys.stdin is not None else ""
    if not line.strip():
        raise Problem("there is no password: type it, or send one line through a pipe.", code=USAGE)
    return line.rstrip("\r\n")


def _table(accounts: list[dict[str, Any]]) -> Table:
    table = Table("user", "codes", "since", box=None, pad_edge=False)
    for account in accounts:
        cells = (account["user"], "yes" if account["totp"] else "no", account["created"][:10])
        table.add_row(*(Text(clean(str(cell))) for cell in cells))
    return table


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))

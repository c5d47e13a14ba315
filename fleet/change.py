"""``branchline rename`` and ``branchline delete``: what a person does to a thread as a whole."""

from typing import Annotated

import typer

from fleet.client import Client
from fleet.problem import FAILED
from fleet.settings import load

ThreadName = Annotated[str, typer.Argument(metavar="THREAD", help="Id of the thread.")]


def rename(
    thread: ThreadName, title: Annotated[str, typer.Argument(metavar="TITLE", help="At most 80 characters.")]
) -> None:
    """Give a thread another title."""
    with Client(load()) as client:
        row = client.rename(thread, title)
    typer.echo(f"thread {thread} is called: {row['title']}")


def delete(
    thread: ThreadName, yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False
) -> None:
    """Delete a thread for good: what runs in it, its branch, its session, its log.

    Commits that were merged elsewhere and posts in chats stay.
    """
    if not yes and not typer.confirm(f"Delete thread {thread} with its branch and its log, for good?"):
        raise typer.Exit(FAILED)
    with Client(load()) as client:
        client.delete(thread)
    typer.echo(f"thread {thread} is deleted")

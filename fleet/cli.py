"""The ``branchline`` command: what a person types, and what they see. The work is done elsewhere.

Exit codes: 0 done, 1 the turn or the operation failed, 2 wrong usage or configuration, 3 not reachable.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from contracts.events import FINAL, Event
from contracts.words import Mode, Outcome
from fleet import account, change, keys, link, listing, tokens
from fleet import doctor as doctor_checks
from fleet import redrive as letters
from fleet import redrive_replies as replies
from fleet import simulate as simulated
from fleet.change import ThreadName
from fleet.client import Client
from fleet.deploy import cli as deploying
from fleet.problem import FAILED, USAGE, Problem
from fleet.render import Transcript, is_final
from fleet.screen import Screen
from fleet.settings import load, redacted
from fleet.up import up as run_fleet

app = typer.Typer(
    help="Long-lived Claude Code workers, reached from any chat.",
    epilog="Exit codes: 0 done, 1 the turn or operation failed, 2 wrong usage or configuration, "
    "3 not reachable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(link.app, name="link")
app.add_typer(account.app, name="account")
app.add_typer(tokens.app, name="token")
app.add_typer(keys.app, name="keys")
app.add_typer(simulated.app, name="simulate")

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]


@app.command()
def up(
    repo: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_URL",
            envvar="BRANCHLINE_REPO",
            help="Repository to work on: cloned from and pushed to directly. Without it, the example site.",
        ),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="What a worker runs in: process (the default), podman or docker.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the chat and the API (8080).")] = None,
    preview_port: Annotated[int | None, typer.Option(help="Port of the preview (4321).")] = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate", envvar="BRANCHLINE_SIMULATE", help="With a simulated Slack and GitHub, to try both."
        ),
    ] = False,
) -> None:
    """Run everything on this machine until Ctrl-C: engine, dispatcher, workers, preview.

    Settings: BRANCHLINE_* variables over branchline.toml over defaults; `branchline config` shows them.
    """
    if runtime not in (None, "process", "podman", "docker"):
        raise Problem(f'the runtime "{runtime}" is not known; use process, podman or docker.', code=USAGE)
    settings = load(port=port, preview_port=preview_port, runtime=runtime)
    asyncio.run(
        run_fleet(settings=settings, repo=repo, outside=dict(os.environ), screen=Screen(), simulate=simulate)
    )


@app.command()
def send(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The message; - reads it from standard input.")],
    thread: Annotated[
        str | None, typer.Option(help="Thread to write to; without it a new one begins.")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option(help="What it wants from a turn that is under way in the thread.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Project of a new thread.")] = None,
    message_id: Annotated[
        str | None, typer.Option(help="Your id of the message; the same id is worked on once.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the work until it is done.")] = True,
    as_json: AsJson = False,
) -> None:
    """Send a message and follow the work on it: receipts, text, tools, commits, outcome.

    Exits with 0 when the turn was completed, else with 1. Ctrl-C stops following, not the work.
    """
    words = _words(text)
    if not words.strip():
        raise Problem("the message is empty; write some text.", code=USAGE)
    with Client(load()) as client:
        posted = client.post(words, thread=thread, project=project, mode=mode, message_id=message_id)
        if as_json and not wait:
            _print_json(posted.model_dump(mode="json"))
        elif not wait:
            typer.echo(f"sent: thread {posted.thread_id}, message {posted.message_id}")
        else:
            events = client.events(posted.thread_id, follow=True, say=_aside)
            _follow_message(events, message_id=posted.message_id, as_json=as_json)


@app.command()
def threads(as_json: AsJson = False) -> None:
    """List all threads, and the places outside in which nothing can be posted."""
    with Client(load()) as client:
        listed, places = client.threads(), client.undeliverable()
    if as_json:
        _print_json(listing.with_places(listed, places))
    elif listed:
        _console().print(listing.table(listed), *listing.undeliverable(places), sep="\n")
    else:
        typer.echo('There is no thread yet; begin one with: branchline send "..."')


@app.command()
def tail(
    thread: ThreadName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens next.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a thread's log; with --follow until Ctrl-C."""
    transcript = Transcript(people=True)
    with Client(load()) as client:
        for event in client.events(thread, follow=follow, say=_aside):
            _show(event, transcript=transcript, as_json=as_json)


@app.command()
def stop(thread: ThreadName, as_json: AsJson = False) -> None:
    """Stop the work in a thread: what runs, what is parked and what waits."""
    with Client(load()) as client:
        answer = client.stop(thread)
    if as_json:
        _print_json(answer)
    else:
        count = len(answer["stopping"])
        what = f"stopping {count} message{'s' if count > 1 else ''}" if count else "nothing to stop"
        typer.echo(f"{what} in thread {thread}")


app.command()(change.rename)
app.command()(change.delete)
app.command()(deploying.deploy)
app.command()(deploying.destroy)


@app.command(
    epilog="Example: branchline redrive  (look), then  branchline redrive --all  (ring again for all of them)"
)
def redrive(
    wanted: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Id of one message or dead letter, as the list shows it."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Take all of them.")] = False,
    worker: Annotated[str | None, typer.Option(help="Only those of this worker.")] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Delete, for good, those that nobody can read or place.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Really drop them.")] = False,
    of_replies: Annotated[
        bool, typer.Option("--replies", help="The other way: what did not arrive in Slack or on GitHub.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters (deliveries that found no end), or send them to their workers again.

    Without an id and without --all it only looks. A message that has its outcome is never worked on twice.
    With --replies: replies that could not be shown, and places that take no posts; an id of a thread will do.
    """
    if wanted is not None and everything:
        raise Problem("name one id, or use --all; not both.", code=USAGE)
    acts = wanted is not None or everything
    if (drop or yes) and not (acts and drop):
        raise Problem("--drop needs an id or --all, and --yes needs --drop.", code=USAGE)
    if of_replies and worker is not None:
        raise Problem("--worker and --replies do not go together.", code=USAGE)
    with Client(load()) as client:
        if of_replies:
            found = _redrive_replies(client, wanted=wanted, acts=acts, drop=drop, sure=yes)
        elif drop:
            found = letters.drop(client, wanted=wanted, worker=worker, sure=yes)
        elif acts:
            found = letters.redrive(client, wanted=wanted, worker=worker)
        else:
            found = letters.look(client, worker=worker)
    if as_json:
        _print_json(found.plain)
    else:
        _console().print(*found.shown, sep="\n")
    raise typer.Exit(found.code)


def _redrive_replies(
    client: Client, *, wanted: str | None, acts: bool, drop: bool, sure: bool
) -> letters.Found:
    if drop:
        return replies.drop(client, wanted=wanted, sure=sure)
    return replies.redrive(client, wanted=wanted) if acts else replies.look(client)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check what this machine needs for a fleet, and say how to get what is missing."""
    findings = doctor_checks.examine(load(), dict(os.environ))
    if as_json:
        _print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            console.print(_finding_line(finding))
    if any(not finding.ok and finding.needed for finding in findings):
        raise typer.Exit(FAILED)


@app.command()
def config(as_json: AsJson = False) -> None:
    """Show the effective settings; secrets only say that they are set."""
    shown = redacted(load(), dict(os.environ))
    if as_json:
        _print_json(shown)
        return
    for title, values in shown.items():
        typer.echo(f"[{title}]")
        for name, value in values.items():
            typer.echo(f"{name} = {'' if value is None else value}")


def _console() -> Console:
    """For tables. A pipe has no width; nothing is cut there."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 400)


def _follow_message(events: Iterable[Event], *, message_id: str, as_json: bool) -> None:
    transcript = Transcript()
    ours = False
    for event in events:
        owner = getattr(event, "message_id", None)
        ours = ours or owner == message_id
        if not ours or owner not in (None, message_id):
            continue
        _show(event, transcript=transcript, as_json=as_json)
        if owner == message_id and is_final(event):
            raise typer.Exit(0 if event.type == FINAL[Outcome.COMPLETED] else FAILED)


def _words(text: str) -> str:
    """The message: the argument, or with "-" what comes on standard input."""
    try:
        if text == "-":
            return sys.stdin.buffer.read().decode() if sys.stdin is not None else ""
        text.encode()
    except UnicodeError:
        raise Problem("the message is not valid UTF-8 text.", code=USAGE) from None
    return text


def _show(event: Event, *, transcript: Transcript, as_json: bool) -> None:
    if as_json:
        typer.echo(event.model_dump_json())
        return
    console = Console(highlight=False, soft_wrap=True)
    for piece in transcript.feed(event):
        console.print(Text(piece.text, style=piece.style), end="")
    console.file.flush()


def _finding_line(finding: doctor_checks.Finding) -> Text:
    mark, style = ("✓", "green") if finding.ok else ("✗", "red") if finding.needed else ("!", "yellow")
    advice = f"  -> {finding.fix}" if not finding.ok and finding.fix else ""
    return Text.assemble((f"{mark} ", style), (f"{finding.name}: ", "bold"), finding.found, (advice, style))


def _aside(sentence: str) -> None:
    """A word to the person that belongs to no output."""
    typer.echo(f"branchline: {sentence}", err=True)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))

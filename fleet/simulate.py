"""``branchline simulate``: write in a Slack and on a GitHub that need no account, and see what comes back.

Talks to the stand-ins' control API. The events it causes are signed and go the way of real ones; nothing here
knows more than a person in the channel would see.
"""

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import httpx
import typer
from rich.console import Console
from rich.live import Live

from fleet import simulation
from fleet.client import Client
from fleet.home import Home
from fleet.problem import FAILED, USAGE, Problem
from fleet.render import clean
from fleet.scene import Lines, picture
from fleet.settings import Settings, load
from fleet.simulation import Simulation

_LOOK_SECONDS = 0.2
_QUIET_SECONDS = 1.5
"""Posts are edited once a second at most: after so long a quiet nothing more belongs to the answer."""

app = typer.Typer(
    help="Write in a simulated Slack or on a simulated GitHub (after: ./scripts/up --simulate).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Words = Annotated[
    str | None,
    typer.Argument(
        metavar="TEXT", help="What the person writes; without it, only look (or press, or replay)."
    ),
]
Person = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Who writes; others than your users are strangers there."),
]
Replay = Annotated[int, typer.Option(min=0, help="Deliver the last event so many times more.")]
FaultKind = Annotated[
    Literal["limited", "error", "lost"] | None,
    typer.Option(help="What goes wrong with the next post: rate limit, server error, lost answer."),
]
SlackFault = Annotated[
    Literal["limited", "error", "lost", "expired"] | None,
    typer.Option(
        help="What goes wrong with the next post: rate limit, server error, lost answer; "
        "expired: Slack ends the stream that is open then."
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Show what happens until the answer is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, every edit of every post in it.")]


@app.command(epilog='Example: branchline simulate slack "Change the headline to Hello"')
def slack(
    text: Words = None,
    thread: Annotated[
        str | None, typer.Option(metavar="TS", help="Reply in this thread; without it a new one begins.")
    ] = None,
    user: Person = None,
    press: Annotated[
        Literal["stop", "diff"] | None,
        typer.Option(help="Press this button, in the newest thread or --thread."),
    ] = None,
    replay: Replay = 0,
    fault: SlackFault = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Write in the simulated channel and watch the thread. Exits with 0 once it is answered."""
    if text is not None and press is not None:
        raise Problem("write a text or press a button; not both at once.", code=USAGE)
    with Stage("slack", user=user) as stage:
        stage.prepare(fault=fault)
        done = stage.press(press, place=thread) if press else stage.say(text, place=thread)
        _go_on(stage, done, place=thread, replay=replay, wait=wait, as_json=as_json)


@app.command(epilog='Example: branchline simulate github "add a page about cats"')
def github(
    text: Words = None,
    issue: Annotated[
        int | None, typer.Option(metavar="N", help="Comment on this issue; without it a new one is opened.")
    ] = None,
    pull: Annotated[
        str | None,
        typer.Option(
            metavar="BRANCH", help="Comment on the pull request of this branch; it is opened first."
        ),
    ] = None,
    user: Person = None,
    replay: Replay = 0,
    fault: FaultKind = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Comment on the simulated GitHub and watch the issue. Exits with 0 once it is answered."""
    if issue is not None and pull is not None:
        raise Problem("name an issue or the branch of a pull request; not both at once.", code=USAGE)
    if pull is not None and text is None:
        raise Problem(
            "write a text for the pull request; to look at it, give its number to --issue.", code=USAGE
        )
    place = None if issue is None else str(issue)
    with Stage("github", user=user) as stage:
        stage.prepare(fault=fault)
        done = stage.say(text, place=place, pull=pull)
        _go_on(stage, done, place=place, replay=replay, wait=wait, as_json=as_json)


class Stage:
    """The control API of one frontend's stand-in. Raises Problem with one sentence."""

    def __init__(self, frontend: str, *, user: str | None) -> None:
        self._frontend = frontend
        self._settings: Settings = load()
        self._facts: Simulation = simulation.of(Home(self._settings.home))
        self._person = user or self._facts.people[0]
        headers = {"Authorization": f"Bearer {self._facts.secrets.key}"}
        self._http = httpx.Client(
            base_url=self._facts.control,
            headers=headers,
            timeout=httpx.Timeout(60, connect=5),
            trust_env=False,
        )

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def prepare(self, *, fault: str | None) -> None:
        """Have the fleet know the places and the person, and something go wrong if that is wanted."""
        self._ask("GET", "ready")
        with Client(self._settings.model_copy(update={"url": self._facts.dispatcher})) as client:
            known = {(link["kind"], link["name"]) for link in client.links()}
            for kind, name, target in self._facts.links(self._person):
                if (kind.value, name) not in known:
                    client.link(kind=kind.value, name=name, target=target)
        if fault is not None:
            self._ask("POST", "fault", json={"kind": fault})

    def say(self, text: str | None, *, place: str | None, pull: str | None = None) -> dict[str, Any]:
        """Write, if there is a text; what came of it. ``pull``: on the pull request of this branch."""
        if text is None:
            return {}
        if not text.strip():
            raise Problem("the text is empty; write something.", code=USAGE)
        given = {"person": self._person, "text": text, "place": place, "pull": pull}
        return self._ask("POST", "say", json=given)

    def press(self, button: str, *, place: str | None) -> dict[str, Any]:
        """Press a button; what came of it."""
        return self._ask("POST", "press", json={"person": self._person, "button": button, "place": place})

    def replay(self, times: int) -> list[int]:
        """Deliver the last event again; the answers' status codes."""
        return list(self._ask("POST", "replay", json={"times": times})["answers"])

    def shown(self, done: dict[str, Any]) -> dict[str, Any]:
        """What a person sees now."""
        names = ("place", "message", "whispers")
        return self._ask("GET", "show", params={n: done[n] for n in names if done.get(n) is not None})

    def _ask(self, method: str, what: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, f"/{self._frontend}/{what}", **request)
        except httpx.HTTPError:
            raise simulation.not_running() from None
        if answer.is_error:
            raise Problem(f"{_reason(answer)}.", code=USAGE if answer.status_code < 500 else FAILED)
        return dict(answer.json())


def _go_on(
    stage: Stage, done: dict[str, Any], *, place: str | None, replay: int, wait: bool, as_json: bool
) -> None:
    again = stage.replay(replay) if replay else []
    done = {"place": place, **done}
    refused = [status for status in [*done.get("answers", []), *again] if not 200 <= status < 300]
    if not as_json and done.get("word", "accepted") != "accepted":
        typer.echo(f"the dispatcher's word on it: {clean(done['word'])}")
    if not as_json and again:
        typer.echo(f"sent again {len(again)} times; answered {', '.join(map(str, again))}")
    seen = _watch(stage, done, wait=wait and not refused, as_json=as_json)
    if as_json:
        typer.echo(json.dumps({**seen, "delivered": done.get("answers", []), "replayed": again}, indent=2))
    if refused:
        raise Problem(
            f"the dispatcher answered a delivery with {refused[0] or 'nothing'}; see its log.", code=FAILED
        )


def _watch(stage: Stage, done: dict[str, Any], *, wait: bool, as_json: bool) -> dict[str, Any]:
    """Show the place while it changes; how it looked last."""
    on_terminal = Console().is_terminal
    console = Console(highlight=False, soft_wrap=not on_terminal)  # a pipe has no width
    seen: dict[str, Any] = {}
    if on_terminal and not as_json:
        with Live(console=console, refresh_per_second=8, vertical_overflow="visible") as live:
            for seen in _looks(stage, done, wait=wait):
                live.update(picture(seen))
        return seen
    lines = Lines()
    for seen in _looks(stage, done, wait=wait):
        for line in [] if as_json else lines.feed(seen):
            console.print(line)
        console.file.flush()
    return seen


def _looks(stage: Stage, done: dict[str, Any], *, wait: bool) -> Iterator[dict[str, Any]]:
    """How the place looks, now and whenever it has changed, until its answer is there."""
    seen: dict[str, Any] | None = None
    since = time.monotonic()
    while True:
        now = stage.shown(done)
        if now != seen:
            seen, since = now, time.monotonic()
            yield now
        if not wait or (now["answered"] and time.monotonic() - since >= _QUIET_SECONDS):
            return
        time.sleep(_LOOK_SECONDS)


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the stand-in answered {answer.status_code}"

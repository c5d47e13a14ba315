"""``python -m fleet.standin``: the simulated Slack and GitHub of BRANCHLINE_HOME, as a process."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from fleet import simulation
from fleet.home import Home
from fleet.simulation import Simulation
from fleet.standin.control import application
from fleet.standin.github import GitHubStandin
from fleet.standin.github_stage import GitHubStage, world
from fleet.standin.slack import SlackStandIn
from fleet.standin.slack_stage import SlackStage


def main() -> int:
    """Serve until told to stop; the exit status."""
    home = Home(Path(os.environ["BRANCHLINE_HOME"]))
    facts = simulation.of(home)
    slack = SlackStandIn(
        port=facts.slack_port, secret=facts.secrets.signing_secret, token=facts.secrets.bot_token
    )
    github = GitHubStandin(world=world(), port=facts.github_port, private_key=facts.secrets.app_key)
    try:
        with slack:
            asyncio.run(_serve(facts, slack=slack, github=github, home=home))
    finally:
        github.close()
    return 0


async def _serve(facts: Simulation, *, slack: SlackStandIn, github: GitHubStandin, home: Home) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stage = GitHubStage(github, facts=facts, home=home)
    app = application(key=facts.secrets.key, slack=SlackStage(slack, facts=facts), github=stage)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", facts.control_port).start()
    print(json.dumps({"event": "ready", "url": facts.control}), flush=True)
    await stop.wait()
    await runner.cleanup()
    stage.keep()


if __name__ == "__main__":
    sys.exit(main())

"""Workers started by another function, for a Lambda that stands still once it has answered.

A start takes seconds (a role, ECS), and Slack and GitHub wait three and ten for an answer. So the function
that answers asks the one beside it to look at the worker, without waiting for more than that this is taken.
What gets lost is done by the next minute's sweep, as always. Starts nothing itself.
"""

import asyncio
import json
from typing import Any

from contracts.words import WorkerId
from dispatcher import aws
from dispatcher.launcher import Launcher

_TAKEN_SECONDS = 1.5
"""How long Lambda may take to take the request; Slack's three seconds hold the rest as well."""


class BesideLauncher:
    """``client``: Lambda; ``function``: the name of the one beside; ``ecs`` says what runs."""

    def __init__(self, client: Any, *, function: str, ecs: Launcher) -> None:
        self._client, self._function, self._ecs = client, function, ecs

    async def ensure(self, worker_id: WorkerId) -> bool:
        """Have the worker looked at; false, because who starts it tells its thread. Raises Unavailable."""
        asked = json.dumps({"branchline": "start", "worker_id": worker_id}).encode()
        with aws.translated():
            async with asyncio.timeout(_TAKEN_SECONDS):
                await self._client.invoke(FunctionName=self._function, InvocationType="Event", Payload=asked)
        return False

    async def running(self, worker_id: WorkerId) -> bool:
        """By the word of ECS. Raises Unavailable."""
        return await self._ecs.running(worker_id)

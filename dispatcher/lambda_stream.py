"""``python -m dispatcher.lambda_stream``: a Lambda's loop that answers requests in pieces.

Python's managed runtime hands over an answer when it is complete. ``AWS_LAMBDA_EXEC_WRAPPER`` (developer
guide, "Modifying the runtime environment") names a script that is started in its place with the interpreter
as first argument; ours, ``dispatcher-stream``, starts this. It asks the documented Runtime API
(``lambda_runtime``) for one event after the other. Readers of server-sent events stay until the function's
time is nearly over.

Decides nothing about events: that is the door's.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from dispatcher.lambda_runtime import Invocation, RuntimeApi

if TYPE_CHECKING:
    from dispatcher.lambda_door import Door


def main() -> int:
    """Answer events until the environment is thrown away. Exit code 1 when it is of no use."""
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        from dispatcher import lambda_entry  # slow, and it may fail: then Lambda is told why

        door = lambda_entry.door()
    except Exception as error:
        api.fail_to_start(error)
        return 1
    asyncio.run(_serve(api, door))
    return 1


async def _serve(api: RuntimeApi, door: "Door") -> None:
    while True:
        await _one(api, door, api.next())


async def _one(api: RuntimeApi, door: "Door", asked: Invocation) -> None:
    """Answer one event. Raises what says that Lambda cannot be told."""
    stream = api.stream(asked.request_id)
    try:
        result = await door.answer(asked.event, asked, pieces=stream)
    except Exception as error:
        if not stream.begun:
            api.fail(asked.request_id, error)
            return
        await _end(stream.end(error))
        return
    if stream.begun:
        await _end(stream.end())
    else:
        api.answer(asked.request_id, result)


async def _end(ending: Coroutine[Any, Any, None]) -> None:
    try:
        await ending
    except ConnectionError:
        return  # nobody reads any more; the next event is asked for


if __name__ == "__main__":
    sys.exit(main())

"""AWS Lambda's way in: its configuration names ``dispatcher.lambda_entry.handle``.

What is slow to import is imported here, while the environment is made. Decides nothing.
"""

import gc
from functools import cache
from typing import Any

gc.disable()  # imports leave next to no garbage, and looking for it is a tenth of their time

from dispatcher import log  # noqa: E402
from dispatcher.app import create_app  # noqa: E402
from dispatcher.lambda_door import Door  # noqa: E402
from dispatcher.lambda_secret import into_environment  # noqa: E402
from dispatcher.settings import Settings  # noqa: E402

gc.freeze()
gc.enable()


@cache
def door() -> Door:
    """The one door of this environment. Raises ValueError for settings that are of no use, and Unavailable
    when the secret with some of them cannot be read."""
    log.configure()
    into_environment()
    return Door(create_app(Settings(), in_lambda=True))


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer an event in one piece. Raises lambda_http.UnknownEvent for one of no known kind."""
    return door()(event, context)

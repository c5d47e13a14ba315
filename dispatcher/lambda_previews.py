"""The way in of the Lambda that passes previews on; its configuration names
``dispatcher.lambda_previews.handle``.

It answers in one piece, with Python's managed runtime: function URLs stream nothing for a function that is in
a network of its own ("VPC compatibility with response streaming", developer guide of AWS Lambda). Reads no
secret, because it reaches none. Decides nothing.
"""

import gc
from functools import cache
from typing import Any

gc.disable()  # as in ``lambda_entry``

from dispatcher import log  # noqa: E402
from dispatcher.lambda_door import Door  # noqa: E402
from dispatcher.preview_app import create_preview_app  # noqa: E402
from dispatcher.settings import Settings  # noqa: E402

gc.freeze()
gc.enable()


@cache
def door() -> Door:
    """The one door of this environment. Raises ValueError for settings that are of no use."""
    log.configure()
    return Door(create_preview_app(Settings()), whole=True)


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a request in one piece. Raises lambda_http.UnknownEvent for any other event."""
    return door()(event, context)

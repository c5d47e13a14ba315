"""Where the preview of a worker in a task of Fargate is reached: at the task's own address.

Asked once of the container's metadata (``ECS_CONTAINER_METADATA_URI_V4``, version 4 of the endpoint), which
names the addresses of its network. Without an answer the worker works all the same; only its preview is not
seen.
"""

import ipaddress
import json
import urllib.error
import urllib.request
from typing import Any

from worker.log import get_logger
from worker.settings import Settings

log = get_logger()
_TIMEOUT = 2.0
_TRIES = 3


def located(settings: Settings) -> Settings:
    """The settings with the preview's address; unchanged outside of Fargate, with an address that was given,
    and when none is found. Blocks for some seconds at most."""
    if settings.metadata_url is None or settings.preview_url is not None:
        return settings
    address = _asked(settings.metadata_url)
    if address is None:
        log.warning("preview_not_located", metadata=settings.metadata_url)
        return settings
    shown = f"[{address}]" if ":" in address else address
    return settings.model_copy(update={"preview_url": f"http://{shown}:{settings.preview_port}"})


def address_of(metadata: Any) -> str | None:
    """The first private address of a container's networks, IPv4 before IPv6; None without one."""
    networks = metadata.get("Networks") if isinstance(metadata, dict) else None
    found = [n for n in networks if isinstance(n, dict)] if isinstance(networks, list) else []
    for name in ("IPv4Addresses", "IPv6Addresses"):
        for text in [str(a) for network in found for a in network.get(name) or ()]:
            if _is_private(text):
                return text
    return None


def _is_private(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_private and not address.is_link_local and not address.is_unspecified


def _asked(url: str) -> str | None:
    # The endpoint is this task's own: no proxy of the network leads there.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(_TRIES):
        try:
            with opener.open(url, timeout=_TIMEOUT) as answer:
                return address_of(json.load(answer))
        except (urllib.error.URLError, OSError, ValueError) as error:
            problem = str(error)
    log.warning("metadata_not_read", problem=problem)
    return None

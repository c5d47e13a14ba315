"""Where the proxy may connect to: the address of a worker's preview, and nothing else that it could be told.

A worker's row is written by a process beside which Claude Code runs, so it is not believed: an address that
is neither this machine's nor a private network's, or whose port no preview has, is no target. Names are
none either, because they may mean something else at the second look. Pure.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

PORTS = 100
"""How many ports from the configured one on may be previews': the fleet gives them out from there."""
_NETWORKS = tuple(
    ip_network(n) for n in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")
)


def target(url: str, *, first_port: int, never: int | None = None) -> str | None:
    """The origin to connect to, ``http://ADDRESS:PORT``; None when it may not be. ``never``: a port that is
    no preview's (the server's own)."""
    try:
        parts = urlsplit(url)
        port = parts.port
        address = ip_address(parts.hostname or "")
    except ValueError:
        return None
    bare = parts.scheme == "http" and parts.path in ("", "/") and not (parts.query or parts.fragment)
    if not bare or "@" in parts.netloc or port is None or not _is_near(address):
        return None
    if port == never or not first_port <= port < first_port + PORTS:
        return None
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _is_near(address: IPv4Address | IPv6Address) -> bool:
    return any(address.version == n.version and address in n for n in _NETWORKS)

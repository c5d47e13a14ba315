"""What of a request's and an answer's headers crosses the proxy, in either direction. Pure.

Towards the site: nothing of the product's own, and nothing that belongs to one connection. Towards the
browser: nothing that reaches beyond the preview's own name.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from dispatcher.preview_tickets import is_ours

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""

_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
_NOT_IN = _HOP | {b"host", b"expect", b"cookie", b"forwarded", b"x-real-ip"}
_NOT_OUT = _HOP | {b"date", b"server", b"alt-svc", b"strict-transport-security", b"x-frame-options"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104 - compared with, not bound


def inwards(headers: Iterable[tuple[bytes, bytes]], *, host: str, origin: str, client: str) -> Headers:
    """The request's headers for the site. ``origin``: the preview's own, as its browser sees it."""
    given = [(k.lower(), v) for k, v in headers]
    hop = _NOT_IN | _named(given)
    kept = [(k, v) for k, v in given if k not in hop and not k.startswith(b"x-forwarded-")]
    if cookies := _others(b"; ".join(v for k, v in given if k == b"cookie")):
        kept.append((b"cookie", cookies))
    scheme = origin.partition(":")[0]
    forwarded = {
        "host": host,
        "x-forwarded-host": host,
        "x-forwarded-proto": scheme,
        "x-forwarded-for": client,
    }
    return kept + [(k.encode(), v.encode("latin-1", "replace")) for k, v in forwarded.items() if v]


def outwards(headers: Sequence[tuple[bytes, bytes]], *, origin: str, target: str, ancestors: str) -> Headers:
    """The site's headers for the browser. ``target``: where the site was reached; ``ancestors``: who may show
    it in a frame."""
    given = [(k.lower(), v) for k, v in headers]
    hop = _NOT_OUT | _named(given)
    kept: Headers = []
    for name, value in given:
        if name in hop:
            continue
        if name == b"set-cookie":
            kept += [(name, cookie) for cookie in _own_cookie(value)]
        elif name == b"location":
            kept.append((name, _location(value, origin=origin, target=target)))
        else:
            kept.append((name, value))
    return [*kept, (b"content-security-policy", f"frame-ancestors {ancestors}".encode())]


def _named(headers: Headers) -> set[bytes]:
    """Headers that ``Connection`` says belong to the connection."""
    named = (part for k, v in headers if k == b"connection" for part in v.lower().split(b","))
    return {part.strip() for part in named}


def _others(cookies: bytes) -> bytes:
    parts = [part.strip() for part in cookies.split(b";")]
    return b"; ".join(p for p in parts if p and not is_ours(p.partition(b"=")[0].decode("latin-1")))


def _own_cookie(value: bytes) -> list[bytes]:
    """A cookie for the preview's own name only; none that pretends to be the product's."""
    first, *attributes = value.split(b";")
    if is_ours(first.partition(b"=")[0].decode("latin-1")):
        return []
    kept = [a for a in attributes if a.partition(b"=")[0].strip().lower() != b"domain"]
    return [b";".join([first, *kept])]


def _location(value: bytes, *, origin: str, target: str) -> bytes:
    """A redirect to where the site listens leads to where it is seen; any other is left as it is."""
    text = value.decode("latin-1")
    try:
        to, at = urlsplit(text), urlsplit(target)
        same = to.port == at.port and (to.hostname == at.hostname or to.hostname in _LOOPBACK)
    except ValueError:
        return value
    if to.scheme not in ("http", "https", "") or not to.netloc or not same:
        return value
    own = urlsplit(origin)
    return to._replace(scheme=own.scheme, netloc=own.netloc).geturl().encode("latin-1")

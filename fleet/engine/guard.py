"""Who may talk to the engine: programs on this machine that know the access key id; never a web page.

The engine has no accounts and checks no signature, so this is a fence against the browser next to it and
against a wrong port, not against other users of the machine.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = {"127.0.0.1", "localhost", "::1", "10.0.2.2"}
"""The last is how a container of this machine calls it. A web page can have none of these for a name."""
CREDENTIAL = re.compile(
    r"Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request"
)
TEST_ACCOUNT = re.compile(r"\d{12}")
MIB = 1 << 20
# A body of 1 MiB grows to 3 MiB when botocore writes it as ASCII JSON, and the attributes come on top.
BODY_LIMITS = {"sqs": 4 * MIB}
# BatchWriteItem may carry 16 MiB of items.
DEFAULT_BODY_LIMIT = 20 * MIB


@dataclass(frozen=True, kw_only=True)
class Refused(Exception):
    """A request that gets no further. `status` is HTTP's, `code` AWS's, `message` one clear sentence."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What a request's credential scope says: whose, where, and for which service."""

    key: str
    region: str
    service: str


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The rules of one engine. `access_key` None lets any key id in; `any_account` adds 12-digit ids."""

    access_key: str | None
    any_account: bool

    def admit(self, *, method: str, headers: dict[str, str]) -> Caller:
        """The caller of an acceptable request. Raises Refused. Header names are lower case."""
        _refuse_browsers(headers)
        if method != "POST":
            raise Refused(status=405, code="MethodNotAllowed", message="The engine answers POST only.")
        scope = CREDENTIAL.search(headers.get("authorization", ""))
        if scope is None or not self._knows(scope["key"]):
            message = "The access key id is not the engine's: use the one in the home directory's settings."
            raise Refused(status=403, code="UnrecognizedClientException", message=message)
        return Caller(key=scope["key"], region=scope["region"], service=scope["service"])

    def _knows(self, key: str) -> bool:
        if self.any_account and TEST_ACCOUNT.fullmatch(key):
            return True
        return key == self.access_key or (self.access_key is None and not self.any_account)


def _refuse_browsers(headers: dict[str, str]) -> None:
    host = urlsplit(f"//{headers.get('host', '')}").hostname
    if host not in LOOPBACK:
        raise Refused(status=403, code="AccessDenied", message="The engine answers on this machine only.")
    if "origin" in headers or "sec-fetch-site" in headers:
        raise Refused(status=403, code="AccessDenied", message="The engine does not answer web pages.")


def body_limit(service: str) -> int:
    """The most bytes a request for `service` may carry."""
    return BODY_LIMITS.get(service, DEFAULT_BODY_LIMIT)

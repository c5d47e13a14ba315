"""Git over smart HTTP for bare repositories on this disk: ``git http-backend`` behind the stand-in's doors.

Who may fetch or push is decided before; this only runs the program and passes bytes.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Served:
    """Status, headers and body of an answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def is_push(*, path: str, query: str) -> bool:
    """Whether a request is part of a push."""
    return path.endswith("/git-receive-pack") or "service=git-receive-pack" in query


def serve(
    folder: Path, *, method: str, tail: str, query: str, content_type: str, encoding: str, body: bytes
) -> Served:
    """Have git answer a request for ``tail`` (``/info/refs``, ``/git-upload-pack`` ...) of a repository."""
    env = {
        "PATH": os.environ.get("PATH", ""),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "http.receivepack",
        "GIT_CONFIG_VALUE_0": "true",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROJECT_ROOT": str(folder.parent),
        "PATH_INFO": f"/{folder.name}{tail}",
        "REQUEST_METHOD": method,
        "QUERY_STRING": query,
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": encoding,
        "REMOTE_USER": "x-access-token",
        "REMOTE_ADDR": "127.0.0.1",
    }
    done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
    head, _, rest = done.stdout.partition(b"\r\n\r\n")
    headers, status = [], 200
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(": ")
        if name.lower() == "status":
            status = int(value.split()[0])
        elif name:
            headers.append((name, value))
    return Served(status=status if head else 500, headers=headers, body=rest)

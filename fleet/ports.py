"""Ports of this machine: is one free, who has it, which one is next. Looks only; keeps nothing."""

import socket
from collections.abc import Container
from itertools import chain
from pathlib import Path

from fleet.problem import USAGE, Problem


def is_free(port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def any_free() -> int:
    """A free port of the kernel's choice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def next_free(first: int, *, taken: Container[int] = (), host: str = "127.0.0.1") -> int:
    """The first free port from ``first`` on that is not in ``taken``."""
    for port in range(first, 65536):
        if port not in taken and is_free(port, host=host):
            return port
    return any_free()


def free_in(places: range, *, taken: Container[int] = (), wanted: int | None = None) -> int:
    """``wanted`` if it is one of ``places`` and free, else the first that is. Raises Problem without any."""
    first = [wanted] if wanted is not None and wanted in places else []
    for port in chain(first, places):
        if port not in taken and is_free(port):
            return port
    raise Problem(f"no port from {places.start} to {places.stop - 1} is free; stop some containers.")


def require(port: int, *, what: str, variable: str, option: str, host: str = "127.0.0.1") -> None:
    """Raises Problem with one sentence when the port is taken."""
    if is_free(port, host=host):
        return
    owner = listener(port)
    by = f" by {owner}" if owner else ""
    raise Problem(
        f"port {port} for {what} is taken{by}; free it, or choose another with {variable}={port + 1} "
        f"or {option} {port + 1}.",
        code=USAGE,
    )


def listener(port: int) -> str | None:
    """Name and pid of the process that listens on a port, when we may see it."""
    sockets = _listening(port)
    if not sockets:
        return None
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            held = {str(fd.readlink()) for fd in (entry / "fd").iterdir()}
            if held & sockets:
                return f"{(entry / 'comm').read_text().strip()} (pid {entry.name})"
        except OSError:
            continue
    return None


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in (line.split() for line in rows):
            if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{row[9]}]")
    return found

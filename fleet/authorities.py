"""The network's own certificates, for workers in containers.

Where a network signs for other sites with an authority of its own, variables name files that hold it. A
container has none of these files: each gets a copy, that can only be read. Trusts nothing by itself.
"""

from collections.abc import Mapping
from pathlib import Path

NAMES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificates."""


def lent(env: Mapping[str, str], *, folder: Path) -> dict[Path, str]:
    """Copies in ``folder`` of the files that ``env`` names, each with its path in the container. What is
    named and not there, or must not be read, is left out."""
    found: dict[Path, str] = {}
    for name in NAMES:
        try:
            content = Path(env.get(name, "")).read_bytes()
        except OSError:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / f"{name}.pem"
        # Whoever reads it in there is another user, and one that runs may be reading it.
        fresh = copy.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.chmod(0o644)
        fresh.replace(copy)
        found[copy] = inside(name)
    return found


def inside(name: str) -> str:
    """Where the container has the file of a variable."""
    return f"/etc/branchline/{name}.pem"

"""A Node.js, an npm and an Astro that need no network: small Python programs under the real names.

They stand where the real ones stand (a process, its arguments and environment, an HTTP port), and write down
what was asked of them in a journal.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE = """#!/bin/sh
if [ "$1" = --version ]; then echo {version}; exit 0; fi
exec {python} -I -S "$@"
"""

NPM = """
import json, os, pathlib, shutil, sys, time
tools, here = pathlib.Path({root!r}), pathlib.Path.cwd()
def note(what):
    with (tools / "journal").open("a") as journal:
        journal.write(json.dumps({{"what": what, "argv": sys.argv[1:], "env": dict(os.environ)}}) + "\\n")
lock = json.loads((here / "package-lock.json").read_text())
note("install")
shutil.rmtree(here / "node_modules", ignore_errors=True)
while (here / "slow-install").exists():
    time.sleep(0.01)
if (here / "bad-install").exists():
    sys.exit("npm error 404 no such package")
for name in lock["packages"]:
    if name:
        (here / name / "bin").mkdir(parents=True)
        (here / name / "package.json").write_text("{{}}")
if "node_modules/astro" in lock["packages"]:
    shutil.copy(tools / "astro.py", here / "node_modules/astro/bin/astro.mjs")
    (here / "node_modules/astro/package.json").write_text('{{"bin": {{"astro": "./bin/astro.mjs"}}}}')
(here / "node_modules/.package-lock.json").write_text(json.dumps(lock))
note("installed")
"""

ASTRO = """
import http.server, json, os, pathlib, socket, sys, threading
tools, here, kept = pathlib.Path({root!r}), pathlib.Path.cwd(), []
def note(what):
    with (tools / "journal").open("a") as journal:
        entry = {{"what": what, "argv": sys.argv[1:], "env": dict(os.environ), "pid": os.getpid()}}
        journal.write(json.dumps(entry) + "\\n")
note("start")
if (here / "crash").exists():
    sys.exit("broken astro.config.mjs, token " + (here / "crash").read_text())
options = dict(zip(sys.argv[1:], sys.argv[2:]))
port = int(options.get("--port") or os.environ["PORT"])
missing = set()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        if self.path == "/loop":
            kept.append(socket.create_connection(("127.0.0.1", port)))
        if (here / "hang").exists():
            threading.Event().wait()
        body = (here / "src/pages/index.astro").read_bytes()
        for word in body.decode().split():
            if word.startswith("import:") and not (here / "node_modules" / word[7:]).exists():
                missing.add(word)
        failed = (here / "error").exists() or missing
        self.send_response(500 if failed else 200)
        self.end_headers()
        self.wfile.write(b"Cannot find module" if missing else body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((options.get("--host", "127.0.0.1"), port), Page).serve_forever()
"""


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """The three programs under ``root``; ``node`` is to be given to whoever starts them."""

    root: Path
    node: Path

    def journal(self, what: str) -> list[dict[str, Any]]:
        """What was written down of one kind: ``install``, ``installed`` or ``start``."""
        path = self.root / "journal"
        # The last line may be half written.
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["what"] == what]


def toolchain(root: Path, *, version: str = "v22.12.0") -> Toolchain:
    """Write the programs below ``root``."""
    npm = root / "lib" / "node_modules" / "npm" / "bin"
    npm.mkdir(parents=True)
    (root / "bin").mkdir()
    node = root / "bin" / "node"
    node.write_text(NODE.format(version=version, python=sys.executable))
    node.chmod(0o755)
    (npm / "npm-cli.js").write_text(NPM.format(root=str(root)))
    (root / "astro.py").write_text(ASTRO.format(root=str(root)))
    return Toolchain(root=root, node=node)


def write_site(path: Path, *, headline: str, packages: tuple[str, ...] = ("astro",)) -> None:
    """What a switch leaves in the checkout at ``path``: a page, and the packages it depends on."""
    (path / "src" / "pages").mkdir(parents=True, exist_ok=True)
    versions = dict.fromkeys(packages, "1.0.0")
    (path / "package.json").write_text(json.dumps({"dependencies": versions}))
    entries = {"": {}} | {f"node_modules/{name}": {"version": version} for name, version in versions.items()}
    (path / "package-lock.json").write_text(json.dumps({"packages": entries}))
    imports = " ".join(f"import:{name}" for name in packages)
    (path / "src" / "pages" / "index.astro").write_text(f"{headline} {imports}")


def lock_hash(path: Path) -> str:
    """What identifies the dependencies of the checkout."""
    return hashlib.sha256((path / "package-lock.json").read_bytes()).hexdigest()

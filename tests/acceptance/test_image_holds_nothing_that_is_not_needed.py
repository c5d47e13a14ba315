"""The worker's image: how large it may be, what a change of code adds, and what it must not hold."""

import json
import re

import pytest

from fleet import boxes
from tests.container.box import IMAGE, ROOT, image

# Building the image may take some minutes on a machine that has nothing of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MOST_BYTES = 870_000_000
"""Of the whole image. Claude Code alone has 373 MB, Node.js 126, Python's base image 160."""
MOST_BYTES_OF_CODE = 5_000_000
"""Of each layer that a change of our code makes anew."""
_PACKAGES = "/opt/venv/lib/python3*/site-packages"
_NOT_NEEDED = (
    *("/opt/pip", "/opt/venv/bin/pip", f"{_PACKAGES}/pip", f"{_PACKAGES}/setuptools", f"{_PACKAGES}/*/tests"),
    *(
        "/usr/local/lib/node_modules/npm/docs",
        "/usr/local/lib/node_modules/npm/man",
        "/usr/local/include/node",
    ),
    *("/usr/share/man/*", "/usr/share/locale/*/LC_MESSAGES/git.mo", "/usr/share/doc/git"),
    *("/var/lib/apt/lists/*", "/var/cache/apt", "/root/.cache", "/root/.npm", "/tmp/*", "/requirements.txt"),
    *("/opt/branchline/tests", "/opt/branchline/container/Containerfile"),
)
"""Patterns of a shell's."""
_SERVICES = "import botocore.session as s; print(*s.get_session().get_available_services())"


@pytest.fixture(scope="module")
def engine() -> boxes.Engine:
    return image()


def _said(engine: boxes.Engine, *argv: str) -> str:
    """What a program prints in a container of the image that has no network."""
    walls = ("--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--no-healthcheck")
    return engine.run("run", *walls, f"--entrypoint={argv[0]}", IMAGE, *argv[1:]).stdout


def _layers(engine: boxes.Engine) -> list[tuple[int, str]]:
    """Size in bytes and recipe of each layer, the newest first; without those that hold no files."""
    said = engine.run("history", "--no-trunc", "--human=false", "--format", "json", IMAGE).stdout
    return [(layer["size"], layer["CreatedBy"]) for layer in json.loads(said) if layer["size"] > 0]


def test_the_image_is_no_larger_than_it_has_to_be(engine: boxes.Engine) -> None:
    size = int(engine.run("image", "inspect", "--format", "{{.Size}}", IMAGE).stdout)
    assert size < MOST_BYTES, "\n".join(f"{size:>12} {recipe[:120]}" for size, recipe in _layers(engine))


def test_a_change_of_code_makes_two_small_layers_and_no_other(engine: boxes.Engine) -> None:
    (compiled, compiling), (code, copying), *others = _layers(engine)
    assert "compileall" in compiling
    assert copying.endswith("/opt/branchline ")
    assert max(compiled, code) < MOST_BYTES_OF_CODE
    assert not [recipe for _, recipe in others if "/opt/branchline" in recipe], "code comes last"


def test_what_only_builders_and_readers_need_is_not_in_there(engine: boxes.Engine) -> None:
    look = 'for place in {}; do [ ! -e "$place" ] || echo "$place"; done'
    found = _said(engine, "sh", "-c", look.format(" ".join(_NOT_NEEDED)))
    assert found.split() == []
    clis = _said(engine, "find", "/opt", "/usr", "-xdev", "-type", "f", "-name", "claude", "-size", "+50M")
    assert len(clis.split()) == 1, "Claude Code is in there once"


def test_the_services_that_the_worker_calls_are_described_and_no_others(engine: boxes.Engine) -> None:
    source = "".join(path.read_text() for path in (ROOT / "worker").glob("*.py"))
    called = set(re.findall(r"""\.client\(\s*["']([\w-]+)["']""", source))
    described = set(_said(engine, "/opt/venv/bin/python", "-c", _SERVICES).split())
    assert called, "the worker calls something"
    assert described == called | {"sts"}, "the credentials of a role may come from there"

"""The dispatcher's Lambda asset: one zip with the dispatcher, the contracts, the packages that they import,
and nothing else.

The packages are those of ``requirements-dispatcher.txt``, taken from a folder in which they are installed
(their ``RECORD`` says what belongs to them), so nothing is downloaded. The same inputs give the same bytes.
Uses the standard library only and imports nothing of what it packs, so it also runs where AWS is described.
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements-dispatcher.txt"
ENTRY = "dispatcher.lambda_entry"
_PAGE = (".html", ".css", ".js", ".svg", ".gz")
_OWN = {
    "contracts": (".py",),
    "dispatcher": (".py",),
    "dispatcher/static": _PAGE,
    "dispatcher/static/assets": _PAGE,
}
_OWN_LEFT_OUT = {
    "dispatcher/__main__.py",  # uvicorn, which a Lambda has no use for
    "dispatcher/github_redeliver.py",  # what ./scripts/redeliver runs
    "contracts/schemas.py",  # writes files of the checkout
}
_WRAPPER = "dispatcher-stream"
"""What ``AWS_LAMBDA_EXEC_WRAPPER`` names in the task's folder; the one file that is executable."""
_SERVICES = ("dynamodb", "ecs", "iam", "lambda", "secretsmanager", "sqs")
"""Whose descriptions botocore keeps, of more than 400: what the dispatcher asks. One that is not configured
is not read."""
_SUFFIXES_LEFT_OUT = {".pyc", ".pyi", ".pyx", ".pxd", ".pxi", ".h", ".c", ".cpp", ".hash", ".a", ".exe"}
_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
_SUBTREES_LEFT_OUT = ("boto3/data/", "boto3/examples/")
_UNCHECKED = ("--invalidation-mode", "unchecked-hash")
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say."""


class AssetError(Exception):
    """The asset cannot be built; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Asset:
    """What was built. Sizes in bytes; ``platforms``: what the binary parts say they are for."""

    path: Path
    packages: tuple[str, ...]
    files: int
    unzipped: int
    zipped: int
    platforms: tuple[str, ...]


def build(
    out: Path,
    *,
    packages: Path,
    requirements: Path = REQUIREMENTS,
    python: str | None = sys.executable,
) -> Asset:
    """Write the zip to ``out``.

    ``packages``: the folder in which the requirements are installed, for the platform of the Lambda.
    ``python``: an interpreter of the Lambda's version, which compiles, because a Lambda cannot keep what it
    compiles; None leaves that out. Raises AssetError.
    """
    pins = read_pins(requirements)
    sources = {**_own(ROOT), **_foreign(packages, pins)}
    files = {name: path.read_bytes() for name, path in sources.items()}
    platforms = tuple(sorted({p for name in files if (p := platform_of(name))}))
    if python is not None:
        bytecode = _compiled(files, python=python)
        _check_version(bytecode, platforms)
        files.update(bytecode)
    _write(out, files)
    return Asset(
        path=out,
        packages=tuple(f"{name}=={version}" for name, version in pins.items()),
        files=len(files),
        unzipped=sum(map(len, files.values())),
        zipped=out.stat().st_size,
        platforms=platforms,
    )


def read_pins(requirements: Path) -> dict[str, str]:
    """Package to version, as the file pins them. Raises AssetError for a line that pins nothing."""
    pins = {}
    for line in requirements.read_text("utf-8").split():
        name, pinned, version = line.partition("==")
        if not pinned:
            raise AssetError(
                f"{requirements.name} has the line {line}, which names no version: export it again."
            )
        pins[_normal(name)] = version
    return pins


def platform_of(name: str) -> str | None:
    """What a compiled library is for, by its name: ``cpython-311-x86_64-linux-gnu``; None for other files."""
    if not name.endswith((".so", ".pyd")):
        return None
    return PurePosixPath(name).name.split(".", 1)[1].rpartition(".")[0] or "unnamed"


def _own(root: Path) -> dict[str, Path]:
    """Our files by their names in the zip. Raises AssetError without the built page."""
    if not (root / "dispatcher/static/index.html").is_file():
        raise AssetError("The page is not built: run ./scripts/page and try again.")
    return {_WRAPPER: Path(__file__).with_name(_WRAPPER)} | {
        name: path
        for folder, suffixes in _OWN.items()
        for path in sorted((root / folder).iterdir())
        if path.suffix in suffixes and (name := f"{folder}/{path.name}") not in _OWN_LEFT_OUT
    }


def _foreign(packages: Path, pins: Mapping[str, str]) -> dict[str, Path]:
    """The packages' files by their names in the zip. Raises AssetError unless all are there as pinned."""
    installed = {_normal(d.name): d for d in distributions(path=[str(packages)])}
    found: dict[str, Path] = {}
    for name, version in pins.items():
        there = installed.get(name)
        if there is None or there.version != version:
            what = f"{name} {there.version}" if there else f"no {name}"
            raise AssetError(
                f"{packages} has {what}, but {name} {version} is needed:"
                f" install {REQUIREMENTS.name} there (--packages names another folder)."
            )
        found.update(_files(there, packages))
    return found


def _files(package: Distribution, folder: Path) -> Iterator[tuple[str, Path]]:
    if package.files is None:
        raise AssetError(
            f"{folder} does not say which files belong to {package.name}: install it with pip or uv."
        )
    for file in package.files:
        if is_needed(file.as_posix()):
            yield file.as_posix(), folder / file


def is_needed(name: str) -> bool:
    """Whether a package's file is of use in a Lambda. Licences stay."""
    path = PurePosixPath(name)
    if path.parts[0] in ("..", "bin") or path.is_absolute() or path.suffix in _SUFFIXES_LEFT_OUT:
        return False
    if path.parts[0].endswith(".dist-info"):
        return path.name not in _INSTALLERS
    if name.startswith(_SUBTREES_LEFT_OUT) or any(p == "tests" or p.startswith(".") for p in path.parts):
        return False
    if path.name == "examples-1.json":
        return False
    in_data = path.parts[:2] == ("botocore", "data") and len(path.parts) > 3
    return not in_data or path.parts[2] in _SERVICES


def _compiled(files: Mapping[str, bytes], *, python: str) -> dict[str, bytes]:
    """Bytecode of every source, which Python takes without asking for the source's time.

    Made by a process of its own, always in the same order and with the same hash seed: what is written
    depends on both.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            if name.endswith(".py"):
                Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, name).write_bytes(content)
        argv = [python, "-m", "compileall", "-q", "-s", folder, *_UNCHECKED, folder]
        env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": "", "PYTHONSAFEPATH": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssetError(f"{python} could not compile the asset: {done.stdout or done.stderr}")
        made = sorted(Path(folder).rglob("*.pyc"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in made}


def _check_version(bytecode: Iterable[str], platforms: Iterable[str]) -> None:
    """Raise AssetError for bytecode of another Python than the one the binary parts are for."""
    made = {part for name in bytecode for part in name.split(".") if part.startswith("cpython-")}
    meant = {f"cpython-{p.split('-')[1]}" for p in platforms if p.startswith("cpython-")}
    if len(made | meant) > 1:
        raise AssetError(
            f"The packages are for {', '.join(sorted(meant))}, the bytecode for {', '.join(sorted(made))}:"
            " name the Lambda's interpreter with --python, or leave bytecode out with --no-bytecode."
        )


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """The zip, complete or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.{os.getpid()}")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _OLDEST)
            entry.create_system = 3  # Unix, also when built elsewhere
            entry.external_attr = (0o100755 if name == _WRAPPER else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, files[name])
    partial.replace(out)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

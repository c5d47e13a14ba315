"""``./scripts/lambda-asset``: build the dispatcher's zip and say what is in it; with ``--measure`` also how
long it takes to import."""

import argparse
import hashlib
import platform
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from fleet.asset.build import ENTRY, ROOT, Asset, AssetError, build
from fleet.asset.measure import Imports, measure

_OUT = ROOT / ".branchline" / "lambda" / "dispatcher.zip"
_SHOWN = 10


def main(given: Sequence[str] | None = None) -> int:
    """Exit codes: 0 built, 2 it could not be built."""
    wanted = _parser().parse_args(given)
    python = None if wanted.no_bytecode else wanted.python
    try:
        asset = build(wanted.out, packages=wanted.packages, python=python)
        rows = _rows(asset)
        if wanted.measure:
            rows += _measured(measure(asset.path, entry=ENTRY, runs=wanted.runs))
    except (AssetError, OSError, RuntimeError) as error:
        print(f"lambda-asset: {error}", file=sys.stderr)
        return 2
    for name, value in rows:
        print(f"| {name} | {value} |")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/lambda-asset", description=__doc__)
    parser.add_argument("--out", type=Path, default=_OUT, help="where the zip goes")
    parser.add_argument(
        "--packages",
        type=Path,
        default=Path(sysconfig.get_path("purelib")),
        help="folder in which requirements-dispatcher.txt is installed for the Lambda's platform;"
        " default: this environment, for this machine",
    )
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter of the Lambda's version, which compiles"
    )
    parser.add_argument("--no-bytecode", action="store_true", help="leave compiled files out")
    parser.add_argument("--measure", action="store_true", help="import it in cold processes")
    parser.add_argument("--runs", type=int, default=15, help="how many cold processes (15)")
    return parser


def _rows(asset: Asset) -> list[tuple[str, str]]:
    digest = hashlib.sha256(asset.path.read_bytes()).hexdigest()
    return [
        ("what", "value"),
        ("---", "---"),
        ("file", str(asset.path)),
        ("SHA-256", digest),
        ("zipped", f"{asset.zipped / 1e6:.1f} MB"),
        ("unzipped", f"{asset.unzipped / 1e6:.1f} MB"),
        ("files", str(asset.files)),
        ("packages", str(len(asset.packages))),
        ("binary parts are for", ", ".join(asset.platforms)),
    ]


def _measured(imports: Imports) -> list[tuple[str, str]]:
    spread = f"{imports.fastest:.0f} to {imports.slowest:.0f}"
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return [
        (f"import of {ENTRY}", f"{imports.total:.0f} ms (median of {imports.runs} cold processes, {spread})"),
        ("processor time of it, with the interpreter's start", f"{imports.cpu:.0f} ms"),
        ("modules imported", str(imports.modules)),
        ("measured on", machine),
        *((f"package {name}", f"{ms:.1f} ms") for name, ms in imports.by_package[:_SHOWN]),
        *((f"module {name}", f"{ms:.1f} ms by itself") for name, ms in imports.by_module[:_SHOWN]),
    ]


if __name__ == "__main__":
    sys.exit(main())

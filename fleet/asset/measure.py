"""How long a Lambda would import: a zip is unpacked, and cold processes import its entry and nothing else.

Each process sees the standard library and the unpacked asset, writes no bytecode (a Lambda's folder is
read-only) and is thrown away. Measures what there is; builds nothing.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)")
_IMPORT = """
import sys, time
sys.path.insert(0, ".")
import {entry}
print(time.process_time_ns() // 1000)
"""


@dataclass(frozen=True, kw_only=True)
class Cold:
    """One cold process, in microseconds: the whole import, and each module without what it imports itself.

    ``cpu``: processor time of the process until then, start of the interpreter included.
    """

    total: int
    cpu: int
    own: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Imports:
    """Medians over ``runs`` cold processes, in milliseconds. ``modules``: how many were imported.

    ``cpu`` is processor time, start of the interpreter included: what a busy machine disturbs least.
    """

    runs: int
    total: float
    cpu: float
    fastest: float
    slowest: float
    modules: int
    by_package: Sequence[tuple[str, float]]
    by_module: Sequence[tuple[str, float]]


def measure(asset: Path, *, entry: str, runs: int, python: str = sys.executable) -> Imports:
    """Unpack the asset and import its entry in ``runs`` fresh processes, after one that nobody counts.

    Raises RuntimeError with the last lines of a process that could not import it.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(asset) as zipped:
            zipped.extractall(folder)
        cold = [_import(folder, entry=entry, python=python) for _ in range(runs + 1)][1:]
    totals = [c.total for c in cold]
    return Imports(
        runs=runs,
        total=_ms(totals),
        cpu=_ms([c.cpu for c in cold]),
        fastest=min(totals) / 1000,
        slowest=max(totals) / 1000,
        modules=len(cold[0].own),
        by_package=_medians([_packages(c.own) for c in cold]),
        by_module=_medians([c.own for c in cold]),
    )


def _import(folder: str, *, entry: str, python: str) -> Cold:
    argv = [python, "-I", "-S", "-B", "-X", "importtime", "-c", _IMPORT.format(entry=entry)]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{entry} cannot be imported from the asset: {done.stderr[-800:]}")
    return parse(done.stderr, entry=entry, cpu=int(done.stdout))


def parse(said: str, *, entry: str, cpu: int) -> Cold:
    """What ``-X importtime`` said. Raises RuntimeError when the entry is not in it."""
    own: dict[str, int] = {}
    total: int | None = None
    for itself, cumulative, _, module in (m.groups() for m in _LINE.finditer(said)):
        own[module] = own.get(module, 0) + int(itself)
        if module == entry:
            total = int(cumulative)
    if total is None:
        raise RuntimeError(f"{entry} was not imported: {said[-800:]}")
    # The entry's package comes before it and at the same level.
    outer = entry.rpartition(".")[0]
    return Cold(total=total + own.get(outer, 0), cpu=cpu, own=own)


def _packages(own: Mapping[str, int]) -> dict[str, int]:
    """Everything that belongs to one top-level package together; what Python brings is one."""
    found: Counter[str] = Counter()
    for module, microseconds in own.items():
        top = module.split(".")[0]
        found["(standard library)" if top in sys.stdlib_module_names else top] += microseconds
    return dict(found)


def _medians(cold: Sequence[Mapping[str, int]]) -> list[tuple[str, float]]:
    """Name and median, the slowest first."""
    names = {name for each in cold for name in each}
    found = [(name, _ms([each.get(name, 0) for each in cold])) for name in names]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def _ms(microseconds: Sequence[int]) -> float:
    return statistics.median(microseconds) / 1000

"""What is kept of each seed, so that ``--seed N`` alone does an earlier run again and costs no evidence."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def asked(
    parser: argparse.ArgumentParser, argv: Sequence[str], *, folder: Path
) -> tuple[argparse.Namespace, list[str]]:
    """The options and the words they were read from: with ``--seed`` alone, those of its last run."""
    given = parser.parse_args(argv)
    kept = _options(folder, given.seed)
    if given.seed is None or not kept.is_file() or given != parser.parse_args(["--seed", str(given.seed)]):
        return given, list(argv)
    words = [str(word) for word in json.loads(kept.read_text())]
    return parser.parse_args(words), words


def keep(argv: Sequence[str], *, seed: int, folder: Path) -> None:
    """Write down the words of a run that begins, and set the history of an earlier one aside."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = ["--seed", str(seed)]
    words = list(argv) if list(argv[-2:]) == chosen else [*argv, *chosen]
    _options(folder, seed).write_text(json.dumps(words))
    history = folder / str(seed) / "history.jsonl"
    if history.is_file():
        places = (folder / f"{seed}.earlier-{number}.jsonl" for number in range(1, 10_000))
        history.rename(next(place for place in places if not place.exists()))


def _options(folder: Path, seed: int | None) -> Path:
    return folder / f"{seed}.json"

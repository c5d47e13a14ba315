"""What has to come through the wire before anything is seen: little enough for a slow line."""

import re
from pathlib import Path

from dispatcher.page import INDEX, STATIC
from tests.browser.lab import chromium

MOST = 200_000
_NAMED = re.compile(r'(?:src|href)="/([^"]+)"')
_IMPORTED = re.compile(r"""(?:\bfrom|\bimport)\s*["']\./([^"']+\.js)["']""")


def packed(name: str) -> int:
    """Bytes of a file as it travels."""
    twin = STATIC / f"{name}.gz"
    return (twin if twin.is_file() else STATIC / name).stat().st_size


def first(names: set[str]) -> set[str]:
    """These files, and what their scripts import before they run."""
    found: set[str] = set()
    while names - found:
        name = (names - found).pop()
        found.add(name)
        if name.endswith(".js"):
            folder = Path(name).parent
            names |= {str(folder / one) for one in _IMPORTED.findall((STATIC / name).read_text())}
    return found


def test_the_first_paint_needs_at_most_200_kilobytes() -> None:
    chromium()
    named = first(set(_NAMED.findall((STATIC / INDEX).read_text())))
    assert any(name.endswith(".js") for name in named)
    assert any(name.endswith(".css") for name in named)
    sizes = {name: packed(name) for name in {INDEX, *named}}
    print(f"first paint: {sum(sizes.values()) / 1000:.1f} kB gzipped, {sizes}")
    assert sum(sizes.values()) <= MOST, sizes

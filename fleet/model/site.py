"""How the offline model changes a site: plans made of Claude Code's own tools.

Each plan looks first, edits, checks what it did and says so. It works on projects that keep their
words in a JSON file, as the example site does; where it finds none it says so and touches nothing.
"""

import json
import re
import unicodedata
from collections.abc import Generator

from fleet.model.conversation import Result
from fleet.model.plan import Step, words
from fleet.model.protocol import ToolUse

Answer = Generator[Step, Result, str]
"""A plan that returns the sentence to say at its end."""

_DATA = "**/*.json"
_FRAME = "src/layouts/Page.astro"
_SOURCE = re.compile(r"(?:\A|/)src/(?:pages|layouts)/")
_SOURCE = re.compile(r"(?:\A|/)src/(?:pages|layouts)/")
_COLOUR = re.compile(
    r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})|(?:rgb|hsl|oklch|lch|lab|oklab)\([\d\s.,%/deg-]+\)", re.I
)
_COLOURS = frozenset(
    """aqua black blue blueviolet brown cadetblue chartreuse chocolate coral cornflowerblue crimson cyan
    darkblue darkcyan darkgreen darkmagenta darkorange darkorchid darkred darkviolet deeppink deepskyblue
    dodgerblue firebrick forestgreen fuchsia gold goldenrod gray green grey hotpink indianred indigo khaki
    lavender lime limegreen magenta maroon midnightblue navy olive orange orangered orchid peru pink plum
    purple rebeccapurple red royalblue salmon seagreen sienna silver skyblue slateblue slategray steelblue
    tan teal tomato turquoise violet white yellow yellowgreen""".split()  # noqa: SIM905
)
_LABEL = {"headline": "headline", "tagline": "tagline", "accent": "accent colour"}


def set_field(*, cwd: str | None, field: str, value: str) -> Answer:
    """Find the entry in the site's data, change it, check it."""
    if field == "accent" and not _is_colour(value):
        return f"I do not know the colour “{value}”. Use a CSS name such as teal, or a value such as #0a7d6c."
    yield from words(f"I'll look for the {_LABEL[field]} first.\n\n")
    path = yield from _find(cwd=cwd, key=field)
    if path is None:
        return f"I looked for a “{field}” in the project's JSON files and found none, so I changed nothing."
    shown, label = f"`{_shown(path, cwd)}`", _LABEL[field]
    text = yield from _read(path)
    old, before = _entry(text, field), _value(text, field)
    if old is None or before is None:
        return f"{shown} has no plain text under “{field}”, so I changed nothing."
    if before == value:
        return f"The {label} already is “{value}” (in {shown}); there was nothing to change."
    problem = yield from _edit(path=path, old=old, new=f'"{field}": {_json(value)}')
    text = yield from _read(path)
    if _value(text, field) != value:
        return f"I could not change the {label} in {shown}: {problem or 'the check failed'}."
    return f"Done. The {label} was “{before}” and is now “{value}”. I changed it in {shown} and checked it."


def add_page(*, cwd: str | None, name: str, text: str | None) -> Answer:
    """Write a page in the site's own frame and link it in the navigation."""
    title = name[:1].upper() + name[1:]
    yield from words("I'll look at the pages there are first.\n\n")
    data = yield from _find(cwd=cwd, key="nav")
    files = yield from _sources(cwd)
    frame = next((path for path in files if path.endswith(_FRAME)), None)
    if data is None or frame is None:
        return f"I can only add pages to a site with `{_FRAME}` and a “nav” in a JSON file; this is none."
    path = f"{frame.removesuffix(_FRAME)}src/pages/{slug_of(name)}.astro"
    made = path not in files
    if made:
        yield ToolUse(name="Write", input={"file_path": path, "content": page_source(title=title, text=text)})
    written = yield from _read(path)
    if not written:
        return f"I could not write `{_shown(path, cwd)}`."
    linked = yield from _link(data=data, title=title, href=_route(path))
    if not made and not linked:
        return f"There already is a page `{_shown(path, cwd)}`; I left it as it is."
    there = "" if made else ", which was there already"
    told = f"Done. The page “{title}” is `{_shown(path, cwd)}`{there}"
    return f"{told}, and the navigation in `{_shown(data, cwd)}` links to {_route(path)}."


def list_pages(*, cwd: str | None) -> Answer:
    """Say which pages there are, by looking."""
    files = yield from _sources(cwd)
    pages = [path for path in files if "src/pages/" in path]
    if not pages:
        return "I found no pages under `src/pages` in this project."
    lines = [f"- {_route(page)} (`{_shown(page, cwd)}`)" for page in pages]
    count = "is one page" if len(pages) == 1 else f"are {len(pages)} pages"
    return f"There {count}:\n\n" + "\n".join(lines)


def page_source(*, title: str, text: str | None) -> str:
    """An Astro page whose words stand in strings, so that no character of them can become markup or code."""
    words = text or f"This is the page “{title}”. Tell me what it should say."
    return (
        '---\nimport Page from "../layouts/Page.astro";\n\n'
        f"const title = {_script(title)};\nconst text = {_script(words)};\n---\n\n"
        "<Page title={title}>\n  <p>{text}</p>\n</Page>\n"
    )


def slug_of(name: str) -> str:
    """A file name and address for a page: ASCII letters, digits, single dashes; not empty, not index."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-")
    return slug if slug and slug not in ("index", "404", "500") else f"page-{slug}".rstrip("-")


def _find(*, cwd: str | None, key: str) -> Generator[Step, Result, str | None]:
    found = yield ToolUse(
        name="Grep", input={"pattern": f'"{key}"\\s*:', "glob": _DATA, "output_mode": "files_with_matches"}
    )
    paths = [line.strip() for line in found.text.splitlines() if line.strip().endswith(".json")]
    paths = [path for path in paths if "node_modules/" not in path and not path.endswith("package-lock.json")]
    best = min(paths, key=lambda path: ("/data/" not in f"/{path}", path.count("/"), path), default=None)
    return _absolute(best, cwd) if best else None


def _sources(cwd: str | None) -> Generator[Step, Result, list[str]]:
    """Absolute paths of the site's pages and layouts, sorted."""
    found = yield ToolUse(name="Glob", input={"pattern": "src/{pages,layouts}/**/*.{astro,md,mdx,html}"})
    lines = (line.strip() for line in found.text.splitlines())
    return sorted(_absolute(line, cwd) for line in lines if _SOURCE.search(line))


def _read(path: str) -> Generator[Step, Result, str]:
    seen = yield ToolUse(name="Read", input={"file_path": path})
    lines = (re.sub(r"\A\s*\d+(?:→|\t)", "", line) for line in seen.text.split("\n"))
    return "" if seen.failed else "\n".join(lines).split("\n\n<system-reminder>")[0]


def _edit(*, path: str, old: str, new: str) -> Generator[Step, Result, str | None]:
    done = yield ToolUse(name="Edit", input={"file_path": path, "old_string": old, "new_string": new})
    return done.text.strip().rstrip(".") if done.failed else None


def _link(*, data: str, title: str, href: str) -> Generator[Step, Result, bool]:
    text = yield from _read(data)
    if f'"href": {_json(href)}' in text:
        return False
    entries = re.search(r'("nav"\s*:\s*\[)(.*?)(\n?\s*\])', text, re.DOTALL)
    if entries is None:
        return False
    comma = "," if entries[2].strip() else ""
    item = f'{{ "label": {_json(title)}, "href": {_json(href)} }}'
    new = f"{entries[1]}{entries[2]}{comma}\n    {item}{entries[3]}"
    problem = yield from _edit(path=data, old=entries[0], new=new)
    return problem is None


def _entry(text: str, field: str) -> str | None:
    found = re.search(rf'"{field}"\s*:\s*"(?:[^"\\\n]|\\.)*"', text)
    return found[0] if found else None


def _value(text: str, field: str) -> str | None:
    try:
        value = json.loads(text)[field]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else None


def _json(value: str) -> str:
    return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False)


def _script(value: str) -> str:
    """A string for a page's script: nothing in it may end the script's fence or start a tag.

    As \\x, because Claude Code's Write tool turns \\u escapes into the characters themselves.
    """
    return _json(value).replace("---", r"\x2d\x2d\x2d").replace("<", r"\x3c")


def _is_colour(value: str) -> bool:
    return value.lower() in _COLOURS or _COLOUR.fullmatch(value) is not None


def _absolute(path: str, cwd: str | None) -> str:
    return path if path.startswith("/") or cwd is None else f"{cwd}/{path}"


def _shown(path: str, cwd: str | None) -> str:
    return path.removeprefix(f"{cwd}/") if cwd else path


def _route(page: str) -> str:
    inner = page.split("src/pages/", 1)[1].rsplit(".", 1)[0]
    return "/" + inner.removesuffix("index").rstrip("/")

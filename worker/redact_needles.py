"""Known secrets as they may turn up in a text, and the automaton that finds all of them at once.

A value is looked for as it is, URL-quoted, JSON-escaped, and inside any base64 text. This module does not
decide what is done with what was found; see ``worker.redact``.
"""

import base64
import json
from collections import deque
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

PLACEHOLDER = "[redacted]"
MIN_LENGTH = 8
"""Shorter values are ignored: they would turn ordinary words into holes."""
_MIN_REST = 6
_MIN_LINE = 24


class Trie:
    """Aho and Corasick's automaton: after each character, the longest beginning of a needle that ends there.

    ``depth[state]`` is the length of that beginning, ``match[state]`` the length of the longest whole needle
    that ends there (0: none). State 0 is the root.
    """

    def __init__(self, needles: Iterable[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._fail = [0]
        self.depth = [0]
        self.match = [0]
        for needle in needles:
            self._add(needle)
        self._link()

    def step(self, state: int, char: str) -> int:
        """The state after ``char``; constant time on average over a text."""
        while state and char not in self._next[state]:
            state = self._fail[state]
        return self._next[state].get(char, 0)

    def pairs(self) -> dict[str, set[str]]:
        """Which second characters follow each first one."""
        return {char: set(self._next[state]) for char, state in self._next[0].items()}

    def _add(self, needle: str) -> None:
        state = 0
        for char in needle:
            if char not in self._next[state]:
                self._next[state][char] = len(self._next)
                self._next.append({})
                self._fail.append(0)
                self.depth.append(self.depth[state] + 1)
                self.match.append(0)
            state = self._next[state][char]
        self.match[state] = len(needle)

    def _link(self) -> None:
        waiting = deque(self._next[0].values())
        while waiting:
            state = waiting.popleft()
            for char, target in self._next[state].items():
                self._fail[target] = self.step(self._fail[state], char)
                self.match[target] = max(self.match[target], self.match[self._fail[target]])
                waiting.append(target)


def needles(secrets: Iterable[str]) -> frozenset[str]:
    """Every text to look for, for every secret of at least ``MIN_LENGTH`` characters."""
    values = {value for secret in secrets for value in _values(secret) if len(value) >= MIN_LENGTH}
    forms = {form for value in values for form in _forms(value)}
    return frozenset(rest for form in forms for rest in _clear_of_placeholder(form))


def _values(secret: str) -> Iterator[str]:
    yield secret
    yield secret.strip()
    # Tools print files in part, so each long line of a key is a secret of its own.
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _MIN_LINE and not line.startswith("-----"))


def _forms(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "surrogatepass")
    yield value
    for quoted in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield quoted
        yield _lower_escapes(quoted)
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield json.dumps(escaped, ensure_ascii=ascii_only)[1:-1]
    yield base64.b64encode(raw).decode()
    yield base64.urlsafe_b64encode(raw).decode()
    yield from _inside_base64(raw)


def _lower_escapes(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _inside_base64(raw: bytes) -> Iterator[str]:
    """The characters that stand for ``raw`` alone, for each of the three ways it can be aligned."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw)
        core = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield core.decode()
        yield core.translate(bytes.maketrans(b"+/", b"-_")).decode()


def _clear_of_placeholder(form: str) -> list[str]:
    """What is left of a form that the placeholder could complete; a second pass would find it again."""
    rests = [_trimmed(part) for part in form.split(PLACEHOLDER)]
    if rests == [form] or all(len(rest) >= _MIN_REST and rest not in PLACEHOLDER for rest in rests):
        return rests
    return [form] if form not in PLACEHOLDER else []


def _trimmed(part: str) -> str:
    while cut := _overlap(PLACEHOLDER, part):
        part = part[cut:]
    while cut := _overlap(part, PLACEHOLDER):
        part = part[:-cut]
    return part


def _overlap(left: str, right: str) -> int:
    """Length of the longest end of ``left`` that ``right`` begins with."""
    return next((n for n in range(min(len(left), len(right)), 0, -1) if left.endswith(right[:n])), 0)

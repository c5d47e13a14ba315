"""One redactor in front of every sink: log, event, reply, commit message, preview output.

A character is redacted exactly if it belongs to a known secret or to a text with the shape of a secret; a
run of such characters becomes one ``[redacted]``. The text is read character by character and nothing is
ever read twice, so the result does not depend on where a stream is cut, and the time is linear.

Must not import anything of the worker but its own tables, and must never raise because of a text.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from worker.redact_needles import PLACEHOLDER, Trie, needles
from worker.redact_shapes import SHAPES, Node, compile_shapes

MAX_HELD = 4096
"""Characters an unfinished shape may hold back; one that is longer is redacted, finished or not."""


class Redactor:
    """Removes secrets from texts. Made once from the known values; safe to share between coroutines.

    ``secrets``: the values themselves, in any order; those under 8 characters are ignored.
    """

    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        self._tables = _Tables(secrets)

    def __call__(self, text: str) -> str:
        """``text`` with every secret replaced by ``[redacted]``."""
        stream = self.stream()
        return stream.feed(text) + stream.flush()

    def stream(self) -> "StreamRedactor":
        """A redactor for one text that comes in pieces."""
        return StreamRedactor(self._tables)

    def redact_value(self, value: Any) -> Any:
        """A JSON-like value with every text in it redacted, keys too. Other objects come back as they are."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self.redact_value(key): self.redact_value(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return tuple(self.redact_value(item) for item in value)
        if isinstance(value, list | set | frozenset):
            return [self.redact_value(item) for item in value]
        return value


class _Tables:
    """What all streams of one redactor share; never written after it was made."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.trie = Trie(needles(secrets))
        self.entries: dict[str, list[Node]] = {}
        for chars, node in compile_shapes(SHAPES).edges:
            for char in chars:
                self.entries.setdefault(char, []).append(node)
        self.interesting = _beginnings(self.trie.pairs(), self.entries)


def _beginnings(pairs: dict[str, set[str]], entries: Mapping[str, Iterable[Node]]) -> re.Pattern[str]:
    """Finds the first two characters of anything, or a first one at the end: skips prose at C speed."""
    seconds = {first: set(chars) for first, chars in pairs.items()}
    for first, nodes in entries.items():
        for node in nodes:
            seconds.setdefault(first, set()).update(*(chars for chars, _ in node.edges))
    choices = [f"{re.escape(first)}[{_set(chars)}]" for first, chars in sorted(seconds.items())]
    return re.compile(f"(?:{'|'.join(choices)})|[{_set(seconds)}]\\Z")


def _set(chars: Iterable[str]) -> str:
    return "".join(map(re.escape, sorted(chars)))


class StreamRedactor:
    """One text in pieces: the pieces returned, put together, are the whole text redacted.

    Held back is only what may still turn out to be part of a secret.
    """

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables
        self._reset()

    def feed(self, chunk: str) -> str:
        """Take the next piece; what of the text so far can be released."""
        base = self._read - len(self._held)
        self._held += chunk
        while self._read < base + len(self._held):
            if not self._state and not self._open:
                self._skip(base)
            if self._read < base + len(self._held):
                self._step(self._held[self._read - base])
        return self._release(base=base, end=self._settled())

    def flush(self) -> str:
        """The text has ended: everything that was held back. The stream can be used for another text."""
        rest = self._release(base=self._read - len(self._held), end=self._read)
        self._reset()
        return rest

    @property
    def held(self) -> int:
        """Number of characters held back now."""
        return len(self._held)

    def _reset(self) -> None:
        self._held = ""
        self._read = 0
        self._state = 0
        self._open: dict[Node, int | None] = {}
        self._found: list[tuple[int, int]] = []
        self._hidden = False

    def _skip(self, base: int) -> None:
        """Nothing is open: go on with the next character that can begin something."""
        ahead = self._tables.interesting.search(self._held, self._read - base)
        self._read = base + (ahead.start() if ahead else len(self._held))

    def _step(self, char: str) -> None:
        trie = self._tables.trie
        self._state = trie.step(self._state, char)
        if trie.match[self._state]:
            self._mark(self._read + 1 - trie.match[self._state], self._read + 1)
        if self._open or char in self._tables.entries:
            self._open = self._advance(char)
            self._give_up_waiting()
        self._read += 1

    def _advance(self, char: str) -> dict[Node, int | None]:
        """The places of all shapes after ``char``, each with where its secret began (None: in the label)."""
        reached: dict[Node, int | None] = dict.fromkeys(self._tables.entries.get(char, ()))
        for node, began in self._open.items():
            for chars, target in node.edges:
                if char in chars:
                    earlier = reached.get(target)
                    reached[target] = began if earlier is None or began is None else min(began, earlier)
        return self._settle(reached)

    def _settle(self, reached: dict[Node, int | None]) -> dict[Node, int | None]:
        ended: set[int] = set()
        for node, began in reached.items():
            start = self._read if began is None else began
            reached[node] = start if node.secret else None
            if node.found or node.closes:
                self._mark(start, self._read + node.found)
            if node.found:
                reached[node] = self._read + 1
            if node.ends:
                ended.add(node.shape)
        return {node: began for node, began in reached.items() if node.shape not in ended}

    def _give_up_waiting(self) -> None:
        """Redact what has been undecided for too long, so that what is held back is bounded."""
        for node, began in self._open.items():
            if began is not None and self._read + 1 - began >= MAX_HELD:
                self._mark(began, self._read + 1)
                self._open[node] = self._read + 1

    def _mark(self, start: int, end: int) -> None:
        while self._found and self._found[-1][1] >= start:
            start = min(start, self._found.pop()[0])
        if start < end:
            self._found.append((start, end))

    def _settled(self) -> int:
        """Up to where no open beginning of a secret can reach back any more."""
        return min(
            self._read - self._tables.trie.depth[self._state],
            *(began for began in self._open.values() if began is not None),
            self._read,
        )

    def _release(self, *, base: int, end: int) -> str:
        out: list[str] = []
        position = base
        for start, stop in self._found:
            if start >= end:
                break
            if start > position:
                out.append(self._held[position - base : start - base])
                self._hidden = False
            if not self._hidden:
                out.append(PLACEHOLDER)
            self._hidden, position = True, min(stop, end)
        if position < end:
            out.append(self._held[position - base : end - base])
            self._hidden = False
        self._found = [(start, stop) for start, stop in self._found if stop > end]
        self._held = self._held[end - base :]
        return "".join(out)

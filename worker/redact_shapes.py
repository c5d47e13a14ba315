"""What a secret looks like: a table of shapes, and the small automaton they become.

A shape is a row of steps. Each step is one character of a set, or a run of at least so many; there is no
backtracking and no condition on what stands before or after, so that a shape found in a text is found in
every larger text, and text that was redacted once is not changed by a second pass. No set may contain a
square bracket: the replacement has them, and so no shape can grow across it.

Nothing in here knows of streams or of known values; see ``worker.redact``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, whitespace

WORD = frozenset(ascii_letters + digits + "_")
DASHED = WORD | {"-"}
SPACE = frozenset(whitespace)
GLUE = SPACE | frozenset("\"'\\")
"""What stands between a label, its sign and its value, also when JSON was put into JSON."""
SIGN = frozenset(":=>")
BASE64 = frozenset(ascii_letters + digits + "+/=")
TOKEN = BASE64 | frozenset("-._~")
USERINFO = frozenset(ascii_letters + digits + "-._~!$&()*+,;=%:@^|{}")
PEM_BODY = BASE64 | SPACE | frozenset("\\:,-.()>|→_")
"""Also line numbers, quote marks and escaped line ends, as tools print them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """``low`` characters of ``chars``, and any number more if ``many``."""

    chars: frozenset[str]
    low: int = 1
    many: bool = False


@dataclass(frozen=True, kw_only=True)
class Shape:
    """``label`` stays readable; ``secret`` goes as soon as ``low`` of each of its steps is there.

    With ``closing`` the secret goes only when the closing has been read: it stays readable (``@``).
    With ``until`` the shape ends there, and ``until`` goes too (the end line of a key block).
    """

    label: tuple[Step, ...] = ()
    secret: tuple[Step, ...]
    closing: tuple[Step, ...] = ()
    until: tuple[Step, ...] = ()


def exactly(text: str) -> tuple[Step, ...]:
    """``text``, letter by letter."""
    return tuple(Step(chars=frozenset(char)) for char in text)


def whatever_case(text: str) -> tuple[Step, ...]:
    """``text`` in lower, upper or mixed case."""
    return tuple(Step(chars=frozenset((char.lower(), char.upper()))) for char in text)


def run(chars: Iterable[str], *, low: int) -> Step:
    """At least ``low`` of ``chars``."""
    return Step(chars=frozenset(chars), low=low, many=True)


def _prefixed(prefix: str, chars: Iterable[str], *, low: int) -> Shape:
    return Shape(secret=(*exactly(prefix), run(chars, low=low)))


def _labelled(*words: str, chars: Iterable[str], low: int) -> Shape:
    gap = run("_- ", low=0)
    label: tuple[Step, ...] = whatever_case(words[0])
    for word in words[1:]:
        label = (*label, gap, *whatever_case(word))
    return Shape(
        label=(*label, run(GLUE, low=0), run(SIGN, low=1), run(GLUE, low=0)), secret=(run(chars, low=low),)
    )


def _authorization(scheme: str) -> Shape:
    sign = (run(GLUE, low=0), run(SIGN, low=1), run(GLUE, low=0))
    label = (*whatever_case("authorization"), *sign, *whatever_case(scheme), run(SPACE, low=1))
    return Shape(label=label, secret=(run(TOKEN, low=8),))


def _key_block(kind: str) -> Shape:
    return Shape(
        secret=(*exactly(f"-----BEGIN {kind}-----"), run(PEM_BODY, low=0)),
        until=(*exactly("-----END "), run(ascii_uppercase + " ", low=1), *exactly("-----")),
    )


_KEY_KINDS = (
    *(f"{kind}PRIVATE KEY" for kind in ("", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ")),
    "PGP PRIVATE KEY BLOCK",
)

SHAPES: tuple[Shape, ...] = (
    _prefixed("sk-ant-", DASHED, low=16),
    *(_prefixed(f"gh{kind}_", WORD, low=20) for kind in "pousr"),
    _prefixed("github_pat_", WORD, low=20),
    *(_prefixed(prefix, ascii_uppercase + digits, low=16) for prefix in ("AKIA", "ASIA")),
    *(_prefixed(f"xox{kind}-", DASHED, low=10) for kind in ascii_lowercase),
    _prefixed("xapp-", DASHED, low=10),
    # Two segments that both begin like a JSON object are enough; the rest of the token goes with them.
    Shape(secret=(*exactly("eyJ"), run(DASHED, low=8), *exactly(".eyJ"), run(DASHED | {"."}, low=6))),
    _labelled("secret", "access", "key", chars=ascii_letters + digits + "/+", low=40),
    _labelled("session", "token", chars=BASE64, low=40),
    *(_authorization(scheme) for scheme in ("bearer", "basic", "token")),
    Shape(
        label=exactly("://"),
        secret=(run(USERINFO - {":"}, low=0), *exactly(":"), run(USERINFO, low=1)),
        closing=exactly("@"),
    ),
    *(_key_block(kind) for kind in _KEY_KINDS),
)


@dataclass(slots=True, eq=False)
class Node:
    """A place in one shape, reached by reading a character.

    ``secret``: that character belongs to the secret, not to its label. ``found``: what was read so far is a
    secret; ``closes``: all of it but this character is. ``ends``: every place of this shape is left.
    """

    shape: int
    secret: bool = False
    found: bool = False
    closes: bool = False
    ends: bool = False
    edges: list[tuple[frozenset[str], "Node"]] = field(default_factory=list)


def compile_shapes(shapes: Iterable[Shape]) -> Node:
    """One start node from whose edges every shape is entered."""
    start = Node(shape=-1)
    for number, shape in enumerate(shapes):
        labelled = _chain(shape.label, number=number, sources=[start], secret=False)
        complete = _chain(shape.secret, number=number, sources=labelled, secret=True)
        for node in complete if not shape.closing else ():
            node.found = True
        for node in _chain(shape.closing, number=number, sources=complete) if shape.closing else ():
            node.closes = True
        for node in _chain(shape.until, number=number, sources=complete) if shape.until else ():
            node.found = node.ends = True
    return start


def _chain(steps: Iterable[Step], *, number: int, sources: list[Node], secret: bool = True) -> list[Node]:
    """Append ``steps`` behind ``sources``; the nodes at which all steps have been read."""
    for step in steps:
        skipped = sources if step.low == 0 else []
        for _ in range(max(step.low, 1)):
            node = Node(shape=number, secret=secret)
            for source in sources:
                source.edges.append((step.chars, node))
            sources = [node]
        if step.many:
            sources[0].edges.append((step.chars, sources[0]))
        sources = [*skipped, *sources]
    return sources

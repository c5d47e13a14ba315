"""A setting that was turned on can be turned off again: no stack waits for another to let go.

CloudFormation refuses to take an export away, or to change it, while another stack imports it. Stacks are
deployed one after the other, so at each step some are of before and some of after.
"""

from itertools import permutations

import pytest

from tests.aws.assembly import EDGE, IN_ORDER, SECONDS, Assembly, Template, synthesized

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]

DATA, WATCH = IN_ORDER[0], IN_ORDER[-1]


@pytest.fixture(scope="session")
def variants() -> dict[str, Assembly]:
    """All that are synthesized, by name."""
    found = [p.parent for p in synthesized().glob("*/manifest.json")]
    return {folder.name: Assembly(folder) for folder in found}


def refused(live: dict[str, Template], name: str, new: Template) -> set[str]:
    """What keeps CloudFormation from bringing one stack to its new template."""
    exports = {k: v for other, t in live.items() if other != name for k, v in t.exports.items()}
    missing = new.imports - exports.keys()
    before = live[name].exports if name in live else {}
    gone = {k for k, v in before.items() if new.exports.get(k) != v}
    held = {k for other, t in live.items() if other != name for k in t.imports}
    return set(missing) | (gone & held)


def changes(variants: dict[str, Assembly]) -> list[tuple[str, str]]:
    return list(permutations(sorted(variants), 2))


def test_from_every_choice_to_every_other_nothing_is_held(variants: dict[str, Assembly]) -> None:
    assert len(changes(variants)) >= 6
    for before, after in changes(variants):
        live = dict(variants[before].templates)
        for name in IN_ORDER:
            if name in variants[after].templates:
                new = variants[after].templates[name]
                assert refused(live, name, new) == set(), f"{name}, from {before} to {after}"
                live[name] = new
            if name == DATA and EDGE not in variants[after].templates:
                live.pop(EDGE, None)  # a deployment removes it before the rest


def test_who_looks_holds_on_to_nobody(variants: dict[str, Assembly]) -> None:
    watched = [v for v in variants.values() if WATCH in v.templates]
    assert len(variants) > len(watched) > 0
    for assembly in watched:
        assert assembly.templates[WATCH].imports == frozenset()


def test_what_is_kept_can_be_brought_up_to_date_before_and_after_the_rest(
    variants: dict[str, Assembly],
) -> None:
    """A deployment that was broken off and repeated brings them in other orders."""
    for before, after in changes(variants):
        rest = dict(variants[after].templates) | {DATA: variants[before].templates[DATA]}
        assert refused(rest, DATA, variants[after].templates[DATA]) == set(), f"from {before} to {after}"


def test_all_are_deployed_in_the_order_of_what_they_refer_to(variants: dict[str, Assembly]) -> None:
    for assembly in variants.values():
        live: dict[str, Template] = {}
        for name in [s for s in IN_ORDER if s in assembly.templates]:
            assert refused(live, name, assembly.templates[name]) == set()
            live[name] = assembly.templates[name]

"""What strangers wrote reaches Claude Code as a quotation that cannot end itself, for the whole corpus."""

import json
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.github_handed import DATA, handed, own_words
from dispatcher.github_parse import Ignored, Trigger, parse
from fleet.standin.github_hooks import Hooks
from fleet.standin.github_world import World
from tests.faults.injections import Injection, corpus, scene

CORPUS = corpus()
FRAME = re.compile(
    r"""---|Issue\ \#\d+\ of\ acme/site,\ written\ by\ [\w-]+\.\ Its\ title:
    |Pull\ request\ \#\d+\ of\ acme/site,\ written\ by\ [\w-]+\.\ Its\ title:
    |Its\ text,\ written\ by\ [\w-]+:|The\ code\ there:
    |The\ comment\ stands\ at\ (line\ \d+\ of\ )?this\ file:
    |\(The\ text\ was\ edited\ after\ this\ was\ asked\ and\ is\ left\ out\.\)""",
    re.VERBOSE,
)
"""Every line of ours behind the person's words."""


def called(case: Injection) -> Trigger | Ignored:
    """What the last webhook of a case means."""
    hooks = Hooks(world=World())
    repo = hooks.world.add_repo("acme/site", ada="write")
    event, payload = scene(case, hooks=hooks, repo=repo).webhooks[-1]
    return parse(event=event, body=json.dumps(payload).encode(), handle="@branchline")


def given_to_claude(case: Injection) -> str:
    """The message's text, as the first one of its thread."""
    trigger = called(case)
    assert isinstance(trigger, Trigger)
    return handed(trigger, with_subject=True, with_body=case.stands != "edited")


def quotation(text: str) -> str:
    """What stands behind the person's own words."""
    return text.removeprefix(own_words(text))


def test_the_corpus_has_many_kinds_of_many_places() -> None:
    assert len(CORPUS) >= 40
    assert len({case.id for case in CORPUS}) == len(CORPUS)
    assert len({case.kind for case in CORPUS}) >= 12
    assert {case.stands for case in CORPUS} == set(get_args(Injection.model_fields["stands"].annotation))


@pytest.mark.parametrize("case", [c for c in CORPUS if c.is_worked_on], ids=lambda case: case.id)
def test_a_strangers_words_are_a_quotation_that_they_cannot_end(case: Injection) -> None:
    text = given_to_claude(case)
    words = own_words(text)
    assert words.startswith(f"please do what is asked for here (case-{case.id})")
    if case.stands != "call":
        assert words == f"please do what is asked for here (case-{case.id})"
    first, *behind = [line for line in quotation(text).splitlines() if line and line != "---"]
    assert first == DATA
    for line in behind:
        assert line.startswith(">") or FRAME.fullmatch(line), line


@pytest.mark.parametrize("case", [c for c in CORPUS if c.is_worked_on], ids=lambda case: case.id)
def test_claude_reads_what_people_see_and_nothing_that_is_hidden(case: Injection) -> None:
    text = given_to_claude(case)
    if case.seen is not None:
        assert case.seen in text
    if case.unseen is not None:
        assert case.unseen not in text


def test_a_stranger_who_calls_is_known_by_name_before_anything_is_handed_over() -> None:
    (case,) = (c for c in CORPUS if not c.is_worked_on)
    trigger = called(case)
    assert isinstance(trigger, Trigger)
    assert trigger.login == "Eve"  # who may not: test_f23_prompt_injection_in_public_comments


@given(text=st.text(), where=st.sampled_from(["body", "title", "review", "path"]))
def test_no_text_at_all_ends_its_quotation(text: str, where: str) -> None:
    case = Injection.model_validate(
        {"id": "x", "kind": "any", "stands": where, "text": text, "seen": "", "obeys": [], "held": "here"}
    )
    for line in quotation(given_to_claude(case)).splitlines():
        assert not line or line == DATA or line.startswith(">") or FRAME.fullmatch(line), line

"""The redactor: no secret leaves, wherever a stream is cut, and prose is not held up."""

import base64
import json
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.redact import MAX_HELD, Redactor
from worker.redact_needles import needles

PASSWORD = 'tr0ub4dor&3 "x"/ü?'
KNOWN = "correct-horse-battery"
KEY_BLOCK = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow/Ab+c0==\nq83vEjRW\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
SHAPED = (
    "sk-ant-api03-AbCdEf0123456789-_xyz",
    "ghp_" + "a1B2" * 9,
    "gho_" + "a1B2" * 9,
    "ghs_" + "a1B2" * 9,
    "ghu_" + "a1B2" * 9,
    "github_pat_11ABCDEFG0_" + "x" * 59,
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "xoxb-123456789012-abcdefABCDEF",
    "xoxp-123456789012-abcdefABCDEF",
    "xapp-1-A0123456789-abcdef0123",
    JWT,
    KEY_BLOCK,
    KEY_BLOCK.replace("\n", "\\n"),
    KEY_BLOCK.replace("RSA ", "OPENSSH "),
)
LABELLED = (
    ("Authorization: Bearer ", "abc.DEF-123_456"),
    ('\\"authorization\\": \\"Basic ', "dXNlcjpwYXNzd29yZA=="),
    ("aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ('"SecretAccessKey": "', "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("https://", "someone:pa55w0rd"),
    ("git clone https://", "x-access-token:s3cr3t@more"),
)

calmly = settings(deadline=None)
"""No assertion on the clock: the machine may be busy."""

redactor = Redactor(secrets=[PASSWORD, KNOWN, "short"])


def in_pieces(text: str, *, cuts: list[int]) -> str:
    stream = redactor.stream()
    borders = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [stream.feed(text[a:b]) for a, b in pairwise(borders)]
    return "".join([*pieces, stream.flush()])


@pytest.mark.parametrize("secret", SHAPED)
def test_a_text_with_the_shape_of_a_secret_is_redacted(secret: str) -> None:
    assert redactor(f"before «{secret}» after") == "before «[redacted]» after"


@pytest.mark.parametrize(("label", "secret"), LABELLED)
def test_a_label_stays_readable_and_its_value_goes(label: str, secret: str) -> None:
    assert redactor(f"{label}{secret}@host" if "://" in label else f"{label}{secret}!").startswith(
        f"{label}[redacted]"
    )
    assert secret not in redactor(f"{label}{secret}@host")


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD,
        quote(PASSWORD),
        quote(PASSWORD, safe=""),
        quote(PASSWORD, safe="").lower(),
        quote_plus(PASSWORD),
        json.dumps(PASSWORD)[1:-1],
        json.dumps(PASSWORD, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(PASSWORD))[3:-3],
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.urlsafe_b64encode(PASSWORD.encode()).decode(),
    ],
)
def test_a_known_secret_is_found_in_every_form(form: str) -> None:
    assert redactor(f"<{form}>") == "<[redacted]>"


@calmly
@given(before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_known_secret_inside_a_longer_base64_text_cannot_be_decoded(before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + KNOWN.encode() + after).decode()
    assert len(redactor(text).replace("[redacted]", "")) <= len(text) - len(KNOWN)


def test_the_middle_of_a_known_key_is_redacted_without_its_first_line() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "A" * 32 + "b", "C" * 32 + "d", "-----END PRIVATE KEY-----"]
    assert Redactor(secrets=["\n".join(lines)])(f"12: {lines[2]}") == "12: [redacted]"


def test_overlapping_secrets_leave_no_rest() -> None:
    both = Redactor(secrets=["abcdefgh1234", "1234wxyzabcd"])
    assert both("<abcdefgh1234wxyzabcd>") == "<[redacted]>"


def test_a_shape_and_a_known_secret_that_overlap_leave_no_rest() -> None:
    known = Redactor(secrets=["tail.of.a.token"])
    assert known("ghp_" + "a" * 36 + "tail.of.a.token") == "[redacted]"


@pytest.mark.parametrize(
    "prose",
    [
        "Use a Bearer authentication header; the task-anticipation is sk-ant- only.",
        "The short password is short, and eyJ is how base64 of JSON begins.",
        "See https://example.com:8080/a@b and mailto:someone@example.com.",
        "ghp_ and AKIA are prefixes. -----BEGIN CERTIFICATE----- MIIE -----END CERTIFICATE-----",
        "",
    ],
)
def test_prose_is_left_alone(prose: str) -> None:
    assert redactor(prose) == prose


def test_text_after_a_key_block_stays() -> None:
    assert redactor(f"{KEY_BLOCK}\nThat was the key.") == "[redacted]\nThat was the key."


def test_an_unfinished_key_block_is_redacted_to_its_last_character() -> None:
    assert redactor(KEY_BLOCK[:60]) == "[redacted]"


snippets = st.one_of(
    st.sampled_from([*SHAPED, *map("".join, LABELLED), PASSWORD, KNOWN, quote_plus(PASSWORD), "[redacted]"]),
    st.sampled_from([*SHAPED, *map("".join, LABELLED), PASSWORD, KNOWN]).flatmap(
        lambda secret: st.integers(1, len(secret)).map(lambda n: secret[:n])
    ),
    st.text(max_size=12),
    st.text(alphabet="-BEGINPRVATKYbearesk:/@ \n[]", max_size=12),
)
texts = st.lists(snippets, max_size=8).map("".join)


@calmly
@given(text=texts, cuts=st.lists(st.integers(0, 5000), max_size=12))
def test_the_result_does_not_depend_on_where_the_stream_is_cut(text: str, cuts: list[int]) -> None:
    assert in_pieces(text, cuts=cuts) == redactor(text)


@calmly
@given(text=texts)
def test_a_stream_of_single_characters_gives_the_same(text: str) -> None:
    assert in_pieces(text, cuts=list(range(len(text)))) == redactor(text)


@calmly
@given(text=texts)
def test_a_second_pass_changes_nothing(text: str) -> None:
    once = redactor(text)
    assert redactor(once) == once


edges = st.text(max_size=4, alphabet="[]redact")
awkward = st.builds("{}{}{}".format, edges, st.text(min_size=8, max_size=12, alphabet="bx%\\ q"), edges)


@calmly
@given(secrets=st.lists(awkward, min_size=1, max_size=4), data=st.data())
def test_no_known_secret_is_in_the_output_whatever_the_secrets_are(
    secrets: list[str], data: st.DataObject
) -> None:
    parts = data.draw(
        st.lists(st.sampled_from([*secrets, "a", "b", "[", "]", "[redacted]", " "]), max_size=8)
    )
    own = Redactor(secrets=secrets)
    once = own("".join(parts))
    assert not [secret for secret in secrets if secret in once]
    assert own(once) == once


def test_a_secret_made_of_brackets_is_still_a_secret() -> None:
    assert Redactor(secrets=["[[[[[[[["])("<[[[[[[[[>") == "<[redacted]>"


@calmly
@given(text=st.text(alphabet="hunt", max_size=60))
def test_only_what_can_still_become_a_secret_is_held_back(text: str) -> None:
    secrets = ("hunthuttun", "nutthunuth")
    starts = {needle[:n] for needle in needles(secrets) for n in range(len(needle))}
    stream = Redactor(secrets=secrets).stream()
    for end, char in enumerate(text, start=1):
        stream.feed(char)
        assert stream.held == max(n for n in range(end + 1) if text[end - n : end] in starts)


def test_a_sentence_is_released_word_by_word() -> None:
    stream = redactor.stream()
    sentence = (
        "I changed the headline in src/pages/index.astro and the footer as well, see http://localhost:4321/. "
    )
    delays = []
    for char in sentence:
        stream.feed(char)
        delays.append(stream.held)
    assert max(delays) <= len("localhost:4321")
    assert stream.held == 0


@calmly
@given(kind=st.sampled_from(["://", "eyJ", "://a:"]), size=st.integers(1, 9000))
def test_what_is_held_back_is_bounded_and_never_half_a_secret(kind: str, size: int) -> None:
    stream = redactor.stream()
    released = stream.feed(kind + "x" * size)
    assert stream.held <= MAX_HELD
    assert len(released.replace("[redacted]", "")) <= len(kind) or stream.held == 0


class Counted(Redactor):
    """Counts how often a character was looked at by an open place of a shape."""

    def work(self, text: str) -> int:
        stream = self.stream()
        return sum(1 + len(stream._open) for char in text if stream.feed(char) is not None)


@pytest.mark.parametrize(
    "unit", ["eyJ", "://a:", "-----BEGIN ", "ghp_", "a", "authorization: ", "AKIA", "correct-"]
)
def test_the_work_grows_in_proportion_to_the_text(unit: str) -> None:
    counted = Counted(secrets=[KNOWN, "a" * 40])
    once, twice = counted.work(unit * 500), counted.work(unit * 1000)
    assert twice <= 2.1 * once


def test_a_megabyte_of_prose_passes_unchanged() -> None:
    text = "The quick brown fox jumps over the lazy dog.\n" * 23_000
    assert redactor(text) == text


def test_values_are_redacted_in_depth_and_keys_too() -> None:
    value = {"a": [KNOWN, 1, None, True, 2.5], KNOWN: ({"b": f"x {KNOWN}"},)}
    assert redactor.redact_value(value) == {
        "a": ["[redacted]", 1, None, True, 2.5],
        "[redacted]": ({"b": "x [redacted]"},),
    }


def test_a_stream_can_be_used_again_after_it_was_flushed() -> None:
    stream = redactor.stream()
    assert stream.feed(KNOWN[:5]) + stream.flush() == KNOWN[:5]
    assert stream.feed(KNOWN[5:]) + stream.flush() == KNOWN[5:]
    assert stream.feed(KNOWN) + stream.flush() == "[redacted]"


def test_short_values_are_no_secrets() -> None:
    assert Redactor(secrets=["", "abc", "1234567"])("abc 1234567") == "abc 1234567"

"""A seed alone does an earlier run again, with all its options, and the history of that run stays."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import options
from tests.chaos.seeds import asked, keep

WORDS = ["--kills", "200", "--faults", "committed,pushed", "--split-brain", "7"]


def test_a_seed_alone_brings_the_options_of_its_last_run(tmp_path: Path) -> None:
    keep(WORDS, seed=5, folder=tmp_path)
    given, words = asked(options(), ["--seed", "5"], folder=tmp_path)
    assert given == options().parse_args([*WORDS, "--seed", "5"])
    keep(words, seed=5, folder=tmp_path)
    assert asked(options(), ["--seed", "5"], folder=tmp_path)[0] == given


def test_a_seed_with_other_options_or_one_that_is_new_is_taken_as_it_stands(tmp_path: Path) -> None:
    keep(WORDS, seed=5, folder=tmp_path)
    for argv in (["--seed", "5", "--kills", "3"], ["--seed", "6"], []):
        assert asked(options(), argv, folder=tmp_path) == (options().parse_args(argv), argv)


def test_doing_a_seed_again_costs_no_history(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "5").mkdir(exist_ok=True)
        (tmp_path / "5" / "history.jsonl").write_text(text)
        keep(WORDS, seed=5, folder=tmp_path)
    assert [p.read_text() for p in sorted(tmp_path.glob("5.earlier-*.jsonl"))] == ["first", "second"]


@pytest.mark.parametrize("argv", [["--faults", "comitted"], ["--faults", "all", "--acts", "kill,maim"]])
def test_a_failpoint_or_an_act_that_does_not_exist_is_refused(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options().parse_args(argv)
    assert "choose from" in capsys.readouterr().err


def test_all_failpoints_and_some_of_them_can_be_asked_for() -> None:
    assert options().parse_args(["--faults", "all"]).faults == "all"
    assert options().parse_args(["--faults", "received,dispatcher_sent"]).faults == "received,dispatcher_sent"

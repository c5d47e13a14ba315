"""The secret with a Lambda's settings: what may be in it, and that no error repeats it."""

import pytest

from dispatcher.lambda_secret import into_environment, parse


def test_variables_and_their_values() -> None:
    assert parse('{"SLACK_BOT_TOKEN": "xoxb-1", "A": ""}') == {"SLACK_BOT_TOKEN": "xoxb-1", "A": ""}


@pytest.mark.parametrize("text", ["", "hush", '["hush"]', '{"A": {"hush": 1}}', '{"A": 1}', '"hush"'])
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON object") as refused:
        parse(text)
    assert "hush" not in str(refused.value)


def test_without_a_secret_nothing_is_read() -> None:
    environ = {"BRANCHLINE_SECRET": ""}
    into_environment(environ)
    assert environ == {"BRANCHLINE_SECRET": ""}

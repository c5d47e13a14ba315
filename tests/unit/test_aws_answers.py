"""What is said when AWS says no."""

import pytest
from botocore import exceptions as said
from botocore.exceptions import ClientError

from fleet.deploy.answers import translated
from fleet.problem import FAILED, USAGE, Problem

STUCK = {"Stacks": [{"StackStatusReason": "The following resource(s) failed to delete: [Cluster]. "}]}


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "Words."}}, "GetCallerIdentity")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (refused("ExpiredToken"), USAGE, "AWS does not accept the credentials (ExpiredToken): sign in"),
        (refused("AccessDenied"), FAILED, "AWS was asked who you are and said AccessDenied: Words."),
        (said.NoCredentialsError(), USAGE, "there are no AWS credentials"),
        (said.NoRegionError(), USAGE, "there is no AWS region"),
        (said.ProfileNotFound(profile="x"), USAGE, "correct AWS_PROFILE, or unset it."),
        (said.UnauthorizedSSOTokenError(), USAGE, "the AWS session cannot be used"),
        (said.EndpointConnectionError(endpoint_url="u"), FAILED, "is the region spelled right"),
        (said.ReadTimeoutError(endpoint_url="u"), FAILED, "AWS could not be asked who you are"),
        (said.WaiterError("w", "r", STUCK), FAILED, "failed to delete: [Cluster]; mend that"),
        (said.WaiterError("w", "too often", {}), FAILED, "too often"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else None,
)
def test_it_is_one_sentence_that_says_what_to_do(error: Exception, code: int, words: str) -> None:
    with pytest.raises(Problem) as told, translated("who you are"):
        raise error
    assert words in told.value.sentence
    assert (told.value.code, told.value.sentence.count("\n")) == (code, 0)
    assert told.value.sentence[-1] in ".?"

"""What AWS says when it says no, as one sentence for a person. Asks nobody."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as said
from botocore.exceptions import BotoCoreError, ClientError

from fleet.problem import FAILED, USAGE, Problem

_SIGN_IN = "sign in (`aws sso login`, or AWS_PROFILE, or AWS_ACCESS_KEY_ID) and try again"
NO_CREDENTIALS = f"there are no AWS credentials: {_SIGN_IN}."
NO_REGION = "there is no AWS region: set AWS_REGION, such as eu-central-1, and try again."
GONE = {"ResourceNotFoundException", "ParameterNotFound", "ValidationError", "RepositoryNotFoundException"}
GONE |= {"ImageNotFoundException", "ClusterNotFoundException", "NoSuchEntity", "NoSuchEntityException"}
_NOT_ACCEPTED = {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch"}
_NOT_ACCEPTED |= {"UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure"}
_NO_SESSION = (
    said.TokenRetrievalError,
    said.SSOError,
    said.CredentialRetrievalError,
    said.PartialCredentialsError,
)


def false_if_gone(error: ClientError) -> bool:
    """False for what AWS says about something that is not there; raises everything else again."""
    if error.response.get("Error", {}).get("Code") in GONE:
        return False
    raise error


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise Problem for what AWS or the way there refuses; ``what`` was asked."""
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        code, words = told.get("Code"), str(told.get("Message")).rstrip(".")
        if code in _NOT_ACCEPTED:
            raise Problem(f"AWS does not accept the credentials ({code}): {_SIGN_IN}.", code=USAGE) from error
        raise Problem(f"AWS was asked {what} and said {code}: {words}.", code=FAILED) from error
    except BotoCoreError as error:
        raise _unasked(error, what) from error


def _unasked(error: BotoCoreError, what: str) -> Problem:
    """For a question that AWS was not even asked."""
    words = str(error).rstrip(".")
    match error:
        case said.NoCredentialsError():
            return Problem(NO_CREDENTIALS, code=USAGE)
        case said.NoRegionError():
            return Problem(NO_REGION, code=USAGE)
        case said.ProfileNotFound():
            return Problem(f"{words}: correct AWS_PROFILE, or unset it.", code=USAGE)
        case said.InvalidRegionError():
            return Problem(f"{words}: AWS regions are called such as eu-central-1.", code=USAGE)
        case said.WaiterError():
            return Problem(f"AWS was asked {what} and did not get it done: {_reason(error)}.", code=FAILED)
        case said.EndpointConnectionError():
            return Problem(f"{words}: is the region spelled right, and is there a network?", code=FAILED)
    if isinstance(error, _NO_SESSION):
        return Problem(f"the AWS session cannot be used ({words}): {_SIGN_IN}.", code=USAGE)
    return Problem(f"AWS could not be asked {what}: {words}.", code=FAILED)


def _reason(error: said.WaiterError) -> str:
    """What CloudFormation says of its stack, where it says anything."""
    last: Mapping[str, Any] = error.last_response
    told = next((str(s.get("StackStatusReason", "")) for s in last.get("Stacks", ())), "").strip(" .")
    return f"{told}; mend that and give the same command again" if told else str(error).rstrip(".")

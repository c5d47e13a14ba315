"""What AWS says when it says no, as one sentence for a person. Asks nobody."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from fleet.problem import FAILED, USAGE, Problem

_NO_CREDENTIALS = (
    "there are no AWS credentials: sign in (`aws sso login`, or AWS_PROFILE, or AWS_ACCESS_KEY_ID)"
    " and try again."
)
NO_REGION = "there is no AWS region: set AWS_REGION, such as eu-central-1, and try again."
GONE = {"ResourceNotFoundException", "ParameterNotFound", "ValidationError", "RepositoryNotFoundException"}
GONE |= {"ImageNotFoundException", "ClusterNotFoundException", "NoSuchEntity", "NoSuchEntityException"}


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
    except NoCredentialsError:
        raise Problem(_NO_CREDENTIALS, code=USAGE) from None
    except NoRegionError:
        raise Problem(NO_REGION, code=USAGE) from None
    except ClientError as error:
        told = error.response.get("Error", {})
        raise Problem(
            f"AWS was asked {what} and said {told.get('Code')}: {str(told.get('Message')).rstrip('.')}.",
            code=FAILED,
        ) from error
    except BotoCoreError as error:
        raise Problem(f"AWS could not be asked {what}: {error}.", code=FAILED) from error

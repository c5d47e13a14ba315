"""Settings of the deployed Lambda that are kept in a secret, before an engine's Secrets Manager."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import EngineProcess, aws_client, running_engine
from tests.fakes.lambda_answers import FunctionError
from tests.fakes.lambda_events import http_event
from tests.integration.lambda_lab import BEARER, built, lambda_env, streaming, unpacked

pytestmark = pytest.mark.slow
HASH = "BRANCHLINE_OPERATOR_TOKEN_HASH"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    services = ("--services", "sqs,dynamodb,sts,secretsmanager")
    with running_engine(tmp_path_factory.mktemp("engine"), 0, *services) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(built(tmp_path_factory.mktemp("asset")), tmp_path_factory.mktemp("unpacked"))


def keep(engine: EngineProcess, account: str, text: str) -> None:
    with aws_client("secretsmanager", url=engine.url, account=account) as client:
        client.create_secret(Name="branchline-dispatcher", SecretString=text)


def test_what_is_in_the_secret_counts_unless_it_is_set_already(
    engine: EngineProcess, folder: Path, account: str, tmp_path: Path
) -> None:
    env = lambda_env(engine.url, account, BRANCHLINE_SECRET="branchline-dispatcher")
    hidden = {HASH: env.pop(HASH), "BRANCHLINE_LOGIN": "none"}
    keep(engine, account, json.dumps(hidden))
    with streaming(folder, tmp_path=tmp_path, **env) as function:
        assert function.request(http_event("GET", "/v1/threads", headers=BEARER)).status == 200
        assert function.request(http_event("GET", "/v1/threads")).status == 401
        assert '"secret read"' in function.logs()
        assert hidden[HASH] not in function.logs()


def test_a_secret_that_cannot_be_read_or_is_none_is_told_before_the_first_event(
    engine: EngineProcess, folder: Path, account: str, tmp_path: Path
) -> None:
    env = lambda_env(engine.url, account, BRANCHLINE_SECRET="branchline-dispatcher")
    with streaming(folder, tmp_path=tmp_path, **env) as function:
        with pytest.raises(FunctionError, match="branchline-dispatcher cannot be read: check its name"):
            function.invoke({"branchline": "warm-up"})
        keep(engine, account, "hush")
        with pytest.raises(FunctionError, match="no JSON object of strings") as refused:
            function.invoke({"branchline": "warm-up"})
        assert "hush" not in str(refused.value)
        assert "hush" not in function.logs()

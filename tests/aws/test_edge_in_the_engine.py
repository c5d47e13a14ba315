"""A domain deployed to ministack as it comes, whose CloudFront and Lambda say what they were given.

It knows no rule of a security group that stands by itself, so that one is left out.
"""

import json
from collections.abc import Iterator

import pytest

from cdk import settings as names
from tests.aws.assembly import EDGE, SECONDS, Assembly, synthesized
from tests.aws.engine_stacks import Cloud
from tests.aws.open_engine import open_engine
from tests.fakes.engine import fresh_account

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]
LEFT_OUT = "AWS::EC2::SecurityGroupIngress"


@pytest.fixture(scope="module")
def named() -> Assembly:
    """The stacks with a domain alone."""
    return Assembly(synthesized() / "named")


@pytest.fixture(scope="module")
def cloud(named: Assembly, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    whole = json.loads(named.texts[EDGE])
    whole["Resources"] = {k: r for k, r in whole["Resources"].items() if r["Type"] != LEFT_OUT}
    named.texts[EDGE] = json.dumps(whole)
    with open_engine(tmp_path_factory.mktemp("engine")) as url:
        cloud = Cloud(url=url, account=fresh_account())
        for stack in ("BranchlineData", "BranchlineWorkers", "BranchlineDispatcher", EDGE):
            cloud.made[stack] = cloud.deploy_one(stack, named)
        yield cloud


def test_all_the_rest_is_deployed(cloud: Cloud, named: Assembly) -> None:
    assert cloud.made[EDGE] == len(named.templates[EDGE].resources) - 1


def test_both_functions_and_cloudfront_hold_the_same_key(cloud: Cloud) -> None:
    key = cloud.client("secretsmanager").get_secret_value(SecretId=names.EDGE_SECRET)["SecretString"]
    assert len(key) == 48
    for function in ("branchline-page", "branchline-previews"):
        told = cloud.client("lambda").get_function_configuration(FunctionName=function)
        assert told["Environment"]["Variables"]["BRANCHLINE_EDGE_KEY"] == key
    found = cloud.client("cloudfront").list_distributions()["DistributionList"]["Items"]
    assert {d["Aliases"]["Items"][0] for d in found} == {"fleet.example.com", "*.fleet.example.com"}
    for distribution in found:
        (origin,) = distribution["Origins"]["Items"]
        assert origin["CustomHeaders"]["Items"] == [{"HeaderName": "x-branchline-edge", "HeaderValue": key}]

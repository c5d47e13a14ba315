"""What matters about a domain and the previews below it, asked of the templates."""

import json
import re
import subprocess
from typing import Any

import pytest

from cdk import settings as names
from dispatcher import agui_api, api, edge
from dispatcher.settings import Settings
from tests.aws.assembly import EDGE, SECONDS, Assembly, Resource, node_path, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]
DOMAIN = "fleet.example.com"
KEY = "{{resolve:secretsmanager:branchline-edge:SecretString:::}}"


@pytest.fixture
def distributions(full: Assembly) -> dict[str, Resource]:
    """Each by the name it answers to."""
    found = [d["DistributionConfig"] for d in full["Edge"].of("CloudFront::Distribution")]
    return {str(config["Aliases"][0]): config for config in found}


# ---------------------------------------------------------------- with and without


def test_without_a_domain_there_is_nothing_of_it(plain: Assembly) -> None:
    assert EDGE not in plain.templates
    assert plain.of("EC2::SecurityGroupIngress") == []
    for function in plain.of("Lambda::Function"):
        told = function["Environment"]["Variables"]
        assert not {"BRANCHLINE_PUBLIC_URL", "BRANCHLINE_EDGE_KEY"} & told.keys()
    assert names.EDGE_SECRET not in [s["Name"] for s in plain.of("SecretsManager::Secret")]


def test_every_function_knows_its_name_and_what_cloudfront_shows(full: Assembly) -> None:
    functions = full.of("Lambda::Function")
    assert len(functions) == 3
    for function in functions:
        told = function["Environment"]["Variables"]
        assert told["BRANCHLINE_PUBLIC_URL"] == f"https://{DOMAIN}"
        assert told["BRANCHLINE_EDGE_KEY"] == KEY
    task = full["Workers"].one("ECS::TaskDefinition")["ContainerDefinitions"][0]
    assert {"Name": "BRANCHLINE_PUBLIC_HOST", "Value": DOMAIN} in task["Environment"]


# ---------------------------------------------------------------- CloudFront


def test_one_name_is_the_pages_and_all_below_it_are_previews(distributions: dict[str, Resource]) -> None:
    assert distributions.keys() == {DOMAIN, f"*.{DOMAIN}"}
    to = {name: json.dumps(d["Origins"]) for name, d in distributions.items()}
    assert "BranchlineDispatcher:" in to[DOMAIN]
    assert "PreviewsFunction" in to[f"*.{DOMAIN}"]


def test_everything_is_passed_on_and_nothing_kept(distributions: dict[str, Resource]) -> None:
    for config in distributions.values():
        behaviour = config["DefaultCacheBehavior"]
        assert behaviour["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "CachingDisabled"
        assert behaviour["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac", "all but Host"
        assert set(behaviour["AllowedMethods"]) == {
            *("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE")
        }
        assert (behaviour["ViewerProtocolPolicy"], behaviour["Compress"]) == ("redirect-to-https", False)
        assert "CacheBehaviors" not in config
        kept = {e["ErrorCode"]: e["ErrorCachingMinTTL"] for e in config["CustomErrorResponses"]}
        assert kept == dict.fromkeys((400, 403, 404, 405, 414, 500, 501, 502, 503, 504), 0)
        assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"


def test_cloudfront_shows_its_key_to_the_functions(distributions: dict[str, Resource]) -> None:
    for config in distributions.values():
        (origin,) = config["Origins"]
        assert origin["OriginCustomHeaders"] == [{"HeaderName": edge.KEY.decode(), "HeaderValue": KEY}]
        assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"


def test_a_stream_says_something_before_cloudfront_gives_up(distributions: dict[str, Resource]) -> None:
    for config in distributions.values():
        patience = config["Origins"][0]["CustomOriginConfig"]["OriginReadTimeout"]
        assert max(api.KEEP_ALIVE_SECONDS, agui_api.KEEP_ALIVE_SECONDS) * 2 < patience


def test_the_records_lead_there_if_the_zone_is_here(full: Assembly) -> None:
    records = full["Edge"].of("Route53::RecordSet")
    assert sorted((r["Name"], r["Type"]) for r in records) == [
        (f"*.{DOMAIN}", "A"),
        (f"*.{DOMAIN}", "AAAA"),
        (DOMAIN, "A"),
        (DOMAIN, "AAAA"),
    ]
    for record in records:
        to = "Sites" if record["Name"].startswith("*") else "Page"
        assert text(record["AliasTarget"]["DNSName"]) == f"${{{to}.DomainName}}"
    assert {"PageTarget", "PreviewsTarget"} <= full["Edge"].outputs.keys()


def test_the_function_at_the_edge_writes_over_what_a_viewer_says(full: Assembly) -> None:
    """Run in Node.js, with an event as CloudFront's guide shows it."""
    code = full["Edge"].one("CloudFront::Function")["FunctionCode"]
    said = {
        "host": {"value": DOMAIN},
        "x-forwarded-host": {"value": "evil.example"},
        "x-branchline-viewer": {"value": "192.0.2.66"},
        "accept": {"value": "*/*"},
    }
    event = {"viewer": {"ip": "198.51.100.7"}, "request": {"method": "GET", "uri": "/", "headers": said}}
    script = f"{code}\nconsole.log(JSON.stringify(handler({json.dumps(event)})));"
    node = ["node", "-e", script]
    done = subprocess.run(node, env={"PATH": node_path()}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    headers = {k: v["value"] for k, v in json.loads(done.stdout)["headers"].items()}
    assert headers == {
        "host": DOMAIN,
        edge.HOST.decode(): DOMAIN,
        edge.VIEWER.decode(): "198.51.100.7",
        "accept": "*/*",
    }


# ---------------------------------------------------------------- the previews' function


@pytest.fixture
def function(full: Assembly) -> Resource:
    return full["Edge"].one("Lambda::Function")


def test_it_answers_in_one_piece_sooner_than_cloudfront_gives_up(
    full: Assembly, function: Resource, distributions: dict[str, Resource]
) -> None:
    assert function["Handler"] == "dispatcher.lambda_previews.handle"
    assert "AWS_LAMBDA_EXEC_WRAPPER" not in function["Environment"]["Variables"]
    url = full["Edge"].one("Lambda::Url")
    assert (url["AuthType"], url.get("InvokeMode", "BUFFERED")) == ("NONE", "BUFFERED")
    patience = distributions[f"*.{DOMAIN}"]["Origins"][0]["CustomOriginConfig"]["OriginReadTimeout"]
    assert function["Timeout"] < patience
    (page,) = [f for f in full.of("Lambda::Function") if f["FunctionName"] == "branchline-page"]
    assert (function["Code"], function["Runtime"]) == (page["Code"], page["Runtime"])


def test_it_reaches_previews_and_the_table_and_workers_let_in_nobody_else(full: Assembly) -> None:
    group = full["Edge"].one("EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    out = {(o["FromPort"], o["ToPort"], o.get("CidrIp") or text(o["DestinationSecurityGroupId"]))
           for o in group["SecurityGroupEgress"]}  # fmt: skip
    port = Settings.model_fields["preview_port"].default
    assert {(f, t) for f, t, _ in out} == {(443, 443), (port, port)}
    assert "Guard" in next(to for f, _, to in out if f == port)
    (way_in,) = full["Edge"].of("EC2::SecurityGroupIngress")
    assert (way_in["FromPort"], way_in["ToPort"], way_in["IpProtocol"]) == (port, port, "tcp")
    assert "Guard" in text(way_in["GroupId"])
    assert text(way_in["SourceSecurityGroupId"]) == "${PreviewsGroup.GroupId}"
    guards = [g for g in full["Workers"].of("EC2::SecurityGroup") if "Workers" in g["GroupDescription"]]
    assert ["SecurityGroupIngress" in g for g in guards] == [False]


def test_it_may_read_what_previews_need_and_write_the_key_of_a_week(full: Assembly) -> None:
    statements = {s["Sid"]: s for s in full["Edge"].statements()}
    records = {s["Action"][0]: s for sid, s in statements.items() if sid.startswith("Records")}
    assert {a: tuple(_keys(s)) for a, s in records.items()} == {
        f"dynamodb:{action}": keys for action, keys in names.PREVIEW_RIGHTS.items()
    }
    for found in records.values():
        assert found["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}
        assert [bool(re.search("Table.*Arn", r)) for r in found["Resource"]] == [True]
    assert statements.keys() - {s["Sid"] for s in records.values()} == {"Network", "Logs"}


def test_no_layer_of_another_stack_stops_an_upgrade(full: Assembly, function: Resource) -> None:
    (layer,) = function["Layers"]
    assert layer.keys() == {"Ref"}
    exported = [
        text(o["Value"]) for t in full.templates.values() for o in t.outputs.values() if "Export" in o
    ]
    assert not [value for value in exported if "Config" in value]


def _keys(statement: dict[str, Any]) -> list[str]:
    return list(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])

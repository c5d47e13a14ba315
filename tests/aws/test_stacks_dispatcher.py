"""What matters about the dispatcher's stack and those that look on, asked of the templates."""

from typing import Any

import pytest

from cdk import settings as names
from cdk import words
from contracts.names import dead_letters, queue
from contracts.places import REPLIES_DEAD, REPLIES_QUEUE
from contracts.words import WorkerId
from dispatcher import queues, rings
from tests.aws.assembly import ROOT, SECONDS, Assembly, text
from tests.fakes.event_bridge import worker_ended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]


# ---------------------------------------------------------------- the dispatcher


def test_the_lambdas_are_arm64_and_of_one_asset(plain: Assembly) -> None:
    page, beside = plain["Dispatcher"].of("Lambda::Function")
    for function in (page, beside):
        assert function["Architectures"] == ["arm64"]
        assert (function["Handler"], function["Runtime"]) == ("dispatcher.lambda_entry.handle", "python3.13")
        assert (
            function["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/dispatcher-stream"
        )
    assert page["Code"] == beside["Code"]


def test_answers_are_streamed_and_the_url_may_be_called(plain: Assembly) -> None:
    url = plain["Dispatcher"].one("Lambda::Url")
    assert (url["AuthType"], url["InvokeMode"]) == ("NONE", "RESPONSE_STREAM")
    open_ = [p for p in plain["Dispatcher"].of("Lambda::Permission") if p["Principal"] == "*"]
    assert {p["Action"] for p in open_} == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    for permission in open_:
        narrowed = permission.get("FunctionUrlAuthType") == "NONE" or permission.get("InvokedViaFunctionUrl")
        assert narrowed, "nobody may call the function but through its address"


def test_what_reads_the_replies_ends_before_they_are_shown_to_others(plain: Assembly) -> None:
    source = plain["Dispatcher"].one("Lambda::EventSourceMapping")
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    functions = {f["FunctionName"]: f for f in plain["Dispatcher"].of("Lambda::Function")}
    beside = functions[names.BESIDE]
    assert beside["Timeout"] < rings.VISIBILITY_SECONDS
    assert "Beside" in text(source["FunctionName"])


def test_the_sweep_looks_each_minute_and_when_a_worker_of_this_cluster_has_ended(plain: Assembly) -> None:
    rules = plain["Dispatcher"].of("Events::Rule")
    assert [r.get("ScheduleExpression") for r in rules].count("rate(1 minute)") == 1
    (ended,) = [r["EventPattern"] for r in rules if "EventPattern" in r]
    cluster, _, name = text(ended["detail"]["clusterArn"][0]).partition(":cluster/")
    assert name == names.CLUSTER
    plainly = {**ended, "detail": {**ended["detail"], "clusterArn": [f"{cluster}:cluster/{name}"]}}
    assert plainly == worker_ended(cluster=cluster), "the rule that the stand-in for Fargate fires"
    targets = [target for rule in rules for target in rule["Targets"]]
    assert [t["Input"] for t in targets if "Input" in t] == ['{"branchline":"sweep"}']
    (told,) = [t["InputTransformer"] for t in targets if "InputTransformer" in t]
    ((name, path),) = told["InputPathsMap"].items()
    assert path == "$.detail.startedBy"
    assert told["InputTemplate"].replace(f"<{name}>", "W") in (
        '{"branchline":"sweep","started_by":W}',
        '{"branchline":"sweep","started_by":"W"}',
    )
    assert {"Beside" in text(target["Arn"]) for target in targets} == {True}


def test_the_dispatcher_is_told_what_the_launcher_needs(plain: Assembly, full: Assembly) -> None:
    for assembly in (plain, full):
        for function in assembly["Dispatcher"].of("Lambda::Function"):
            told = {k: text(v) for k, v in function["Environment"]["Variables"].items()}
            assert told["BRANCHLINE_LAUNCHER"] == "ecs"
            assert told["BRANCHLINE_ECS_CLUSTER"] == names.CLUSTER
            assert told["BRANCHLINE_ECS_TASK"] == names.TASK
            assert told["BRANCHLINE_ECS_SUBNETS"].count(",") == 1
            assert told["BRANCHLINE_WORKER_ROLE_PATH"] == "/branchline/worker/"
            assert {
                "BRANCHLINE_ECS_SECURITY_GROUP",
                "BRANCHLINE_WORKER_BOUNDARY",
                "BRANCHLINE_REPLIES_QUEUE",
            } <= told.keys()
            assert ("BRANCHLINE_CONFIG" in told) == (assembly is full)


def test_some_lambdas_are_kept_for_the_sweep_whatever_open_pages_do(plain: Assembly) -> None:
    functions = {f["FunctionName"]: f for f in plain["Dispatcher"].of("Lambda::Function")}
    source = plain["Dispatcher"].one("Lambda::EventSourceMapping")
    most_replies = source["ScalingConfig"]["MaximumConcurrency"]
    assert functions[names.BESIDE]["ReservedConcurrentExecutions"] >= most_replies + 2
    page = functions["branchline-page"]
    assert "ReservedConcurrentExecutions" not in page
    assert page["Timeout"] <= 60, "a stream that nobody reads any more is paid for until then"


def test_workers_are_started_beside_and_told_where_tokens_are(plain: Assembly, full: Assembly) -> None:
    for assembly, base in ((plain, "${PageFunctionUrl.FunctionUrl}"), (full, "https://fleet.example.com/")):
        page, beside = (named(assembly, name) for name in ("page", "beside"))
        assert page["BRANCHLINE_START_FUNCTION"] == names.BESIDE
        assert "BRANCHLINE_TOKEN_URL" not in page
        assert beside["BRANCHLINE_TOKEN_URL"] == f"{base}internal/token"
        assert "BRANCHLINE_START_FUNCTION" not in beside, "it would ask itself for ever"
        (may,) = [s for s in assembly["Dispatcher"].statements() if s.get("Sid") == "StartBeside"]
        assert may["Action"] == ["lambda:InvokeFunction"]
        assert [r.rpartition(":function:")[2] for r in may["Resource"]] == [names.BESIDE]


def named(assembly: Assembly, name: str) -> dict[str, str]:
    """The variables of one of the two functions."""
    functions = {f["FunctionName"]: f for f in assembly["Dispatcher"].of("Lambda::Function")}
    variables = functions[f"branchline-{name}"]["Environment"]["Variables"]
    return {key: text(value) for key, value in variables.items()}


def test_no_stack_holds_on_to_what_another_replaces_with_each_upgrade(plain: Assembly) -> None:
    """An export that is in use cannot change: a revision of the task in it would stop every upgrade."""
    exported = [
        text(o["Value"]) for t in plain.templates.values() for o in t.outputs.values() if "Export" in o
    ]
    assert exported
    assert not [value for value in exported if "Task" in value]


# ---------------------------------------------------------------- names that the product knows


def test_the_queues_are_those_that_the_product_rings(plain: Assembly) -> None:
    found = {q["QueueName"]: q for q in plain.of("SQS::Queue")}
    assert found.keys() == {REPLIES_QUEUE, REPLIES_DEAD}
    replies = found[REPLIES_QUEUE]
    assert replies["VisibilityTimeout"] == rings.VISIBILITY_SECONDS
    assert replies["RedrivePolicy"]["maxReceiveCount"] == rings.RECEIVES
    assert {q["MessageRetentionPeriod"] for q in found.values()} == {queues.RETENTION_SECONDS}
    worker = WorkerId("acme-site-mona")
    for name in (queue(worker), dead_letters(worker), REPLIES_QUEUE, REPLIES_DEAD):
        assert name.startswith(names.QUEUES)


def test_what_is_counted_in_the_logs_is_written_by_the_product(plain: Assembly) -> None:
    written = {f: "".join(p.read_text() for p in (ROOT / f).glob("*.py")) for f in ("dispatcher", "worker")}
    filters = {f["MetricTransformations"][0]["MetricName"]: f for f in plain.of("Logs::MetricFilter")}
    assert len(filters) == words.METRICS
    for name, counted in {**words.OF_DISPATCHER, **words.OF_WORKERS}.items():
        found = filters[name]
        assert found["FilterPattern"] == counted.pattern
        assert found["MetricTransformations"][0]["MetricValue"] == counted.value
        folder = {"event": "dispatcher", "action": "worker"}[counted.field]
        for word in counted.words:
            assert f'"{word}"' in written[folder], word


def test_each_thing_that_is_counted_has_an_alarm_or_is_shown(plain: Assembly) -> None:
    alarms = {a.get("MetricName"): a for a in plain.of("CloudWatch::Alarm")}
    counted = {**words.OF_DISPATCHER, **words.OF_WORKERS}
    assert counted.keys() - alarms.keys() == {"LeasesLost"}, "which means nothing by itself"
    stands = alarms[words.SWEEPS]
    assert (stands["ComparisonOperator"], stands["TreatMissingData"]) == ("LessThanThreshold", "breaching")
    assert (alarms[words.OLDEST]["Statistic"], alarms[words.OLDEST]["Threshold"]) == ("Maximum", 3600)


# ---------------------------------------------------------------- who looks


def test_every_alarm_tells_somebody(either: Assembly) -> None:
    alarms: list[dict[str, Any]] = either.of("CloudWatch::Alarm")
    assert len(alarms) == words.ALARMS
    assert all(a["AlarmActions"] and a["AlarmDescription"] for a in alarms)


def test_a_budget_is_there_when_it_was_set(plain: Assembly, full: Assembly) -> None:
    assert plain.of("Budgets::Budget") == []
    (budget,) = full.of("Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 200, "Unit": "USD"}
    assert [s["Endpoint"] for s in full.of("SNS::Subscription")] == ["ops@example.com"]

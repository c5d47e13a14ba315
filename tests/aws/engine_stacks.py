"""The stacks deployed to the embedded engine through its CloudFormation, one after the other.

All is deployed as it is synthesized but what ``UNKNOWN`` names; what the engine then has is asked of it.
"""

import json
from pathlib import Path
from typing import Any

import boto3

from tests.aws.assembly import STACKS, Assembly
from tests.fakes.engine import REGION, wait_until

SERVICES = (
    "sqs,dynamodb,sts,cloudformation,iam,ec2,ecs,ecr,secretsmanager,lambda,logs,events,cloudwatch,monitoring,"
    "sns,ssm,s3,efs,budgets"
)
UNKNOWN = {"BranchlineWatch": ("ErrorRate",)}
"""Resources that the engine's CloudFormation refuses: an alarm over an expression of metrics."""
_DONE = ("CREATE_COMPLETE", "ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED")


class Cloud:
    """Clients for one account of the engine, and its stacks."""

    def __init__(self, *, url: str, account: str) -> None:
        self.url, self.account = url, account
        self.made: dict[str, int] = {}

    def client(self, name: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.account,
            aws_secret_access_key="local",
        )

    def deploy(self, assembly: Assembly) -> dict[str, int]:
        """Deploy all stacks; how many resources each has now. Fails with the engine's own words."""
        return {name: self._deploy(name, assembly.folder) for name in STACKS}

    def _deploy(self, name: str, folder: Path) -> int:
        body = _known(name, json.loads((folder / f"{name}.template.json").read_text()))
        formation = self.client("cloudformation")
        formation.create_stack(
            StackName=name, TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_NAMED_IAM"]
        )
        status = wait_until(lambda: self._ended(name), seconds=60)
        assert status == "CREATE_COMPLETE", self._told(name)
        return len(formation.list_stack_resources(StackName=name)["StackResourceSummaries"])

    def _ended(self, name: str) -> str | None:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return str(stack["StackStatus"]) if stack["StackStatus"] in _DONE else None

    def _told(self, name: str) -> str:
        events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        failed = [e for e in events if "FAILED" in e["ResourceStatus"]]
        return "\n".join(f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in failed)

    def resolved(self, value: Any) -> Any:
        """An expression of a template's, as this cloud resolves it. Knows those that the settings use."""
        match value:
            case {"Fn::Join": [between, parts]}:
                return str(between).join(self.resolved(part) for part in parts)
            case {"Fn::ImportValue": export}:
                exports = self.client("cloudformation").list_exports()["Exports"]
                return next(e["Value"] for e in exports if e["Name"] == export)
        assert isinstance(value, str), value
        return value


def _known(name: str, body: dict[str, Any]) -> dict[str, Any]:
    left_out = [k for k in body["Resources"] if k.startswith(UNKNOWN.get(name, ("\0",)))]
    assert len(left_out) == len(UNKNOWN.get(name, ()))
    for key in left_out:
        del body["Resources"][key]
    return _without(body, left_out)


def _without(value: Any, names: list[str]) -> Any:
    """What is left refers to nothing that is gone."""
    if isinstance(value, dict):
        if set(map(str, value.get("Fn::GetAtt", ()))) & set(names):
            return f"arn:aws:cloudwatch:{REGION}:000000000000:alarm:left-out"
        return {k: _without(v, names) for k, v in value.items()}
    return [_without(v, names) for v in value] if isinstance(value, list) else value

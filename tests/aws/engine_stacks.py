"""The stacks deployed to the embedded engine through its CloudFormation, one after the other.

All is deployed as it is synthesized, but for ``UNKNOWN``; what the engine then has is asked of it.
"""

import json
from typing import Any

import boto3

from tests.aws.assembly import STACKS, Assembly
from tests.fakes.engine import REGION, wait_until

SERVICES = (
    "sqs,dynamodb,sts,cloudformation,iam,ec2,ecs,ecr,secretsmanager,lambda,logs,events,cloudwatch,monitoring,"
    "sns,ssm,s3,efs,budgets"
)
_DONE = ("CREATE_COMPLETE", "ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED")


UNKNOWN = ("AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress", "AWS::Budgets::Budget")
"""Rules between two groups, which only the shared disk has, and the budget: the engine refuses a template
that names them."""


def known(resources: dict[str, Any]) -> dict[str, Any]:
    """What the engine can make."""
    return {k: r for k, r in resources.items() if r["Type"] not in UNKNOWN}


def _known(template: str) -> str:
    whole = json.loads(template)
    if len(known(whole["Resources"])) == len(whole["Resources"]):
        return template
    whole["Resources"] = known(whole["Resources"])
    for resource in whole["Resources"].values():
        if "DependsOn" in resource:
            resource["DependsOn"] = [d for d in resource["DependsOn"] if d in whole["Resources"]]
    return json.dumps(whole)


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
        return {name: self.deploy_one(name, assembly) for name in STACKS if name in assembly.texts}

    def deploy_one(self, name: str, assembly: Assembly) -> int:
        """Deploy one stack."""
        formation = self.client("cloudformation")
        formation.create_stack(
            StackName=name, TemplateBody=_known(assembly.texts[name]), Capabilities=["CAPABILITY_NAMED_IAM"]
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

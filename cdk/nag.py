"""What cdk-nag says of the stacks, and why each thing that it would have otherwise is as it is.

One reason for one finding at one place: what is not listed fails, and so does a wildcard that changes.
"""

from aws_cdk import Acknowledgment, App, Validations
from cdk_nag import AwsSolutionsChecks

_ARN = "arn:<AWS::Partition>"
_HERE = "<AWS::Region>:<AWS::AccountId>"
_OURS = f"{_ARN}:sqs:{_HERE}:branchline-*"
_ROLES = f"{_ARN}:iam::<AWS::AccountId>:role/branchline/worker/*"
_KEY = (
    "The key belongs to somebody outside (a model's provider, GitHub, Slack), who alone can make another;"
    " docs/aws.md says how it is exchanged."
)
_LATEST = "The asset is compiled for Python 3.13; a newer runtime is taken together with it, not by AWS."
_PLAIN = "They are settings, not secrets: those come from Secrets Manager."
_QUEUES = "A worker's queue is made at first contact; its name is not known when the stack is written."
_UNNAMED = (
    "AWS knows no resource for this action (GetAuthorizationToken, ListQueues, ListTasks,"
    " DescribeTaskDefinition)."
)

_BEFORE = {
    "CFR1": "Who may come in is decided by signing in, from wherever people are.",
    "CFR2": "A firewall costs by the month and by the rule. Whoever guesses passwords is slowed down by the"
    " dispatcher, everything else asks for a session.",
    "CFR3": "Who did what stands in the audit; the address of a preview may hold a ticket, which is nothing"
    " for a log.",
}

REASONS: dict[str, dict[str, str]] = {
    "BranchlineData/Model": {"SMG4": _KEY},
    "BranchlineData/GitHub": {"SMG4": _KEY},
    "BranchlineData/Dispatcher": {"SMG4": _KEY},
    "BranchlineData/Edge": {
        "SMG4": "It opens nothing by itself: it says that CloudFront wrote the headers beside it."
    },
    "BranchlineData/Operator": {
        "SMG4": "Used by people with AWS access, rarely; docs/aws.md says how to change it."
    },
    "BranchlineWorkers/Network": {
        "VPC7": "Flow logs cost more than all else that is idle. Nothing from outside gets into this network;"
        " who needs them adds one line."
    },
    "BranchlineWorkers/Cluster": {"ECS4": "Paid by the metric; usage, logs and events say what is needed."},
    "BranchlineWorkers/Task": {"ECS2": _PLAIN},
    "BranchlineWorkers/Execution": {"IAM5[Resource::*]": _UNNAMED},
    "BranchlineWorkers/Boundary": {
        f"IAM5[Resource::{_OURS}]": _QUEUES + " This is the most; a worker's own role names its own queue.",
        f"IAM5[Resource::{_ARN}:secretsmanager:{_HERE}:secret:branchline/user/*]": "Keys that users"
        " bring; a worker's own role names those of its own user.",
        f"IAM5[Resource::{_ARN}:elasticfilesystem:{_HERE}:file-system/*]": "Those with the tag of the"
        " workspace alone, by condition; the file system is made after the wall.",
    },
    "BranchlineDispatcher/Role": {
        f"IAM5[Resource::{_OURS}]": _QUEUES,
        f"IAM5[Resource::{_OURS}-dead]": _QUEUES,
        f"IAM5[Resource::{_ROLES}]": "A worker's role is made at first contact, behind the boundary and below"
        " this path alone.",
        f"IAM5[Resource::{_ARN}:ecs:{_HERE}:task-definition/branchline-worker:*]": "All revisions of the one"
        " family: each upgrade has another.",
        f"IAM5[Resource::{_ARN}:ecs:{_HERE}:task/branchline/*]": "Tasks have ids of chance; these are"
        " those of this cluster.",
        "IAM5[Resource::*]": _UNNAMED,
    },
    "BranchlineDispatcher/Page": {"L1": _LATEST},
    "BranchlineDispatcher/Beside": {"L1": _LATEST},
    "BranchlineEdge/Previews/Function": {"L1": _LATEST},
    "BranchlineEdge/Previews/Role": {
        "IAM5[Resource::*]": "A Lambda is put into a network by its own role, and is refused unless that may"
        " make interfaces anywhere. From inside it EC2 cannot be reached."
    },
    "BranchlineEdge/Page": _BEFORE,
    "BranchlineEdge/Sites": _BEFORE,
}
"""Path of a construct: finding: reason."""


def checks(app: App) -> None:
    """Check at synth; a finding without a reason above fails it."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    for path, findings in REASONS.items():
        construct = app.node
        for part in path.split("/"):
            child = construct.try_find_child(part)
            if child is None:
                break
            construct = child.node
        else:
            for finding, reason in findings.items():
                acknowledged = Acknowledgment(id=f"AwsSolutions::AwsSolutions-{finding}", reason=reason)
                Validations.of(child).acknowledge(acknowledged)

"""A second opinion on the policy of a worker's role: the engine's reading of IAM, in its own environment.

``tests/unit/test_worker_policy.py`` reads it by rules of ours; this one asks an evaluator that others wrote.
"""

import json
import subprocess
from typing import Any

from contracts import names, pool, records
from contracts.words import ClientId, ProjectId, ThreadId, UserId, WorkerId
from contracts.worker_policy import Account, policy, slot_policy
from tests.fakes.engine import engine_python

HERE = Account(id="123456789012", region="eu-central-1", table="branchline", replies="branchline-replies")
TABLE = HERE.arn("dynamodb", "table/branchline")
_READ = """
import json, sys
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
asked = json.load(sys.stdin)
def decide(case):
    known = {"dynamodb:leadingkeys": case["keys"]} if case["keys"] is not None else {}
    known |= {"dynamodb:returnvalues": asked["returns"]} if asked["returns"] else {}
    context = EvalContext(
        principal_arn="arn:aws:sts::123456789012:assumed-role/x/y", principal_type="AssumedRole",
        principal_account="123456789012", action=case["action"], resource_arn=case["resource"],
        region="eu-central-1", service_context=known)
    return evaluate(context, [parse_policy_document(asked["policy"])]).decision == "Allow"
print(json.dumps([decide(case) for case in asked["cases"]]))
"""


def allowed(
    worker: WorkerId, *cases: tuple[str, str, list[str] | None], returns: str | None = None
) -> list[bool]:
    """What the evaluator says to (action, resource, leading keys); ``returns``: what is wanted back."""
    return _said(policy(worker, account=HERE), *cases, returns=returns)


def _said(
    document: dict[str, Any], *cases: tuple[str, str, list[str] | None], returns: str | None = None
) -> list[bool]:
    asked: dict[str, Any] = {
        "policy": json.dumps(document),
        "returns": returns,
        "cases": [{"action": a, "resource": r, "keys": k} for a, r, k in cases],
    }
    argv = [str(engine_python()), "-c", _READ]
    done = subprocess.run(argv, input=json.dumps(asked), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said: list[bool] = json.loads(done.stdout)
    return said


def worker(user: str) -> WorkerId:
    return names.worker_id(client=ClientId("acme"), project=ProjectId("site"), user=UserId(user))


def test_its_own_rows_and_queue_and_nobody_elses() -> None:
    mine = worker("ada")
    own = records.worker_pk(mine)
    log = records.thread_pk(mine, ThreadId("t1"))
    queue = HERE.arn("sqs", names.queue(mine))
    assert all(
        allowed(
            mine,
            ("dynamodb:GetItem", TABLE, [own]),
            ("dynamodb:PutItem", TABLE, [log]),
            ("dynamodb:UpdateItem", TABLE, [own, log]),
            ("dynamodb:DeleteItem", TABLE, [own, "directory#t1", "unshown"]),
            ("dynamodb:Query", TABLE, ["upload#" + "0" * 32]),
            ("sqs:ReceiveMessage", queue, None),
            ("sqs:SendMessage", HERE.arn("sqs", "branchline-replies"), None),
        )
    )
    for other in map(worker, ("ada2", "a*", "ad?", "*", "adb", "da")):
        theirs = records.worker_pk(other), records.thread_pk(other, ThreadId("t1"))
        cases: list[tuple[str, str, list[str] | None]] = [
            ("dynamodb:GetItem", TABLE, [theirs[0]]),
            ("dynamodb:Query", TABLE, [theirs[1]]),
            ("dynamodb:PutItem", TABLE, [own, theirs[0]]),
            ("dynamodb:DeleteItem", TABLE, [theirs[1]]),
            ("sqs:ReceiveMessage", HERE.arn("sqs", names.queue(other)), None),
            ("sqs:SendMessage", HERE.arn("sqs", names.queue(other)), None),
        ]
        assert not any(allowed(mine, *cases)), other


def test_the_keys_of_its_own_user_and_nobody_elses() -> None:
    mine, read = worker("ada"), "secretsmanager:GetSecretValue"
    own = [f"branchline/user/ada/{kind}-AbC123" for kind in ("model", "github")]
    asked_for = "branchline/user/ada/model"  # what AWS goes by where there is no such secret
    assert all(
        allowed(mine, *((read, HERE.arn("secretsmanager", f"secret:{s}"), None) for s in (*own, asked_for)))
    )
    for name in (
        "branchline/user/ada2/model",
        "branchline/user/ad/model",
        "branchline/user/a_2a/model",
        "branchline/user/ada/model-other",
        "branchline/user/ada/mode",
        "branchline/model",
        "branchline/github",
        "branchline-dispatcher",
        "branchline-operator",
    ):
        there = HERE.arn("secretsmanager", f"secret:{name}-AbC123")
        assert not any(allowed(mine, (read, there, None))), name
    for action in ("PutSecretValue", "DeleteSecret", "DescribeSecret", "UpdateSecret"):
        there = HERE.arn("secretsmanager", f"secret:{own[0]}")
        assert not any(allowed(mine, (f"secretsmanager:{action}", there, None))), action
    elsewhere = HERE.arn("secretsmanager", f"secret:{own[0]}").replace(HERE.id, "210987654321")
    assert not any(allowed(mine, (read, elsewhere, None)))


def test_what_is_removed_of_others_is_not_given_back() -> None:
    mine = worker("ada")
    own = records.worker_pk(mine)
    for pk in ("directory#t1", "place#slack#T/C/1", "unshown"):
        case = ("dynamodb:DeleteItem", TABLE, [pk])
        assert allowed(mine, case) == allowed(mine, case, returns="NONE") == [True]
        assert allowed(mine, case, returns="ALL_OLD") == [False]
    assert allowed(mine, ("dynamodb:UpdateItem", TABLE, [own]), returns="ALL_NEW") == [True], "its lease"


def test_nothing_without_a_key_and_nothing_about_people() -> None:
    mine = worker("ada")
    assert not any(
        allowed(
            mine,
            ("dynamodb:Query", TABLE, None),
            ("dynamodb:Scan", TABLE, None),
            ("dynamodb:GetItem", TABLE, ["accounts"]),
            ("dynamodb:GetItem", TABLE, ["signin-keys"]),
            ("dynamodb:GetItem", TABLE, ["directory#t1"]),
            ("dynamodb:PutItem", TABLE, ["unshown"]),
            ("dynamodb:DeleteTable", TABLE, None),
            ("dynamodb:GetItem", HERE.arn("dynamodb", "table/other"), [records.worker_pk(mine)]),
            ("sqs:ReceiveMessage", HERE.arn("sqs", "branchline-replies"), None),
            ("iam:PassRole", "arn:aws:iam::123456789012:role/branchline/worker/x", None),
            ("sts:AssumeRole", "arn:aws:iam::123456789012:role/branchline/worker/x", None),
        )
    )


def test_a_slot_of_the_pool_reads_its_own_letter_and_nothing_else() -> None:
    slot, other = (pool.Slot(f"slot_{n:016x}") for n in (1, 2))
    letter, record = pool.letter_pk(slot), pool.POOL
    queue = HERE.arn("sqs", names.queue(worker("ada")))
    document = slot_policy(slot, account=HERE)
    assert _said(document, ("dynamodb:GetItem", TABLE, [letter])) == [True]
    cases: list[tuple[str, str, list[str] | None]] = [
        ("dynamodb:GetItem", TABLE, [pool.letter_pk(other)]),
        ("dynamodb:GetItem", TABLE, [letter, pool.letter_pk(other)]),
        ("dynamodb:GetItem", TABLE, [record]),
        ("dynamodb:GetItem", TABLE, [records.worker_pk(worker("ada"))]),
        ("dynamodb:GetItem", TABLE, None),
        ("dynamodb:Query", TABLE, [letter]),
        ("dynamodb:PutItem", TABLE, [letter]),
        ("dynamodb:UpdateItem", TABLE, [letter]),
        ("dynamodb:DeleteItem", TABLE, [letter]),
        ("dynamodb:GetItem", HERE.arn("dynamodb", "table/other"), [letter]),
        ("sqs:ReceiveMessage", queue, None),
        ("sqs:SendMessage", HERE.arn("sqs", "branchline-replies"), None),
        ("secretsmanager:GetSecretValue", HERE.arn("secretsmanager", "secret:branchline/model"), None),
    ]
    assert not any(_said(document, *cases))
    assert not any(allowed(worker("ada"), ("dynamodb:GetItem", TABLE, [letter])))

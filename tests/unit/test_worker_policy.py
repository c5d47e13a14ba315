"""The policy of a worker's role: what it allows is the worker's own, whatever the ids look like."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts import names, places, records, uploads
from contracts.words import ClientId, Frontend, ProjectId, ThreadId, UserId, WorkerId
from contracts.worker_policy import Account, own_keys, policy, trust

HERE = Account(id="123456789012", region="eu-central-1", table="branchline", replies="branchline-replies")
_KEYS, _LEADING = "ForAllValues:StringLike", "dynamodb:LeadingKeys"
CLOSE = st.sampled_from(
    ["a", "a-", "-a", "a*", "a?", "a#", "a_", "A", "aa", "a-b", "b", "*", "?", "#", "a" * 60]
)
WILD = CLOSE | st.text(st.sampled_from("ab-_*?#$ {}[]\\/.é0"), min_size=1, max_size=60) | st.text(min_size=1)


def worker_of(user: str) -> WorkerId:
    return names.worker_id(client=ClientId("acme"), project=ProjectId("site"), user=UserId(user))


WORKERS = st.builds(worker_of, CLOSE) | st.builds(
    lambda c, p, u: names.worker_id(client=ClientId(c), project=ProjectId(p), user=UserId(u)),
    WILD,
    WILD,
    WILD,
)


def matches(pattern: str, value: str) -> bool:
    """StringLike of IAM: ``*`` is anything, ``?`` is one character, and nothing else is special."""
    wild = {"*": ".*", "?": "."}
    return re.fullmatch("".join(wild.get(c) or re.escape(c) for c in pattern), value, re.DOTALL) is not None


def allowed(document: dict[str, Any], action: str, *keys: str) -> bool:
    """Whether a request on the table with these leading keys is allowed."""
    for statement in document["Statement"]:
        if action not in statement["Action"]:
            continue
        condition = statement["Condition"]
        assert condition["Null"] == {"dynamodb:LeadingKeys": "false"}
        patterns = condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        if keys and all(any(matches(p, key) for p in patterns) for key in keys):
            return True
    return False


def partitions(worker: WorkerId, thread: str) -> list[str]:
    """Every partition that holds something of a worker's alone."""
    thread_id = ThreadId(thread)
    found = [
        records.worker_key(worker),
        records.binding_key(worker, "main"),
        records.thread_key(worker, thread_id),
        records.open_key(worker, thread_id, 1),
        records.message_key(worker, thread_id, 1),
        records.event_key(worker, thread_id, 1),
        records.id_key(worker, Frontend.API, names.digest(thread)),
        places.shown_key(worker, thread_id, Frontend.SLACK, thread),
    ]
    return [key["pk"]["S"] for key in found]


@given(WORKERS, WILD)
def test_a_worker_may_do_everything_with_what_is_its_own(worker: WorkerId, thread: str) -> None:
    document = policy(worker, account=HERE)
    for action in ("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"):
        assert allowed(document, f"dynamodb:{action}", *partitions(worker, thread))


@given(WORKERS, WORKERS, WILD)
@example(worker_of("a"), worker_of("ab"), "t1")
@example(worker_of("ab"), worker_of("a"), "t1")
@example(worker_of("a"), worker_of("a*"), "t1")
@example(worker_of("a*"), worker_of("ab"), "t1")
@example(worker_of("a?"), worker_of("ab"), "t1")
def test_no_key_of_another_worker_matches(worker: WorkerId, other: WorkerId, thread: str) -> None:
    if worker == other:
        return
    document = policy(worker, account=HERE)
    actions = {a for s in document["Statement"] for a in s["Action"] if a.startswith("dynamodb:")}
    for key in set(partitions(other, thread)):
        assert not any(matches(pattern, key) for pattern in own_keys(worker))
        for action in actions:
            assert not allowed(document, action, key)
            assert not allowed(document, action, records.worker_pk(worker), key)


@given(WORKERS, WORKERS)
def test_no_queue_role_or_task_name_is_shared(worker: WorkerId, other: WorkerId) -> None:
    mine, theirs = (policy(w, account=HERE) for w in (worker, other))
    queues = [s["Resource"] for d in (mine, theirs) for s in d["Statement"] if s["Sid"] == "Deliveries"]
    assert (queues[0] == queues[1]) == (worker == other)
    assert not set("*?") & set(queues[0])
    assert (names.short(worker) == names.short(other)) == (worker == other)
    assert re.fullmatch("[a-z0-9-]{1,46}", names.short(worker))


def keys(document: dict[str, Any]) -> list[str]:
    (statement,) = [s for s in document["Statement"] if s["Sid"] == "Keys"]
    assert statement["Action"] == ["secretsmanager:GetSecretValue"]
    return list(statement["Resource"])


def arns(user: str) -> list[str]:
    """A user's secrets as AWS names them."""
    secrets = [names.user_secret(UserId(user), kind=kind) for kind in names.KEY_KINDS]
    return [HERE.arn("secretsmanager", f"secret:{secret}-{end}") for secret in secrets for end in ENDS]


ENDS = ("AbC123", "model-", "??????", "github")


@given(WILD, WILD, WILD)
def test_a_worker_reads_the_keys_of_its_own_user_whatever_the_project(c: str, p: str, u: str) -> None:
    worker = names.worker_id(client=ClientId(c), project=ProjectId(p), user=UserId(u))
    patterns = keys(policy(worker, account=HERE))
    assert all(any(matches(pattern, arn) for pattern in patterns) for arn in arns(u))
    for kind in names.KEY_KINDS:
        assert names.worker_secret(worker, kind=kind) == names.user_secret(UserId(u), kind=kind)


@given(WILD, WILD)
@example("a", "a/model-x")
@example("a", "a-b")
@example("a", "a*")
@example("a*", "ab")
@example("a?", "ab")
@example("a", "A")
@example("a", "user/a")
def test_no_key_of_another_user_matches(user: str, other: str) -> None:
    if user == other:
        return
    patterns = keys(policy(worker_of(user), account=HERE))
    assert not [arn for arn in arns(other) if any(matches(pattern, arn) for pattern in patterns)]


def test_no_secret_with_a_longer_name_matches_and_none_of_the_fleets() -> None:
    patterns = keys(policy(worker_of("ada"), account=HERE))
    for name in (
        "branchline/model",
        "branchline/github",
        "branchline-operator",
        "branchline-dispatcher",
        "branchline/user/ada/model-",
        "branchline/user/ada/model-of-the-past",
        "branchline/user/ada/models",
        "branchline/user/ada",
        "branchline/user/ada/model/github",
    ):
        arn = HERE.arn("secretsmanager", f"secret:{name}-AbC123")
        assert not any(matches(pattern, arn) for pattern in patterns), name


@pytest.mark.parametrize("worker", ["a", "a-b", "a-b-c-d", "a--c", "a-b-", "-b-c", ""])
def test_an_id_that_names_no_user_gets_no_policy(worker: str) -> None:
    with pytest.raises(ValueError, match="no worker id"):
        policy(WorkerId(worker), account=HERE)


@given(st.text().filter(lambda text: not re.fullmatch("[a-z0-9_-]+", text)))
def test_an_id_that_is_none_gets_no_policy(text: str) -> None:
    with pytest.raises(ValueError, match="no worker id"):
        policy(WorkerId(text), account=HERE)


@given(WORKERS)
def test_accounts_sessions_and_lists_are_nobodys(worker: WorkerId) -> None:
    document = policy(worker, account=HERE)
    actions = {a for s in document["Statement"] for a in s["Action"] if a.startswith("dynamodb:")}
    assert "dynamodb:Scan" not in actions
    assert not [a for a in actions if "*" in a]
    for key in (
        "accounts",
        "signin-keys",
        "refresh#x",
        "token#x",
        "tokens",
        "audit#2026-11",
        "workers",
        "links",
    ):
        assert not any(allowed(document, action, key) for action in actions)
        assert not any(allowed(document, action) for action in actions), "a request without a key"


def test_what_removing_a_thread_needs_is_there_and_no_more() -> None:
    document = policy(WorkerId("a-b-c"), account=HERE)
    own, directory = records.worker_pk(WorkerId("a-b-c")), "directory#t1"
    place, upload = "place#slack#T1/C1/1.0", uploads.upload_pk("0" * 32)
    everything = (own, directory, place, upload, places.UNSHOWN)
    for action in ("DeleteItem", "ConditionCheckItem"):
        assert allowed(document, f"dynamodb:{action}", *everything), "however IAM reads a transaction"
        for key in everything:
            assert allowed(document, f"dynamodb:{action}", key)
    assert allowed(document, "dynamodb:UpdateItem", own, upload)
    assert allowed(document, "dynamodb:Query", upload)
    for action in ("GetItem", "Query", "PutItem", "UpdateItem", "BatchGetItem"):
        for key in (directory, place, places.UNSHOWN):
            assert not allowed(document, f"dynamodb:{action}", key)
    assert not allowed(document, "dynamodb:PutItem", upload)


def test_what_is_removed_of_others_is_not_read_by_that() -> None:
    document = policy(WorkerId("a-b-c"), account=HERE)
    shared = [
        s
        for s in document["Statement"]
        if any(k.startswith("directory#") for k in s.get("Condition", {}).get(_KEYS, {}).get(_LEADING, ()))
    ]
    assert [s["Condition"]["StringEqualsIfExists"] for s in shared] == [{"dynamodb:ReturnValues": "NONE"}]


def test_it_fits_into_a_role_and_is_json() -> None:
    longest = names.worker_id(client=ClientId("é" * 99), project=ProjectId("x" * 48), user=UserId("u" * 48))
    assert len(json.dumps(policy(longest, account=HERE))) < 10_240
    (statement,) = json.loads(json.dumps(trust(HERE)))["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": HERE.id}}

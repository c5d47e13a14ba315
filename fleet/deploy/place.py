"""What ``branchline deploy`` finds in the account before it begins; changes nothing."""

from dataclasses import dataclass

from cdk import settings as names
from fleet.deploy.cloud import Cloud, Image
from fleet.problem import USAGE, Problem

DATA = "BranchlineData"
WORKERS, DISPATCHER, WATCH = "BranchlineWorkers", "BranchlineDispatcher", "BranchlineWatch"
EDGE = "BranchlineEdge"
_NOT_MADE = (None, "REVIEW_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
"""How the stack of what is kept stands when it has never held anything."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it goes, and what is there already.

    ``image``: the worker's, as it would be built now. ``blind``: alarms are there and have to go first.
    ``left_over``: there is an empty table of a creation that failed. ``spare``: Lambdas that can be kept for
    one function; None where nobody has asked.
    """

    account: str
    region: str
    image: Image | None = None
    blind: bool = False
    left_over: bool = False
    has_key: bool = False
    has_token: bool = False
    has_edge: bool = False
    spare: int | None = None

    @property
    def registry(self) -> str:
        """The host of this account's images."""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"


async def look(
    cloud: Cloud, *, settings: names.AwsSettings, digest: str, rebuild: bool, bootstrap: bool
) -> Place:
    """Ask the account. Raises Problem without credentials or region, when the account's fleet is in another
    region, or when CDK was never prepared."""
    account, other = await cloud.account(), await cloud.fleet_region()
    if other not in (None, cloud.region):
        raise Problem(
            f"account {account} has its fleet in {other}, and an account has one: the names of its workers'"
            f" roles are the account's. Use --region {other}, or destroy that one first, or take another"
            " account.",
            code=USAGE,
        )
    if not bootstrap and not await cloud.bootstrapped():
        raise Problem(
            f"CDK was never prepared in account {account}, {cloud.region}: run this once with --bootstrap"
            " (it makes a bucket and roles that CDK uploads with).",
            code=USAGE,
        )
    return Place(
        account=account,
        region=cloud.region,
        image=None if rebuild else await cloud.newest_image(digest),
        blind=await _blind(cloud, settings),
        left_over=await _left_over(cloud),
        has_key=await cloud.is_filled(names.MODEL_SECRET),
        has_token=await cloud.is_filled(names.GITHUB_SECRET),
        has_edge=await cloud.has_stack(EDGE),
        spare=await cloud.spare_lambdas(names.BESIDE),
    )


async def _blind(cloud: Cloud, settings: names.AwsSettings) -> bool:
    """Whether alarms have to go before anything else: nobody wants them any more, or they are of a version
    that held on to what other stacks may have to change."""
    return await cloud.has_stack(WATCH) and (not settings.watch or await cloud.holds_others(WATCH))


async def _left_over(cloud: Cloud) -> bool:
    """Whether a table is in the way that no stack knows. Raises Problem when it holds records."""
    if await cloud.stack_status(DATA) not in _NOT_MADE:
        return False
    records = await cloud.records()
    if records == "some":
        raise Problem(
            f"there is a table {names.TABLE} with records here and no stack {DATA} that it belongs to:"
            " `branchline destroy --everything` deletes it for good, --region names another place.",
            code=USAGE,
        )
    return records == "empty"

"""``branchline deploy`` and ``destroy``: what a person types and reads; the work is done elsewhere."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from cdk.settings import AwsSettings, config_file
from fleet.deploy import parts
from fleet.deploy.secrecy import refuse_secrets_in, refuse_secrets_of_address
from fleet.deploy.steps import show, walk
from fleet.problem import FAILED, USAGE, Problem
from fleet.settings import CONFIG_NAME, ROOT, config_path, load
from worker.node import NodeMissing, find_node

if TYPE_CHECKING:
    from fleet.deploy.deploy import Deployment
    from fleet.deploy.place import Place

# What talks to AWS is imported where it is used: every other command would wait for it.

_NO_CONFIG = (
    f"there is no {CONFIG_NAME}: write one with [project.NAME] and [user.NAME], or name the first project"
    " with --repo URL, and it is written."
)
PlanOnly = Annotated[bool, typer.Option("--plan", help="Only say what would be done; needs no account.")]
Region = Annotated[str | None, typer.Option(help="AWS region; without it, AWS's own settings say.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]


def deploy(
    repo: Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"Repository of the first project; writes {CONFIG_NAME}."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Name of the first person, with --repo.")] = None,
    region: Region = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Prepare the account for CDK first, once per region.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Build the worker's image anew, with all that its bases have mended."),
    ] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the page at the end.")] = 180,
    plan: PlanOnly = False,
    yes: Yes = False,
) -> None:
    """Bring the fleet to AWS, or bring the one there up to date; prints the page's address.

    Settings: [aws] in branchline.toml, or BRANCHLINE_AWS_*. Keys are taken from the environment
    (ANTHROPIC_API_KEY, SLACK_*, GITHUB_*) into Secrets Manager. docs/aws.md has the rest.
    """
    from fleet.deploy.cloud import Cloud
    from fleet.deploy.deploy import Deployment
    from fleet.deploy.place import Place, look

    settings, config, home = _settings(), _config(repo, user=user, plan=plan), load().home
    parts.checked_config(config)
    cloud, keys, digest = Cloud(region=region), dict(os.environ), parts.image_tag()
    place = Place(account="ACCOUNT", region=region or "REGION")
    if not plan:
        place = asyncio.run(
            look(cloud, settings=settings, digest=digest, rebuild=rebuild, bootstrap=bootstrap)
        )
        _check_keys(settings, place, keys)
    deployment = Deployment(
        settings=settings,
        place=place,
        tools=parts.Tools.named()
        if plan
        else parts.find_tools(home=home, node=_node(home), region=place.region),
        cloud=cloud,
        config=config,
        home=home,
        tag=place.image.tag if place.image else parts.new_tag(digest, rebuild=rebuild),
        keys=keys,
        bootstrap=bootstrap,
        rebuild=rebuild,
        wait=wait,
    )
    if plan:
        show(deployment.steps(), say=_say)
    else:
        asyncio.run(_deploy(deployment, yes=yes))


def destroy(
    everything: Annotated[
        bool, typer.Option("--everything", help="Records, secrets and images as well, for good.")
    ] = False,
    region: Region = None,
    plan: PlanOnly = False,
    yes: Yes = False,
) -> None:
    """Remove the fleet from AWS; keeps records, secrets and images unless told otherwise."""
    from fleet.deploy.cloud import Cloud
    from fleet.deploy.destroy import KEPT, Removal

    removal = Removal(cloud=Cloud(region=region), everything=everything)
    if plan:
        show(removal.steps(), say=_say)
        return
    asyncio.run(removal.announce(_say))
    what = (
        "everything, the records of all threads as well" if everything else "all but records, secrets, images"
    )
    if not yes and not typer.confirm(f"Remove {what}?"):
        raise typer.Exit(FAILED)
    asyncio.run(walk(removal.steps(_say), cwd=ROOT, say=_say))
    for line in KEPT[2:] if everything else KEPT:
        _say(line)


async def _deploy(deployment: "Deployment", *, yes: bool) -> None:
    deployment.announce(_say)
    if not yes and not typer.confirm("Go on?"):
        raise typer.Exit(FAILED)
    await walk(deployment.steps(), cwd=ROOT, say=_say)
    _say(f"\nBranchline is on {deployment.url}")


def _check_keys(settings: AwsSettings, place: "Place", keys: dict[str, str]) -> None:
    if settings.own_keys == "required":
        _say("note: the fleet has no key of the model; its users bring theirs (branchline keys set model)")
    elif not place.has_key and not keys.get(settings.model_key):
        raise Problem(
            f"workers need a key of the model: set {settings.model_key}, it is put into Secrets Manager;"
            ' or set own_keys = "required" in [aws] if all users bring theirs.',
            code=USAGE,
        )
    if settings.github_secret and not place.has_token and not keys.get("GITHUB_TOKEN"):
        raise Problem("aws.github_secret is set: set GITHUB_TOKEN, which workers push with.", code=USAGE)
    if not settings.github_secret and not place.has_key and not keys.get("GITHUB_APP_ID"):
        _say(
            "note: workers cannot push to GitHub yet; set aws.github_secret and GITHUB_TOKEN, or a GitHub App"
            " (docs/github.md)"
        )


def _settings() -> AwsSettings:
    try:
        settings = AwsSettings()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = "is not known" if first["type"] == "extra_forbidden" else f"is wrong: {first['msg']}"
        raise Problem(
            f"the setting aws.{place} {wrong}; cdk/settings.py has all of them.", code=USAGE
        ) from None
    except SettingsError as error:
        field = getattr(error, "args", ("",))[0]
        raise Problem(f"{field}: a variable for a table has to be a JSON object.", code=USAGE) from None
    except ValueError as error:
        raise Problem(f"{config_file()} cannot be read: {error}. Correct the file.", code=USAGE) from None
    refuse_secrets_in(settings)
    return settings


def _config(repo: str | None, *, user: str | None, plan: bool) -> Path:
    found = config_path()
    if found is not None:
        return found
    if repo is None:
        raise Problem(_NO_CONFIG, code=USAGE)
    refuse_secrets_of_address(repo)
    folder = load().home / "deploy" if plan else Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIG_NAME
    path.write_text(parts.first_config(repo=repo, user=user or load().user), encoding="utf-8")
    _say(f"wrote {path}")
    return path


def _node(home: Path) -> Path:
    try:
        return find_node(state_dir=home).bin_dir
    except NodeMissing as error:
        raise Problem(str(error), code=USAGE) from None


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()

"""``branchline deploy``: from a checkout to a page in AWS, the first time and for each upgrade.

What is kept (records, secrets, images) is made first, then what refers to it; so an upgrade pushes its image
before anything names it. A step that failed is repeated by repeating the command: what is done already is
found done.
"""

import asyncio
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from cdk import cost
from cdk import settings as names
from contracts.config import FleetConfig
from dispatcher.signin_records import digest
from fleet.deploy import parts
from fleet.deploy.cloud import Cloud
from fleet.deploy.parts import Tools
from fleet.deploy.place import DATA, DISPATCHER, EDGE, WATCH, WORKERS, Place
from fleet.deploy.steps import Say, Step, run
from fleet.problem import FAILED, Problem
from fleet.settings import ROOT

_OLD = timedelta(days=30)
_TOKEN_HASH = "BRANCHLINE_OPERATOR_TOKEN_HASH"  # noqa: S105 - a name
_WORKERS_KEY = "BRANCHLINE_LAUNCHER_TOKEN"
"""What workers' proofs of who they are are made with; made once, because those that run hold such proofs."""


class Deployment:
    """The steps. ``keys``: variables that go into Secrets Manager; ``config``: the file with projects and
    users."""

    def __init__(
        self,
        *,
        settings: names.AwsSettings,
        place: Place,
        tools: Tools,
        cloud: Cloud,
        config: Path,
        home: Path,
        tag: str,
        keys: dict[str, str],
        bootstrap: bool = False,
        rebuild: bool = False,
        wait: float = 180,
    ) -> None:
        self.settings, self.place, self.tools, self.cloud = settings, place, tools, cloud
        self.config, self.home, self.tag, self.keys = config, home / "deploy", tag, keys
        self.bootstrap, self.rebuild, self.wait = bootstrap, rebuild, wait
        self.url = ""

    @property
    def image(self) -> str:
        """The image's whole name."""
        return f"{self.place.registry}/{names.REPOSITORY}:{self.tag}"

    @property
    def _no_room(self) -> bool:
        """Whether AWS would refuse what is to be kept for the sweep."""
        return self.place.spare is not None and self.place.spare < self.settings.beside_concurrency

    def announce(self, say: Say) -> None:
        """What is about to happen, and what it costs."""
        still = next(line for line in cost.bill(1, settings=self.settings) if line.formula == "fixed")
        hour = cost.worker_hour(self.settings, cost.Prices())
        say(f"account {self.place.account}, region {self.place.region}")
        if self.place.image is not None and datetime.now(UTC) - self.place.image.pushed > _OLD:
            day = self.place.image.pushed.date()
            say(f"note: the worker's image is of {day}; --rebuild takes what its bases have mended since")
        if self._no_room:
            say(
                "note: this account may run too few Lambdas at once to keep"
                f" {self.settings.beside_concurrency} for sweep and replies, so many open pages can hold"
                " those up; ask AWS for a higher quota (Service Quotas, Lambda, concurrent executions), then"
                " deploy again"
            )
        say(f"about ${still.dollars:.2f} a month, and ${hour:.3f} an hour for each worker (docs/aws.md)")

    def steps(self) -> list[Step]:
        """All of them, in order."""
        edge = (EDGE,) if self.settings.domain else ()
        rest = (WORKERS, DISPATCHER, *edge, *((WATCH,) if self.settings.watch else ()))
        return [
            *([self._prepare()] if self.bootstrap else []),
            *([] if self.place.image else [self._build()]),
            *self._asset(),
            self._synth(),
            *([self._unwatch()] if self.place.blind else []),
            *([self._clear()] if self.place.left_over else []),
            self._cdk("make what is kept: table, queues, secrets, images", DATA),
            Step(says="put keys into Secrets Manager", do=self._fill),
            *([] if self.place.image else [self._login(), self._push()]),
            # It holds on to what the others would let go of.
            *([Step(says="remove the domain", do=self._unname)] if self.place.has_edge and not edge else []),
            self._cdk("make the rest: network, dispatcher, alarms", *rest),
            Step(says="wait for the page", do=self._wait),
            *([Step(says="look up the domain's addresses", do=self._names)] if edge else []),
            *(
                []
                if self.settings.login == "github"
                else [Step(says="make the first account", do=self._welcome)]
            ),
        ]

    # ------------------------------------------------------------ processes

    def _prepare(self) -> Step:
        where = f"aws://{self.place.account}/{self.place.region}"
        return Step(
            says="prepare the account for CDK", argv=(self.tools.cdk, "bootstrap", where), env=self.tools.env
        )

    def _build(self) -> Step:
        engine = Path(self.tools.engine).name
        fixed = ("--engine", engine, "--platform", "linux/arm64", "--tag", self.image)
        argv = (self.tools.build, *fixed, *(("--fresh",) if self.rebuild else ()))
        hint = (
            "see the lines above; a machine that is not ARM needs emulation, once:"
            f" {engine} run --privileged --rm docker.io/tonistiigi/binfmt --install arm64"
        )
        return Step(says="build the worker's image for arm64", argv=argv, hint=hint)

    def _asset(self) -> list[Step]:
        packages, out = self.home / "packages", self.home / "dispatcher.zip"
        compiler = parts.compiler()
        return [
            Step(
                says="fetch the dispatcher's packages for arm64",
                argv=parts.packages_argv(self.tools, folder=packages),
            ),
            Step(
                says=parts.packing(compiler),
                argv=parts.asset_argv(self.tools, packages=packages, out=out, compiler=compiler),
                hint="see the lines above; ./scripts/page builds the page that it wants",
            ),
        ]

    def _synth(self) -> Step:
        folder = parts.put_config(self.config, folder=self.home / "config")
        what = (
            "--asset",
            str(self.home / "dispatcher.zip"),
            "--config",
            str(folder),
            "--image-tag",
            self.tag,
        )
        argv = (self.tools.cdk_python, "-m", "cdk.app", "--out", str(self.home / "cdk.out"), *what)
        # This process and that one run in different folders, and each would look for the file in its own.
        env = {**self.tools.env, "BRANCHLINE_CONFIG": str(self.config.absolute())}
        keep_none = {"BRANCHLINE_AWS_BESIDE_CONCURRENCY": "0"} if self._no_room else {}
        return Step(says="write the stacks", argv=argv, env={**env, **keep_none})

    def _cdk(self, says: str, *stacks: str) -> Step:
        fixed = ("--app", str(self.home / "cdk.out"), "--require-approval", "never", "--no-notices")
        argv = (self.tools.cdk, "deploy", *stacks, "--exclusively", *fixed)
        hint = "see the lines above; CloudFormation has put back what it changed"
        return Step(says=says, argv=argv, env=self.tools.env, hint=hint)

    def _login(self) -> Step:
        return Step(says="sign in to the registry", do=self._sign_in)

    def _push(self) -> Step:
        return Step(says="push the worker's image", argv=(self.tools.engine, "push", self.image))

    async def _sign_in(self) -> None:
        argv = (self.tools.engine, "login", "--username", "AWS", "--password-stdin", self.place.registry)
        step = Step(says="sign in to the registry", argv=argv)
        await run(step, cwd=ROOT, stdin=await self.cloud.registry_password())

    # ------------------------------------------------------------ our own

    def _unwatch(self) -> Step:
        async def go() -> None:
            await self.cloud.delete_stack(WATCH)

        return Step(says=f"remove the alarms of before (the stack {WATCH})", do=go)

    def _clear(self) -> Step:
        return Step(says="remove the empty table that a failed deployment left", do=self.cloud.delete_table)

    async def _fill(self) -> str:
        """The model's key, GitHub's token, the dispatcher's variables, the hash of the operator's token."""
        told = []
        for variable, secret in self._of_workers().items():
            if variable in self.keys:
                await self.cloud.fill(secret, self.keys[variable])
                told.append(f"{variable} into {secret}")
        token = await self.cloud.secret(names.OPERATOR_SECRET)
        values = {**parts.own_secrets(self.keys), _TOKEN_HASH: digest(token)}
        fresh = {_WORKERS_KEY: secrets.token_hex(32)}
        changed = await self.cloud.merge(names.DISPATCHER_SECRET, values, absent=fresh)
        told += [f"{name} into {names.DISPATCHER_SECRET}" for name in changed]
        return ", ".join(told) or "all there already"

    def _of_workers(self) -> dict[str, str]:
        github = {"GITHUB_TOKEN": names.GITHUB_SECRET} if self.settings.github_secret else {}
        if self.settings.own_keys == "required":
            return github
        return {self.settings.model_key: names.MODEL_SECRET, **github}

    async def _wait(self) -> str:
        own = self.settings.environment.get("BRANCHLINE_PUBLIC_URL")
        url = own or await self.cloud.output(DISPATCHER, "Url")
        if url is None:
            raise Problem(f"the stack {DISPATCHER} has no address: deploy again.", code=FAILED)
        self.url = url.rstrip("/")
        await wait_for_page(self.url, seconds=self.wait)
        return self.url

    async def _unname(self) -> str:
        await self.cloud.delete_stack(EDGE)
        return f"{EDGE} is deleted"

    async def _names(self) -> str:
        """Where the page is; and which records lead there, if nobody but you can make them."""
        domain = self.settings.domain
        if self.settings.hosted_zone is not None:
            return f"https://{domain}, as soon as its records are known"
        page, previews = [await self.cloud.output(EDGE, k) for k in ("PageTarget", "PreviewsTarget")]
        return (
            f"https://{domain}, once {domain} is a CNAME (or alias) of {page}, and *.{domain} of {previews}"
        )

    async def _welcome(self) -> str:
        user = first_user(parts.checked_config(self.config))
        token = await self.cloud.secret(names.OPERATOR_SECRET)
        password = await make_account(self.url, user=user, token=token)
        if password is None:
            return f"{user} has one already"
        return f"{user} signs in with the password {password}"


async def wait_for_page(url: str, *, seconds: float) -> None:
    """Until the dispatcher answers. Raises Problem when it does not."""
    deadline = time.monotonic() + seconds
    said = "nothing"
    async with httpx.AsyncClient(timeout=30) as http:
        while time.monotonic() < deadline:
            try:
                answer = await http.get(f"{url}/healthz")
            except httpx.HTTPError as error:
                said = type(error).__name__
            else:
                if answer.status_code == httpx.codes.OK:
                    return
                said = str(answer.status_code)
            await asyncio.sleep(1)
    raise Problem(
        f"{url}/healthz does not answer ({said}): look into the log group /branchline/dispatcher.",
        code=FAILED,
    )


async def make_account(url: str, *, user: str, token: str) -> str | None:
    """Make an account with a password of chance; the password, or None when the user has an account."""
    password = secrets.token_urlsafe(15)
    async with httpx.AsyncClient(timeout=30, headers={"authorization": f"Bearer {token}"}) as http:
        try:
            there = await http.get(f"{url}/v1/accounts")
            known = {a["user"] for a in there.raise_for_status().json()["accounts"]}
            if user in known:
                return None
            made = await http.post(f"{url}/v1/accounts", json={"user": user, "password": password})
            made.raise_for_status()
        except httpx.HTTPError as error:
            raise Problem(
                f"the account of {user} could not be made ({error}): try again in a minute, the dispatcher"
                " reads its secrets when it starts.",
                code=FAILED,
            ) from error
    return password


def first_user(config: FleetConfig) -> str:
    """Who gets the first account: an operator, if the file names one."""
    operators = [name for name, user in config.user.items() if user.operator]
    return (operators or list(config.user))[0]

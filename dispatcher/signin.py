"""Puts the parts of signing in together. Decides nothing."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import aiohttp
from fastapi import APIRouter

from dispatcher.audit import Audit
from dispatcher.people import People
from dispatcher.rates import Rates
from dispatcher.settings import Settings
from dispatcher.signin_accounts import Accounts
from dispatcher.signin_admin import SignInAdmin
from dispatcher.signin_codes import Seal
from dispatcher.signin_cookies import Cookies
from dispatcher.signin_gate import Doors
from dispatcher.signin_github import GitHubSignIn
from dispatcher.signin_keys import Keys
from dispatcher.signin_own import SignInOwn
from dispatcher.signin_rights import rights_of
from dispatcher.signin_routes import SignInRoutes
from dispatcher.signin_sessions import Proof, Sessions
from dispatcher.signin_store import Store
from dispatcher.signin_tokens import Tokens

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient


class SigningIn:
    """Every part, made once. ``session``: None where nobody signs in with GitHub; ``now``: Unix time."""

    def __init__(
        self,
        client: "DynamoDBClient",
        *,
        settings: Settings,
        people: People,
        session: aiohttp.ClientSession | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        store = Store(client, table=settings.table)
        seal = settings.seal_key.get_secret_value()
        self.keys = keys = Keys(store, now=now)
        self._settings = settings
        self._accounts = accounts = Accounts(store, seal=Seal(seal) if seal else None, now=now)
        self._github = (
            None
            if session is None
            else GitHubSignIn(settings=settings, session=session, people=people, keys=keys)
        )
        sessions = Sessions(store, keys, still=self._still, now=now)
        tokens, audit = Tokens(store, now=now), Audit(store, now=now)
        rates = Rates(
            posts_per_minute=settings.posts_per_minute, sign_ins_per_minute=settings.sign_ins_per_minute
        )
        cookies = Cookies(settings)
        self.doors = Doors(
            settings=settings, sessions=sessions, tokens=tokens, cookies=cookies, rates=rates, audit=audit
        )
        routes = SignInRoutes(
            settings=settings,
            accounts=accounts,
            sessions=sessions,
            cookies=cookies,
            rates=rates,
            audit=audit,
            github=self._github,
        )
        admin = SignInAdmin(settings=settings, accounts=accounts, tokens=tokens)
        own = SignInOwn(settings=settings, accounts=accounts, rates=rates, anew=routes.begin_anew)
        self.routers: list[APIRouter] = [routes.router(), own.router(), *admin.routers(), audit.router()]

    async def _still(self, user: str, proof: Proof) -> bool:
        """Whether somebody who signed in so would still get in so."""
        if rights_of(user, settings=self._settings) is None:
            return False
        if proof.how == "password":
            return self._settings.passwords and await self._accounts.is_still(user, proof.mark)
        if proof.account is not None and not await self._accounts.is_still(user, proof.account):
            return False
        return self._github is not None and await self._github.is_still(user, proof.mark)

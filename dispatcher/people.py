"""Who is who: links between outside names and the users and projects they stand for, in DynamoDB.

Links of the configuration follow the file at each start; those that a person has made stay. Who may use what
is not decided here. Every read is consistent; each method raises ``errors.Unavailable`` when DynamoDB does
not answer.
"""

from typing import TYPE_CHECKING, Any

from contracts import places as keys
from contracts.config import FleetConfig
from contracts.places import LinkKind, LinkRecord, canonical
from dispatcher.aws import translated
from dispatcher.errors import Invalid, Overtaken

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient

_FROM_FILE = "#source = :file"


class People:
    """The links in the table."""

    def __init__(self, client: "DynamoDBClient", *, table: str) -> None:
        self._client = client
        self._table = table

    async def user_of(self, kind: LinkKind, name: str) -> str | None:
        """The user whom this outside person is linked with. Raises ValueError for a kind of project."""
        return await self._target(kind, name, of_person=True)

    async def project_of(self, kind: LinkKind, name: str) -> str | None:
        """The project that this channel or repository is for. Raises ValueError for a kind of person."""
        return await self._target(kind, name, of_person=False)

    async def links(self) -> list[LinkRecord]:
        """All links, by kind and name."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": keys.LINKS}},
        )
        with translated():
            return [LinkRecord.read(item) async for page in pages for item in page["Items"]]

    async def add(self, kind: LinkKind, name: str, target: str) -> LinkRecord:
        """Link an outside name, from now on and over whatever the file says. Raises Invalid."""
        if not target.strip():
            raise Invalid("The target of a link is empty: name a user or a project.", code="invalid_link")
        link = LinkRecord(kind=kind, name=spelled(kind, name), target=target.strip(), source="person")
        with translated():
            await self._client.put_item(TableName=self._table, Item=_item(link))
        return link

    async def remove(self, kind: LinkKind, name: str) -> LinkRecord | None:
        """Forget a link; what it was. One of the file comes back at the next start. Raises Invalid."""
        with translated():
            gone = await self._client.delete_item(
                TableName=self._table,
                Key=keys.link_key(kind, spelled(kind, name)),
                ReturnValues="ALL_OLD",
            )
        return LinkRecord.read(gone["Attributes"]) if gone.get("Attributes") else None

    async def seed(self, fleet: FleetConfig) -> None:
        """Make the links of source ``file`` what the file says; those of persons stay."""
        wanted = {(link.kind, link.name): link for link in fleet.links}
        for old in await self.links():
            if old.source == "file" and (old.kind, old.name) not in wanted:
                await self._conditional(
                    self._client.delete_item, Key=keys.link_key(old.kind, old.name), condition=_FROM_FILE
                )
        for link in wanted.values():
            condition = f"attribute_not_exists(pk) OR {_FROM_FILE}"
            await self._conditional(self._client.put_item, Item=_item(link), condition=condition)

    async def link(self, kind: LinkKind, name: str) -> LinkRecord | None:
        """The link of an outside name."""
        try:
            primary = keys.link_key(kind, canonical(kind, name))
        except ValueError:
            return None  # what cannot be a name is linked with nobody
        with translated():
            got = await self._client.get_item(TableName=self._table, Key=primary, ConsistentRead=True)
        return LinkRecord.read(got["Item"]) if got.get("Item") else None

    async def _target(self, kind: LinkKind, name: str, *, of_person: bool) -> str | None:
        if kind.of_person != of_person:
            raise ValueError(f"a {kind} does not stand for a {'user' if of_person else 'project'}")
        link = await self.link(kind, name)
        return link.target if link else None

    async def _conditional(self, request: Any, *, condition: str, **more: Any) -> None:
        """A write whose condition may be untrue: then a person has linked the name, and that stays."""
        try:
            with translated():
                await request(
                    TableName=self._table,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#source": "source"},
                    ExpressionAttributeValues={":file": {"S": "file"}},
                    **more,
                )
        except Overtaken:
            return


def spelled(kind: LinkKind, name: str) -> str:
    """The one spelling of a name. Raises Invalid."""
    try:
        return canonical(kind, name)
    except ValueError as error:
        raise Invalid(str(error), code="invalid_link") from None


def _item(link: LinkRecord) -> dict[str, Any]:
    return link.write(keys.link_key(link.kind, link.name))

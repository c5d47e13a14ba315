"""The rows of signing in, in DynamoDB: one adapter, no decisions.

Every read is consistent. Each method raises ``errors.Unavailable`` when DynamoDB does not answer and
``errors.Overtaken`` when a condition fails.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from contracts import records
from contracts.records import TTL_ATTRIBUTE, Item
from dispatcher.aws import translated

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient

ABSENT = "attribute_not_exists(pk)"
Plain = dict[str, Any]
Part = dict[str, Any]


class Store:
    """Rows as plain values, by key. ``expires``: Unix time in seconds from which a row may be gone."""

    def __init__(self, client: "DynamoDBClient", *, table: str) -> None:
        self._client = client
        self._table = table

    async def get(self, primary: Item) -> Plain | None:
        """One row."""
        with translated():
            got = await self._client.get_item(TableName=self._table, Key=primary, ConsistentRead=True)
        return _plain(got["Item"]) if got.get("Item") else None

    async def all(self, pk: str, *, newest: int | None = None) -> list[Plain]:
        """The rows of a partition in the order of keys; ``newest``: so many from the end, backwards."""
        asked: dict[str, Any] = {} if newest is None else {"ScanIndexForward": False}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            PaginationConfig={} if newest is None else {"MaxItems": newest},
            **asked,
        )
        with translated():
            return [_plain(item) async for page in pages for item in page["Items"]]

    async def put(
        self,
        primary: Item,
        plain: Mapping[str, Any],
        *,
        expires: float | None = None,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one row whole. ``values``: those that the condition names. Raises Overtaken."""
        part = self.putting(primary, plain, expires=expires, condition=condition, values=values)
        with translated():
            await self._client.put_item(**part["Put"])

    async def take(self, primary: Item) -> Plain | None:
        """Delete a row; what it was."""
        with translated():
            gone = await self._client.delete_item(TableName=self._table, Key=primary, ReturnValues="ALL_OLD")
        return _plain(gone["Attributes"]) if gone.get("Attributes") else None

    async def write(self, parts: list[Part]) -> None:
        """All parts or none. Raises Overtaken."""
        asked: Any = parts
        with translated():
            await self._client.transact_write_items(TransactItems=asked)

    def putting(
        self,
        primary: Item,
        plain: Mapping[str, Any],
        *,
        expires: float | None = None,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Part:
        """The part of a transaction that writes one row whole."""
        given = {name: value for name, value in plain.items() if value is not None}
        item = {**primary, **records.encode({"v": 1, **given})}
        if expires is not None:
            item[TTL_ATTRIBUTE] = {"N": str(int(expires))}
        return {"Put": {"TableName": self._table, "Item": item, **_condition(condition, values)}}

    def setting(
        self, primary: Item, plain: Mapping[str, Any], *, condition: str, values: Mapping[str, Any]
    ) -> Part:
        """The part of a transaction that changes some fields of a row."""
        named = {f"#{name}": name for name in plain}
        written = {f":new_{name}": value for name, value in plain.items()}
        return {
            "Update": {
                "TableName": self._table,
                "Key": primary,
                "UpdateExpression": "SET " + ", ".join(f"#{name} = :new_{name}" for name in plain),
                "ConditionExpression": condition,
                "ExpressionAttributeNames": named,
                "ExpressionAttributeValues": records.encode({**written, **values}),
            }
        }


def _condition(condition: str | None, values: Mapping[str, Any] | None) -> Part:
    if condition is None:
        return {}
    given = {"ExpressionAttributeValues": records.encode(values)} if values else {}
    return {"ConditionExpression": condition, **given}


def _plain(item: Mapping[str, Any]) -> Plain:
    return {k: v for k, v in records.decode(item).items() if k not in ("pk", "sk", "v")}

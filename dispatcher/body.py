"""Reads a request's body: bounded while it arrives, then checked against the shape that is expected."""

from collections.abc import AsyncIterator
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from contracts.messages import TEXT_LIMIT
from contracts.words import Mode
from dispatcher.errors import Invalid, TooLarge, WrongType

BODY_LIMIT = 6 * TEXT_LIMIT + 16 * 1024
"""Bytes; JSON may write one byte of text as six (``\\u0001``)."""
_DISCARD_LIMIT = 16 * 1024 * 1024
"""Bytes of a body that is refused anyway that are still read, so that its sender gets to see the answer."""

_Shape = TypeVar("_Shape", bound=BaseModel)


async def read(
    request: Request, shape: type[_Shape], *, optional: bool = False, limit: int = BODY_LIMIT
) -> _Shape:
    """The body as ``shape``; an absent one is an empty object when ``optional``. ``limit``: bytes.

    Raises TooLarge, WrongType, Invalid.
    """
    content = await _bounded(request, limit=limit)
    if content is None:
        raise TooLarge(
            f"The body is longer than {limit} bytes; a text may have {TEXT_LIMIT} bytes"
            f" ({TEXT_LIMIT // 1024} KB): shorten it.",
            code="body_too_large",
        )
    if optional and not content:
        content = b"{}"
    elif request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise WrongType('Send the body as JSON, with the header "Content-Type: application/json".')
    try:
        return shape.model_validate_json(content)
    except ValidationError as error:
        raise Invalid(_sentence(error, shape), code="invalid_body") from None


async def raw(request: Request, *, limit: int) -> bytes:
    """The body as it is. Raises TooLarge for more than ``limit`` bytes, Invalid for one that ends early."""
    content = await _bounded(request, limit=limit)
    if content is None:
        megabytes = limit // (1024 * 1024)
        raise TooLarge(
            f"The file is longer than {megabytes} MB: send a smaller one.", code="upload_too_large"
        )
    return content


async def _bounded(request: Request, *, limit: int) -> bytes | None:
    """The body, or None when it is longer than ``limit`` bytes."""
    kept = bytearray()
    seen = 0
    async for chunk in _chunks(request):
        seen += len(chunk)
        if seen <= limit:
            kept += chunk
        else:
            kept.clear()
        if seen > _DISCARD_LIMIT:
            break
    return bytes(kept) if seen <= limit else None


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Invalid("The body ended too early: send it again.", code="invalid_body") from None


def _sentence(error: ValidationError, shape: type[BaseModel]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:80]
    match first["type"]:
        case "json_invalid":
            return f"The body is not valid JSON in UTF-8: {first['msg'].removeprefix('Invalid JSON: ')}."
        case "model_type" | "model_attributes_type":
            return "The body must be a JSON object."
        case "extra_forbidden":
            return f'The field "{field}" is not known: known are {", ".join(shape.model_fields)}.'
        case "missing":
            return f'The field "{field}" is missing.'
        case "enum":
            return f"The mode must be one of {', '.join(Mode)}."
        case _:
            return f'The field "{field}" is not usable: {first["msg"]}.'

"""Every error leaves as ``{"error": {"code", "message"}}``, whoever raised it; a stack trace never does."""

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from dispatcher.errors import DispatcherError, SignIn, TooMany, Unavailable

_log = structlog.get_logger(__name__)
_FAULT = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_PLAIN = {
    404: ("not_found", "There is nothing at this address: the API begins with /v1/threads."),
    405: ("method_not_allowed", "This address does not take this method."),
}


def error_answer(error: DispatcherError) -> Response:
    """The answer for an error raised on purpose."""
    return _answer(error.status, code=error.code, message=str(error), headers=_headers(error))


def _headers(error: DispatcherError) -> dict[str, str]:
    match error:
        case Unavailable():
            return {"Retry-After": "1"}
        case TooMany():
            return {"Retry-After": str(error.retry_after)}
        case SignIn():
            return {"WWW-Authenticate": "Bearer"}
    return {}


def install(app: FastAPI) -> None:
    """Give the application one shape of error."""

    @app.exception_handler(DispatcherError)
    async def on_purpose(request: Request, error: DispatcherError) -> Response:
        if error.status >= 500:
            _log.warning("refused", path=request.url.path, problem=str(error), cause=repr(error.__cause__))
        return error_answer(error)

    @app.exception_handler(HTTPException)
    async def by_framework(_: Request, error: HTTPException) -> Response:
        code, message = _PLAIN.get(error.status_code, ("http_error", str(error.detail)))
        return _answer(error.status_code, code=code, message=message, headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def parameters(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        message = f'The parameter "{first["loc"][-1]}" is not usable: {first["msg"]}.'
        return _answer(400, code="invalid_parameter", message=message)

    @app.exception_handler(Exception)
    async def fault(_: Request, __: Exception) -> Response:
        # The framework logs it with its stack trace after this answer, which passes no middleware.
        message = "Something is wrong here: the server's log says what."
        return _answer(500, code="internal", message=message, headers=_FAULT)


def _answer(status: int, *, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)

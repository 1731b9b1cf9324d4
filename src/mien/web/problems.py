"""Every error of the service as a problem document (RFC 9457): type, title, status, detail."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import InputError, OutputError

__all__ = ["PROBLEM_TYPE", "Ending", "Problem", "add_problems", "describe", "problem"]

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
CLIENT_GONE = 499  # as nginx notes a client that hung up: nobody reads it but the metrics

_WHEN = {
    400: "The request is no whole HTTP request or form.",
    401: "The token is missing or wrong.",
    403: "Another site's page has sent this.",
    404: "There is nothing of that name, or no longer.",
    405: "Not with this method.",
    408: "The request came in too slowly.",
    409: "The video is not done, or has ended without a result.",
    413: "More bytes or more pictures than are taken.",
    415: "Neither a form nor a body of a type that is taken.",
    421: "The service is not served under that name.",
    422: "Nothing in it can be read, or a parameter is wrong.",
    429: "As many as are taken at once; `Retry-After` says in how many seconds to try again.",
    500: "An error of the service.",
    503: "Not answered in time, or the service ends.",
    507: "No room on the service's disk.",
}


class Problem(BaseModel):
    """Why a request was not answered."""

    type: str = "about:blank"
    title: str = Field(examples=["Content Too Large"])
    status: int = Field(examples=[413])
    detail: str = Field(description="A sentence for people.", examples=["More than 33,554,432 bytes; send less."])


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return a status and a sentence as a problem document."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    content = Problem(title=title, status=status, detail=detail).model_dump()
    return JSONResponse(content, status, headers=headers, media_type=PROBLEM_TYPE)


def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of the errors of a route: these, and those that every route has."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 400, 421, 500, 503}):
        schema = {"$ref": "#/components/schemas/Problem"}
        described[status] = {"description": _WHEN[status], "content": {PROBLEM_TYPE: {"schema": schema}}}
    if 429 in described:
        described[429]["headers"] = {"Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}}}
    return described


def add_problems(app: FastAPI) -> None:
    """Turn every error of an app into a problem document."""

    @app.exception_handler(HTTPException)
    def _refused(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:  # the framework names the methods of one of the path's routes
            headers["Allow"] = ", ".join(sorted(_methods(app, request.scope)))
        return problem(error.status_code, error.detail, headers)

    @app.exception_handler(RequestValidationError)
    def _wrong_parameter(_request: Request, error: RequestValidationError) -> Response:
        told = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
        return problem(422, "; ".join(told))

    @app.exception_handler(InputError)
    def _not_readable(_request: Request, error: InputError) -> Response:
        return problem(422, str(error))

    @app.exception_handler(ClientDisconnect)
    def _gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(OutputError)
    def _not_kept(_request: Request, error: OutputError) -> Response:
        log.error("%s", error)  # for who runs it: names of folders are not for clients
        return problem(507, "There is no room on the service's disk, or no right to write to it.")

    @app.exception_handler(Exception)
    def _ours(_request: Request, error: Exception) -> Response:
        log.error("error of the service", exc_info=error)
        return problem(500, "An error of the service; its log says more.")


class Ending:
    """Has requests that the end of the service cuts off answered, those of which nothing was answered yet."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its cancellation, which the server's end alone brings about, ends here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if not begun:
                refusal = problem(503, "The service is stopping; try again later.", {"Retry-After": "5"})
                await refusal(scope, receive, send)


def _methods(app: FastAPI, scope: Scope) -> set[str]:
    """Return the methods that a path is asked with."""
    routes = (route for route in app.routes if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE)
    return {method for route in routes for method in route.methods or ()}

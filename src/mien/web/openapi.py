"""The service's OpenAPI document: what FastAPI makes of the routes, with problems and the token."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mien.web.problems import Problem, describe

__all__ = ["describe_with"]


def describe_with(app: FastAPI, *, token: bool, open_paths: frozenset[str]) -> None:
    """Have an app tell of its problem documents and, where it needs a token, of that.

    open_paths: need none.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes,
            )  # fmt: skip
            made["components"]["schemas"]["Problem"] = Problem.model_json_schema()
            _add_refusals(made)
            if token:
                _add_token(made, open_paths)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _add_refusals(made: dict[str, Any]) -> None:
    """Add what pages of other sites are answered where they send something."""
    refused = {"403": describe(403)[403]}
    for operations in made["paths"].values():
        for method, operation in operations.items():
            if method != "get":
                operation["responses"] |= refused


def _add_token(made: dict[str, Any], open_paths: frozenset[str]) -> None:
    """Add the token, and what is answered without it, to all paths but the open ones."""
    made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    refused = {str(status): told for status, told in describe(401).items() if status == 401}
    for path, operations in made["paths"].items():
        if path not in open_paths:
            for operation in operations.values():
                operation["security"] = [{"token": []}]
                operation["responses"] |= refused

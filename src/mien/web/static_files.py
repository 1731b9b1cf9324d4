"""What the pages are made of, under /static/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

__all__ = ["STATIC", "add_static"]

STATIC = Path(__file__).parent / "static"


def add_static(router: APIRouter, paths: Iterable[Path]) -> None:
    """Add files to a router, by their names."""
    files = {path.name: path for path in paths}

    @router.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> FileResponse:
        """Return one of the files."""
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(files[name])

"""`POST /v1/recognize`: pictures in, readings out, nothing kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from mien.web.answers import PicturesAnswer
from mien.web.limits import Gate, Limits
from mien.web.metrics import Metrics
from mien.web.pictures import PictureRead, PictureReader, face_of
from mien.web.problems import describe
from mien.web.uploads import Upload, receive

__all__ = ["add_recognizing", "while_there"]

TYPES = frozenset({"image/*", "application/octet-stream"})
_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {"files": {"type": "array", "items": _BINARY, "minItems": 1}},
            },
            "encoding": {"files": {"contentType": "image/*, application/octet-stream"}},
        },
        **{kind: {"schema": _BINARY} for kind in sorted(TYPES)},
    },
}

Result = TypeVar("Result")


class _Memory(bytearray):
    """A picture file in memory."""

    write = bytearray.extend


def add_recognizing(router: APIRouter, reader: PictureReader, *, gate: Gate, limits: Limits, metrics: Metrics) -> None:
    """Add the route to a router."""

    @router.post(
        "/v1/recognize",
        response_model=PicturesAnswer,
        responses=describe(408, 413, 415, 422, 429, 503),
        openapi_extra={"requestBody": _BODY},
        summary="Read the expressions in pictures",
    )
    async def recognize(request: Request) -> Response:
        """Return a reading for each face of one or many pictures, the largest face first.

        A form with the field `files`, once or many times, or the bytes of one picture as the body.
        """
        with gate.enter() as visit:

            async def hold(count: int) -> None:
                visit.hold(count)

            uploads = await receive(
                request, field_name="files", types=TYPES, open_target=_Memory, max_bytes=limits.max_bytes,
                max_files=limits.max_pictures, limits=limits, on_bytes=hold,
            )  # fmt: skip
            read = await while_there(
                request, asyncio.gather(*(reader.read(upload.target) for upload in uploads)), limits.answer_s
            )
        for picture in read:
            metrics.pictures.labels("bad" if picture.error else "read").inc()
            metrics.faces.labels("pictures").inc(len(picture.readings))
        if all(picture.error for picture in read):
            raise HTTPException(422, _nothing_read(uploads, read))
        pictures = [_picture(upload.name, picture) for upload, picture in zip(uploads, read, strict=True)]
        spec = reader.classifier.spec
        return JSONResponse({"model": spec.name, "labels": list(spec.labels), "pictures": pictures})


async def while_there(request: Request, work: Awaitable[Result], seconds: float) -> Result:
    """Return what some work comes to, which is given up where the client hangs up or it takes too long.

    Raises ClientDisconnect, or HTTPException 503.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())  # all of the body is here, so that what comes is that it hung up
    try:
        await asyncio.wait({working, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if gone.done():
            raise ClientDisconnect
        raise HTTPException(503, f"Not answered within {seconds:g} s; try again.", headers={"Retry-After": "5"})
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


def _picture(name: str | None, read: PictureRead) -> dict[str, Any]:
    """Return one picture of the answer."""
    faces = [face_of(number, reading) for number, reading in enumerate(read.readings)]
    return {"name": name, "width": read.width, "height": read.height, "faces": faces, "error": read.error}


def _nothing_read(uploads: Sequence[Upload[_Memory]], read: Sequence[PictureRead]) -> str:
    """Return why none of the pictures could be read: of many, the first's reason."""
    first = f"{uploads[0].name or 'picture'}: {read[0].error}"
    return first if len(read) == 1 else f"none of the {len(read)} pictures could be read; {first}"

"""`/v1/videos`: a video in, its job followed, its files fetched, all of it deleted."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from mien.files import output_errors
from mien.web.answers import Job, VideoSummary
from mien.web.limits import Limits
from mien.web.problems import describe
from mien.web.uploads import receive
from mien.web.video_reading import ANNOTATED, SUMMARY, TIMELINE, rows_name
from mien.web.videos import Videos

__all__ = ["add_videos"]

TYPES = frozenset({"video/*", "application/octet-stream"})
FLUSHED = 2**20  # bytes that are written to disk at once
MAX_EVERY_S = 60  # between two frames nobody looks whether the video is still wanted
_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY}},
            "encoding": {"file": {"contentType": "video/*, application/octet-stream"}},
        },
        **{kind: {"schema": _BINARY} for kind in sorted(TYPES)},
    },
}


class Rows(StrEnum):
    """In which format rows are fetched."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


_ROW_TYPES = {
    Rows.JSONL: "application/x-ndjson",
    Rows.CSV: "text/csv; charset=utf-8",
    Rows.PARQUET: "application/vnd.apache.parquet",
}


class _Disk:
    """A file that is written in a thread, a mebibyte at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._waiting = bytearray()

    def write(self, data: bytes, /) -> None:
        """Take some more."""
        self._waiting += data

    async def flush(self, *, least: int) -> None:
        """Write what waits, where that is so many bytes."""
        if len(self._waiting) < least:
            return
        data, self._waiting = self._waiting, bytearray()
        with output_errors(self._path):
            await asyncio.to_thread(self._file.write, data)

    def close(self) -> None:
        """Close the file, which writes the last of it."""
        with output_errors(self._path):
            self._file.close()


def add_videos(router: APIRouter, videos: Videos, *, limits: Limits) -> None:
    """Add the routes to a router."""

    @router.post(
        "/v1/videos",
        status_code=202,
        response_model=Job,
        responses={
            202: {"headers": {"Location": {"description": "Of the job.", "schema": {"type": "string"}}}},
            **describe(408, 413, 415, 422, 429, 507),
        },
        openapi_extra={"requestBody": _BODY},
        summary="Have a video read",
    )
    async def take(
        request: Request,
        every_s: Annotated[
            float, Query(ge=0, le=MAX_EVERY_S, allow_inf_nan=False, description="Seconds from frame to frame; 0: all.")
        ] = 0.0,
        annotate: Annotated[bool, Query(description="Whether to make an annotated copy.")] = False,
    ) -> Response:
        """Take a video, as the field `file` of a form or as the body, and return its job."""
        with videos.place() as folder:
            name = await _receive(request, folder, limits)
            job = await videos.start(folder, name=name, every_s=every_s, annotate=annotate)
        if await request.is_disconnected():  # nobody knows the job who could delete it
            videos.delete(job["id"])
            raise ClientDisconnect
        return JSONResponse(job, 202, headers={"Location": f"/v1/videos/{job['id']}"})

    @router.get("/v1/videos/{job_id}", response_model=Job, responses=describe(404, 422), summary="How far a video is")
    async def tell(job_id: str) -> Response:
        """Return the job of a video."""
        return JSONResponse(_known(videos, job_id))

    @router.delete(
        "/v1/videos/{job_id}", status_code=204, responses=describe(404, 422), summary="Cancel and delete a video"
    )
    async def delete(job_id: str) -> Response:
        """End the work on a video and delete everything of it."""
        if not videos.delete(job_id):
            raise _not_here()
        return Response(status_code=204)

    _add_results(router, videos)


def _add_results(router: APIRouter, videos: Videos) -> None:
    """Add what a video comes to."""

    def described(*kinds: str) -> dict[int | str, dict[str, Any]]:
        content = {kind.partition(";")[0]: {"schema": _BINARY} for kind in kinds}
        return {200: {"content": content}, **describe(404, 409, 422)}

    def fetched(job_id: str, name: str, media_type: str, *, save: bool = False) -> Response:
        job = _known(videos, job_id)
        if name == ANNOTATED and not job["annotated"]:
            raise HTTPException(409, "No annotated copy was asked for; send the video with annotate=true.")
        if job["state"] != "done":
            why = job["error"] if job["state"] == "failed" else f"{100 * job['progress']:.0f}% are read"
            raise HTTPException(409, f"The video is not done: {why}")
        path, source = videos.file(job_id, name)
        if not path.is_file():  # whoever clears temporary folders was here
            raise _not_here()
        shown = f"{Path(source).stem}{path.suffix}" if save else None
        return FileResponse(path, media_type=media_type, filename=shown)

    @router.get(
        "/v1/videos/{job_id}/rows", responses=described(*_ROW_TYPES.values()), response_class=Response,
        summary="A row a face a frame",
    )  # fmt: skip
    async def rows(job_id: str, kind: Annotated[Rows, Query(alias="format")] = Rows.JSONL) -> Response:
        """Return the rows of a video that is done, in order of time."""
        return fetched(job_id, rows_name(kind), _ROW_TYPES[kind], save=True)

    @router.get(
        "/v1/videos/{job_id}/summary", response_model=VideoSummary, responses=describe(404, 409, 422),
        summary="Each person in short",
    )  # fmt: skip
    async def summary(job_id: str) -> Response:
        """Return, of each person: time seen, shares of time, changes, strongest moments."""
        return fetched(job_id, SUMMARY, "application/json")

    @router.get("/v1/videos/{job_id}/timeline.png", responses=described("image/png"), response_class=Response,
                summary="Expressions over time as a picture")  # fmt: skip
    async def timeline(job_id: str) -> Response:
        """Return the expressions of each person over time, as a picture."""
        return fetched(job_id, TIMELINE, "image/png")

    @router.get("/v1/videos/{job_id}/annotated.mp4", responses=described("video/mp4"), response_class=Response,
                summary="The annotated copy")  # fmt: skip
    async def annotated(job_id: str) -> Response:
        """Return a copy of the video with the readings drawn in, where that was asked for."""
        return fetched(job_id, ANNOTATED, "video/mp4")


async def _receive(request: Request, folder: Path, limits: Limits) -> str:
    """Write a video that comes in to a folder, as `source`; return the name that it came with."""
    opened: list[_Disk] = []

    def open_target() -> _Disk:
        opened.append(_Disk(folder / "source"))
        return opened[-1]

    async def flush(_count: int) -> None:
        for disk in opened:
            await disk.flush(least=FLUSHED)

    try:
        uploads = await receive(
            request, field_name="file", types=TYPES, open_target=open_target, max_bytes=limits.max_video_bytes,
            max_files=1, limits=limits, on_bytes=flush,
        )  # fmt: skip
        await opened[0].flush(least=1)
    finally:
        for disk in opened:
            disk.close()
    return uploads[0].name or "video"


def _known(videos: Videos, job_id: str) -> dict[str, Any]:
    """Return a job, or raise the error of one that is not here."""
    job = videos.told(job_id)
    if job is None:
        raise _not_here()
    return job


def _not_here() -> HTTPException:
    """Return the error of a video that is not here, or no longer."""
    return HTTPException(404, "There is no video of that name, or no longer.")

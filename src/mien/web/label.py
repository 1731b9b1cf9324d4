"""The page on which people say what they see in the faces of a set: a face at a time, blind to everybody else."""

from __future__ import annotations

import hashlib
import html
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request

from mien.data.annotate import LabelStore
from mien.data.faceset import FaceRow, FaceSet
from mien.data.gathering import SET_NAME
from mien.errors import DataError, LabelError, OutputError
from mien.media import encode_jpeg
from mien.web.access import Access
from mien.web.context import draw_context, read_context
from mien.web.static_files import STATIC, add_static

__all__ = ["Order", "create_app"]

log = logging.getLogger(__name__)

MAX_BODY = 4096  # bytes; an answer has some two hundred
CONTEXT_QUALITY = 85  # of JPEG
Order = Callable[[Sequence[str], str], list[str]]  # (keys, annotator) -> the keys as this annotator sees them
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Step(BaseModel):
    """What a page sends: an answer to a face, or that the newest answer to it is withdrawn."""

    model_config = ConfigDict(extra="forbid")

    id: Name  # made by the page; sent again, the step counts once
    set: Name  # that the page shows: another one may be served by now
    face: Name
    kind: Literal["answer", "undo"]
    answer: Name | None = None
    second: Name | None = None


class _Faces:
    """The kept faces of a set, read anew when it has changed."""

    def __init__(self, faceset: FaceSet) -> None:
        self._faceset = faceset
        self._lock = threading.Lock()
        self._read: tuple[int, ...] = ()
        self._rows: dict[str, FaceRow] = {}
        self._stamps: dict[str, str] = {}

    def rows(self) -> dict[str, FaceRow]:
        """Return the faces by key; DataError where the set is gone or damaged."""
        path = self._faceset.folder / SET_NAME
        with self._lock:
            try:
                found = path.stat()
            except OSError as error:
                raise DataError(f"{path}: the set cannot be read: {error.strerror or error}; put it back") from error
            if (now := (found.st_size, found.st_mtime_ns, found.st_ino)) != self._read:
                self._rows = {face.key: face for face in self._faceset.faces()}
                self._stamps = {file.name: file.stamp for file in self._faceset.files()}
                self._read = now
            return self._rows

    def get(self, key: str) -> FaceRow | None:
        """Return the face of a key, None where the set keeps none of that key (any more)."""
        return self.rows().get(key)

    def stamp(self, face: FaceRow) -> str:
        """Return the stamp that the set notes of a face's file."""
        return self._stamps.get(face.name, "")


def create_app(
    faceset: FaceSet,
    store: LabelStore,
    annotators: Sequence[str],
    *,
    order: Order,
    token: str | None = None,
    names: frozenset[str] | None = None,
) -> FastAPI:
    """Return the app that serves a set's faces to annotators and keeps their answers.

    order: in which each annotator sees the faces.  token, names: see `web.access.Access`.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_middleware(Access, token=token, names=names, check=_check_answer)
    _tell_errors_plainly(app)
    faces = _Faces(faceset)
    _add_pages(app, annotators)
    _add_pictures(app, faceset, faces)
    known = frozenset(annotators)
    set_id = hashlib.sha256(os.fsencode(faceset.folder.resolve())).hexdigest()[:16]

    @app.get("/label/{name}/state")
    def state(name: str) -> dict[str, object]:
        """Return what an annotator has answered, in that order, and what is left, in the order to see it in."""
        _check_known(name, known)
        shown = [key for key in faces.rows() if faceset.view(key).is_file()]
        among = set(shown)
        answered = [given.face for given in store.answers(name) if given.face in among]
        left = among.difference(answered)
        return {
            "annotator": name,
            "set": set_id,
            "answered": answered,
            "todo": [key for key in order(shown, name) if key in left],
        }

    @app.post("/label/{name}/steps")
    def take(name: str, step: Step) -> dict[str, str]:
        """Keep an answer, or withdraw one; when this returns, that is on disk."""
        _check_known(name, known)
        if step.set != set_id:
            raise HTTPException(409, "Another set of faces is served here now.")
        if step.kind == "undo":
            store.undo(name, step.face, client=step.id)
        elif faces.get(step.face) is None:
            raise HTTPException(410, "This face is no longer in the set.")
        else:
            store.save(name, step.face, step.answer or "", step.second, client=step.id)
        return {"kept": step.id}

    return app


def _add_pages(app: FastAPI, annotators: Sequence[str]) -> None:
    """Add the list of annotators, the page that each of them works on, and what that page is made of."""
    known = frozenset(annotators)
    links = "\n".join(
        f'<li><a class="button" href="/label/{quote(name)}">{html.escape(name)}</a></li>' for name in annotators
    )
    index = (STATIC / "index.html").read_text(encoding="utf-8").replace("<!-- annotators -->", links)
    add_static(app.router, [path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".svg")])

    @app.get("/")
    def start() -> HTMLResponse:
        """Return the list of the annotators."""
        return HTMLResponse(index)

    @app.get("/label/{name}")
    def page(name: str) -> FileResponse:
        """Return the page of an annotator."""
        _check_known(name, known)
        return FileResponse(STATIC / "label.html")


def _add_pictures(app: FastAPI, faceset: FaceSet, faces: _Faces) -> None:
    """Add the pictures of the faces, and those that they were found in."""

    @app.get("/faces/{key}.jpg")
    def view(key: str) -> FileResponse:
        """Return a face's picture for people."""
        if faces.get(key) is None or not (path := faceset.view(key)).is_file():
            raise HTTPException(410, "This face is no longer in the set.")
        return FileResponse(path, media_type="image/jpeg")

    @app.get("/context/{key}.jpg")
    def context(key: str) -> Response:
        """Return the whole picture that a face was found in, with a box around it."""
        if (face := faces.get(key)) is None:
            raise HTTPException(410, "This face is no longer in the set.")
        try:
            whole = read_context(face, faces.stamp(face))
        except DataError as error:
            raise HTTPException(404, str(error)) from error
        return Response(
            encode_jpeg(draw_context(whole, face.box_xyxy), quality=CONTEXT_QUALITY), media_type="image/jpeg"
        )


def _check_answer(headers: Headers) -> tuple[int, str] | None:
    """Return the status and sentence that refuse what no page of ours sends."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "Answers are sent as application/json."
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit():
        return 411, "The length of an answer must be told."
    return (413, "That is too long for an answer.") if int(length) > MAX_BODY else None


def _check_known(name: str, known: frozenset[str]) -> None:
    """Raise the error of a page that is not there where the command line did not name the annotator."""
    if name not in known:
        raise HTTPException(404, "Nobody of that name labels here; mien data label was not started with it.")


def _tell_errors_plainly(app: FastAPI) -> None:
    """Turn errors into one plain sentence each, which the page shows as it is."""

    @app.exception_handler(StarletteHTTPException)
    def _refused(_request: Request, error: StarletteHTTPException) -> Response:
        return PlainTextResponse(error.detail, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def _not_a_step(_request: Request, _error: RequestValidationError) -> Response:
        return PlainTextResponse("That is no answer to a face.", 422)

    @app.exception_handler(LabelError)
    def _not_an_answer(_request: Request, error: LabelError) -> Response:
        return PlainTextResponse(str(error), 422)

    @app.exception_handler(OutputError)
    def _not_kept(_request: Request, error: OutputError) -> Response:
        log.error("%s", error)  # for who runs it: names of folders are not for annotators
        return PlainTextResponse(
            "The answer could not be kept: no room on the disk, or no right to write; make room.", 507
        )

    @app.exception_handler(DataError)
    def _not_readable(_request: Request, error: DataError) -> Response:
        log.error("%s", error)
        return PlainTextResponse("The set or its labels cannot be read; put it back.", 503)

"""A client of `mien serve`, of the standard library alone."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from mien.errors import InputError, ServiceError
from mien.files import atomic_path, printable

__all__ = ["Client", "VideoResult"]

log = logging.getLogger(__name__)

TIMEOUT_S = 120.0
POLL_S = 0.5
TRIES = 5  # of a request that is told to come again
CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class VideoResult:
    """What a video shows."""

    rows: list[dict[str, Any]]  # a face a frame, as `mien recognize --format jsonl` writes them
    summary: dict[str, Any]
    broke_off: str | None  # why the video could not be read to its end; None: it could


class Client:
    """Asks one service.  Each call opens a connection of its own, so that a client may be shared between threads."""

    def __init__(self, address: str, token: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        """Ask the service at an address, such as http://127.0.0.1:8000, or the one with a token that it prints.

        Raises InputError where the address is none, or the token cannot be one.
        """
        scheme, self._host, self._port, self._root, in_address = _parts_of(address)
        token = in_address if token is None else token
        if token is not None and not re.fullmatch("[!-~]*", token):
            raise InputError("the token has a space, a line break or a letter in it that no token has; give it alone")
        self._connection = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout_s = timeout_s

    def recognize(self, pictures: Sequence[str | Path | bytes | bytearray]) -> list[dict[str, Any]]:
        """Return for each picture, a path or the bytes of a file, its name, width, height, faces and error.

        Raises InputError where a file cannot be read, ServiceError where the service answers none of them.
        """
        if isinstance(pictures, str | Path | bytes | bytearray):
            raise InputError(f"recognize takes several pictures, got one ({type(pictures).__name__}); put it in a list")
        if not pictures:
            return []
        boundary = secrets.token_hex(16)
        parts = (_head(boundary, "files", name) + data for name, data in map(_named_bytes, pictures))
        body = b"".join([*parts, _tail(boundary)])
        answer = self._ask("POST", "/v1/recognize", lambda: body, _form(boundary))
        with self._understood():
            pictures_read: list[dict[str, Any]] = json.loads(answer)["pictures"]
        return pictures_read

    def video(
        self,
        path: str | Path,
        *,
        every_s: float = 0.0,
        annotated: str | Path | None = None,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> VideoResult:
        """Return what a video shows; it is deleted from the service afterwards, also where this is interrupted.

        every_s: seconds from frame to frame; 0: every frame.  annotated: where to write a copy with the readings.
        on_progress: is told now and then how much is read, 0 to 1.
        Raises InputError, ServiceError, and OutputError where the copy cannot be written.
        """
        job_id = self.start_video(path, every_s=every_s, annotate=annotated is not None)
        try:
            while (job := self.job(job_id))["state"] in ("waiting", "running"):
                on_progress(job["progress"])
                time.sleep(POLL_S)
            if job["state"] == "failed":
                raise ServiceError(f"{printable(path)}: {job['error']}")
            on_progress(1.0)
            place = _place_of(job_id)
            lines, summed = self._ask("GET", f"{place}/rows").splitlines(), self._ask("GET", f"{place}/summary")
            with self._understood():
                rows, summary = [json.loads(line) for line in lines], json.loads(summed)
            if annotated is not None:
                self._fetch(f"{place}/annotated.mp4", Path(annotated))
        finally:
            try:
                self.cancel(job_id)
            except ServiceError as error:  # what came of the video, or why nothing did, matters more
                log.warning("%s: not deleted from the service, which does so itself later (%s)", printable(path), error)
        return VideoResult(rows, summary, job["error"])

    def start_video(self, path: str | Path, *, every_s: float = 0.0, annotate: bool = False) -> str:
        """Send a video and return the id of its job; `job` tells how far it is, `cancel` ends and deletes it."""
        query = urlencode({"every_s": every_s, "annotate": str(annotate).lower()})
        boundary = secrets.token_hex(16)
        head, tail = _head(boundary, "file", Path(path).name), _tail(boundary)
        with _opened(path) as file:

            def body() -> Iterator[bytes]:
                file.seek(0)
                yield head
                while chunk := file.read(CHUNK):
                    yield chunk
                yield tail

            size = len(head) + os.fstat(file.fileno()).st_size + len(tail)
            headers = {**_form(boundary), "Content-Length": str(size)}
            answer = self._ask("POST", f"/v1/videos?{query}", body, headers)
        with self._understood():
            return str(json.loads(answer)["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Return how far a video is."""
        answer = self._ask("GET", _place_of(job_id))
        with self._understood():
            job: dict[str, Any] = json.loads(answer)
            return {key: job[key] for key in ("state", "progress", "error")} | job

    def cancel(self, job_id: str) -> None:
        """End the work on a video and delete everything of it; one that is no longer there is no error."""
        with suppress(_NotThereError):
            self._ask("DELETE", _place_of(job_id))

    def _ask(
        self, method: str, path: str, body: Callable[[], bytes | Iterator[bytes]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """Return the body of an answer; a request that is told to come again does, a few times."""
        for left in reversed(range(TRIES)):
            with self._answer(method, path, body() if body else None, headers or {}) as answer:
                retry_after = answer.getheader("Retry-After")
                if left and (answer.status == 429 or (answer.status == 503 and retry_after)):
                    pause_s = _seconds(retry_after)
                    answer.read()
                else:
                    return self._checked(answer).read()
            time.sleep(pause_s)
        raise AssertionError  # the last try returns or raises

    def _fetch(self, path: str, target: Path) -> None:
        """Write the body of an answer to a file, whole or not at all."""
        with self._answer("GET", path, None, {}) as answer, atomic_path(target) as temporary:
            self._checked(answer)
            with temporary.open("wb") as file:
                for chunk in self._chunks(answer):
                    file.write(chunk)

    def _chunks(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        """Yield the body of an answer in pieces; ServiceError where it ends before the length that it states."""
        came, stated = 0, answer.getheader("Content-Length")
        try:
            while chunk := answer.read(CHUNK):
                came += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as error:  # here, or it would seem to be the disk's
            raise self._lost(error) from error
        if stated is not None and came < int(stated):
            raise ServiceError(f"{self._host}: the answer broke off after {came} of {stated} bytes; ask again")

    @contextmanager
    def _answer(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the answer to a request; ServiceError where the service is not to be reached."""
        connection = self._connection(self._host, self._port, timeout=self._timeout_s)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before all was sent
                connection.request(method, self._root + path, body, {**self._headers, **headers})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        finally:
            connection.close()

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Have an answer that is not one of `mien serve` be a ServiceError."""
        try:
            yield
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(
                f"{self._host}:{self._port}: answers otherwise than `mien serve` does; is it the right address?"
            ) from error

    def _lost(self, error: Exception) -> ServiceError:
        """Return the error of a service that does not answer, or not to its end."""
        return ServiceError(
            f"{self._host}:{self._port}: the service cannot be reached ({error or type(error).__name__}); is"
            " `mien serve` running there?"
        )

    def _checked(self, answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
        """Return an answer; ServiceError where it is a refusal."""
        if answer.status < 300:
            return answer
        text = answer.read().decode("utf-8", "replace")
        try:
            detail = json.loads(text)["detail"]
        except (ValueError, KeyError, TypeError):
            detail = text.strip() or answer.reason
        kind = _NotThereError if answer.status == 404 else ServiceError
        raise kind(f"{self._host}: {detail} ({answer.status})")


class _NotThereError(ServiceError):
    """What was asked for is not there, or no longer."""


def _parts_of(address: str) -> tuple[str, str, int, str, str | None]:
    """Return the scheme, host, port, path and token of a service's address; InputError where it is none."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as it is to be looked up
    except ValueError:  # a port or a host that no address has
        host, port = "", None
    if not host or parts.scheme not in ("http", "https"):
        raise InputError(f"{printable(address)}: no address of a service; expected one such as http://127.0.0.1:8000")
    default = http.client.HTTPS_PORT if parts.scheme == "https" else http.client.HTTP_PORT
    token = parse_qs(parts.query).get("token", [None])[-1]
    return parts.scheme, host, default if port is None else port, parts.path.rstrip("/"), token


def _place_of(job_id: str) -> str:
    """Return the path of a job."""
    return f"/v1/videos/{quote(job_id, safe='')}"


def _seconds(retry_after: str | None) -> float:
    """Return for how long to wait as a service says; a second where it does not."""
    return float(retry_after) if retry_after and retry_after.isdigit() else 1.0


def _named_bytes(picture: str | Path | bytes | bytearray) -> tuple[str, bytes]:
    """Return a picture's name and bytes."""
    if isinstance(picture, bytes | bytearray):
        return "picture", bytes(picture)
    with _opened(picture) as file:
        return Path(picture).name, file.read()


@contextmanager
def _opened(path: str | Path) -> Iterator[IO[bytes]]:
    """Yield an open file; InputError where it cannot be opened."""
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below; what fails there is another error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{printable(path)}: cannot be read ({reason})") from error
    with file:
        yield file


def _form(boundary: str) -> dict[str, str]:
    """Return the headers of a form."""
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _head(boundary: str, field: str, name: str) -> bytes:
    """Return what comes before a file of a form; the break before a boundary may be before the first one, too."""
    safe = printable(name).replace("\\", "/").replace('"', "%22")
    return (
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{safe}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


def _tail(boundary: str) -> bytes:
    """Return the end of a form."""
    return f"\r\n--{boundary}--\r\n".encode()

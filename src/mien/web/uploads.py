"""The files of a request as they come in: a raw body or a form, counted while they come, nothing spooled to disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mien.web.limits import Limits

__all__ = ["Target", "Upload", "receive"]

MAX_NAME = 255
MAX_FIELDS = 20  # of a form, beside its files


class Target(Protocol):
    """Where the bytes of a file go."""

    def write(self, data: bytes, /) -> object:
        """Take some more."""


T = TypeVar("T", bound=Target)


@dataclass(frozen=True, slots=True)
class Upload(Generic[T]):
    """One file of a request."""

    name: str | None  # as the form has it, no folders; None: a raw body, or a form without
    target: T


@dataclass(slots=True)
class _Form(Generic[T]):
    """The parts of a form as the parser tells of them."""

    wanted: str
    open_target: Callable[[], T]
    max_files: int
    files: list[Upload[T]] = field(default_factory=list)
    other_fields: int = 0
    ended: bool = False
    _current: T | None = None
    _header: bytes = b""
    _value: bytes = b""
    _disposition: bytes = b""

    def parser(self, boundary: bytes) -> MultipartParser:
        """Return a parser that tells this form of what it finds."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda data, start, end: self._add_header(data[start:end]),
                "on_header_value": lambda data, start, end: self._add_value(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": lambda data, start, end: self._take(data[start:end]),
                "on_end": self._end,
            },
        )

    def _part_begins(self) -> None:
        self._current, self._disposition, self._header, self._value = None, b"", b"", b""

    def _add_header(self, data: bytes) -> None:
        self._header += data

    def _add_value(self, data: bytes) -> None:
        self._value += data

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name", b"").decode("utf-8", "replace") != self.wanted:
            self.other_fields += 1
            if self.other_fields > MAX_FIELDS:
                raise HTTPException(400, f"The form has more than {MAX_FIELDS} other fields.")
            return
        if len(self.files) == self.max_files:
            raise HTTPException(413, f"More than {self.max_files} file{'s' * (self.max_files > 1)}; send fewer.")
        self._current = self.open_target()
        name = options[b"filename"].decode("utf-8", "replace") if b"filename" in options else None
        self.files.append(Upload(_plain_name(name), self._current))

    def _take(self, data: bytes) -> None:
        if self._current is not None:
            self._current.write(data)

    def _end(self) -> None:
        self.ended = True


async def receive(
    request: Request,
    *,
    field_name: str,
    types: frozenset[str],
    open_target: Callable[[], T],
    max_bytes: int,
    max_files: int,
    limits: Limits,
    on_bytes: Callable[[int], Awaitable[None]],
) -> list[Upload[T]]:
    """Return the files of a request: those of a form's field, or its body.

    types: of a raw body, such as image/jpeg; "image/*" stands for all of a kind.
    on_bytes: is told how many bytes have come, before they go to a file.
    Raises HTTPException 400 where a form is broken, 408 where it comes too slowly, 413 where it is too large or has too
    many files, 415 for another type, 422 for a form without a file.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    said = request.headers.get("content-length", "")
    too_large = HTTPException(413, f"More than {max_bytes:,} bytes; send less.")
    if said.isascii() and said.isdigit() and int(said) > max_bytes:
        raise too_large
    chunks = _counted(request, limits, max_bytes, too_large, on_bytes)
    if kind == b"multipart/form-data":
        form = _Form(field_name, open_target, max_files)
        await _parse(form, options.get(b"boundary", b""), chunks)
        if not form.files:
            raise HTTPException(422, f"The form has no file in a field {field_name!r}.")
        return form.files
    if not _is_one_of(kind.decode("latin-1"), types):
        raise HTTPException(415, f"Send a form (multipart/form-data) or a body of type {', '.join(sorted(types))}.")
    target = open_target()
    async for chunk in chunks:
        target.write(chunk)
    return [Upload(None, target)]


async def _parse(form: _Form[T], boundary: bytes, chunks: AsyncIterator[bytes]) -> None:
    """Fill a form from its bytes; HTTPException 400 where they are none, or end in the middle."""
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # the answer tells what it would
    broken = HTTPException(400, "The form is broken, or ends in the middle.")
    if not boundary:
        raise broken
    try:
        parser = form.parser(boundary)
        async for chunk in chunks:
            parser.write(chunk)
    except FormParserError as error:
        raise broken from error
    if not form.ended:
        raise broken


async def _counted(
    request: Request,
    limits: Limits,
    max_bytes: int,
    too_large: HTTPException,
    on_bytes: Callable[[int], Awaitable[None]],
) -> AsyncIterator[bytes]:
    """Yield the bytes of a request; HTTPException 408 where they come too slowly, `too_large` where they are many."""
    begun, received = time.monotonic(), 0
    stream = request.stream()
    while True:
        until = begun + limits.upload_s + received / limits.min_bytes_per_s
        try:
            async with asyncio.timeout(until - time.monotonic()):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise HTTPException(408, "The request came in too slowly.", headers={"Connection": "close"}) from error
        if chunk is None:
            return
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        await on_bytes(len(chunk))
        yield chunk


def _is_one_of(kind: str, types: frozenset[str]) -> bool:
    """Return whether a media type is among some, of which image/* stands for all pictures."""
    return kind in types or f"{kind.partition('/')[0]}/*" in types


def _plain_name(name: str | None) -> str | None:
    """Return the name of a file without folders and without what steers a terminal, None where nothing is left."""
    # As the living standard of HTML has forms escape these three, and nothing else.
    name = (name or "").replace("%22", '"').replace("%0D", "").replace("%0A", "")
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable())
    return kept[:MAX_NAME] or None

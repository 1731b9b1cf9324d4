"""Files that are whole or not there: written under a temporary name beside their own, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import OutputError

__all__ = ["atomic_folder", "atomic_path", "make_folder", "sha256_of", "write_text"]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it where the block ends well and removed where it does not.

    The folder of `path` is made.  Raises OutputError where the disk is full or the place cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise OutputError(f"{path}: cannot write there: it is a folder; name a file")
    with _output_errors(path):
        if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced
            yield path
            return
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _as_new_file(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder whose files move into `path` where the block ends well; it is removed where not.

    Files of the same name in `path` are replaced; others stay.  Raises OutputError as `atomic_path` does.
    """
    path = Path(path)
    make_folder(path)
    with _output_errors(path):
        temporary = Path(tempfile.mkdtemp(prefix=".mien-", dir=path))
        try:
            yield temporary
            for file in sorted(temporary.iterdir()):
                file.replace(path / file.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all; OutputError where that is not possible."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path: str | Path) -> Path:
    """Return the folder, made where it was missing; OutputError where that is not possible."""
    path = Path(path)
    with _output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_new_file(path: Path) -> None:
    """Give a file from mkstemp (which is private to its owner) the rights that a newly made file has."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an OutputError that names the place."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {error.strerror or error}; choose another place") from error

"""Files that are whole or not there: written under a temporary name beside their own, then renamed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.errors import OutputError

__all__ = [
    "atomic_folder",
    "atomic_path",
    "check_folder",
    "is_device",
    "made_for_now",
    "make_folder",
    "output_errors",
    "printable",
    "sha256_of",
    "shortened",
    "write_text",
]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it where the block ends well and removed where it does not.

    The folder of `path` is made, and taken away again where it stays empty.  A file that is there hands its rights on,
    and a link stays one: what it leads to is written.
    Raises OutputError where the disk is full or the place cannot be written.
    """
    path = _behind_links(Path(path))
    with made_for_now(path.parent), output_errors(path):
        if path.is_dir():
            raise OutputError(f"{path}: cannot write there: it is a folder; name a file")
        if is_device(path):
            yield path
            return
        # Of a long name the beginning, as a name has an end: 255 bytes on most disks.
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())  # else a power cut may leave the new name with half of the content
            temporary.chmod(path.stat().st_mode & 0o777 if path.is_file() else _rights_of_new_files())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def made_for_now(path: Path) -> Iterator[None]:
    """Make a folder that is missing, and take it away after the block where it is empty then.

    Raises OutputError where it cannot be made.
    """
    was_there = path.exists()
    make_folder(path)
    try:
        yield
    finally:
        if not was_there:
            with suppress(OSError):  # it holds something now
                path.rmdir()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder whose files move into `path` where the block ends well; it is removed where not.

    Files of the same name in `path` are replaced, all of them taken away before the first new one comes, which they do
    in the order of their names: where the last one is there, all are, and none of them is an old one.  Other files
    stay.  Raises OutputError as `atomic_path` does.
    """
    path = Path(path)
    make_folder(path)
    with output_errors(path):
        temporary = Path(tempfile.mkdtemp(prefix=".mien-", dir=path))
        try:
            yield temporary
            names = sorted(file.name for file in temporary.iterdir())
            if folders := [name for name in names if (path / name).is_dir()]:
                raise OutputError(f"{path / folders[0]}: cannot write there: it is a folder; move it or choose another")
            for name in reversed(names):
                (path / name).unlink(missing_ok=True)
            for name in names:
                (temporary / name).replace(path / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all; OutputError where that is not possible."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:  # of a file's name, as all other text is
        name = text[max(0, error.start - 20) : error.end + 20].splitlines()[0]
        raise OutputError(
            f"{printable(path)}: cannot hold a name that is no UTF-8 ({printable(name)}); rename that file or folder"
        ) from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def make_folder(path: str | Path) -> Path:
    """Return the folder, made where it was missing; OutputError where that is not possible."""
    path = Path(path)
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def check_folder(path: str | Path) -> None:
    """Raise OutputError where a folder cannot be made or written, as far as can be told without making it."""
    path = Path(path)
    for place in (path, *path.absolute().parents):
        if os.path.lexists(place):
            if not place.is_dir():
                raise OutputError(f"{path}: cannot write there: {place} is no folder; choose another place")
            if not os.access(place, os.W_OK | os.X_OK):
                raise OutputError(f"{path}: cannot write there: {place} is read-only; choose another place")
            return


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(path: str | os.PathLike[str]) -> str:
    r"""Return a path as text that can be printed and stored: what is not UTF-8 in it, or steers a terminal, is \xNN."""
    text = os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def shortened(name: str, longest: int) -> str:
    """Return a file's name of so many bytes at most, of a longer one its beginning with a hash of the whole."""
    content = name.encode("utf-8", "replace")
    if len(content) <= longest:
        return name
    return f"{content[: longest - 9].decode(errors='ignore')}-{hashlib.sha256(content).hexdigest()[:8]}"


def is_device(path: Path) -> bool:
    """Return whether a path is that of a device or a pipe: these are written to, never replaced."""
    # os.path, as pathlib's own raise where a name is too long.
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)  # noqa: PTH110, PTH112, PTH113


def _behind_links(path: Path) -> Path:
    """Return where links lead; what leads to a device, as /dev/stdout may, is itself the way to it."""
    if not os.path.islink(path) or is_device(path):  # noqa: PTH114
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OutputError(f"{printable(path)}: cannot write there: its links lead in a circle; choose another place")
    return target


def _rights_of_new_files() -> int:
    """Return the rights that a newly made file has; one of mkstemp's is private to its owner."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an OutputError that names the place."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{printable(path)}: cannot write there: {reason}; choose another place") from error

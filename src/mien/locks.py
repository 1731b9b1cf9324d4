"""A place at which one process works at a time, others being sent away or made to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mien.errors import InputError
from mien.files import make_folder

__all__ = ["in_turn", "only_one"]


@contextmanager
def only_one(lock_file: Path, *, busy: str) -> Iterator[None]:
    """Hold a lock file, whose folder is made; InputError, which says `busy`, where another process does."""
    lock = FileLock(make_folder(lock_file.parent) / lock_file.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(busy) from None
    try:
        yield
    finally:
        lock.release()


def in_turn(folder: Path) -> FileLock:
    """Return what holds the tables of a folder, which is made, while they are read and written anew; others wait."""
    return FileLock(make_folder(folder) / ".mien.lock")

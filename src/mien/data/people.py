"""Whether two names are one person's: lists spell them by hand."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["person_key", "person_keys"]


def person_key(name: str) -> str:
    """Return what all spellings of a name share that differ in case, in spaces or in how an accent is written down.

    Names are compared by it and shown as they came.
    """
    # An accent may be part of its letter or a character behind it: what macOS writes and what others do.
    return " ".join(unicodedata.normalize("NFC", name).split()).casefold()


def person_keys(names: Sequence[str | None]) -> list[str | None]:
    """Return the key of each name; None: not known."""
    return [None if name is None else person_key(name) for name in names]

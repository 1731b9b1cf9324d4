"""In which order each annotator sees the faces of a set: shuffled in a way of their own, the same one every time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mien.data.suggest import order
from mien.types import FloatArray

__all__ = ["shuffled", "unsure_first"]


def shuffled(keys: Sequence[str], annotator: str) -> list[str]:
    """Return the faces' keys in an order that looks random and depends on nothing but annotator and faces.

    A face that comes to the set later takes a place somewhere between the others, whose order stays.
    """
    return sorted(keys, key=lambda key: hashlib.sha256(f"{annotator}\0{key}".encode()).digest())


def unsure_first(keys: Sequence[str], probabilities: FloatArray, annotator: str) -> list[str]:
    """Return the faces' keys, those first of which a model is least sure; equals in an order of the annotator's own.

    probabilities: (N, number of labels), a row for each key.
    """
    seed = int.from_bytes(hashlib.sha256(annotator.encode()).digest()[:4])
    return [keys[index] for index in order(probabilities, seed=seed).tolist()]

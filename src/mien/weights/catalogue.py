"""The models that ship with mien: name to file, hash, licence and card."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from mien.errors import ModelError
from mien.files import sha256_of

__all__ = ["DEFAULT", "SHIPPED", "ShippedModel", "find"]


@dataclass(frozen=True, slots=True)
class ShippedModel:
    """One model file of the package."""

    file: str  # beside this module; several names may stand for answers of one file
    answer: str
    sha256: str
    licence: str
    card: str  # in the repository
    about: str


_MIEN = ShippedModel(
    file="mien.onnx",
    answer="people",
    sha256="3dffa970b3a1b9544b024e1a7e59aa5fb7c9b621814bce99cf03e84e30daa094",
    licence="MIT",
    card="cards/mien.md",
    about="what people see, in seven expressions: the head trained on FER+'s votes",
)

SHIPPED: dict[str, ShippedModel] = {
    "mien": _MIEN,
    "mien-fer2013": replace(_MIEN, answer="fer2013", about="the same network's head for FER2013's own labels"),
    "mien-ferplus": replace(_MIEN, answer="ferplus", about="the head for people as it is: eight expressions of FER+"),
    "paper-cnn": ShippedModel(
        file="paper-cnn.onnx",
        answer="fer2013",
        sha256="7ace4040e93dde36ca47ebd0cad5cf77ca3876a79f4a9ab7c9b8f826ac9e4d94",
        licence="MIT",
        card="cards/paper-cnn.md",
        about="the network of the paper's Table I, for FER2013's own labels, taught by five networks with two heads",
    ),
}

DEFAULT = "mien"


def find(model: str | Path) -> tuple[Path, str]:
    """Return the file of a shipped model's name, its hash checked, or of a path, and which of its answers is meant.

    For a path that is the main one: an empty name.

    Raises ModelError where neither is there, or where a shipped file is not the one that was shipped.
    """
    shipped = SHIPPED.get(str(model))
    if shipped is None:
        path = Path(model)
        if not os.path.isfile(path):  # noqa: PTH113  pathlib's own raises for names that are too long
            raise ModelError(f"{model}: no such model; expected {', '.join(SHIPPED)} or an ONNX file of mien train")
        return path, ""
    path = Path(__file__).parent / shipped.file
    if not path.is_file() or sha256_of(path) != shipped.sha256:
        raise ModelError(f"{path}: the shipped model {model} is missing or damaged; install mien again")
    return path, shipped.answer

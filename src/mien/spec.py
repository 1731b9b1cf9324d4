"""What a model needs to know of its input, and what a user needs to know of a model: CropSpec and ModelSpec.

Both travel as JSON: a CropSpec in every manifest, a ModelSpec (which holds one) in every checkpoint and in the
metadata of every ONNX file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
from dataclasses import dataclass
from typing import Any

from mien.errors import InputError

__all__ = ["COLOURS", "CONTRASTS", "NORMALISATIONS", "CropSpec", "ModelSpec"]

COLOURS = ("grey", "rgb")
CONTRASTS = ("none", "equalise", "clahe")
NORMALISATIONS = ("none", "fixed", "per_crop")


@dataclass(frozen=True, slots=True)
class CropSpec:
    """How a face is cut out of a picture and what its pixels go through before the network.

    The first four fields are the geometry, fixed when a dataset is prepared; the last two are chosen by a recipe.
    """

    size_px: int = 48  # side of the square crop
    margin: float = 0.09  # added on each side of the detector's box, as a fraction of the box's longer side
    offset_y: float = -0.07  # how far below the box's centre the crop's centre lies, as a fraction of the same side
    colour: str = "grey"  # "grey": (S, S) crops; "rgb": (S, S, 3)
    contrast: str = "none"  # "equalise": histogram equalisation; "clahe": the same, locally and limited
    normalisation: str = "per_crop"  # in the network: "none" 0 to 1; "fixed" by FER2013's mean; "per_crop" by its own

    def __post_init__(self) -> None:
        """Raise InputError where a field is out of range."""
        for field, known in (("colour", COLOURS), ("contrast", CONTRASTS), ("normalisation", NORMALISATIONS)):
            value = getattr(self, field)
            if value not in known:
                raise InputError(f"crop {field} is {reprlib.repr(value)}; expected one of {', '.join(known)}")
        if not 8 <= self.size_px <= 1024:
            raise InputError(f"crop size_px is {self.size_px}; expected 8 to 1024")
        if not -0.4 <= self.margin <= 3.0 or not -1.0 <= self.offset_y <= 1.0:
            raise InputError(
                f"crop margin {self.margin} or offset_y {self.offset_y} is out of range (-0.4 to 3; -1 to 1)"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one crop: (S, S) for grey, (S, S, 3) for colour."""
        return (self.size_px, self.size_px) if self.colour == "grey" else (self.size_px, self.size_px, 3)

    @property
    def channels(self) -> int:
        """Return how many channels a crop has."""
        return 1 if self.colour == "grey" else 3

    @property
    def geometry(self) -> tuple[int, float, float, str]:
        """Return what must agree between the crops of a dataset and the model that reads them."""
        return self.size_px, self.margin, self.offset_y, self.colour

    @property
    def pixels(self) -> tuple[int, float, float, str, str]:
        """Return what must agree between models that read the same crops: all but what happens inside the network."""
        return *self.geometry, self.contrast

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> CropSpec:
        """Return the CropSpec of a dictionary; InputError where a key is missing, unknown or of the wrong type."""
        return cls(**_checked(cls, fields))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model says of itself."""

    name: str
    labels: tuple[str, ...]  # the order of the outputs
    crop: CropSpec
    temperature: float  # the logits are divided by it, inside the graph
    mirror: bool  # predictions are averaged over the crop and its mirror image
    licence: str
    manifest_sha256: str  # of the dataset that it was trained on; several are joined by "+"

    def dumps(self) -> str:
        """Return the ModelSpec as JSON text."""
        return json.dumps({**dataclasses.asdict(self), "labels": list(self.labels)}, sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> ModelSpec:
        """Return the ModelSpec of JSON text; InputError where it is not one."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:  # a ValueError also for a number of thousands of digits
            raise InputError(f"the model's description is not JSON ({error})") from error
        if not isinstance(fields, dict) or not isinstance(fields.get("crop"), dict):
            raise InputError("the model's description has no crop")
        crop = CropSpec.from_json(fields["crop"])
        labels = fields.get("labels")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise InputError(f"the model's labels are {reprlib.repr(labels)}; expected a list of names")
        checked = _checked(cls, {**fields, "labels": tuple(labels), "crop": crop})
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise InputError(f"the model's labels are {reprlib.repr(labels)}; expected two or more, each of them once")
        if not 0 < checked["temperature"] < math.inf:
            raise InputError(f"the model's temperature is {checked['temperature']}; expected a number above 0")
        return cls(**checked)


def _checked(cls: type, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields where they are exactly those of the dataclass, each of its type."""
    if not isinstance(fields, dict):
        raise InputError(f"{cls.__name__}: expected its fields by name; got {reprlib.repr(fields)}")
    kinds: dict[str, Any] = {
        "int": int,
        "float": (int, float),
        "str": str,
        "bool": bool,
        "tuple[str, ...]": tuple,
        "CropSpec": CropSpec,
    }
    wanted = {field.name: kinds[str(field.type)] for field in dataclasses.fields(cls)}
    if wrong := sorted(wanted.keys() ^ fields.keys()):
        raise InputError(f"{cls.__name__}: missing or unknown: {', '.join(wrong)}; expected {', '.join(wanted)}")
    for name, kind in wanted.items():
        if not isinstance(fields[name], kind) or (isinstance(fields[name], bool) and kind is not bool):
            raise InputError(f"{cls.__name__}: {name} is {reprlib.repr(fields[name])}, which is of the wrong type")
    return fields

"""mien reads facial expressions: faces in pictures, and what each one shows."""

import os

# onnxruntime would write a device's number to the home folder, and report to its makers; it asks at its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from mien.classify import Classifier
from mien.errors import (
    DataError,
    ImageError,
    InputError,
    LabelError,
    MienError,
    ModelError,
    OutputError,
    RecipeError,
)
from mien.mixture import Mixture
from mien.recognize import Recognizer
from mien.spec import CropSpec, ModelSpec
from mien.types import Face, Reading

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "CropSpec",
    "DataError",
    "Face",
    "ImageError",
    "InputError",
    "LabelError",
    "MienError",
    "Mixture",
    "ModelError",
    "ModelSpec",
    "OutputError",
    "Reading",
    "RecipeError",
    "Recognizer",
    "__version__",
]

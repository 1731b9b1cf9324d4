"""The errors that mien raises on purpose.

    MienError
    ├── InputError          what came in cannot be used
    │   ├── ImageError      a picture that cannot be decoded
    │   ├── VideoError      a video that cannot be decoded, or not to its end
    │   ├── LabelError      a label that is not in the set
    │   ├── DataError       a dataset, its rows or its files
    │   └── RecipeError     a recipe or a setting
    ├── ModelError          a model file or checkpoint that is not ours, or is damaged
    ├── OutputError         what was asked for cannot be written
    └── ServiceError        a service that cannot be reached, or does not do what it was asked for

Each message tells what was wanted, what came and what to do.  The command line prints it as one line and
leaves with exit code 2.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "ImageError",
    "InputError",
    "LabelError",
    "MienError",
    "ModelError",
    "OutputError",
    "RecipeError",
    "ServiceError",
    "VideoError",
]


class MienError(Exception):
    """The base of every error that mien raises on purpose."""


class InputError(MienError):
    """What came in cannot be used."""


class ImageError(InputError):
    """A picture cannot be decoded."""


class VideoError(InputError):
    """A video cannot be decoded, or not to its end."""


class LabelError(InputError):
    """A label is not in the set."""


class DataError(InputError):
    """A dataset, its rows or its files cannot be used."""


class RecipeError(InputError):
    """A recipe or a setting cannot be used."""


class ModelError(MienError):
    """A model file or checkpoint is not ours, or is damaged."""


class OutputError(MienError):
    """What was asked for cannot be written."""


class ServiceError(MienError):
    """A service cannot be reached, or does not do what it was asked for."""

"""Scores of mixed expressions to a row of mixtures.csv."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from mien.evaluate.mixtures import Calibration, Distances, MixtureScores, Surest, TopTwo, Words
from mien.evaluate.report import Measurement
from mien.evaluate.rows import Layout, add_rows, read_rows, score_text

__all__ = ["NAME", "add_to_mixtures", "read_mixtures"]

NAME = "mixtures.csv"
_BEFORE = ("model", "data", "split", "subset", "views", "change")
_AFTER = ("detector", "date", "hardware", "commit", "model_sha256", "manifest_sha256")
#: A column for each score, by what it belongs to; results/README.md explains them.
_PARTS = {
    "js": ("distances", Distances),
    "top_two": ("top_two", TopTwo),
    "words": ("words", Words),
    "majority": ("surest", Surest),
    "calibration_votes": ("against_votes", Calibration),
    "calibration_majority": ("against_majority", Calibration),
    "calibration_label": ("against_label", Calibration),
}
_SCORES = ("n", *(f"{prefix}_{field.name}" for prefix, (_, part) in _PARTS.items() for field in fields(part)))
_LAYOUT = Layout(
    NAME,
    (*_BEFORE, *_SCORES, *_AFTER),
    ("model", "model_sha256", "manifest_sha256", "split", "subset", "views", "change", "detector"),
)


def add_to_mixtures(path: str | Path, measured: list[tuple[Measurement, MixtureScores]]) -> None:
    """Add rows to mixtures.csv; a row of the same model, measured in the same way, is replaced.

    Raises DataError where the file is there and is not a mixtures.csv.
    """
    add_rows(path, _LAYOUT, [_row(measurement, scores) for measurement, scores in measured])


def read_mixtures(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of mixtures.csv, none where there is no such file yet.

    Raises DataError where the file is there and is not a mixtures.csv.
    """
    return read_rows(path, _LAYOUT)


def _row(measurement: Measurement, scores: MixtureScores) -> dict[str, str]:
    """Return one row of mixtures.csv."""
    numbers: dict[str, float] = {"n": scores.n}
    for prefix, (name, _) in _PARTS.items():
        numbers |= {f"{prefix}_{field}": value for field, value in asdict(getattr(scores, name)).items()}
    return {
        **{name: str(getattr(measurement, name)) for name in _BEFORE},
        **{name: str(value) if isinstance(value, int) else score_text(value) for name, value in numbers.items()},
        **{name: str(getattr(measurement, name)) for name in _AFTER},
    }

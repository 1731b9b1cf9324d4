"""Placeholder until the grading is there; the helper who writes it overwrites this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mien.spec import CropSpec
from mien.types import Face, ImageArray


@dataclass(frozen=True, slots=True)
class Quality:
    sharpness: float
    exposure: float
    size_px: float
    inside: float
    frontal: float
    visible: float


THRESHOLDS: dict[str, float] = {"size_px": 48.0}
REASONS: dict[str, str] = {"sharpness": "blurred", "exposure": "badly lit", "size_px": "small", "inside": "cut off by the frame", "frontal": "turned away", "visible": "hidden in part"}


def grade(image_rgb: ImageArray, face: Face, crop: CropSpec) -> Quality:
    return Quality(1.0, 1.0, float(face.box_xyxy[2] - face.box_xyxy[0]), 1.0, 1.0, 1.0)


def reasons(quality: Quality, thresholds: Mapping[str, float] = THRESHOLDS) -> list[str]:
    return [name for name, least in thresholds.items() if getattr(quality, name) < least]

"""Rare expressions made as frequent as the others, by turned, mirrored, relit and recoloured copies of their faces."""

from __future__ import annotations

import cv2
import numpy as np

from mien.data.build import view_crop
from mien.faces.crop import cut
from mien.spec import CropSpec
from mien.types import Face, ImageArray, IntArray

__all__ = ["copies_wanted", "turned_and_relit"]

# As the paper balances its classes: rotation, lighting, colour.
ROTATION_DEG = 15.0
BRIGHTNESS = 0.15  # of the range, added
CONTRAST = 0.25  # factor - 1
GAMMA = 0.3  # factor - 1
COLOUR = 0.12  # gain of each channel - 1


def copies_wanted(label: IntArray, *, seed: int) -> IntArray:
    """Return the rows to copy, some of them several times, so that each label that occurs is as frequent as the first.

    label: (N,) of the training rows.  Every row of a label is copied once before one is copied twice.
    """
    generator = np.random.default_rng(seed)
    present, counts = np.unique(label, return_counts=True)
    chosen: list[IntArray] = []
    for each, count in zip(present, counts, strict=True):
        rows = np.flatnonzero(label == each)
        short = int(counts.max() - count)
        rounds = [generator.permutation(rows) for _ in range(-(-short // count))]
        chosen.append(np.concatenate([*rounds, np.zeros(0, np.int64)])[:short].astype(np.int64))
    return np.concatenate([*chosen, np.zeros(0, np.int64)])


def turned_and_relit(
    view_rgb: ImageArray, spec: CropSpec, generator: np.random.Generator, *, framed: bool = False
) -> ImageArray:
    """Return another crop of a face: its picture mirrored or not, turned, relit and recoloured, then cut anew.

    view_rgb: the face as `build.view_crop(spec)` cuts it; what comes into the corners is real surroundings.
    framed: the picture was the face, so that there are none: its view shows what its crop does.
    """
    side = view_rgb.shape[0]
    picture = view_rgb[:, ::-1] if generator.random() < 0.5 else view_rgb
    angle = generator.uniform(-ROTATION_DEG, ROTATION_DEG)
    # The face's centre lies in the view's middle, as view and crop are cut around the same point.
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, 1.0)
    turned = cv2.warpAffine(
        np.ascontiguousarray(picture), turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    values = turned.astype(np.float32) / 255
    values *= 1 + generator.uniform(-COLOUR, COLOUR, 3).astype(np.float32)
    values = np.clip(values, 0, 1) ** (1 + generator.uniform(-GAMMA, GAMMA))
    mean = values.mean()
    values = (values - mean) * (1 + generator.uniform(-CONTRAST, CONTRAST)) + mean
    values += generator.uniform(-BRIGHTNESS, BRIGHTNESS)
    relit = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    inner = side if framed else side * (1 + 2 * spec.margin) / (1 + 2 * view_crop(spec).margin)
    corner = (side - inner) / 2
    box = np.array([corner, corner, corner + inner, corner + inner], np.float32)
    return cut(relit, Face(box, None, 1.0, framed=True), spec)

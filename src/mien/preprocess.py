"""The one road into any model: faces of a picture to crops, in use and in training by the same functions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mien.faces.crop import cut
from mien.spec import CropSpec
from mien.types import Face, ImageArray

__all__ = ["enhance", "preprocess"]

CLAHE_CLIP_LIMIT = 2.0  # of the mean bin height (Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization")
CLAHE_TILES = (4, 4)  # 12-pixel tiles of a 48-pixel face: an eye or a corner of the mouth each


def preprocess(image_rgb: ImageArray, faces: Sequence[Face], spec: CropSpec) -> ImageArray:
    """Return the crops of the faces, (N, S, S) uint8 for a grey spec or (N, S, S, 3), contrast enhanced as it says."""
    crops = [cut(image_rgb, face, spec) for face in faces]
    stacked = np.stack(crops) if crops else np.zeros((0, *spec.shape), np.uint8)
    return enhance(stacked, spec)


def enhance(crops: ImageArray, spec: CropSpec) -> ImageArray:
    """Return crops with their contrast enhanced as the spec says; the same array where it says "none".

    crops: (N, S, S) or (N, S, S, 3) uint8.  Colour crops are enhanced in lightness (Lab) and keep their hues.
    """
    if spec.contrast == "none" or not len(crops):
        return crops
    if spec.contrast == "equalise":
        enhance_grey = cv2.equalizeHist
    else:
        enhance_grey = cv2.createCLAHE(clipLimit=CLAHE_CLIP_LIMIT, tileGridSize=CLAHE_TILES).apply
    enhanced = np.empty(crops.shape, np.uint8)
    for index, crop in enumerate(crops):
        if spec.colour == "grey":
            enhanced[index] = enhance_grey(crop)
            continue
        lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)
        lab[..., 0] = enhance_grey(np.ascontiguousarray(lab[..., 0]))
        enhanced[index] = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return enhanced

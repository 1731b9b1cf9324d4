"""Which parts of a crop a model's answer hangs on, found by hiding them one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mien.types import FloatArray, ImageArray

__all__ = ["PATCH_PX", "STEP_PX", "occlusion"]

PATCH_PX = 10  # of 48: an eye with its brow, or half of a mouth
STEP_PX = 2


def occlusion(
    predict: Callable[[ImageArray], FloatArray],
    crop: ImageArray,
    label: int,
    *,
    patch_px: int = PATCH_PX,
    step_px: int = STEP_PX,
) -> FloatArray:
    """Return how much of a label's probability is lost where a pixel is hidden, (S, S) float32.

    predict: crops (N, S, S) or (N, S, S, 3) to probabilities (N, L).  crop: one of them.  label: a column.
    A square patch in the crop's mean colour goes over it in steps; each pixel has the mean loss under the patches that
    covered it.  Negative where the label becomes likelier when the pixel is hidden.
    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
    """
    side = crop.shape[0]
    starts = range(1 - patch_px, side, step_px)  # patches reach over the edges, or the corners were covered least
    places = [
        (slice(max(0, top), top + patch_px), slice(max(0, left), left + patch_px)) for top in starts for left in starts
    ]
    mean = np.round(crop.mean(axis=(0, 1))).astype(np.uint8)
    hidden = np.repeat(crop[None], len(places), axis=0)
    for picture, place in zip(hidden, places, strict=True):
        picture[place] = mean
    whole = predict(crop[None])[0, label]
    lost, times = np.zeros((side, side)), np.zeros((side, side))
    for place, share in zip(places, predict(hidden)[:, label], strict=True):
        lost[place] += whole - share
        times[place] += 1
    found: FloatArray = (lost / times).astype(np.float32)
    return found

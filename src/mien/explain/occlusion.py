"""Which parts of a crop a model's answer hangs on, found by hiding them one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mien.types import FloatArray, ImageArray

__all__ = ["occlusion"]

PATCH = 10 / 48  # of the side: an eye with its brow, or half of a mouth
STEP = 2 / 48
BATCH = 256  # crops that are asked at once


def occlusion(
    predict: Callable[[ImageArray], FloatArray],
    crop: ImageArray,
    label: int,
    *,
    patch_px: int | None = None,
    step_px: int | None = None,
) -> FloatArray:
    """Return how much of a label's probability is lost where a pixel is hidden, (S, S) float32.

    predict: crops (N, S, S) or (N, S, S, 3) to probabilities (N, L).  crop: one of them.  label: a column.
    patch_px, step_px: side of the patch, and from one to the next; None: shares of the crop's side.
    A square patch in the crop's mean colour goes over it in steps; each pixel has the mean loss under the patches that
    covered it.  Negative where the label becomes likelier when the pixel is hidden.
    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
    """
    side = crop.shape[0]
    patch_px, step_px = patch_px or max(1, round(PATCH * side)), step_px or max(1, round(STEP * side))
    starts = range(1 - patch_px, side, step_px)  # patches reach over the edges, or the corners were covered least
    places = [
        (slice(max(0, top), top + patch_px), slice(max(0, left), left + patch_px)) for top in starts for left in starts
    ]
    mean = np.round(crop.mean(axis=(0, 1))).astype(np.uint8)
    whole = predict(crop[None])[0, label]
    lost, times = np.zeros((side, side)), np.zeros((side, side))
    for first in range(0, len(places), BATCH):
        some = places[first : first + BATCH]
        hidden = np.repeat(crop[None], len(some), axis=0)
        for picture, place in zip(hidden, some, strict=True):
            picture[place] = mean
        for place, share in zip(some, predict(hidden)[:, label], strict=True):
            lost[place] += whole - share
            times[place] += 1
    found: FloatArray = (lost / times).astype(np.float32)
    return found

"""Which crops are the same face in the same moment: copies saved anew, resized, relit or cut a little differently."""

from __future__ import annotations

import cv2
import numpy as np

from mien.types import BoolArray, FloatArray, ImageArray, IntArray

__all__ = ["copies_of", "duplicates", "same_picture"]

# Measured on 148 photographs, each saved as JPEG of quality 50, at 0.6 of its size, trimmed by a twelfth, brighter,
# and sharpened, the face found anew: 99% correlate by 0.957 or more with their original, once shifted and scaled to
# fit.  Of 11,000 pairs of different photographs the likest correlates by 0.904; of the 3,000 likest of 8 million pairs
# of FER2013's pictures, 126 lie above 0.95 and 121 above 0.97: there is little between copies and others.
LEAST_CORRELATION = 0.95
SIDE_PX = 48  # crops are compared at this size
PATCH_PX = 30  # the middle that is compared, so that it can be shifted
SHIFT_PX = 5
SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)
SKETCH_PX = 16  # sides of the small picture by which likely ones are found
MOST_UNLIKE = 0.3  # 1 - correlation of two such, unshifted: 98% of the pairs above are below
CANDIDATES = 5  # that are looked at, the likest first
BLOCK = 512


def duplicates(crops: ImageArray) -> IntArray:
    """Return (N,) of which earlier crop, that is none itself, each one is a copy; -1 where it is of none.

    crops: (N, S, S) or (N, S, S, 3) uint8.  Only the five likest earlier ones of each are looked at closely, so that
    100,000 take some minutes; mirror images are not found.
    """
    grey = _all_grey(crops)
    sketches = _sketches(grey)
    copy_of = np.full(len(grey), -1, np.int64)
    for start in range(0, len(grey), BLOCK):
        block = range(start, min(start + BLOCK, len(grey)))
        earlier = np.flatnonzero(copy_of[:start] < 0)
        for index, likeness in zip(block, sketches[start : block.stop] @ sketches[earlier].T, strict=True):
            among = np.concatenate([earlier, start + np.flatnonzero(copy_of[start:index] < 0)])
            correlations = np.concatenate([likeness, sketches[among[len(earlier) :]] @ sketches[index]])
            near = among[_likest(correlations)]
            copy_of[index] = next((other for other in near if same_picture(grey[index], grey[other])), -1)
    return copy_of


def copies_of(crops: ImageArray, others: ImageArray) -> BoolArray:
    """Return (N,) whether each crop is a copy of one of the others, by the test of `duplicates`.

    crops, others: (N, S, S) or (N, S, S, 3) and (M, S, S) or (M, S, S, 3) uint8.
    """
    grey, other_grey = _all_grey(crops), _all_grey(others)
    other_sketches = _sketches(other_grey)
    found = np.zeros(len(grey), np.bool_)
    for index, sketch in enumerate(_sketches(grey)):
        near = _likest(other_sketches @ sketch)
        found[index] = any(same_picture(grey[index], other_grey[other]) for other in near)
    return found


def _likest(correlations: FloatArray) -> IntArray:
    """Return which few, given how their sketches correlate, are to be looked at closely, the likest first."""
    likest = np.argsort(-correlations, kind="stable")[:CANDIDATES]
    return likest[correlations[likest] > 1 - MOST_UNLIKE]


def same_picture(first: ImageArray, second: ImageArray) -> bool:
    """Return whether two grey crops (48, 48) are the same picture, shifted or scaled by a little.

    The middle of one is correlated with the other at every shift and some scales; two of a single grey are not compared
    and count as different.
    """
    reach = (SIDE_PX - PATCH_PX) // 2
    window = slice(reach - SHIFT_PX, reach + SHIFT_PX + 1)
    smooth = cv2.GaussianBlur(second, (0, 0), 1)
    if first.std() < 1 or second.std() < 1:
        return False
    for scale in SCALES:
        side = round(SIDE_PX * scale)
        resized = cv2.GaussianBlur(cv2.resize(first, (side, side), interpolation=cv2.INTER_AREA), (0, 0), 1)
        corner = (side - PATCH_PX) // 2
        patch = resized[corner : corner + PATCH_PX, corner : corner + PATCH_PX]
        found = cv2.matchTemplate(smooth, patch, cv2.TM_CCOEFF_NORMED)[window, window]
        if float(found.max()) >= LEAST_CORRELATION:
            return True
    return False


def _all_grey(crops: ImageArray) -> ImageArray:
    """Return crops in grey, (N, 48, 48)."""
    return np.stack([_grey(crop) for crop in crops]) if len(crops) else np.zeros((0, SIDE_PX, SIDE_PX), np.uint8)


def _grey(crop: ImageArray) -> ImageArray:
    """Return a crop in grey, (48, 48)."""
    grey = crop if crop.ndim == 2 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if grey.shape != (SIDE_PX, SIDE_PX):
        grey = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return grey.astype(np.uint8, copy=False)


def _sketches(grey: ImageArray) -> FloatArray:
    """Return (N, 256) small pictures of mean 0 and length 1, whose products are correlations."""
    small = np.array(
        [cv2.resize(cv2.GaussianBlur(crop, (0, 0), 1.5), (SKETCH_PX, SKETCH_PX), interpolation=cv2.INTER_AREA)
         for crop in grey], np.float32
    ).reshape(len(grey), SKETCH_PX**2)  # fmt: skip
    small -= small.mean(axis=1, keepdims=True)
    unit: FloatArray = small / np.maximum(1e-6, np.linalg.norm(small, axis=1, keepdims=True))
    return unit

"""What a face looks like, as numbers: enough to tell the few people of one shot apart, not to recognize anybody."""

from __future__ import annotations

import cv2
import numpy as np

from mien.types import FloatArray, ImageArray

__all__ = ["likeness", "look_of"]

SIDE_PX = 16
WIDER = 0.2  # of the box, on each side: hair and collar tell more than eyes and mouth do
COLOUR_WEIGHT = 2.0  # of the two colour channels, against brightness: light changes more than colour does
NOISE = 4.0  # grey values of contrast that say nothing


def look_of(image_rgb: ImageArray, box_xyxy: FloatArray) -> FloatArray | None:
    """Return a face's look, (768,) of length 1 or less; None where less than half of the box is in the picture."""
    height, width = image_rgb.shape[:2]
    reach = WIDER * (box_xyxy[2:] - box_xyxy[:2])
    x0, y0 = np.floor(box_xyxy[:2] - reach).astype(int)
    x1, y1 = np.ceil(box_xyxy[2:] + reach).astype(int)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if right <= left or bottom <= top or (right - left) * (bottom - top) < 0.5 * (x1 - x0) * (y1 - y0):
        return None
    small = cv2.resize(image_rgb[top:bottom, left:right], (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 0] -= lab[..., 0].mean()
    lab[..., 1:] = COLOUR_WEIGHT * (lab[..., 1:] - 128)  # not from their mean: the colour itself tells people apart
    look = lab.ravel()
    return (look / (np.linalg.norm(look) + NOISE * SIDE_PX)).astype(np.float32)


def likeness(first: FloatArray | None, second: FloatArray | None) -> float:
    """Return how much two looks are alike, -1 to 1; 0.5, which decides nothing, where one is not known."""
    return 0.5 if first is None or second is None else float(first @ second)

"""The same crop seen several times: predictions averaged over windows and mirror images of it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from mien.types import FloatArray, ImageArray

__all__ = ["ten_crop"]

WINDOW = 44 / 48  # of the side: four pixels of a 48-pixel crop are left out
PLACES = ((0.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (1.0, 1.0))  # corners and middle, of what is left out


def ten_crop(predict: Callable[[ImageArray], FloatArray], *, mirrors: bool) -> Callable[[ImageArray], FloatArray]:
    """Return a function that averages a predictor's probabilities over ten views of each crop.

    They are five windows, four corners and the middle, enlarged to the crop's size, and their mirror images.
    mirrors: whether the predictor sees the mirror images by itself, so that five calls are enough.
    Source: Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 4.1.
    """

    def predict_views(crops: ImageArray) -> FloatArray:
        side = crops.shape[1]
        window = round(WINDOW * side)
        total: FloatArray | None = None
        for down, right in PLACES:
            top, left = round(down * (side - window)), round(right * (side - window))
            seen = crops[:, top : top + window, left : left + window]
            resized = [cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR) for crop in seen]
            enlarged = np.array(resized, np.uint8).reshape(crops.shape)  # also where there are none
            for view in (enlarged,) if mirrors else (enlarged, np.ascontiguousarray(enlarged[:, :, ::-1])):
                read = predict(view)
                total = read if total is None else total + read
        assert total is not None
        mean: FloatArray = total / np.float32(len(PLACES) * (1 if mirrors else 2))
        return mean

    return predict_views

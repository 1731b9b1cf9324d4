"""The whole picture that a face was cut from, with a box around it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from mien.data.faceset import FaceRow, stamp_of
from mien.errors import DataError, InputError
from mien.media import read_image
from mien.types import ImageArray

__all__ = ["draw_context", "read_context"]

MAX_SIDE_PX = 1280


def read_context(face: FaceRow, stamp: str) -> ImageArray:
    """Return the picture, or the frame of the video, that a face of a set was found in.

    stamp: the file's when the set was built.  Raises DataError where the file is gone, changed or unreadable; the text
    does not name it, as names of files and folders may tell what somebody thought of the face.
    """
    try:
        now = stamp_of(face.path)
    except (OSError, ValueError) as error:
        raise DataError("The picture that this face is from is no longer where it was.") from error
    if now != stamp:
        raise DataError("The picture that this face is from has changed since the set was built.")
    try:
        if face.time_s is None:
            return read_image(face.path)
        from mien.video import frame_at  # here, as only sets with videos need what decodes them

        return frame_at(face.path, face.time_s)
    except InputError as error:
        raise DataError("The picture that this face is from cannot be read any more.") from error


def draw_context(image_rgb: ImageArray, box_xyxy: tuple[float, float, float, float]) -> ImageArray:
    """Return a picture of at most 1280 pixels a side with the box drawn into it, seen on bright and on dark."""
    height, width = image_rgb.shape[:2]
    scale = min(1.0, MAX_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_rgb.copy()
    x0, y0, x1, y1 = (math.floor(value * scale) for value in box_xyxy)
    thick = max(2, round(max(size) / 320))
    for grow, colour in ((thick, (0, 0, 0)), (0, (255, 255, 255))):
        cv2.rectangle(picture, (x0 - grow, y0 - grow), (x1 + grow, y1 + grow), colour, thick)
    return picture.astype(np.uint8, copy=False)

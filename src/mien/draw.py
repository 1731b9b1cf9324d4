"""Readings drawn onto a copy of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.types import Face, ImageArray, Reading

__all__ = ["annotate"]

#: Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = {
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happy": "#F0E442",
    "sad": "#0072B2",
    "surprise": "#E69F00",
    "neutral": "#56B4E9",
    "contempt": "#999999",
}
BLUR_CELLS = 6  # a blurred face is brought down to so many cells a side before it is smoothed


def annotate(image_rgb: ImageArray, readings: Sequence[Reading], *, blur_faces: bool = False) -> ImageArray:
    """Return a copy of the picture with a box, the expression and its probability for each reading.

    image_rgb: uint8 (H, W, 3).  blur_faces: faces are made unrecognizable first.
    """
    blurred = image_rgb.copy()
    if blur_faces:
        for reading in readings:
            _blur(blurred, reading.face)
    picture = Image.fromarray(blurred)
    canvas = ImageDraw.Draw(picture)
    longest = max(picture.size)
    line = max(1, round(longest / 400))
    font = ImageFont.load_default(size=max(10, longest / 50))
    for reading in readings:
        colour = COLOURS.get(reading.expression, "#FFFFFF")
        x0, y0, x1, y1 = (float(value) for value in reading.face.box_xyxy)
        canvas.rectangle((x0, y0, x1, y1), outline=colour, width=line)
        text = f"{reading.expression} {100 * reading.confidence:.0f}%"
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
        width, height = right - left + 4 * line, bottom - top + 4 * line
        # Above the box where there is room, else inside it; never beyond the picture.
        x = min(max(x0, 0), max(picture.width - width, 0))
        y = y0 - height if y0 >= height else max(y0, 0)
        canvas.rectangle((x, y, x + width, y + height), fill=colour)
        canvas.text((x + 2 * line - left, y + 2 * line - top), text, fill="black", font=font)
    return np.asarray(picture)


def _blur(image_rgb: ImageArray, face: Face) -> None:
    """Make the face's region, a fifth wider than its box on each side, unrecognizable in place."""
    height, width = image_rgb.shape[:2]
    x0, y0, x1, y1 = face.box_xyxy
    reach = 0.2 * max(x1 - x0, y1 - y0)
    left, right = int(np.clip(x0 - reach, 0, width)), int(np.clip(x1 + reach, 0, width))
    top, bottom = int(np.clip(y0 - reach, 0, height)), int(np.clip(y1 + reach, 0, height))
    region = image_rgb[top:bottom, left:right]
    if region.size:
        cells = cv2.resize(region, (BLUR_CELLS, BLUR_CELLS), interpolation=cv2.INTER_AREA)
        region[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)

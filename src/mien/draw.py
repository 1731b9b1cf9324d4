"""Readings drawn onto a copy of a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from mien.labels import FERPLUS
from mien.types import Face, ImageArray, Reading

__all__ = ["annotate"]

#: Okabe and Ito's colours, which people with any colour vision tell apart.
_HUES = ("#D55E00", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#E69F00", "#56B4E9", "#999999")
COLOURS = dict(zip(FERPLUS, _HUES, strict=True))
UNSURE_COLOUR = "#666666"  # of a face whose expression could not be told
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
SMALLEST_FONT_PX = 6.0  # below it letters cannot be told apart
FONT_STEP_PX = 2  # sizes are multiples of it: letters do not tremble with a box from frame to frame
LITTLE = 0.05  # of a label's area, hidden by it: not worth a move from its place to the next frame's
BLUR_CELLS = 6  # a blurred face is brought down to so many cells a side before it is smoothed


Rectangle = tuple[float, float, float, float]  # x0, y0, x1, y1


def annotate(
    image_rgb: ImageArray, readings: Sequence[Reading], *, blur_faces: bool = False, unread: Sequence[Face] = ()
) -> ImageArray:
    """Return a copy of the picture with a box and what was read for each reading, and its track where it has one.

    The same label for the same boxes: from frame to frame of a video it stays where it is.
    image_rgb: uint8 (H, W, 3).  blur_faces: faces are made unrecognizable first, with those that nothing is said of.
    """
    blurred = image_rgb.copy()
    if blur_faces:
        for face in (*(reading.face for reading in readings), *unread):
            _blur(blurred, face)
    picture = Image.fromarray(blurred)
    canvas = ImageDraw.Draw(picture)
    line = max(1, math.ceil(max(picture.size) / 500))
    for reading in readings:
        canvas.rectangle(_box(reading), outline=_colour(reading), width=line)
    taken = [_box(reading) for reading in readings]
    for reading in readings:  # after all boxes, so that none cuts through a label
        taken += _label(canvas, reading, taken, 2 * line)
    return np.array(picture)


def told(reading: Reading) -> str:
    """Return what a reading says, in short: "2 happily surprised 91%", "happy 93%", "unsure (sad 34%)"."""
    mixture = reading.mixture
    percent = f"{100 * sum(reading.probabilities[label] for label in mixture.shares or [reading.expression]):.0f}%"
    said = f"{mixture.name} {percent}" if mixture.shares else f"{mixture.name} ({reading.expression} {percent})"
    return said if reading.track is None else f"{reading.track} {said}"


def _colour(reading: Reading) -> str:
    """Return the colour of a reading's expression."""
    return COLOURS.get(reading.expression, "#FFFFFF") if reading.mixture.shares else UNSURE_COLOUR


def _box(reading: Reading) -> Rectangle:
    """Return the box of a reading's face."""
    x0, y0, x1, y1 = (float(value) for value in reading.face.box_xyxy)
    return x0, y0, x1, y1


def _label(
    canvas: ImageDraw.ImageDraw, reading: Reading, taken: Sequence[Rectangle], pad: int
) -> tuple[Rectangle] | tuple[()]:
    """Draw what a reading says at its box, where it hides least of what is taken; return where, if anywhere."""
    text = told(reading)
    x0, y0, x1, y1 = _box(reading)
    font = _font(canvas, text, x1 - x0, pad)
    if font is None:
        return ()
    picture_width, picture_height = canvas.im.size
    left, _, right, _ = canvas.textbbox((0, 0), text, font=font)
    _, top, _, bottom = canvas.textbbox((0, 0), "d(p)", font=font)  # as high whatever the letters
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    # Above the box, below it, inside it at the top or the bottom, flush with its left or its right side.
    xs = [min(max(x, 0.0), max(picture_width - width, 0.0)) for x in (x0, x1 - width)]
    ys = [y0 - height, y1, max(y0, 0.0), min(y1, picture_height) - height]
    places = [(x, y, x + width, y + height) for y in ys for x in xs if 0 <= y <= picture_height - height]
    little = LITTLE * width * height
    place = min(
        places or [(xs[0], 0.0, xs[0] + width, height)],
        key=lambda place: sum(_shared(place, box) for box in taken) // little,
    )
    colour = _colour(reading)
    canvas.rectangle(place, fill=colour)
    dark = np.dot(ImageColor.getrgb(colour)[:3], LUMA) < 110
    canvas.text((place[0] + pad - left, place[1] + pad - top), text, fill="white" if dark else "black", font=font)
    return (place,)


def _font(
    canvas: ImageDraw.ImageDraw, text: str, face_px: float, pad: int
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont | None:
    """Return the font for a label: as the face is large, to be read where the whole picture is seen, and to fit in.

    None where the picture is too small for anything that can be read.
    """
    width, height = canvas.im.size
    longest = min(max(width, height), 5 * min(width, height))  # of a panorama not all is looked at at once
    size = min(max(12.0, longest / 150, min(face_px / 6, longest / 40)), height / 2)
    if size >= SMALLEST_FONT_PX:
        size = max(size // FONT_STEP_PX * FONT_STEP_PX, SMALLEST_FONT_PX)
        size *= min(1.0, width / (canvas.textlength(text, font=ImageFont.load_default(size)) + 2 * pad))
    return ImageFont.load_default(size) if size >= SMALLEST_FONT_PX else None


def _shared(first: Rectangle, second: Rectangle) -> float:
    """Return the area that two rectangles share."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)


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

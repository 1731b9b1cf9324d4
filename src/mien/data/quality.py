"""Is a face that was found in a photograph fit for a dataset: sharp, lit, large, whole, frontal, in plain sight.

Four of the numbers are computed; "frontal" and "visible" are the answers of a small network whose weights lie beside
this file (benchmarks/train_quality.py trains it).  benchmarks/quality_auc.py measures how well each number tells good
faces from the same faces spoiled on purpose.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mien.faces.crop import cut, square
from mien.spec import CropSpec
from mien.types import Face, FloatArray, ImageArray

__all__ = ["REASONS", "THRESHOLDS", "Quality", "grade", "network_input", "reasons"]


@dataclass(frozen=True, slots=True)
class Quality:
    """How fit one face is for use; each number has its threshold in THRESHOLDS and is better the higher it is."""

    sharpness: float  # about -2 to 3: log of the fine detail that a slight blur takes away, where it takes the least
    exposure: float  # 0 to 1: contrast and brightness, less what is crushed to black or blown out to white
    size_px: float  # shorter side of the detector's box, in pixels of the source
    inside: float  # 0 to 1: share of the crop that lies inside the picture
    frontal: float  # 0 to 1: seen from the front; low: turned away
    visible: float  # 0 to 1: nothing hides it, as far as can be told


#: The least value that is fit.  In brackets: the share of FER2013's PublicTest faces, as they are, that falls below
#: (3,309 without a twin in Training; it counts some that are turned away, hidden or dark in truth).
THRESHOLDS: dict[str, float] = {
    "sharpness": 2.0,  # (1%)  of the same faces blurred with a deviation of 2.5% of their side, over 99%
    "exposure": 0.25,  # (4%)  of the same faces at a fifth of the light all, at a quarter of the contrast 85%
    "size_px": 56.0,  # a crop of 48 pixels, 1.18 boxes wide, is then made smaller by a quarter or more, not enlarged
    "inside": 0.7,  # below, more than three tenths of the crop would be repeated edge pixels
    "frontal": 0.7,  # (2%)  of the same faces turned by 45 to 70 degrees, over 99%
    "visible": 0.35,  # (5%)  of the same faces hidden in part, 57 to 99% by what hides them; by strong noise 23 to 32%
}

#: What a person is told where a number falls below its threshold.
REASONS: dict[str, str] = {
    "sharpness": "blurred",
    "exposure": "badly lit",
    "size_px": "small",
    "inside": "cut off by the frame",
    "frontal": "turned away",
    "visible": "hidden in part",
}

WEIGHTS = Path(__file__).with_name("quality.npz")
SHARPNESS_PX = 64  # of 48 to 128, the size that told slight blurs best in small and in large faces alike
NETWORK_PX = 48  # the size of FER2013, on which the network was trained
LARGE_PX = 192  # a multiple of both: large faces are cut once, at this size
ROUNDING = 0.5  # mean square of a second difference (weights 1, 2, 1) of rounding errors, each of variance 1/12
SHARPNESS_FLOOR = 0.3  # added to both mean squares: where there is nothing to see, nothing is sharp
#: Standard deviation, darkest and lightest mean (of 255) at which a face counts as lit in full.
FULL_CONTRAST, FULL_DARK, FULL_LIGHT = 60.0, 120.0, 145.0
CRUSHED, BLOWN = 12, 243  # grey levels beyond which there is no shape left to see


def grade(image_rgb: ImageArray, face: Face, crop: CropSpec) -> Quality:
    """Return how fit one face is for use.

    image_rgb: the whole picture (H, W, 3).  crop: how the face will be cut out of it, which decides what is inside;
    the other numbers look at the face in the framing of FER2013, whatever the crop.
    Raises InputError where the box is empty or lies wholly outside the picture.
    """
    sharp_view, small_view = _views(image_rgb, face)
    frontal, visible = _frontal_and_visible(small_view)
    x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
    return Quality(
        sharpness=_sharpness(sharp_view),
        exposure=_exposure(small_view),
        size_px=min(x1 - x0, y1 - y0),
        inside=_inside(image_rgb, face, crop),
        frontal=frontal,
        visible=visible,
    )


def reasons(quality: Quality, thresholds: Mapping[str, float] = THRESHOLDS) -> list[str]:
    """Return the fields that fall below their thresholds, in the order of Quality; a nan falls below none."""
    names = [field.name for field in dataclasses.fields(quality)]
    return [name for name in names if name in thresholds and getattr(quality, name) < thresholds[name]]


def network_input(faces: ImageArray) -> FloatArray:
    """Return grey faces (N, 48, 48) as the network takes them: mean 0, deviation 1 each; light is no clue."""
    pixels = faces.astype(np.float32)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    return np.asarray(pixels / (pixels.std(axis=(1, 2), keepdims=True) + 8.0), np.float32)  # 8: a flat crop stays flat


def _views(image_rgb: ImageArray, face: Face) -> tuple[ImageArray, ImageArray]:
    """Return the face in grey at SHARPNESS_PX and at NETWORK_PX, in the framing of FER2013."""
    if square(face, CropSpec())[2] < LARGE_PX:
        return cut(image_rgb, face, CropSpec(size_px=SHARPNESS_PX)), cut(image_rgb, face, CropSpec(size_px=NETWORK_PX))
    large = cut(image_rgb, face, CropSpec(size_px=LARGE_PX))
    return _shrunk(large, SHARPNESS_PX), _shrunk(large, NETWORK_PX)


def _shrunk(grey: ImageArray, side: int) -> ImageArray:
    """Return a grey square brought down to a side that divides its own."""
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _sharpness(grey: ImageArray) -> float:
    """Return the log of how much a slight blur lessens the second differences, in the direction where it does least.

    Taken as a ratio it hangs little on contrast, and at one size not on the face's own.  The worst of four directions
    is taken as a blur of motion spares the lines that run along with it.
    After: Crete et al. 2007, "The blur effect", which compares first differences before and after a blur.
    """
    before = grey.astype(np.float32)
    after = np.asarray(cv2.GaussianBlur(before, (0, 0), 1.5), np.float32)
    ratios = []
    for dx, dy in _DIRECTIONS:
        fine = max(_bend(before, dx, dy) - ROUNDING, 0.0)
        ratios.append((fine + SHARPNESS_FLOOR) / (_bend(after, dx, dy) + SHARPNESS_FLOOR))
    return float(np.log(min(ratios)))


_DIRECTIONS = ((1, 0), (0, 1), (1, 1), (1, -1))


def _bend(pixels: FloatArray, dx: int, dy: int) -> float:
    """Return the mean square of the second difference along (dx, dy), an eighth of the side left out all around."""
    side, edge = len(pixels), len(pixels) // 8
    low, high = edge, side - edge
    middle = pixels[low:high, low:high]
    ahead = pixels[low + dy : high + dy, low + dx : high + dx]
    behind = pixels[low - dy : high - dy, low - dx : high - dx]
    return float(np.mean((2 * middle - ahead - behind) ** 2))


def _exposure(grey: ImageArray) -> float:
    """Return 0 to 1: contrast times brightness times the square of the share that is neither crushed nor blown out.

    Measured in the circle that the crop holds, as the corners are background.
    """
    values = grey[_circle(len(grey))].astype(np.float32)
    mean, deviation = float(values.mean()), float(values.std())
    lost = float(np.mean((values < CRUSHED) | (values > BLOWN)))
    dark, light = min(1.0, mean / FULL_DARK), min(1.0, (255 - mean) / (255 - FULL_LIGHT))
    return min(1.0, deviation / FULL_CONTRAST) * dark * light * (1 - lost) ** 2


@functools.cache
def _circle(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return (side, side) whether a pixel lies in the largest circle."""
    place = (np.arange(side) + 0.5) / side * 2 - 1
    return place[:, None] ** 2 + place**2 < 1


def _inside(image_rgb: ImageArray, face: Face, crop: CropSpec) -> float:
    """Return the share of the crop's square that lies inside the picture."""
    left, top, side = square(face, crop)
    height, width = image_rgb.shape[:2]
    across = min(left + side, width) - max(left, 0)
    down = min(top + side, height) - max(top, 0)
    return float(max(across, 0) * max(down, 0) / side**2)


def _frontal_and_visible(grey: ImageArray) -> tuple[float, float]:
    """Return the network's two answers, 0 to 1, for a grey face (48, 48); its mirror image has the same."""
    logits = _network(network_input(np.stack([grey, grey[:, ::-1]]))).mean(axis=0)
    frontal, visible = (float(value) for value in 1 / (1 + np.exp(-np.clip(logits, -30, 30))))
    return frontal, visible


def _network(faces: FloatArray) -> FloatArray:
    """Return the logits (N, 2), frontal and visible, of normalised faces (N, 48, 48): convolutions of stride 2."""
    weights, maps = _weights(), faces[..., None]
    for layer in range(3):
        kernel, bias = weights[f"kernel{layer}"], weights[f"bias{layer}"]
        maps = np.maximum(_convolve(maps, kernel) + bias, 0)
    hidden = np.maximum(maps.reshape(len(maps), -1) @ weights["kernel3"] + weights["bias3"], 0)
    return np.asarray(hidden @ weights["kernel4"] + weights["bias4"], np.float32)


def _convolve(maps: FloatArray, kernel: FloatArray) -> FloatArray:
    """Return (N, H / 2, W / 2, D): maps (N, H, W, C) under a kernel (K, K, C, D), with stride 2 and padding K // 2."""
    size, _, channels, depth = kernel.shape
    reach = size // 2
    padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::2, ::2]
    count, height, width = windows.shape[:3]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(count, height, width, size * size * channels)
    # One small product for each line of the map: a single large one would be spread over threads, which takes 16 ms
    # for 0.15 where another process keeps a core busy.
    return np.asarray(columns @ kernel.reshape(-1, depth), np.float32)


@functools.cache
def _weights() -> dict[str, FloatArray]:
    """Return the network's weights, read once."""
    with np.load(WEIGHTS, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}

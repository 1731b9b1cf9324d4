"""Crops as other detectors would have cut them and other cameras taken them: re-cut, blurred, relit, with noise.

A network is chosen on crops that were all made alike; in use they are not.  How far each change goes is written here
and was not fitted to any test.
"""

from __future__ import annotations

import math
import zlib

import cv2
import numpy as np

from mien.types import ImageArray

__all__ = ["as_cameras"]

ZOOM = 0.15  # standard deviation of the logarithm of the side: dlib's boxes on FER2013 have about 0.13 (results/LOG.md)
SHIFT = 0.06  # of the place, in sides, either way: the same measurement has 0.06 across, and 0.085 down
ROTATION_DEG = 6.0
BLUR_PX = 0.9  # largest standard deviation of the blur
GAMMA = 0.5  # largest of its logarithm, either way
SIDELIGHT = 0.35  # largest change of brightness from the middle to one edge
NOISE = 5.0  # largest standard deviation, of 255
JPEG_QUALITY = (40, 95)


def as_cameras(crops: ImageArray, *, seed: int = 0) -> ImageArray:
    """Return changed copies of crops, (N, S, S) or (N, S, S, 3) uint8.

    What happens to a crop depends on the seed and its pixels alone, and not on what stands beside it.
    """
    changed = [_change(crop, np.random.default_rng([seed, zlib.crc32(crop.tobytes())])) for crop in crops]
    return np.stack(changed) if changed else crops.copy()


def _change(crop: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Return one crop, re-cut, blurred, relit and compressed."""
    return _compress(_relight(_recut(crop, generator), generator), generator)


def _recut(crop: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Return the crop as a box of another size, place and angle would have cut it, blurred; edges are repeated."""
    side = crop.shape[0]
    zoom = math.exp(generator.normal(0, ZOOM))
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), generator.normal(0, ROTATION_DEG), zoom)
    matrix[:, 2] = matrix[:, 2] + generator.normal(0, SHIFT * side, 2)
    moved = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), generator.uniform(0.05, BLUR_PX)), np.uint8)


def _relight(crop: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Return the crop under another exposure, with light from one side and the noise of a sensor."""
    side = crop.shape[0]
    angle = generator.uniform(0, 2 * math.pi)
    place = np.linspace(-1, 1, side)
    slope = math.cos(angle) * place[None, :] + math.sin(angle) * place[:, None]
    light = 1 + generator.uniform(0, SIDELIGHT) * slope
    exposed = (crop / 255.0) ** math.exp(generator.uniform(-GAMMA, GAMMA))
    lit = exposed * light.reshape(side, side, *(1,) * (crop.ndim - 2))
    noisy = 255 * lit + generator.normal(0, generator.uniform(0, NOISE), crop.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _compress(crop: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Return the crop after a JPEG file."""
    quality = int(generator.integers(*JPEG_QUALITY))
    turned = crop[..., ::-1] if crop.ndim == 3 else crop  # OpenCV takes blue first
    _, written = cv2.imencode(".jpg", np.ascontiguousarray(turned), [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = np.asarray(cv2.imdecode(written, cv2.IMREAD_UNCHANGED), np.uint8)
    return read[..., ::-1] if crop.ndim == 3 else read

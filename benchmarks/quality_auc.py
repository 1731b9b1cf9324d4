"""How well each number of mien.data.quality tells good faces from the same faces spoiled on purpose.

    python benchmarks/quality_auc.py FOLDER [--limit 300] [--seed 0] [--detector dlib]

FOLDER holds photographs; with --detector none each of them is one face.  The largest face of each is graded as it is,
then spoiled in the ways that concern one number at a time.  A row: number, way of spoiling, area under the ROC curve
of the number, share of the good faces below its threshold, share of the spoiled ones.  Nothing here is shared with
benchmarks/train_quality.py, and the ways that are marked * are of kinds that the network has not been trained on.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mien.data.quality import THRESHOLDS, grade
from mien.faces.boxes import longer_side
from mien.faces.crop import square
from mien.faces.detect import make_detector
from mien.media import find_images, read_image
from mien.spec import CropSpec
from mien.types import Face, FloatArray, ImageArray

Spoiled = tuple[ImageArray, Face]
Spoil = Callable[[ImageArray, Face, np.random.Generator], Spoiled]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=300, help="this many pictures, chosen by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", default="dlib")
    options = parser.parse_args()
    detector = make_detector(options.detector)
    paths = list(find_images(options.folder))
    chosen = np.random.default_rng(options.seed).permutation(len(paths))[: options.limit]
    pictures = [read_image(paths[index]) for index in chosen.tolist()]
    good = [(picture, faces[0]) for picture in pictures if (faces := detector(picture))]
    print(f"{len(good)} faces in {len(pictures)} pictures")
    if not good:
        return
    table(good, seed=options.seed)


def table(good: list[Spoiled], *, seed: int) -> None:
    """Print one row for each way of spoiling, and how long a face takes."""
    spec = CropSpec()
    grade(*good[0], spec)
    began = time.perf_counter()
    before = [grade(picture, face, spec) for picture, face in good]
    print(f"{1000 * (time.perf_counter() - began) / len(good):.2f} ms a face")
    print(f"{'number':10} {'spoiled by':22} {'AUC':>6} {'good <':>7} {'bad <':>7}")
    for number, ways in WAYS.items():
        kept = np.array([getattr(quality, number) for quality in before])
        for name, spoil in ways.items():
            rng = np.random.default_rng(seed)
            values = [getattr(grade(*spoil(picture, face, rng), spec), number) for picture, face in good]
            lost, least = np.array(values), THRESHOLDS[number]
            shares = f"{100 * float(np.mean(kept < least)):6.1f}% {100 * float(np.mean(lost < least)):6.1f}%"
            print(f"{number:10} {name:22} {area(kept, lost):6.3f} {shares}")


def area(good: FloatArray, bad: FloatArray) -> float:
    """Return the area under the ROC curve: the share of pairs in which the good one is higher, half for a draw."""
    return float(np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad)))


def middle_of(face: Face) -> tuple[float, float, float]:
    """Return (x, y, side) of the face itself: the middle of the detector's box, and its longer side."""
    left, top, side = square(face, CropSpec())
    across = side if face.framed else side / 1.18
    return (
        left + side / 2,
        top + side / 2 + (0 if face.framed else 0.07 * across),
        across * (0.85 if face.framed else 1),
    )


# Sharpness: blurs, in shares of the face's side.


def gaussian(share: float) -> Spoil:
    """Return a blur whose deviation is a share of the face."""
    return lambda image, face, _rng: (
        cv2.GaussianBlur(image, (0, 0), share * middle_of(face)[2]).astype(np.uint8),
        face,
    )


def motion(share: float) -> Spoil:
    """Return a blur along a line of random direction."""

    def spoil(image: ImageArray, face: Face, rng: np.random.Generator) -> Spoiled:
        length = max(3, round(share * middle_of(face)[2]) | 1)
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1
        centre = (length // 2, length // 2)
        turned = cv2.warpAffine(kernel, cv2.getRotationMatrix2D(centre, rng.uniform(0, 180), 1), (length, length))
        return cv2.filter2D(image, -1, turned / turned.sum()).astype(np.uint8), face

    return spoil


def defocus(share: float) -> Spoil:
    """Return a blur by a disc whose radius is a share of the face."""

    def spoil(image: ImageArray, face: Face, _rng: np.random.Generator) -> Spoiled:
        radius = share * middle_of(face)[2]
        reach = math.ceil(radius)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
        return cv2.filter2D(image, -1, kernel / kernel.sum()).astype(np.uint8), face

    return spoil


def downscale(side_px: float) -> Spoil:
    """Return the picture brought down until the face has this side, and up again."""

    def spoil(image: ImageArray, face: Face, _rng: np.random.Generator) -> Spoiled:
        height, width = image.shape[:2]
        scale = side_px / middle_of(face)[2]
        small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8), face

    return spoil


# Exposure.


def light(gain: float, shift: float = 0.0) -> Spoil:
    """Return grey levels times a gain plus a shift."""
    return lambda image, face, _rng: (np.clip(image * float(gain) + shift + 0.5, 0, 255).astype(np.uint8), face)


def curve(gamma: float) -> Spoil:
    """Return grey levels under a power."""
    return lambda image, face, _rng: ((255 * (image / 255) ** gamma + 0.5).astype(np.uint8), face)


def contrast(share: float) -> Spoil:
    """Return a share of the contrast, about the picture's own mean."""
    return lambda image, face, _rng: (
        ((image - image.mean()) * share + image.mean() + 0.5).clip(0, 255).astype(np.uint8),
        face,
    )


# Size and frame.


def shrink(side_px: float) -> Spoil:
    """Return the picture brought down until the box has this side."""

    def spoil(image: ImageArray, face: Face, rng: np.random.Generator) -> Spoiled:
        scale = side_px * rng.uniform(0.8, 1.0) / longer_side(face.box_xyxy)
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return small, replace(face, box_xyxy=(face.box_xyxy * scale).astype(np.float32))

    return spoil


def cut_off(share: float) -> Spoil:
    """Return the picture without a share of the box, at a random side of it."""

    def spoil(image: ImageArray, face: Face, rng: np.random.Generator) -> Spoiled:
        x0, y0, x1, y1 = face.box_xyxy.astype(float)
        side, wide, high = int(rng.integers(4)), share * (x1 - x0), share * (y1 - y0)
        if side == 0:
            return image[:, : max(1, round(x1 - wide))], face
        if side == 1:
            return image[: max(1, round(y1 - high))], face
        left, top = (max(0, round(x0 + wide)), 0) if side == 2 else (0, max(0, round(y0 + high)))
        box = (face.box_xyxy - np.array([left, top, left, top])).astype(np.float32)
        return image[top:, left:], replace(face, box_xyxy=box)

    return spoil


# Turned away.


def yaw(least_deg: float, most_deg: float, *, cylinder: bool = False) -> Spoil:
    """Return the face wrapped around a head that is as deep as it is wide, turned by an angle between these."""

    def spoil(image: ImageArray, face: Face, rng: np.random.Generator) -> Spoiled:
        middle_x, middle_y, side = middle_of(face)
        angle = math.radians(rng.uniform(least_deg, most_deg)) * int(rng.choice([-1, 1]))
        y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
        height = np.clip((y - middle_y) / (0.75 * side), -1, 1)
        radius = np.full_like(x, 0.52 * side) if cylinder else 0.55 * side * np.sqrt(1 - height**2 + 1e-4)
        place = (x - middle_x) / radius
        on_head = (np.abs(place) < 1) & (np.abs((y - middle_y) / (0.75 * side)) < 1)
        source = middle_x + radius * np.sin(np.clip(np.arcsin(np.clip(place, -1, 1)) - angle, -np.pi / 2, np.pi / 2))
        source = np.where(on_head, source, x).astype(np.float32)
        return cv2.remap(image, source, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8), face

    return spoil


# Hidden in part: a mask over the face, filled with a colour or a texture.

Shape = Callable[[ImageArray, float, float, float, np.random.Generator], None]
Paint = Callable[[ImageArray, np.random.Generator], FloatArray]


def behind(shape: Shape, paint: Paint) -> Spoil:
    """Return the face behind a shape in a paint."""

    def spoil(image: ImageArray, face: Face, rng: np.random.Generator) -> Spoiled:
        mask = np.zeros(image.shape[:2], np.uint8)
        shape(mask, *middle_of(face), rng)
        colour = paint(image, rng)
        return np.where(mask[..., None] > 0, colour, image).astype(np.uint8), face

    return spoil


def block(mask: ImageArray, x: float, y: float, side: float, rng: np.random.Generator) -> None:
    """Draw a rectangle of 25 to 40 per cent of the face."""
    area_share, form = rng.uniform(0.25, 0.4), rng.uniform(0.6, 1.6)
    wide, high = side * math.sqrt(area_share * form), side * math.sqrt(area_share / form)
    left, top = (
        x + rng.uniform(-0.5, 0.5) * (side - wide) - wide / 2,
        y + rng.uniform(-0.5, 0.5) * (side - high) - high / 2,
    )
    cv2.rectangle(mask, (int(left), int(top)), (int(left + wide), int(top + high)), 255, -1)


def oval(mask: ImageArray, x: float, y: float, side: float, rng: np.random.Generator) -> None:
    """Draw an ellipse of 22 to 35 per cent of the face."""
    area_share, form = rng.uniform(0.22, 0.35), rng.uniform(0.7, 1.4)
    wide, high = side * math.sqrt(area_share * form / math.pi), side * math.sqrt(area_share / form / math.pi)
    place = int(x + rng.uniform(-0.22, 0.22) * side), int(y + rng.uniform(-0.22, 0.22) * side)
    cv2.ellipse(mask, place, (int(wide), int(high)), rng.uniform(0, 180), 0, 360, 255, -1)


def eye_bar(mask: ImageArray, x: float, y: float, side: float, _rng: np.random.Generator) -> None:
    """Draw a bar over both eyes."""
    level, high = y - 0.2 * side, 0.22 * side
    cv2.rectangle(
        mask, (int(x - 0.48 * side), int(level - high / 2)), (int(x + 0.48 * side), int(level + high / 2)), 255, -1
    )


def mouth_mask(mask: ImageArray, x: float, y: float, side: float, _rng: np.random.Generator) -> None:
    """Draw a mask over nose and mouth."""
    corners = [(-0.36, 0.02), (0, -0.06), (0.36, 0.02), (0.3, 0.34), (0, 0.5), (-0.3, 0.34)]
    cv2.fillPoly(mask, [np.array([(x + a * side, y + b * side) for a, b in corners], np.int32)], 255)


def glasses(mask: ImageArray, x: float, y: float, side: float, _rng: np.random.Generator) -> None:
    """Draw sunglasses."""
    level = int(y - 0.2 * side)
    for sign in (-1, 1):
        cv2.ellipse(
            mask, (int(x + sign * 0.21 * side), level), (int(0.19 * side), int(0.14 * side)), 0, 0, 360, 255, -1
        )
    cv2.line(mask, (int(x - 0.5 * side), level), (int(x + 0.5 * side), level), 255, max(1, int(0.035 * side)))


def hand(mask: ImageArray, x: float, y: float, side: float, rng: np.random.Generator) -> None:
    """Draw a palm over the lower or one half of the face, its fingers upward."""
    middle, low = x + rng.uniform(-0.25, 0.25) * side, y + rng.uniform(0.2, 0.4) * side
    cv2.ellipse(mask, (int(middle), int(low)), (int(0.28 * side), int(0.25 * side)), 0, 0, 360, 255, -1)
    for finger in range(4):
        root = middle + (finger - 1.5) * 0.14 * side
        tip = (int(root + (finger - 1.5) * 0.05 * side), int(low - rng.uniform(0.42, 0.55) * side))
        cv2.line(mask, (int(root), int(low - 0.1 * side)), tip, 255, max(1, int(0.11 * side)))


def star(mask: ImageArray, x: float, y: float, side: float, rng: np.random.Generator) -> None:
    """Draw a star of nine points, as a leaf or a flower before the face."""
    middle = x + rng.uniform(-0.2, 0.2) * side, y + rng.uniform(-0.2, 0.2) * side
    reach = np.where(np.arange(18) % 2, 0.2, 0.48) * side
    angles = np.arange(18) / 9 * math.pi + rng.uniform(0, 1)
    corners = np.stack([middle[0] + reach * np.cos(angles), middle[1] + reach * np.sin(angles)], axis=1)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 255)


def microphone(mask: ImageArray, x: float, y: float, side: float, rng: np.random.Generator) -> None:
    """Draw a microphone before the mouth and its stand."""
    middle = int(x + rng.uniform(-0.15, 0.15) * side), int(y + rng.uniform(0.12, 0.25) * side)
    cv2.circle(mask, middle, int(0.26 * side), 255, -1)
    cv2.line(
        mask, middle, (middle[0] + int(rng.uniform(-0.4, 0.4) * side), int(y + side)), 255, max(1, int(0.14 * side))
    )


def flat(*colours: tuple[int, int, int]) -> Paint:
    """Return one of these colours; of none, any."""

    def paint(image: ImageArray, rng: np.random.Generator) -> FloatArray:
        colour = colours[int(rng.integers(len(colours)))] if colours else rng.integers(0, 256, 3)
        return np.broadcast_to(np.array(colour, np.float32), image.shape)

    return paint


def skin(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    """Return the colour of the middle of the picture, shaded softly."""
    height, width = image.shape[:2]
    colour = np.median(image[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3], axis=(0, 1))
    shade = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), width / 12)
    return np.asarray(np.clip(colour * 0.92 + (shade / shade.std() * 9)[..., None], 0, 255), np.float32)


def grain(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    """Return coarse coloured noise."""
    small = rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)


def checks(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    """Return a chequered cloth."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    step = max(2, image.shape[1] // 14)
    two = rng.integers(0, 256, (2, 3))
    return np.asarray(two[(x // step + y // step) % 2], np.float32)


def foliage(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    """Return greens and dark gaps in three sizes, as of leaves."""
    height, width = image.shape[:2]
    total = np.zeros((height, width), np.float32)
    for cells in (6, 14, 32):
        small = rng.normal(size=(cells, cells)).astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    green = np.array([70, 110, 50]) + total[..., None] * np.array([25, 35, 20])
    return np.asarray(np.clip(green, 0, 255), np.float32)


BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
WAYS: dict[str, dict[str, Spoil]] = {
    "sharpness": {
        "gaussian 1.4%": gaussian(0.014), "gaussian 2.5%": gaussian(0.025), "gaussian 4%": gaussian(0.04),
        "motion 5%": motion(0.05), "motion 12%": motion(0.12),
        "defocus 3%": defocus(0.03), "defocus 6%": defocus(0.06),
        "down to 30 px": downscale(30), "down to 20 px": downscale(20),
    },
    "exposure": {
        "dark x0.4": light(0.4), "dark x0.2": light(0.2), "dark -80": light(1, -80), "dark gamma 3": curve(3),
        "bright x2": light(2), "bright +90": light(1, 90), "bright gamma 0.3": curve(0.3),
        "contrast x0.4": contrast(0.4), "contrast x0.25": contrast(0.25),
    },
    "size_px": {"to 40 px or less": shrink(40), "to 24 px or less": shrink(24)},
    "inside": {"15% of the box": cut_off(0.15), "25% of the box": cut_off(0.25), "40% of the box": cut_off(0.4)},
    "frontal": {
        "head 45 to 55 degrees": yaw(45, 55), "head 55 to 70 degrees": yaw(55, 70),
        "cylinder 45 to 70": yaw(45, 70, cylinder=True),
    },
    "visible": {
        "black block": behind(block, flat(BLACK)), "grey block": behind(block, flat(GREY)),
        "coloured block": behind(block, flat()), "noise block": behind(block, grain),
        "coloured oval": behind(oval, flat()), "noise oval": behind(oval, grain), "skin oval": behind(oval, skin),
        "eye bar": behind(eye_bar, flat(BLACK, GREY, WHITE)),
        "mouth mask": behind(mouth_mask, flat(WHITE, BLACK, (120, 170, 200))),
        "sunglasses": behind(glasses, flat((15, 15, 18), (40, 30, 25))), "hand": behind(hand, skin),
        "microphone *": behind(microphone, flat((25, 25, 28), (60, 60, 60))),
        "star of leaves *": behind(star, foliage), "chequered block *": behind(block, checks),
    },
}  # fmt: skip


if __name__ == "__main__":
    main()

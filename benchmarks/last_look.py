"""How low dlib's score may be where nothing was found: faces that the last look finds, and what it takes for one.

    python benchmarks/last_look.py --data data/fer2013 --faceless FOLDER [--faces 600]

Training faces, each enlarged five times with its edge pixels repeated around it, are shown to the detector without its
last look; those that it misses are shown to the last look, and so are pictures in which there is no face: those of a
folder, each whole and 25 square windows of it at random, but for those in which the detector sees one
without it.  Printed is how many of each give a face of at least a score, with the files of those that should not.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mien.data.manifest import read
from mien.faces.detect import DlibDetector
from mien.media import find_images, read_image
from mien.types import ImageArray

BORDER_PX = 16
ENLARGEMENT = 5
WINDOWS = 25
WINDOW_SHARES = (0.25, 0.95)  # side of a window, of the picture's shorter side
SMALLEST_WINDOW_PX = 60
WINDOW_PX = 350  # to which windows are brought
THRESHOLDS = (-0.1, -0.2, -0.3, -0.4, -0.5, -0.6)


class Lowest(DlibDetector):
    """A detector whose last look returns whatever resembles a face a little."""

    LARGE_THRESHOLD = min(THRESHOLDS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--faceless", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=600)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    dataset = read(options.data)
    generator = np.random.default_rng(options.seed)
    rows = generator.permutation(dataset.manifest.rows_in("train"))[: options.faces]
    faces = [enlarged(np.asarray(dataset.crops[row])) for row in rows]
    first, last = DlibDetector(last_look=False), Lowest()
    missed = [picture for picture in faces if not first(picture)]
    shown = [(name, picture) for name, picture in windows(options.faceless, generator) if not first(picture)]
    if not shown:
        parser.error(f"{options.faceless}: no picture in which the detector sees no face; expected some")
    names, faceless = zip(*shown, strict=True)
    print(f"{len(missed):,} of {len(faces):,} faces missed; {len(faceless):,} pictures and windows without a face")
    found, wrong = (np.array([best_score(last, picture) for picture in some]) for some in (missed, faceless))
    for threshold in THRESHOLDS:
        which = Counter(name for name, score in zip(names, wrong, strict=True) if score >= threshold)
        named = "".join(f", {name} {count}" for name, count in which.most_common())
        print(f"{threshold:5.2f}: {(found >= threshold).sum():,} faces, {which.total():,} without one{named}")


def enlarged(crop: ImageArray) -> ImageArray:
    """Return a grey crop as a picture, its edges repeated around it."""
    framed = cv2.resize(np.pad(crop, BORDER_PX, mode="edge"), None, fx=ENLARGEMENT, fy=ENLARGEMENT)
    return cv2.cvtColor(framed, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def windows(folder: Path, generator: np.random.Generator) -> Iterator[tuple[str, ImageArray]]:
    """Yield the pictures of a folder with their files' names, each whole and windows of it."""
    for file in find_images(folder):
        picture = read_image(file)
        yield file.name, picture
        height, width = picture.shape[:2]
        for _ in range(WINDOWS):
            side = int(min(height, width) * generator.uniform(*WINDOW_SHARES))
            x, y = generator.integers(0, width - side + 1), generator.integers(0, height - side + 1)
            if side >= SMALLEST_WINDOW_PX:
                window = cv2.resize(picture[y : y + side, x : x + side], (WINDOW_PX, WINDOW_PX))
                yield file.name, window.astype(np.uint8, copy=False)


def best_score(detector: DlibDetector, picture: ImageArray) -> float:
    """Return dlib's own score of the most certain face, -inf where there is none."""
    return max((np.log(face.score / (1 - face.score)) / 2 for face in detector(picture)), default=-np.inf)


if __name__ == "__main__":
    main()

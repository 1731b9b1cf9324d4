"""How FER2013 frames its faces, as dlib's detector sees them: the margin and offset with which new faces are cut.

    python benchmarks/crop_margin.py --data data/fer2013 [--faces 2000]

Only Training faces are looked at.  Each is enlarged at several sizes, since the detector's boxes come in steps of a
fifth, with its edge pixels repeated around it, since the detector wants some surroundings; the boxes that it finds are
averaged.  What is printed is the crop's side over the box's, and how far the crop's centre lies from the box's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import dlib
import numpy as np

from mien.data.manifest import read

BORDER_PX = 16
ENLARGEMENTS = (4.0, 4.5, 5.0, 5.5, 6.0)


def main() -> None:
    """Measure and print the framing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dataset = read(options.data)
    rows = np.random.default_rng(options.seed).permutation(dataset.manifest.rows_in("train"))[: options.faces]
    detector = dlib.get_frontal_face_detector()
    boxes = np.array([box for row in rows if (box := find(detector, np.asarray(dataset.crops[row]))) is not None])
    side = boxes[:, 2] - boxes[:, 0]
    size = dataset.manifest.crop.size_px
    ratio = size / side
    offset_x, offset_y = ((size / 2 - (boxes[:, low] + boxes[:, low + 2]) / 2) / side for low in (0, 1))
    typical = float(np.exp(np.log(ratio).mean()))
    print(f"found in {len(boxes):,} of {len(rows):,} faces ({100 * len(boxes) / len(rows):.1f}%)")
    for name, values in (("side of crop / box", ratio), ("offset to the right", offset_x), ("offset down", offset_y)):
        quartiles = ", ".join(f"{value:.3f}" for value in np.percentile(values, [5, 25, 50, 75, 95]))
        print(f"{name}: mean {values.mean():.3f}; percentiles 5, 25, 50, 75, 95: {quartiles}")
    print(f"geometric mean of the ratio {typical:.3f}: margin {(typical - 1) / 2:.3f}, offset_y {offset_y.mean():.3f}")


def find(detector: dlib.fhog_object_detector, face: np.ndarray) -> np.ndarray | None:
    """Return the mean box (4,) in pixels of the face picture, over the enlargements; None where nothing was found."""
    framed = np.pad(face, BORDER_PX, mode="edge")
    found = []
    for factor in ENLARGEMENTS:
        enlarged = cv2.resize(framed, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        boxes, scores, _ = detector.run(enlarged, 0, 0.0)
        if boxes:
            box = boxes[int(np.argmax(scores))]
            corners = np.array([box.left(), box.top(), box.right() + 1, box.bottom() + 1])
            found.append(corners / factor - BORDER_PX)
    return np.mean(found, axis=0) if found else None


if __name__ == "__main__":
    main()

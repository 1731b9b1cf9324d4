"""How fast video is read: times real time at 25 frames a second, and the share of decoding, finding, reading, drawing.

    python benchmarks/video_speed.py [VIDEO...]

Without a video, one is made of the portrait in examples/, which moves, in 640x360 and in 1280x720.  Each is read as
`mien recognize VIDEO --out FILE --annotate FOLDER` does it, and its rows alone; the reference is a bare loop that
decodes the same frames.  Decoding, finding and reading run beside each other: their shares are of the time that each
takes by itself, as threads measure it, and may sum to more than one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from mien import Recognizer
from mien.draw import annotate
from mien.media import read_image
from mien.temporal import VideoReader
from mien.video import frames
from mien.video_writer import VideoWriter

PORTRAIT = Path(__file__).resolve().parent.parent / "examples" / "astronaut.jpg"
RATE = 25
SECONDS = 12
SIZES = ((640, 360), (1280, 720))
WANTED = {640 * 360: 2.0, 1280 * 720: 1.0}  # times real time, annotated copy included, on two cores


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    options = parser.parse_args()
    recognizer = Recognizer.load()
    print(f"{'video':24} {'':10} {'frames/s':>8} {'x real time':>11} {'wanted':>6} {'of a bare loop':>14}"
          f" {'decode':>6} {'find':>6} {'read':>6} {'draw':>6}")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        videos = options.videos or [made(Path(scratch), *size) for size in SIZES]
        for video in videos:
            for drawn in (False, True):
                measure(recognizer, video, Path(scratch) / "copy.mp4" if drawn else None)


def made(folder: Path, width: int, height: int) -> Path:
    """Return a video of the portrait that moves over noise."""
    path = folder / f"{width}x{height}.mp4"
    ground = np.random.default_rng(0).integers(60, 160, (height // 8, width // 8, 3), np.uint8)
    ground = cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC)
    side = round(0.9 * height)
    portrait = cv2.resize(read_image(PORTRAIT), (side, side), interpolation=cv2.INTER_AREA)
    with VideoWriter(path) as writer:
        for number in range(RATE * SECONDS):
            image_rgb = ground.copy()
            x = round((width - side) * (0.5 + 0.5 * np.sin(number / RATE)))
            image_rgb[height - side :, x : x + side] = portrait
            writer.write(image_rgb.astype(np.uint8), number / RATE)
    return path


def measure(recognizer: Recognizer, video: Path, copy: Path | None) -> None:
    """Print the line of a video; copy: where it is drawn to, None: it is not."""
    begun = time.perf_counter()
    count = sum(1 for _ in frames(video))
    decoding_s = time.perf_counter() - begun
    reader = VideoReader(recognizer)
    drawing_s = 0.0
    begun = time.perf_counter()
    with closing(reader.read(frames(video))) as read:
        if copy is None:
            pixels = [frame.image_rgb.size for frame, _ in read][-1] // 3
        else:
            with VideoWriter(copy) as writer:
                for frame, reading in read:
                    before = time.perf_counter()
                    writer.write(annotate(frame.image_rgb, reading.readings), frame.time_s)
                    drawing_s += time.perf_counter() - before
                    pixels = frame.image_rgb.size // 3
    whole_s = time.perf_counter() - begun
    wanted = f"{WANTED[pixels]:.1f}" if pixels in WANTED and copy else ""
    shares = (decoding_s, reader.finding_seconds, reader.reading_seconds, drawing_s)
    told = " ".join(f"{100 * seconds / whole_s:5.0f}%" for seconds in shares)
    speed, name = count / whole_s, "drawn" if copy else "rows alone"
    print(
        f"{video.name:24} {name:10} {speed:8.1f} {speed / RATE:11.2f} {wanted:>6} {decoding_s / whole_s:14.3f} {told}"
    )


if __name__ == "__main__":
    main()

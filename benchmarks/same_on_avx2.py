"""Whether an 8-bit model gives the same answers on a processor that has AVX2 and no instructions made for 8 bits.

    python benchmarks/same_on_avx2.py MODEL [--data data/fer2013]

The model is run here and again in an emulated Haswell (`qemu-x86_64`, Debian's package qemu-user), on the first crops
of val or, without a dataset, on noise.  Prints the largest difference of a probability and how many answers agree.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mien.classify import Classifier
from mien.data import manifest
from mien.types import FloatArray, ImageArray
from mien.weights import catalogue

CROPS = 256
EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")


def main() -> None:
    """Run the model twice and compare; called by itself in the emulator with the two files to use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--here", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    path, _ = catalogue.find(options.model)
    if options.here:
        np.savez(options.here[1], *answers(path, np.load(options.here[0])))
        return
    crops = np.random.default_rng(0).integers(0, 256, (CROPS, 48, 48), np.uint8)
    if options.data:
        dataset = manifest.read(options.data)
        crops = np.array(dataset.crops[dataset.manifest.rows_in("val")[:CROPS]])
    with tempfile.TemporaryDirectory() as scratch:
        given, told = Path(scratch) / "crops.npy", Path(scratch) / "answers.npz"
        np.save(given, crops)
        again = [*EMULATOR, sys.executable, __file__, str(path), "--here", str(given), str(told)]
        subprocess.run(again, check=True, stderr=subprocess.DEVNULL)
        with np.load(told) as emulated:
            for here, there in zip(answers(path, crops), emulated.values(), strict=True):
                same = int((here.argmax(axis=1) == there.argmax(axis=1)).sum())
                print(f"largest difference {np.abs(here - there).max():.2g}; {same} of {len(crops)} answers agree")


def answers(path: Path, crops: ImageArray) -> list[FloatArray]:
    """Return all answers of a model file, by one thread."""
    classifier = Classifier.load(path, threads=1)
    return classifier.predict_answers(crops, classifier.answers)


if __name__ == "__main__":
    main()

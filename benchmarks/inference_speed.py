"""How long a face takes: ms of `Classifier.predict` by threads, batch and precision, beside the multiplications.

    python benchmarks/inference_speed.py [MODEL...]

Without models, the shipped ones.  Each is measured as it is and, where it computes in floats, as an 8-bit copy as well.
The last column compares with the bare ONNX Runtime session at the same batch, threads and views, in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mien.classify import Classifier
from mien.errors import ModelError
from mien.paper.cost import cost_of
from mien.train.quantise import quantise
from mien.types import ImageArray
from mien.weights import catalogue

ROUNDS = 7
FACES = 256  # a round


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=first_names())
    options = parser.parse_args()
    print(f"{'model':24} {'MMAC':>6} {'threads':>7} {'batch':>5} {'ms a face':>9} {'of the bare session':>20}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.models:
            path, _ = catalogue.find(name)
            shape = Classifier.load(path).spec.crop.shape
            crops = np.random.default_rng(0).integers(0, 256, (FACES, *shape), np.uint8)
            versions = {str(name): path}
            try:
                quantise(path, crops, Path(scratch) / "int8.onnx")
                versions[f"{name}, int8"] = Path(scratch) / "int8.onnx"
            except ModelError:
                pass  # in 8 bits already
            for title, file in versions.items():
                measure(title, file, crops)


def first_names() -> list[str]:
    """Return the first name of each shipped file: the others stand for answers of the same."""
    by_file: dict[str, str] = {}
    for name, model in catalogue.SHIPPED.items():
        by_file.setdefault(model.file, name)
    return list(by_file.values())


def measure(title: str, file: Path, crops: ImageArray) -> None:
    """Print a line for each number of threads and size of batch."""
    millions = cost_of(file).multiplications / 1e6
    for threads in sorted({1, min(2, os.cpu_count() or 1)}):
        classifier = Classifier.load(file, threads=threads)
        for batch in (1, 32):
            batches = [crops[start : start + batch] for start in range(0, len(crops), batch)]

            def whole(batches: list[ImageArray] = batches, classifier: Classifier = classifier) -> None:
                for part in batches:
                    classifier.predict(part)

            def bare(batches: list[ImageArray] = batches, classifier: Classifier = classifier) -> None:
                for part in batches:
                    for _ in range(2 if classifier.spec.mirror else 1):
                        classifier.predict_once(part)

            whole_s, bare_s = compare(whole, bare)
            ratio = whole_s / bare_s
            print(f"{title:24} {millions:6.1f} {threads:7} {batch:5} {1000 * whole_s / len(crops):9.2f} {ratio:20.2f}")


def compare(*functions: Callable[[], None]) -> list[float]:
    """Return the median seconds of each, taking turns, after one round to warm up."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS + 1):
        for taken, function in zip(times, functions, strict=True):
            begun = time.perf_counter()
            function()
            taken.append(time.perf_counter() - begun)
    return [statistics.median(taken[1:]) for taken in times]


if __name__ == "__main__":
    main()

"""How long a face takes: ms of `Classifier.predict` by threads, batch and precision, beside the multiplications.

    python benchmarks/inference_speed.py [MODEL...]

Without models, the shipped ones and each network of the zoo with fresh weights, which take as long.  Each is measured
as it is and, where it computes in floats, as an 8-bit copy as well.
The last column compares with the bare ONNX Runtime session at the same batch, threads and views, in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.classify import Classifier
from mien.errors import ModelError
from mien.paper.cost import cost_of
from mien.train.config import DataConfig, ModelConfig, OptimiserConfig, Recipe
from mien.train.export import export
from mien.train.fit import fit
from mien.train.models.registry import MODELS
from mien.train.quantise import quantise
from mien.types import ImageArray
from mien.weights import catalogue
from training_overhead import random_dataset

ROUNDS = 7
FACES = 256  # a round


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    print(f"{'model':24} {'MMAC':>6} {'threads':>7} {'batch':>5} {'ms a face':>9} {'of the bare session':>20}")
    with tempfile.TemporaryDirectory() as scratch:
        found = {name: catalogue.find(name)[0] for name in options.models or first_names()}
        if not options.models:
            found |= {f"{name}, fresh": fresh(name, Path(scratch)) for name in MODELS}
        for name, path in found.items():
            shape = Classifier.load(path).spec.crop.shape
            crops = np.random.default_rng(0).integers(0, 256, (FACES, *shape), np.uint8)
            versions = {name: path}
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


def fresh(name: str, scratch: Path) -> Path:
    """Return the file of a network of the zoo that has hardly learned anything."""
    recipe = Recipe(name, model=ModelConfig(name), optimiser=OptimiserConfig(epochs=1, warmup_epochs=0))
    data = random_dataset(scratch / f"{name} data", 2 * recipe.optimiser.batch_size)
    fit(replace(recipe, data=DataConfig((str(data),))), scratch / name)
    export(scratch / name / "best.pt", scratch / f"{name}.onnx")
    return scratch / f"{name}.onnx"


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

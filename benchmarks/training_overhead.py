"""How much the training loop adds to a bare forward and backward pass: data, augmentation, averaging, progress.

    python benchmarks/training_overhead.py [--data data/fer2013] [--recipe recipes/paper-cnn.toml]

Without --data, random crops stand in for pictures: the time does not depend on what they show.  Bare loop and training
loop take turns, and the medians are compared, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mien.data.manifest import Manifest, write
from mien.spec import CropSpec
from mien.train.answers import HEADS
from mien.train.config import Recipe, read_recipe
from mien.train.dataset import TrainingData, load
from mien.train.devices import autocast, describe, find_device, find_layout, find_precision
from mien.train.fit import train_epoch
from mien.train.network import normalise, to_input
from mien.train.state import start
from mien.train.teach import total_loss

TARGET = 0.15
STEPS = 20
ROUNDS = 7


def main() -> None:
    """Measure and print the overhead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/paper-cnn.toml"))
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    device = find_device(options.device)
    crops = STEPS * recipe.optimiser.batch_size
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or random_dataset(Path(temporary), crops)
        data = load(replace(recipe.data, manifests=(str(folder),), limit=crops))
        bare, whole = bare_loop(recipe, data, device), training_loop(recipe, data, device)
        times: dict[str, list[float]] = {"bare": [], "whole": []}
        for _ in range(ROUNDS + 1):  # the first round warms up
            times["bare"].append(timed(bare))
            times["whole"].append(timed(whole))
    bare_s, whole_s = (statistics.median(values[1:]) for values in times.values())
    print(f"{recipe.name} on {describe(device)}, {find_precision(device)}, batches of {recipe.optimiser.batch_size}")
    print(f"bare forward and backward loop on one batch: {crops / bare_s:8.0f} images/s")
    print(f"training loop:                               {crops / whole_s:8.0f} images/s")
    print(f"overhead: {100 * (whole_s / bare_s - 1):.1f}% (target: at most {100 * TARGET:.0f}%)")


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def bare_loop(recipe: Recipe, data: TrainingData, device: torch.device) -> Callable[[], object]:
    """Return STEPS forward and backward passes with the optimiser's step on one batch that is ready."""
    state = start(recipe, data.crop, device)
    crops, targets = data.train.batch(np.arange(recipe.optimiser.batch_size))
    inputs = normalise(to_input(crops.to(device)), data.crop).contiguous(memory_format=find_layout(device))
    targets = targets.to(device)

    def work() -> None:
        state.network.train()
        for _ in range(STEPS):
            with autocast(device):
                logits = state.network(inputs)
            loss = total_loss(logits, targets, None, HEADS[recipe.data.labels], recipe)
            state.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimiser.step()
        loss.item()

    return work


def training_loop(recipe: Recipe, data: TrainingData, device: torch.device) -> Callable[[], object]:
    """Return one epoch of STEPS steps as `mien train` runs it: the last, in which crops have their full size."""
    state = start(recipe, data.crop, device)
    return lambda: train_epoch(state, recipe, data, recipe.optimiser.epochs, device, lambda *_: None)


def random_dataset(folder: Path, crops: int) -> Path:
    """Return the folder of a dataset of random crops with random votes, as many in train as in val."""
    generator = np.random.default_rng(0)
    count = 2 * crops
    manifest = Manifest(
        crop=CropSpec(),
        source=[str(index) for index in range(count)],
        person=[None] * count,
        label=generator.integers(0, 7, count),
        votes=generator.multinomial(10, [0.1] * 10, count).astype(np.uint8),
        split=np.repeat([0, 1], crops),
        licence=[None] * count,
        missed=np.zeros(count, np.bool_),
    )
    write(manifest, generator.integers(0, 256, (count, 48, 48), np.uint8), folder)
    return folder


if __name__ == "__main__":
    main()

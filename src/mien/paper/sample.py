"""Some faces of a dataset as a dataset of its own, for a quick look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.data.manifest import SPLITS, Dataset, write

__all__ = ["write_sample"]


def write_sample(dataset: Dataset, folder: Path, *, faces: int, seed: int = 0) -> Path:
    """Write so many rows of each split at most, drawn at random, as a dataset; return its folder.

    OutputError where it cannot be written.
    """
    manifest, generator = dataset.manifest, np.random.default_rng(seed)
    drawn = [generator.permutation(manifest.rows_in(split))[:faces] for split in SPLITS]
    rows = np.sort(np.concatenate(drawn))
    taken = replace(
        manifest,
        source=[manifest.source[row] for row in rows],
        person=[manifest.person[row] for row in rows],
        licence=[manifest.licence[row] for row in rows],
        label=manifest.label[rows],
        votes=None if manifest.votes is None else manifest.votes[rows],
        split=manifest.split[rows],
        missed=manifest.missed[rows],
        notes=(*manifest.notes, f"a sample of {faces:,} rows of each split at most, seed {seed}"),
    )
    write(taken, dataset.crops[rows], folder)
    return folder

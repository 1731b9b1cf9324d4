"""Some faces of a dataset as a dataset of its own, for a quick look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.data.manifest import SPLITS, Dataset, take, write

__all__ = ["write_sample"]


def write_sample(dataset: Dataset, folder: Path, *, faces: int, seed: int = 0) -> Path:
    """Write so many rows of each split at most, drawn at random, as a dataset; return its folder.

    OutputError where it cannot be written.
    """
    manifest, generator = dataset.manifest, np.random.default_rng(seed)
    drawn = [generator.permutation(manifest.rows_in(split))[:faces] for split in SPLITS]
    sample = take(dataset, np.sort(np.concatenate(drawn)))
    notes = (*manifest.notes, f"a sample of {faces:,} rows of each split at most, seed {seed}")
    write(replace(sample.manifest, notes=notes), sample.crops, folder)
    return folder

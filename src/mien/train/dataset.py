"""One or several prepared datasets as one table of crops and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mien.data import manifest as manifests
from mien.data.manifest import Dataset
from mien.errors import DataError
from mien.labels import FER2013, FERPLUS
from mien.preprocess import enhance
from mien.spec import CropSpec
from mien.train.config import DataConfig
from mien.types import FloatArray, ImageArray, IntArray

__all__ = ["CropTable", "TrainingData", "load"]


@dataclass(frozen=True, slots=True, eq=False)
class CropTable:
    """Crops with their targets; the pixels stay mapped on disk until a batch asks for them."""

    crops: list[ImageArray]  # one array a dataset, (n, S, S) or (n, S, S, 3)
    part: IntArray  # (N,) which of them
    row: IntArray  # (N,) which row of it
    targets: FloatArray  # (N, L) rows that sum to 1

    def __len__(self) -> int:
        """Return how many crops there are."""
        return len(self.row)

    def batch(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """Return (crops uint8 (B, S, S) or (B, S, S, 3), targets (B, L)) of some rows."""
        picked = np.empty((len(indices), *self.crops[0].shape[1:]), np.uint8)
        for number, crops in enumerate(self.crops):
            here = self.part[indices] == number
            picked[here] = crops[self.row[indices[here]]]
        return torch.from_numpy(picked), torch.from_numpy(self.targets[indices])


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What a run trains and validates on."""

    train: CropTable
    val: CropTable
    labels: tuple[str, ...]
    crop: CropSpec  # the geometry of the datasets with the recipe's contrast and normalisation
    manifest_sha256: str  # joined by "+" where there are several


def load(config: DataConfig) -> TrainingData:
    """Return the training and validation rows of the datasets that a recipe names.

    Raises DataError where a dataset is missing or damaged, the geometries of several disagree, or a split is empty.
    """
    datasets = [manifests.read(folder) for folder in config.manifests]
    first = datasets[0].manifest.crop
    for folder, dataset in zip(config.manifests, datasets, strict=True):
        if dataset.manifest.crop.geometry != first.geometry:
            raise DataError(
                f"{folder}: its crops are cut otherwise than those of {config.manifests[0]}; prepare it again"
            )
    crop = replace(first, contrast=config.contrast, normalisation=config.normalisation)
    labels = FERPLUS if config.labels == "votes" else FER2013
    crops = [enhance(dataset.crops, crop) for dataset in datasets]
    tables = {}
    for split in ("train", "val"):
        parts = [
            _targets(folder, dataset, split, config.labels)
            for folder, dataset in zip(config.manifests, datasets, strict=True)
        ]
        part = np.concatenate([np.full(len(rows), number) for number, (rows, _) in enumerate(parts)])
        row, targets = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        stop = config.limit or len(row)
        tables[split] = CropTable(crops, part[:stop], row[:stop], targets[:stop])
        if not len(tables[split]):
            raise DataError(
                f"{', '.join(config.manifests)}: no usable row in split {split}; training wants train and val"
            )
    sha256 = "+".join(dataset.manifest.sha256 for dataset in datasets)
    return TrainingData(tables["train"], tables["val"], labels, crop, sha256)


def _targets(folder: str, dataset: Dataset, split: str, labels: str) -> tuple[IntArray, FloatArray]:
    """Return the usable rows of a split and their target distributions."""
    manifest = dataset.manifest
    rows = manifest.rows_in(split)
    rows = rows[~manifest.missed[rows]]
    if labels == "label":
        if len(rows) and manifest.label[rows].max() >= len(FER2013):
            raise DataError(
                f"{folder}: {split} holds faces labelled contempt; a network of seven labels cannot be trained on them"
            )
        targets = np.eye(len(FER2013), dtype=np.float32)[manifest.label[rows]]
    else:
        if manifest.votes is None:
            raise DataError(f"{folder}: it has no votes; prepare it with --ferplus, or train with labels = 'label'")
        # Faces that most taggers could not name are left out, as in FER+ (Barsoum et al. 2016, section 2).
        rows = rows[manifest.votes[rows].argmax(axis=1) < len(FERPLUS)]
        rows = rows[manifest.votes[rows, : len(FERPLUS)].sum(axis=1) > 0]
        counts = manifest.votes[rows, : len(FERPLUS)].astype(np.float32)
        targets = counts / counts.sum(axis=1, keepdims=True)
    return rows, targets

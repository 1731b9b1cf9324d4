"""One or several prepared datasets as one table of crops and targets."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mien.data import manifest as manifests
from mien.data.audit import fingerprints
from mien.data.manifest import SPLITS, Dataset, Manifest
from mien.data.people import person_keys
from mien.data.split import join_groups
from mien.errors import DataError
from mien.labels import FER2013, FERPLUS, VOTES
from mien.preprocess import enhance
from mien.spec import CropSpec
from mien.train.answers import HEADS, answering
from mien.train.balance import sample_weights
from mien.train.config import DataConfig
from mien.types import FloatArray, ImageArray, IntArray

__all__ = ["CropTable", "TrainingData", "in_folds", "load"]

log = logging.getLogger(__name__)

TRAIN, VAL = SPLITS.index("train"), SPLITS.index("val")
NOWHERE = -1  # in no split


@dataclass(frozen=True, slots=True, eq=False)
class CropTable:
    """Crops with their targets; the pixels stay mapped on disk until a batch asks for them, or lie on a device."""

    crops: list[ImageArray]  # one array a dataset, (n, S, S) or (n, S, S, 3)
    part: IntArray  # (N,) which of them
    row: IntArray  # (N,) which row of it
    targets: FloatArray  # (N, columns) for each head a row that sums to 1, or zeros where it has nothing to learn
    resident: tuple[Tensor, Tensor] | None = None  # all crops uint8 (N, ...) and targets, where a device has them

    def __len__(self) -> int:
        """Return how many crops there are."""
        return len(self.row)

    def labels(self, columns: slice) -> IntArray:
        """Return the likeliest label (N,) that each target asks for among some columns."""
        likeliest: IntArray = self.targets[:, columns].argmax(axis=1)
        return likeliest

    def on(self, device: torch.device) -> CropTable:
        """Return the table with all its crops on a device, from which batches are taken."""
        crops, targets = self.batch(np.arange(len(self)))
        return replace(self, resident=(crops.to(device), targets.to(device)))

    def batch(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """Return (crops uint8 (B, S, S) or (B, S, S, 3), targets (B, columns)) of some rows."""
        if self.resident:
            pixels, targets = self.resident
            rows = torch.from_numpy(indices).to(pixels.device)
            return pixels[rows], targets[rows]
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
    #: (7,) shares of the expressions in train, as `balance` makes them: of the votes, if any, else of the labels.
    prior: FloatArray
    crop: CropSpec  # the geometry of the datasets with the recipe's contrast and normalisation
    manifest_sha256: str  # joined by "+" where there are several


def load(config: DataConfig) -> TrainingData:
    """Return the training and validation rows of the datasets that a recipe names.

    Raises DataError where a dataset is missing or damaged, the geometries of several disagree, or a split has nothing
    for one of the heads.
    """
    datasets = [manifests.read(folder) for folder in config.manifests]
    if config.folds:
        datasets = in_folds(datasets, config)
    first = datasets[0].manifest.crop
    for folder, dataset in zip(config.manifests, datasets, strict=True):
        if dataset.manifest.crop.geometry != first.geometry:
            raise DataError(
                f"{folder}: its crops are cut otherwise than those of {config.manifests[0]}; prepare it again"
            )
    crop = replace(first, contrast=config.contrast, normalisation=config.normalisation)
    crops = [enhance(dataset.crops, crop) for dataset in datasets]
    named = list(zip(config.manifests, datasets, strict=True))
    tables = {}
    for split, unwanted in (
        ("train", _unwanted_in_train(datasets, config)),
        ("val", _unwanted_in_val(datasets, config)),
    ):
        parts = [_targets(folder, dataset, split, config, unwanted) for folder, dataset in named]
        part = np.concatenate([np.full(len(rows), number) for number, (rows, _) in enumerate(parts)])
        row, targets = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        stop = config.limit or len(row)
        tables[split] = CropTable(crops, part[:stop], row[:stop], targets[:stop])
        for head in HEADS[config.labels] if split == "train" else answering(config.labels):
            if not tables[split].targets[:, head.columns][:, : len(FER2013)].any():
                raise DataError(
                    f"{', '.join(config.manifests)}: no usable row in split {split} for {head.name}; training wants "
                    "train and val"
                )
    seven = tables["train"].targets[:, HEADS[config.labels][-1].columns][:, : len(FER2013)]
    sha256 = "+".join(dataset.manifest.sha256 for dataset in datasets)
    if config.balance != "none":  # each label is learned from as often or as much as the others
        labels = tables["train"].labels(HEADS[config.labels][0].columns)
        seven = seven * sample_weights(labels, "loss")[:, None]
    counts = seven.sum(axis=0) + 1  # as if each were there once more: an expression without a face is not impossible
    return TrainingData(tables["train"], tables["val"], counts / counts.sum(), crop, sha256)


def in_folds(datasets: list[Dataset], config: DataConfig) -> list[Dataset]:
    """Return the datasets with the parts of a cross-validation for train and val; test stays what it is.

    Identical crops, those of one person and those that were made from one crop are in one part, and each part has about
    the same share of each label.  Copies that were made for balance are trained on and never validated on.  The parts
    are the same whatever the recipe's seed.  DataError where there are fewer rows than parts.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # which all other training does without

    rows = [np.flatnonzero(np.isin(dataset.manifest.split, (TRAIN, VAL))) for dataset in datasets]
    if sum(map(len, rows)) < config.folds:
        raise DataError(f"{', '.join(config.manifests)}: fewer rows in train and val than data.folds = {config.folds}")
    labels = np.concatenate([dataset.manifest.label[own] for dataset, own in zip(datasets, rows, strict=True)])
    if np.bincount(labels).max() < config.folds:
        raise DataError(
            f"{', '.join(config.manifests)}: no label has data.folds = {config.folds} rows in train and val"
        )
    marks: list[str | None] = []
    people: list[str | None] = []
    origins: list[str | None] = []
    is_copy: list[bool] = []
    for number, (dataset, own) in enumerate(zip(datasets, rows, strict=True)):
        manifest = dataset.manifest
        found = iter(fingerprints(dataset, own))  # none of crops without a face, which are blank
        marks += [None if missed else next(found).hex() for missed in manifest.missed[own]]
        # Names are a dataset's own: what another one calls so is somebody or something else.
        keys = person_keys([manifest.person[row] for row in own])
        people += [None if key is None else f"{number} {key}" for key in keys]
        made_from = [manifest.origin[row] if manifest.origin else None for row in own]
        origins += [f"{number} {origin or manifest.source[row]}" for origin, row in zip(made_from, own, strict=True)]
        is_copy += [origin is not None for origin in made_from]
    groups = join_groups(marks, people, origins)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # so rare that some parts have none
        parts = StratifiedGroupKFold(config.folds, shuffle=True, random_state=0).split(labels, labels, groups)
        _, held_out = list(parts)[config.fold]
    split = np.full(len(labels), TRAIN)
    split[held_out] = VAL
    split[np.array(is_copy) & (split == VAL)] = NOWHERE
    cut = np.split(split, np.cumsum([len(own) for own in rows])[:-1])
    folded = []
    for dataset, own, assigned in zip(datasets, rows, cut, strict=True):
        splits = dataset.manifest.split.copy()
        splits[own] = assigned
        folded.append(replace(dataset, manifest=replace(dataset.manifest, split=splits)))
    return folded


def _unwanted_in_train(datasets: list[Dataset], config: DataConfig) -> set[bytes]:
    """Return the fingerprints of the crops that are not to be trained on."""
    return set() if config.train_twins else _fingerprints(datasets, "val") | _fingerprints(datasets, "test")


def _unwanted_in_val(datasets: list[Dataset], config: DataConfig) -> set[bytes]:
    """Return the fingerprints of the crops that are not to be validated on."""
    return set() if config.val_twins or not config.train_twins else _fingerprints(datasets, "train")


def _fingerprints(datasets: list[Dataset], split: str) -> set[bytes]:
    """Return the fingerprints of all crops of a split."""
    return {mark for dataset in datasets for mark in fingerprints(dataset, dataset.manifest.rows_in(split))}


def _targets(
    folder: str, dataset: Dataset, split: str, config: DataConfig, unwanted: set[bytes]
) -> tuple[IntArray, FloatArray]:
    """Return the usable rows of a split and their targets, head beside head."""
    labels, manifest = config.labels, dataset.manifest
    if config.label_votes and labels != "label":
        manifest = _with_label_votes(folder, manifest, split)
    rows = manifest.rows_in(split)
    rows = rows[~manifest.missed[rows]]
    if unwanted:
        rows = rows[[mark not in unwanted for mark in fingerprints(dataset, rows)]]
    if labels != "label" and manifest.votes is None:
        raise DataError(
            f"{folder}: it has no votes; prepare it with --ferplus, or train with data.labels = 'label', or with "
            "data.label_votes = true, which takes each label as a vote"
        )
    if labels == "votes":
        shares = _vote_shares(manifest, rows)
        voted = shares.sum(axis=1) > 0
        return rows[voted], shares[voted]
    if len(rows) and manifest.label[rows].max() >= len(FER2013):
        raise DataError(
            f"{folder}: {split} holds faces labelled contempt; a network of seven labels cannot be trained on them"
        )
    one_hot = np.eye(len(FER2013), dtype=np.float32)[manifest.label[rows]]
    return rows, one_hot if labels == "label" else np.concatenate([one_hot, _vote_shares(manifest, rows)], axis=1)


def _with_label_votes(folder: str, manifest: Manifest, split: str) -> Manifest:
    """Return the manifest with the label as the one vote on each face without any; says how many of a split."""
    votes = np.zeros((len(manifest), len(VOTES)), np.uint8) if manifest.votes is None else manifest.votes.copy()
    silent = np.flatnonzero(votes.sum(axis=1, dtype=np.int64) == 0)
    votes[silent, manifest.label[silent]] = 1
    if count := len(np.intersect1d(silent, manifest.rows_in(split))):
        log.warning("%s: nobody voted on %d faces of split %s; their label counts as the vote", folder, count, split)
    return replace(manifest, votes=votes)


def _vote_shares(manifest: Manifest, rows: IntArray) -> FloatArray:
    """Return the shares (n, 8) of the votes for an expression; zeros where most taggers could name none.

    Source: Barsoum et al. 2016, section 2, which leaves those faces out.
    """
    assert manifest.votes is not None
    votes = manifest.votes[rows]
    counts = votes[:, : len(FERPLUS)].astype(np.float32)
    counts[votes.argmax(axis=1) >= len(FERPLUS)] = 0
    counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return counts

"""The networks of the studies: trained, measured and written down, or found where that was done before."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mien.classify import Classifier
from mien.data.manifest import SPLITS, read
from mien.errors import DataError
from mien.evaluate.measure import commit, hardware, record, score_subsets
from mien.evaluate.score import Progress, check_known, predict_split
from mien.files import sha256_of
from mien.labels import FER2013
from mien.locks import only_one
from mien.paper.cost import cost_of
from mien.paper.ledger import Ledger, RunRow
from mien.paper.studies import Run, identity
from mien.paper.traditional import REVISION, features_of, fit_classifier, shares_of
from mien.train.answers import answering
from mien.train.dataset import in_folds
from mien.train.devices import find_device
from mien.train.export import export
from mien.train.fit import fit
from mien.types import FloatArray, ImageArray

__all__ = ["folder_mark", "locked", "ms_a_face", "ms_of", "traditional_identity", "train_run", "train_traditional"]

FACES, AT_ONCE, ROUNDS = 256, 32, 5  # of the measurement of speed
#: What scikit-learn's steps learn, by their attributes.
LEARNED = {"mean_", "scale_", "components_", "normalization_", "coef_", "intercept_"}


def locked(folder: Path) -> AbstractContextManager[None]:
    """Hold a folder of runs; InputError where another process does."""
    return only_one(folder / "paper.lock", busy=f"{folder}: another `mien paper` is training there; wait for it")


def train_run(run: Run, ledger: Ledger, folder: Path, *, device: str, on_progress: Progress | None = None) -> RunRow:
    """Train a run in a folder of its name, going on where it was interrupted; write it down and return its row.

    Every run is scored on validation, one that `is_tested` on test as well, and timed.  What the page needs of it goes
    to the ledger; its checkpoints are removed.  Errors as of `train.fit.fit`.
    """
    recipe, dataset = run.recipe, read(run.recipe.data.manifests[0])
    manifest = dataset.manifest
    splits = ["val", *(["test"] if run.is_tested and len(manifest.rows_in("test")) else [])]
    for split in splits:  # before it is trained
        check_known(manifest.label[manifest.rows_in(split)], answering(recipe.data.labels)[0].labels, split)
    place = folder / f"{recipe.name} {folder_mark(identity(recipe), dataset.manifest.sha256)}"

    def on_batch(epoch: int, done: int, steps: int) -> None:
        if on_progress:
            on_progress((epoch - 1) * steps + done, recipe.optimiser.epochs * steps)

    result = fit(recipe, place, resume=True, device=device, on_batch=on_batch)
    model = place / "model.onnx"
    export(place / "best.pt", model)
    with (place / "log.csv").open(newline="", encoding="utf-8") as file:
        log = [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]
    name = Path(recipe.data.manifests[0]).resolve().name
    if recipe.data.folds:
        (dataset,) = in_folds([dataset], recipe.data)
        name = f"{name}, part {recipe.data.fold + 1} of {recipe.data.folds}"
    cost, sha256 = cost_of(model), sha256_of(model)
    classifier = Classifier.load(model)
    predicted = {}
    for split in splits:
        table = predict_split(
            classifier.predict, dataset, split, labels=classifier.spec.labels, crop=classifier.spec.crop
        )
        subsets = score_subsets(table)
        record(ledger.results, subsets, model=recipe.name, model_sha256=sha256, data=name, dataset=dataset, split=split)
        predicted[split] = table.predicted, subsets["all"]
    row = RunRow(
        study=run.study, variant=run.variant, seed=str(recipe.seed), recipe_sha256=identity(recipe),
        manifest_sha256=dataset.manifest.sha256, model_sha256=sha256, epochs=str(result.epochs),
        best_epoch=str(result.best_epoch), parameters=str(cost.parameters), multiplications=str(cost.multiplications),
        ms_a_face=f"{ms_a_face(model):.3g}" if run.is_tested else "",
        train_s=f"{sum(line['seconds'] for line in log):.0f}",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(), hardware=_trained_with(device), commit=commit(),
    )  # fmt: skip
    ledger.add(row, log=log if run.is_tested else (), predicted=predicted if run.is_tested else None)
    for weights in (*place.glob("*.pt"), model):
        weights.unlink()
    return row


def _trained_with(device: str) -> str:
    """Return what a device is: a GPU's name, or this machine's cores."""
    found = find_device(device)
    return torch.cuda.get_device_name(found) if found.type == "cuda" else hardware()


def folder_mark(sha256: str, manifest_sha256: str) -> str:
    """Return what tells the folder of a training from that of another one, or on other data, under the same name."""
    return f"{sha256[:8]}-{manifest_sha256[:8]}"


def traditional_identity(way: str) -> str:
    """Return the SHA-256 of what makes a traditional way this one."""
    return hashlib.sha256(json.dumps([way, REVISION]).encode()).hexdigest()


def train_traditional(way: str, data: str | Path, ledger: Ledger, *, on_progress: Progress | None = None) -> RunRow:
    """Fit a way of `traditional.FEATURES` to train, its SVM's cost chosen on val, write it down and return its row.

    DataError where a split is empty or has an expression that is none of seven.
    """
    begun = time.perf_counter()
    dataset = read(data)
    manifest, sha256 = dataset.manifest, traditional_identity(way)
    rows = {split: manifest.rows_in(split) for split in ("train", "val")}
    rows = {split: own[~manifest.missed[own]] for split, own in rows.items()}
    if empty := [split for split, own in rows.items() if not len(own)]:
        raise DataError(f"{data}: nothing in split {empty[0]}")
    for split in SPLITS:
        check_known(manifest.label[manifest.rows_in(split)], FER2013, split)
    if len(np.unique(manifest.label[rows["train"]])) < 3:
        raise DataError(f"{data}: fewer than three expressions in train")
    features = {split: features_of(way, dataset.crops[own], on_progress=on_progress) for split, own in rows.items()}
    labels = {split: manifest.label[own] for split, own in rows.items()}
    chosen = fit_classifier(features["train"], labels["train"], features["val"], labels["val"], seed=0)
    train_s = time.perf_counter() - begun

    predict = partial(shares_of, way, chosen)
    predicted = {}
    for split in ("val", "test") if len(manifest.rows_in("test")) else ("val",):
        table = predict_split(predict, dataset, split, labels=FER2013, crop=manifest.crop)
        subsets = score_subsets(table)
        record(
            ledger.results, subsets, model=way, model_sha256=sha256, data=Path(data).resolve().name, dataset=dataset,
            split=split,
        )  # fmt: skip
        predicted[split] = table.predicted, subsets["all"]
    weights = [np.size(value) for step in chosen for name, value in vars(step).items() if name in LEARNED]
    row = RunRow(
        study="traditional", variant=way, seed="0", recipe_sha256=sha256, manifest_sha256=manifest.sha256,
        model_sha256=sha256, epochs="", best_epoch="", parameters=str(sum(weights)), multiplications="",
        ms_a_face=f"{ms_of(predict, manifest.crop.shape):.3g}", train_s=f"{train_s:.0f}",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(), hardware=hardware(), commit=commit(),
    )  # fmt: skip
    ledger.add(row, predicted=predicted)
    return row


def ms_a_face(model: str | Path) -> float:
    """Return the milliseconds that a model takes for a face: the median of some rounds on one core, 32 at once."""
    classifier = Classifier.load(model, threads=1)
    return ms_of(classifier.predict, classifier.spec.crop.shape)


def ms_of(predict: Callable[[ImageArray], FloatArray], shape: tuple[int, ...]) -> float:
    """Return the milliseconds that `predict`, crops to probabilities, takes for a crop of a shape, likewise."""
    crops = np.random.default_rng(0).integers(0, 256, (FACES, *shape), np.uint8)
    taken, threads = [], cv2.getNumThreads()
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            for start in range(0, FACES, AT_ONCE):
                predict(crops[start : start + AT_ONCE])
            taken.append(time.perf_counter() - begun)
    cv2.setNumThreads(threads)
    return 1000 * statistics.median(taken[1:]) / FACES

"""The page on each part by itself, on variation, and on rare expressions: runs over several seeds or parts."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from mien.errors import MienError
from mien.evaluate.report import plain
from mien.labels import FERPLUS
from mien.metrics import mcnemar
from mien.paper.context import Context, number, rate, share
from mien.paper.page import Block, Gap, Picture, Section, Table, Text
from mien.paper.studies import Run
from mien.types import BoolArray

__all__ = ["parts", "variation"]


def parts(context: Context) -> Section:
    """Each part of the paper's method with and without it, on validation."""
    runs = context.studies.of("parts")
    blocks: list[Block] = [
        Text(
            "One thing at a time is changed in the suggested network's recipe, and what goes with it where the name "
            f"says so. {_epochs(runs.values())} Accuracy "
            "is on validation without pictures that stand in train. Gains are against the first line, seed by seed; "
            "the validation set is the same for all, with a standard error of "
            f"its own, so that small gains may be chance.{_machines(context, runs.values())}"
        ),
        *_study(context, "parts", "Each part by itself"),
        _cropping(context),
        Text(
            "Grey: these crops are in grey alone, as FER2013 is stored, so that what colour would add cannot be "
            "measured on them. mien's can be cut in colour (CropSpec, colour = \"rgb\") from pictures that have it."
            if context.dataset.manifest.crop.colour == "grey"
            else "Grey: this dataset is in colour, and so is all that was measured on it; the paper's is in grey. What "
            "colour adds shows against a page made of the same pictures, prepared in grey."
        ),
    ]  # fmt: skip
    return Section("Each part by itself", blocks)


def variation(context: Context) -> Section:
    """Cross-validation, and what is done about rare expressions."""
    folds = [run for own in context.studies.of("folds").values() for run in own]
    balance = context.studies.of("balance")
    blocks: list[Block] = [
        Text(
            "The paper speaks of standard deviations, confidence intervals and cross-validation, and gives no figure "
            "of them. Here train and validation are joined and cut into parts, identical pictures together; each is "
            f"validated on once. {_epochs([*context.studies.of('folds').values(), *balance.values()])}"
        )
    ]
    if scores := context.scores(folds):
        accuracies = [number(score, "accuracy") for score in scores.values()]
        rows = [[run.variant, share(one)] for run, one in zip(scores, accuracies, strict=True)]
        caption = f"Cross-validation: {_spread(accuracies)}. The best epoch was chosen on the part itself."
        blocks.append(Table(caption, ["validated on", "accuracy"], rows))
    blocks += [Gap(f"of the cross-validation, {why}.") for why in context.unusable("folds")]
    if absent := context.missing(folds):
        blocks.append(Gap(f"of the cross-validation, {absent}."))
    blocks.append(
        Text(
            f"Rare expressions: {_imbalance(context)}. Mean recall counts each expression alike, accuracy each picture."
            f"{_machines(context, balance.values())}"
        )
    )
    blocks += _study(context, "balance", "Rare expressions", recall=True)
    return Section("Variation and rare expressions", blocks)


def _study(context: Context, study: str, title: str, *, recall: bool = False) -> list[Block]:
    """Return a table and a picture of a study's variants: mean and deviation over the seeds."""
    runs = context.studies.of(study)
    found = {variant: _by_seed(context, own, "accuracy") for variant, own in runs.items()}
    first = next(iter(found.values()), {})
    rows = []
    for variant, accuracies in found.items():
        if not accuracies:
            continue
        gains = [accuracies[seed] - first[seed] for seed in accuracies if seed in first]
        gain = f"{100 * statistics.fmean(gains):+.2f}" if gains and accuracies is not first else ""
        recalls = _by_seed(context, runs[variant], "macro_recall").values()
        extra = [share(statistics.fmean(recalls))] if recall else []
        mean, deviations = (
            share(statistics.fmean(accuracies.values())),
            [_deviation(accuracies.values()), _deviation(gains)],
        )
        trained = next(row for row in map(context.row, runs[variant]) if row)
        rows.append([
            variant, f"{int(trained.parameters):,}", str(len(accuracies)), mean, deviations[0], gain,
            deviations[1] if gain else "", *extra,
        ])  # fmt: skip
    head = ["variant", "parameters", "seeds", "accuracy", "deviation, points", "gain, points", "its deviation"]
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(f"{title}.", [*head, "mean recall"] if recall else head, rows))
        shown = {variant: [*accuracies.values()] for variant, accuracies in found.items() if accuracies}
        blocks.append(
            Picture(f"figure-{study}", _draw(shown), f"{title}: a point a seed, a bar their mean.", trained=True)
        )
    blocks += [Gap(f"of the study “{title.lower()}”, {why}.") for why in context.unusable(study)]
    if absent := context.missing([run for own in runs.values() for run in own]):
        blocks.append(Gap(f"of the study “{title.lower()}”, {absent}."))
    return blocks


def _epochs(variants: Iterable[list[Run]]) -> str:
    """Return in a sentence how long runs are."""
    epochs = [(own[0].variant, own[0].recipe.optimiser.epochs) for own in variants]
    usual, _ = Counter(length for _, length in epochs).most_common(1)[0] if epochs else (0, 0)
    others = "".join(f", of “{variant}” {length}" for variant, length in epochs if length != usual)
    return f"One run is {usual} epochs{others}."


def _machines(context: Context, variants: Iterable[list[Run]]) -> str:
    """Return in a sentence that runs were trained on different machines; empty where they were not."""
    kinds = sorted({row.hardware for own in variants for run in own if (row := context.row(run))})
    if len(kinds) < 2:
        return ""
    return (
        f" Not all were trained on one kind of machine ({'; '.join(kinds)}); runs.csv says which on which. "
        "The same seed draws other numbers on another kind."
    )


def _by_seed(context: Context, runs: list[Run], column: str) -> dict[int, float]:
    """Return a column of results.csv by the seed of those of some runs that were trained."""
    return {run.recipe.seed: number(score, column) for run, score in context.scores(runs).items()}


def _draw(found: dict[str, list[float]]) -> Figure:
    """Return a picture of accuracies by variant."""
    figure = Figure(figsize=(9, 0.6 + 0.3 * len(found)), layout="constrained")
    axes = figure.subplots()
    for row, accuracies in enumerate(found.values()):
        values = [100 * one for one in accuracies]
        axes.plot(values, [row] * len(values), "o", color="C0", alpha=0.6, markersize=5)
        axes.plot([statistics.fmean(values)], [row], "|", color="C3", markersize=16, markeredgewidth=2)
    axes.set_yticks(range(len(found)), [plain(variant) for variant in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("validation accuracy, %")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _cropping(context: Context) -> Block:
    """Return what finding and cropping the face is worth on natural pictures."""
    try:
        rows = []
        for model in ("mien", "paper-cnn"):
            whole, cut = (context.measure_natural(model, detector=how).table for how in ("none", "dlib"))
            found = cut.predicted < len(cut.labels)
            right = {"whole": whole.predicted == whole.actual, "cut": cut.predicted == cut.actual}
            rows.append([
                model, _rate(right["whole"]), _rate(right["cut"]), str(int((~found).sum())),
                _rate(right["whole"][found]), _rate(right["cut"][found]),
                f"{mcnemar(right['whole'][found], right['cut'][found]):.2f}",
            ])  # fmt: skip
    except MienError as error:
        return Gap(f"cropping on natural pictures: {error}.")
    return Table(
        "Cropping at recognition time: natural pictures taken as they are, and with the face found and cut out. A face "
        "that is not found counts as an error; p is McNemar's on those that are. Where each picture holds one face in "
        "its middle, it is a crop already, if a wide one, and of whole photographs nothing is known by this.",
        [
            "model",
            "whole picture",
            "face cut out",
            "not found",
            "whole, of those found",
            "cut out, of those found",
            "p",
        ],
        rows,
    )


def _rate(right: BoolArray) -> str:
    """Return the share of right ones with its interval."""
    return rate(int(right.sum()), len(right))


def _imbalance(context: Context) -> str:
    """Return how much more frequent the most frequent expression of train is than the rarest."""
    manifest = context.dataset.manifest
    counts = np.bincount(manifest.label[manifest.rows_in("train")], minlength=len(FERPLUS))
    present = np.flatnonzero(counts)
    if not len(present):
        return "there are none in train"
    most, least = int(counts.argmax()), int(present[counts[present].argmin()])
    return (
        f"{FERPLUS[most]} is {counts[most] / counts[least]:.1f} times as frequent as {FERPLUS[least]} in train; with "
        f"so many copies of the others that all are as frequent, an epoch has {counts[most] * len(present):,} pictures "
        f"for {counts.sum():,}"
    )


def _deviation(values: Iterable[float]) -> str:
    """Return the standard deviation in points."""
    known = list(values)
    return f"{100 * statistics.stdev(known):.2f}" if len(known) > 1 else "-"


def _spread(accuracies: list[float]) -> str:
    """Return mean, deviation and the 95% interval of the mean, by Student's t."""
    count, mean = len(accuracies), statistics.fmean(accuracies)
    if count < 2:
        return f"mean {share(mean)}"
    deviation = statistics.stdev(accuracies)
    reach = float(student_t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return (
        f"mean {share(mean)}, standard deviation {100 * deviation:.2f} points, 95% interval of the mean, as if the "
        "parts had been trained independently, "
        f"{share(mean - reach)} to {share(mean + reach)}"
    )

"""Whether labelling the faces first that a model is least sure of beats labelling them in random order, on FER2013.

    python benchmarks/active_learning.py --data data/fer2013 [--batch 100] [--truth plurality label] [--out FIGURE.png]

A logistic regression on HOG (no network, nothing that has seen a label before) learns
from the first labels, 100 at random and the same for both arms.  One arm then labels in the order of
`mien.data.suggest.order` and trains again after each batch; the other goes on at random.  The pool are the Training
faces; accuracy and macro recall are those on PublicTest, without the crops that stand in Training too.  Test is not
touched.  Truth: what most of FER+'s ten taggers said, or FER2013's own label, which is noisy.  A face that the taggers
could not read, or took for contempt, is a label spent that trains nothing.  AMONG and the strength of the regression
were chosen on other seeds, 100 to 107.  Ten runs for each truth: two to five minutes in all on 2 cores.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.progress import track
from scipy.stats import t
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from mien.data.audit import has_twin
from mien.data.manifest import Dataset, read
from mien.data.suggest import AMONG, order
from mien.evaluate.truth import truth
from mien.labels import FER2013
from mien.metrics import confusion_matrix, recalls
from mien.paper.traditional import features_of
from mien.types import FloatArray, ImageArray, IntArray

START = 100  # labels at random that both arms begin with
BUDGETS = (300, 500, 1000, 1500, 2000, 3000)
LONGER = (4000, 5000, 6000, 8000, 10000, 15000, 20000)  # of the random arm: how many labels are needed to match
COMPONENTS, STRENGTH = 150, 1.0  # PCA of the pool, and C of the regression: of 1, 3, 10, 30 the best for random labels
ARMS = ("random", "suggested")

Curve = dict[int, tuple[float, float]]  # labels -> accuracy, macro recall


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Faces as features, and what they show."""

    pool: FloatArray  # (N, F)
    pool_labels: IntArray  # (N,) index in labels.FER2013; -1: nobody can say
    val: FloatArray  # (M, F)
    val_labels: IntArray  # (M,)


def main() -> None:
    """Run both arms for each seed and truth, print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/fer2013"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument(
        "--truth", nargs="+", default=["plurality", "label"], choices=("plurality", "majority", "label")
    )
    parser.add_argument("--batch", type=int, default=100, help="labels, at most, before the model is trained again")
    parser.add_argument("--among", type=int, default=AMONG)
    parser.add_argument("--out", type=Path, help="picture to write")
    options = parser.parse_args()
    dataset = read(options.data)
    usable = ~dataset.manifest.missed
    pool, val = (rows[usable[rows]] for rows in map(dataset.manifest.rows_in, ("train", "val")))
    val = val[~has_twin(dataset, val, "train")]
    features = describe(dataset, np.concatenate([pool, val]), len(pool))
    tasks = {by: make_task(dataset, features, pool, val, by) for by in options.truth}
    runs = list(product(options.truth, ARMS, options.seeds))
    curves: dict[str, dict[str, list[Curve]]] = {by: {arm: [] for arm in ARMS} for by in options.truth}
    with threadpool_limits(1), ProcessPoolExecutor(os.cpu_count()) as workers:
        futures = [
            workers.submit(learn, tasks[by], arm, seed=seed, batch=options.batch, among=options.among)
            for by, arm, seed in runs
        ]
        for (by, arm, _), future in track(zip(runs, futures, strict=True), "learning", len(runs)):
            curves[by][arm].append(future.result())
    for by in options.truth:
        report(by, curves[by], tasks[by])
    if options.out:
        draw(curves).savefig(options.out, dpi=120)


def describe(dataset: Dataset, rows: IntArray, pool: int) -> FloatArray:
    """Return features (len(rows), COMPONENTS) of mean square 1: HOG, and the components of the first `pool` rows."""
    crops = np.array(dataset.crops[rows])
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        chunks = np.array_split(crops, max(1, len(crops) // 500))
        found = np.concatenate(list(track(workers.map(hog, chunks), "features", len(chunks))))
    components = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit(found[:pool])
    reduced = components.transform(found)
    scaled: FloatArray = (reduced / np.sqrt((reduced[:pool] ** 2).sum(axis=1).mean())).astype(np.float32)
    return scaled


def hog(crops: ImageArray) -> FloatArray:
    """Return histograms of oriented gradients of crops."""
    return features_of("HOG + SVM", crops)


def make_task(dataset: Dataset, features: FloatArray, pool: IntArray, val: IntArray, by: str) -> Task:
    """Return the task of a truth; features: of the pool's rows, then of val's."""
    labels = np.full(len(dataset.manifest), -1)
    known, said = truth(dataset.manifest, np.concatenate([pool, val]), by)
    labels[known] = np.where(said < len(FER2013), said, -1)
    scored = labels[val] >= 0
    return Task(features[: len(pool)], labels[pool], features[len(pool) :][scored], labels[val][scored])


def learn(task: Task, arm: str, *, seed: int, batch: int, among: int) -> Curve:
    """Return how good the model is after each budget of labels."""
    shuffled = np.random.default_rng(seed).permutation(len(task.pool))
    if arm == "random":
        return {count: score(task, fit(task, shuffled[:count])) for count in (*BUDGETS, *LONGER)}
    labelled, rest = shuffled[:START], shuffled[START:]
    curve: Curve = {}
    model = fit(task, labelled)
    while len(labelled) < BUDGETS[-1]:
        stop = next(budget for budget in BUDGETS if budget > len(labelled))  # a batch ends where it is scored
        probabilities = model.predict_proba(task.pool[rest]).astype(np.float32)
        led = order(probabilities, seed=seed * 100_000 + len(labelled), among=among)
        taken = min(batch, stop - len(labelled))
        labelled, rest = np.concatenate([labelled, rest[led[:taken]]]), rest[led[taken:]]
        model = fit(task, labelled)
        if len(labelled) == stop:
            curve[stop] = score(task, model)
    return curve


def fit(task: Task, rows: IntArray) -> LogisticRegression:
    """Return a regression on those of the rows that could be labelled."""
    rows = rows[task.pool_labels[rows] >= 0]
    return LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3).fit(task.pool[rows], task.pool_labels[rows])


def score(task: Task, model: LogisticRegression) -> tuple[float, float]:
    """Return accuracy and macro recall on val."""
    counted = confusion_matrix(task.val_labels, model.predict(task.val), labels=len(FER2013))
    return float(np.trace(counted) / counted.sum()), float(np.nanmean(recalls(counted)))


def report(by: str, curves: dict[str, list[Curve]], task: Task) -> None:
    """Print the table of a truth: both arms, their difference with its 95% interval, and random labels that match."""
    seeds = len(curves["random"])
    unknown = 100 * (task.pool_labels < 0).mean()
    print(f"\n{by}: {len(task.pool):,} faces to choose from, {unknown:.1f}% of them without an answer; scored on")
    print(f"{len(task.val_labels):,}; {seeds} seeds: mean and deviation; difference by seed with its 95% interval")
    for index, name in enumerate(("accuracy", "macro recall")):
        print(f"\n| labels | random, {name} | suggested | difference | random labels for as much |")
        print("|---|---|---|---|---|")
        longer = [*BUDGETS, *LONGER]
        reached = np.maximum.accumulate([values(curves["random"], count, index).mean() for count in longer])
        for budget in BUDGETS:
            random, suggested = (values(curves[arm], budget, index) for arm in ARMS)
            wanted = suggested.mean()
            needed = f"{np.interp(wanted, reached, longer):,.0f}" if wanted <= reached[-1] else f"over {LONGER[-1]:,}"
            print(f"| {budget:,} | {percent(random)} | {percent(suggested)} | {gap(suggested - random)} | {needed} |")
        areas = [np.mean([values(curves[arm], budget, index) for budget in BUDGETS], axis=0) for arm in ARMS]
        print(f"| mean | {percent(areas[0])} | {percent(areas[1])} | {gap(areas[1] - areas[0])} | |")


def values(curves: list[Curve], budget: int, index: int) -> FloatArray:
    """Return one score at a budget, (number of seeds,)."""
    return np.array([curve[budget][index] for curve in curves], np.float32)


def percent(found: FloatArray) -> str:
    """Return mean and deviation in per cent."""
    deviation = f" ± {100 * found.std(ddof=1):.1f}" if len(found) > 1 else ""
    return f"{100 * found.mean():.1f}%{deviation}"


def gap(differences: FloatArray) -> str:
    """Return the mean difference in points, with the interval of Student's t where there are several."""
    mean = 100 * differences.mean()
    if len(differences) < 2:
        return f"{mean:+.1f}"
    reach = 100 * t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return f"{mean:+.1f} ({mean - reach:+.1f} to {mean + reach:+.1f})"


def draw(curves: dict[str, dict[str, list[Curve]]]) -> Figure:
    """Return both scores of each truth over the number of labels; the bands are the deviation over the seeds."""
    figure = Figure(figsize=(9, 3.6 * len(curves)), layout="constrained")
    for row, (by, arms) in enumerate(curves.items()):
        for index, name in enumerate(("accuracy", "macro recall")):
            axes = figure.add_subplot(len(curves), 2, 2 * row + index + 1)
            for arm, found in arms.items():
                points = 100 * np.array([values(found, budget, index) for budget in BUDGETS])
                middle, deviation = points.mean(axis=1), points.std(axis=1, ddof=min(1, len(found) - 1))
                axes.plot(BUDGETS, middle, marker="o", label=arm)
                axes.fill_between(BUDGETS, middle - deviation, middle + deviation, alpha=0.2)
            axes.set(title=f"FER2013, {by}", xlabel="labels", ylabel=f"{name}, PublicTest, %")
            axes.grid(alpha=0.3)
            axes.legend()
    return figure


if __name__ == "__main__":
    main()

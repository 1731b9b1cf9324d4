"""The paper's four ways of searching hyper-parameters, on the same budget of epochs."""

from __future__ import annotations

import csv
import json
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure

from mien.evaluate.score import Progress
from mien.paper.context import STUDIES, Context, share
from mien.paper.ledger import Ledger, TrialRow
from mien.paper.page import Block, Gap, Picture, Section, Table, Text
from mien.paper.runs import folder_mark
from mien.paper.studies import SearchPlan, search_identity
from mien.spec import CropSpec
from mien.train.config import flatten
from mien.train.search import Progress as SearchProgress
from mien.train.search import search
from mien.train.search_space import ENDS, make_space
from mien.train.search_study import STRATEGIES

__all__ = ["run_search", "searches"]

MOST = 4  # times as many trials as planned: more is not a search that ends trials early, but one that fails


def run_search(
    plan: SearchPlan, strategy: str, ledger: Ledger, folder: Path, *, crop: CropSpec, manifest_sha256: str, device: str,
    on_progress: Progress | None = None,
) -> None:  # fmt: skip
    """Search by a strategy in a folder, going on where it was interrupted, and write its trials down.

    A strategy that ends trials early gets more of them, until as many epochs were trained as the others train.
    Errors as of `train.search.search`.
    """
    space = make_space(plan.space, plan.recipe, crop)
    place = folder / f"search {strategy} {folder_mark(search_identity(plan), manifest_sha256)}"
    budget = plan.trials * plan.recipe.optimiser.epochs
    trials, epochs = plan.trials, plan.recipe.optimiser.epochs
    rows: list[dict[str, str]] = []

    def on_batch(trial: int, epoch: int, done: int, steps: int) -> None:
        if on_progress:
            on_progress((trial * epochs + epoch - 1) * steps + done, max(plan.trials, trial + 1) * epochs * steps)

    while True:
        search(
            plan.recipe, space, place, strategy=strategy, trials=trials, device=device, again=not rows,
            progress=SearchProgress(on_batch),
        )  # fmt: skip
        with (place / "trials.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        spent = sum(int(row["epochs"] or 0) for row in rows)
        if spent >= budget or len(rows) < trials or trials >= MOST * plan.trials or not int(rows[-1]["epochs"] or 0):
            break
        trials += 1
    fixed = {"trial", "state", "val_accuracy", "epochs", "reason"}
    ledger.add_trials(
        [
            TrialRow(
                search_sha256=search_identity(plan), manifest_sha256=manifest_sha256, strategy=strategy,
                trial=row["trial"], state=row["state"], val_accuracy=row["val_accuracy"], epochs=row["epochs"],
                settings=json.dumps({key: value for key, value in row.items() if key not in fixed}),
            )
            for row in rows
        ]
    )  # fmt: skip


def searches(context: Context) -> Section:
    """The four strategies side by side."""
    plan = context.studies.search
    title = "Hyper-parameter search"
    if plan is None:
        return Section(title, [Gap(f"{context.failed.get(STUDIES, 'no search is named in the studies')}.")])
    found = {strategy: context.trials(plan, strategy) for strategy in STRATEGIES}
    budget, opened = plan.trials * plan.recipe.optimiser.epochs, ", ".join(flatten(plan.space, whole=ENDS))
    blocks: list[Block] = [
        Text(
            f"The paper names four ways and reports none. Each was given {budget} epochs of training, in trials of "
            f"at most {plan.recipe.optimiser.epochs}, over {opened}; a trial that came to its end is "
            "worth its best validation accuracy. With so few trials, one draw may decide between them: what the figure "
            "compares is how they spend a budget. Random, hyperband and bayesian begin with the same draws, and a grid "
            "ends where its points do."
        )
    ]  # fmt: skip
    rows, lines = [], {}
    for strategy, trials in found.items():
        values = [float(trial.val_accuracy or 0) * (trial.state == "complete") for trial in trials]
        if any(values):
            best = trials[max(range(len(trials)), key=values.__getitem__)]
            epochs = list(accumulate(int(trial.epochs or 0) for trial in trials))
            ended = [str(sum(trial.state == state for trial in trials)) for state in ("pruned", "fail")]
            settings = ", ".join(f"{key} {_short(value)}" for key, value in json.loads(best.settings).items())
            rows.append([strategy, str(len(trials)), *ended, str(epochs[-1]), share(max(values)), settings])
            lines[strategy] = (epochs, list(accumulate(values, max)))
    if rows:
        head = ["strategy", "trials", "ended early", "failed", "epochs", "best on validation", "with"]
        blocks.append(Table("The four ways of searching.", head, rows))
        blocks.append(
            Picture("figure-search", _draw(lines), "The best so far, by the epochs that were trained.", trained=True)
        )
    if absent := [strategy for strategy in found if strategy not in lines]:
        reasons = {strategy: context.failed.get(f"search {strategy}") for strategy in absent}
        told = ", ".join(f"{strategy} ({why})" if why else strategy for strategy, why in reasons.items())
        blocks.append(Gap(f"the search by {told}."))
    return Section(title, blocks)


def _draw(lines: dict[str, tuple[list[int], list[float]]]) -> Figure:
    """Return the best accuracy so far over the epochs spent."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (strategy, (epochs, best)) in enumerate(lines.items()):
        thinner = len(lines) - number  # than those before, which show on both sides of it where they coincide
        axes.step(
            [0, *epochs], [float("nan"), *(100 * value for value in best)],
            where="post", marker="o", linewidth=1.2 * thinner, markersize=2 + 2 * thinner, label=strategy,
        )  # fmt: skip
    axes.set(xlabel="epochs trained", ylabel="best validation accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _short(value: str) -> str:
    """Return a setting's text with few digits where it is a number."""
    try:
        return f"{float(value):.3g}"
    except ValueError:
        return value

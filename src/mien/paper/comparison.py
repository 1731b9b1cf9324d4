"""The page on other networks and ways: Table II and Figures 4 to 6."""

from __future__ import annotations

from matplotlib.figure import Figure

from mien.data.manifest import Manifest
from mien.metrics import mcnemar
from mien.paper.claims import TABLE_2, TEST_ACCURACY
from mien.paper.context import Context, percent, share
from mien.paper.ledger import RunRow
from mien.paper.page import Block, Gap, Picture, Section, Table, Text
from mien.paper.runs import traditional_identity
from mien.paper.traditional import FEATURES
from mien.train.curves import plot_curves
from mien.types import BoolArray

__all__ = ["networks"]

SHIPPED = ("paper-cnn", "mien-fer2013")
#: Which of the paper's figures shows the training of what.
COUNTERPARTS = {
    "the suggested network": " The paper's Figure 4.",
    "in the place of Lu et al.": " The paper's Figure 5 is of the network of Lu et al.",
    "cross-connected LeNet-5 (Li et al.)": " The paper's Figure 6 is of that of Li et al.",
}


def networks(context: Context) -> Section:
    """Table II, the paper's and ours, and the training curves."""
    runs = {variant: of_variant[0] for variant, of_variant in context.studies.of("networks").items()}
    sha256 = context.dataset.manifest.sha256
    found = {variant: context.row(run) for variant, run in runs.items()}
    found |= {way: context.ledger.find(traditional_identity(way), sha256) for way in FEATURES}
    suggested = next((row for row in found.values() if row and row.study == "networks"), None)
    right = {name: _right(context, row) for name, row in found.items() if row}
    reference = _right(context, suggested) if suggested else None
    table = [
        _line(context, name, row, None if row is suggested or reference is None else mcnemar(right[name], reference))
        for name, row in found.items()
        if row
    ]
    blocks: list[Block] = [
        Table(
            "The paper's Table II, unaltered, with what can be said of each row. The table cites [7], [8] and [14], "
            "the text [80] and [81], the figures Lu et al. and Li et al.",
            ["document", "iterations", "validation", "test", "note"],
            [
                [row.document, str(row.iterations or ""), _optional(row.val_accuracy), share(row.test_accuracy),
                 row.note]
                for row in TABLE_2
            ],
            frozenset(range(len(TABLE_2))),
        ),
        Table(
            "Our Table II: all networks under one protocol, and the ways of the paper's introduction. Accuracies with "
            "their 95% intervals; unseen: without pictures that stand in train or validation as well; p: McNemar's "
            "test against the suggested network on the test split.",
            ["network", "epochs (best)", "validation, unseen", "test", "test, unseen", "parameters", "multiplications",
             "ms a face", "training, minutes", "p"],
            table,
        ),
    ]  # fmt: skip
    if absent := [name for name, row in found.items() if row is None]:
        reasons = {name: context.failed.get(runs[name].recipe.name if name in runs else name) for name in absent}
        told = ", ".join(f"{name} ({reason})" if reason else name for name, reason in reasons.items())
        blocks.append(Gap(f"{told}."))
    trained = {name: row for name, row in found.items() if row and row.study == "networks"}
    blocks += [_curves(context, number, name, row) for number, (name, row) in enumerate(trained.items(), start=1)]
    if drawn := {name: row for name, row in found.items() if row}:
        blocks.append(_difference(context, drawn))
    blocks.append(_beyond(context))
    return Section("Compared with other networks (Table II, Figures 4 to 6)", blocks)


def _line(context: Context, name: str, row: RunRow, p: float | None) -> list[str]:
    """Return a row of the table."""
    val, test = context.ledger.score(row, "val", "unseen"), context.ledger.score(row, "test", "all")
    unseen = context.ledger.score(row, "test", "unseen")
    return [
        name,
        f"{row.epochs} ({row.best_epoch})" if row.epochs else "-",
        percent(val or context.ledger.score(row, "val", "all")),
        percent(test),
        percent(unseen or test),
        f"{int(row.parameters):,}",
        f"{int(row.multiplications):,}" if row.multiplications else "-",
        row.ms_a_face,
        f"{float(row.train_s) / 60:.1f}",
        "" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}",
    ]


def _right(context: Context, row: RunRow) -> BoolArray:
    """Return which samples of the test split a run got right."""
    manifest: Manifest = context.dataset.manifest
    predicted = context.ledger.predicted(row, "test")
    assert predicted is not None, "a run of this study is written down with its predictions"
    right: BoolArray = predicted == manifest.label[manifest.rows_in("test")]
    return right


def _curves(context: Context, number: int, name: str, row: RunRow) -> Block:
    """Return the training curves of a network."""
    log = context.ledger.curves(row)
    if not log:
        return Gap(f"the training curves of {name}.")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    plot_curves(figure, log, title=name)
    caption = f"Training of {name}: loss and validation accuracy by epoch.{COUNTERPARTS.get(name, '')}"
    return Picture(f"curves-{number}", figure, caption, trained=True)


def _difference(context: Context, found: dict[str, RunRow]) -> Block:
    """Return in words how these numbers differ from the paper's."""
    tested, gaps, seen = {}, [], 0
    for name, row in found.items():
        val, test = (context.ledger.score(row, split, "all") for split in ("val", "test"))
        unseen = context.ledger.score(row, "test", "unseen")
        if val and test:
            tested[name] = float(test["accuracy"])
            gaps.append(float(test["accuracy"]) - float(val["accuracy"]))
            seen = int(test["n"]) - int(unseen["n"]) if unseen else 0
    best = max(tested, key=lambda name: tested[name])
    twins = f" {seen} of the test pictures stand, pixel for pixel, in train or validation." if seen else ""
    papers = [_points(row.test_accuracy - row.val_accuracy) for row in TABLE_2 if row.val_accuracy]
    return Text(
        f"The best here on test is {best} with {share(tested[best])}, {_points(TEST_ACCURACY - tested[best])} below "
        f"the paper's suggested model. The paper's rows are {', '.join(papers)} better on test than on validation; "
        f"here test is better than validation by {_points(min(gaps))} to {_points(max(gaps))}.{twins}"
    )


def _points(difference: float) -> str:
    """Return a difference of two shares in points."""
    return f"{100 * difference:.1f} points"


def _beyond(context: Context) -> Block:
    """Return what the shipped networks reach, which were trained by recipes of their own."""
    rows = []
    for model in SHIPPED:
        val, test = (context.measure(model, split).subsets for split in ("val", "test"))
        rows.append([model, percent(val.get("unseen", val["all"])), percent(test["all"]),
                     percent(test.get("unseen", test["all"]))])  # fmt: skip
    claimed = TABLE_2[-1]
    return Table(
        "The networks that ship: paper-cnn is the graph of Table I, with a teacher; mien-fer2013 is a larger network.",
        ["model", "validation, unseen", "test", "test, unseen"],
        [*rows, ["the paper's", _optional(claimed.val_accuracy), share(claimed.test_accuracy), "-"]],
        frozenset({len(rows)}),
    )


def _optional(accuracy: float | None) -> str:
    """Return an accuracy that the paper may not give."""
    return "-" if accuracy is None else share(accuracy)

"""The page on other networks and ways: Table II and Figures 4 to 6."""

from __future__ import annotations

from matplotlib.figure import Figure

from mien.errors import MienError
from mien.metrics import mcnemar
from mien.paper.claims import TABLE_2
from mien.paper.context import Context, percent, share
from mien.paper.ledger import RunRow
from mien.paper.page import Block, Gap, Picture, Section, Table, Text
from mien.paper.runs import traditional_identity
from mien.train.curves import plot_curves
from mien.types import BoolArray

__all__ = ["networks"]

SHIPPED = ("paper-cnn", "mien-fer2013")
#: Which of the paper's figures shows the training of what.
COUNTERPARTS = {
    "the suggested network": " The paper's Figure 4.",
    "Lu et al. (reconstructed)": " The paper's Figure 5 is of the network of Lu et al.",
    "cross-connected LeNet-5 (Li et al.)": " The paper's Figure 6 is of that of Li et al.",
}


def networks(context: Context) -> Section:
    """Table II, the paper's and ours, and the training curves."""
    runs = {variant: of_variant[0] for variant, of_variant in context.studies.of("networks").items()}
    sha256 = context.dataset.manifest.sha256
    found = {variant: context.row(run) for variant, run in runs.items()}
    found |= {way: context.ledger.find(traditional_identity(way), sha256) for way in context.studies.ways}
    suggested = context.row(next(iter(runs.values()))) if runs else None
    reference = _right(context, suggested) if suggested else None
    table = [_line(context, name, row, None if row is suggested else reference) for name, row in found.items() if row]
    blocks: list[Block] = [
        Table(
            "The paper's Table II, unaltered, with what can be said of each row. The table cites [7], [8] and [14], "
            "the text [80] and [81], the figures Lu et al. and Li et al.",
            ["document", "iterations", "validation", "test", "note"],
            [
                [row.document, str(row.iterations or ""), _optional(row.val_accuracy), f"{row.test_accuracy:.4f}",
                 row.note]
                for row in TABLE_2
            ],
            frozenset(range(len(TABLE_2))),
        ),
        Table(
            "Our Table II: all networks under one protocol, and the ways of the paper's introduction. Accuracies with "
            "their 95% intervals; unseen: without pictures that stand in train or validation as well; p: McNemar's "
            "test of these trained networks against the suggested one on the test split, not corrected for several "
            "comparisons. Milliseconds are on one core, with the mirror image where it is read; parameters and "
            "multiplications are those of convolutions and full connections, without attention's own products.",
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
    try:
        blocks.append(_beyond(context))
    except MienError as error:  # a dataset without test, say
        blocks.append(Gap(f"the networks that ship: {error}."))
    return Section("Compared with other networks (Table II, Figures 4 to 6)", blocks)


def _line(context: Context, name: str, row: RunRow, reference: BoolArray | None) -> list[str]:
    """Return a row of the table; reference: what the suggested network got right."""
    right = _right(context, row) if reference is not None else None
    p = None if right is None or reference is None else mcnemar(right, reference)
    return [
        name,
        f"{row.epochs} ({row.best_epoch})" if row.epochs else "-",
        percent(context.ledger.unseen(row, "val")),
        percent(context.ledger.score(row, "test")),
        percent(context.ledger.unseen(row, "test")),
        f"{int(row.parameters):,}",
        f"{int(row.multiplications):,}" if row.multiplications else "-",
        row.ms_a_face,
        f"{float(row.train_s) / 60:.1f}",
        "" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}",
    ]


def _right(context: Context, row: RunRow) -> BoolArray | None:
    """Return which samples of the test split a run got right; None where that was not kept."""
    manifest = context.dataset.manifest
    rows = manifest.rows_in("test")
    predicted = context.ledger.predicted(row, "test", len(rows))
    return None if predicted is None else predicted == manifest.label[rows]


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
        val, test, unseen = (*(context.ledger.score(row, split) for split in ("val", "test")),
                             context.ledger.unseen(row, "test"))  # fmt: skip
        if val and test and unseen:
            tested[name] = float(test["accuracy"])
            gaps.append(float(test["accuracy"]) - float(val["accuracy"]))
            seen = int(test["n"]) - int(unseen["n"])
    if not tested:
        return Gap("how these numbers differ from the paper's.")
    best = max(tested, key=lambda name: tested[name])
    twins = f" {seen} of the test pictures stand, pixel for pixel, in train or validation." if seen else ""
    papers = [_points(row.test_accuracy - row.val_accuracy) for row in TABLE_2 if row.val_accuracy]
    return Text(
        f"The best here on test is {best} with {share(tested[best])}: "
        f"{_points(tested[best] - TABLE_2[-1].test_accuracy)} beside the paper's suggested model. From validation to "
        f"test the paper's rows go {', '.join(papers)}; here it is {_points(min(gaps))} to {_points(max(gaps))}."
        f"{twins} The network of Lu et al. is a guess at one whose layers were not to be had: `lu` in the "
        "zoo says what is known of it."
    )


def _points(difference: float) -> str:
    """Return a difference of two shares in points, with its sign."""
    return f"{100 * difference:+.1f} points"


def _beyond(context: Context) -> Block:
    """Return what the shipped networks reach, which were trained by recipes of their own."""
    asked = (("val", "unseen"), ("test", "all"), ("test", "unseen"))
    rows = [[model, *(percent(context.shipped(model, *one)) for one in asked)] for model in SHIPPED]
    claimed = TABLE_2[-1]
    return Table(
        "The networks that ship: paper-cnn is the graph of Table I, with a teacher; mien-fer2013 is a larger network.",
        ["model", "validation, unseen", "test", "test, unseen"],
        [*rows, ["the paper's", _optional(claimed.val_accuracy), f"{claimed.test_accuracy:.4f}", "-"]],
        frozenset({len(rows)}),
    )


def _optional(accuracy: float | None) -> str:
    """Return an accuracy that the paper may not give, as it prints it."""
    return "-" if accuracy is None else f"{accuracy:.4f}"

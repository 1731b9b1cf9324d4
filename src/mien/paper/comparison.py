"""The page on other networks and ways: Table II and Figures 4 to 6."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.figure import Figure

from mien.errors import MienError
from mien.metrics import mcnemar
from mien.paper.claims import TABLE_2
from mien.paper.context import DATA, Context, number, percent, share
from mien.paper.ledger import RunRow
from mien.paper.page import Block, Gap, Picture, Section, Table, Text
from mien.paper.runs import traditional_identity
from mien.paper.traditional import COMPONENTS, FEATURES, LANDMARKS
from mien.train.config import Recipe, flatten
from mien.train.curves import plot_curves
from mien.types import BoolArray

__all__ = ["networks"]

SHIPPED = ("paper-cnn", "mien-fer2013")
LU = "Lu et al. (reconstructed)"
LI = "cross-connected LeNet-5 (Li et al., reconstructed)"
#: Which of the paper's figures shows the training of what.
COUNTERPARTS = {
    "the suggested network": " The paper's Figure 4.",
    LU: " The paper's Figure 5 is of the network of Lu et al.",
    LI: " The paper's Figure 6 is of that of Li et al.",
}


@dataclass(frozen=True, slots=True)
class _Scored:
    """A run with its rows of results.csv; None where there is none."""

    row: RunRow
    val: dict[str, str] | None
    val_unseen: dict[str, str] | None
    test: dict[str, str] | None
    test_unseen: dict[str, str] | None


def networks(context: Context) -> Section:
    """Table II, the paper's and ours, and the training curves."""
    runs = {variant: of_variant[0] for variant, of_variant in context.studies.of("networks").items()}
    found: dict[str, RunRow | None] = {variant: context.row(run) for variant, run in runs.items()}
    found |= {way: context.find(traditional_identity(way)) for way in context.studies.ways}
    measured = {name: _scored(context, row) for name, row in found.items() if row}
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
        )
    ]  # fmt: skip
    suggested = next(iter(runs), "")
    if runs:
        blocks.append(Text(_protocol(runs[suggested].recipe)))
    right, damaged = _right(context, measured)
    p = _compared(right, suggested)
    if measured:
        blocks.append(
            Table(
                "Our Table II: the networks under that protocol, but for what is told below, and the ways of the "
                "paper's introduction. Accuracies with their 95% intervals; unseen: without pictures that stand in "
                "train or validation as well; p: McNemar's test of these trained networks against the suggested one on "
                "the unseen pictures of test, not corrected for several comparisons. Milliseconds are on one core, "
                "with the mirror image where it is read; minutes were taken when each was trained, at times with other "
                "work beside it. Parameters: of convolutions and full connections, of the ways of the "
                "introduction all numbers that were fitted; multiplications without attention's own products.",
                ["network", "epochs (best)", "validation", "validation, unseen", "test", "test, unseen", "parameters",
                 "multiplications", "ms a face", "training, minutes", "p"],
                [_line(name, scored, p.get(name)) for name, scored in measured.items()],
            )
        )  # fmt: skip
    if told := _otherwise({name: runs[name].recipe for name in measured if name in runs}, suggested):
        blocks.append(Text(told))
    blocks += [Gap(f"{why}.") for why in context.unusable("networks")]
    if absent := [name for name, row in found.items() if row is None]:
        reasons = {name: context.failed.get(runs[name].recipe.name if name in runs else name) for name in absent}
        told = ", ".join(f"{name} ({reason})" if reason else name for name, reason in reasons.items())
        blocks.append(Gap(f"{told}{f'; {context.failed[DATA]}' if DATA in context.failed else ''}."))
    blocks += damaged
    trained = {name: scored.row for name, scored in measured.items() if name in runs}
    blocks += [_curves(context, number, name, row) for number, (name, row) in enumerate(trained.items(), start=1)]
    if measured:
        blocks.append(_difference(context, measured, suggested, p))
    try:
        blocks.append(_beyond(context))
    except MienError as error:  # a dataset without test, say
        blocks.append(Gap(f"the networks that ship: {error}."))
    return Section("Compared with other networks (Table II, Figures 4 to 6)", blocks)


def _protocol(recipe: Recipe) -> str:
    """Return in words how the networks are trained, and what of that is the paper's."""
    optimiser, augment = recipe.optimiser, recipe.augment
    falling = ", falling with the cosine to zero," if optimiser.schedule == "cosine" else ""
    momentum = f" with Nesterov's momentum of {optimiser.momentum:g}" if optimiser.method == "sgd" else ""
    warmed = f", the first {optimiser.warmup_epochs} of them with a rising rate" if optimiser.warmup_epochs else ""
    steps = [
        f"{optimiser.method.upper()}{momentum} in batches of {optimiser.batch_size} from a rate of "
        f"{optimiser.learning_rate:g}{falling} for {optimiser.epochs} epochs{warmed}",
        f"dropout {recipe.model.dropout:g}",
        f"weight decay {optimiser.weight_decay:g}",
    ]
    if recipe.model.batch_norm:
        steps.append("batch normalisation while training, which is folded into the layers afterwards")
    if optimiser.label_smoothing:
        steps.append(f"label smoothing {optimiser.label_smoothing:g}")
    if optimiser.average:
        steps.append("averaged weights")
    if recipe.mirror:
        steps.append("the mean of a face's answer and its mirror image's")
    moved = f"rotation to {augment.rotation_deg:g} degrees, shift to {augment.shift:.0%} and zoom to {augment.zoom:.0%}"
    return (
        f"How ours are trained: {'; '.join(steps)}; {moved}{', mirror images' if augment.flip else ''}. Validation "
        "chooses the epoch. The curves below show what was measured while training, in which dropout and label "
        "smoothing raise the training loss; the table is of the files that were kept. Of this the paper writes of SGD "
        "from a rate of 0.01 that decays, dropout of 0.4, 76 iterations, random transformations without their sizes, "
        "and training that stops when validation gets worse; the rest is ours."
    )


def _otherwise(recipes: dict[str, Recipe], suggested: str) -> str:
    """Return in words which settings of some networks are not the suggested one's; empty where all are."""
    settings = {name: flatten(dataclasses.asdict(recipe)) for name, recipe in recipes.items()}
    if suggested not in settings:
        return ""
    own = settings.pop(suggested)
    told = []
    for name, others in settings.items():
        differing = [f"{key} {_setting(value)}" for key, value in others.items() if own[key] != value and key != "name"]
        if differing:
            told.append(f"{name} ({', '.join(differing)})")
    return (
        f"Settings that differ from those of {suggested}, by their names in a recipe: {'; '.join(told)}."
        if told
        else ""
    )


def _setting(value: object) -> str:
    """Return the value of a setting as a recipe has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _scored(context: Context, row: RunRow) -> _Scored:
    """Return a run with its rows of results.csv."""
    val, test = (context.ledger.score(row, split) for split in ("val", "test"))
    return _Scored(row, val, context.unseen(row, "val"), test, context.unseen(row, "test"))


def _line(name: str, scored: _Scored, p: float | None) -> list[str]:
    """Return a row of the table."""
    row = scored.row
    return [
        name,
        f"{row.epochs} ({row.best_epoch})" if row.epochs else "-",
        percent(scored.val),
        percent(scored.val_unseen),
        percent(scored.test),
        percent(scored.test_unseen),
        f"{int(row.parameters):,}",
        f"{int(row.multiplications):,}" if row.multiplications else "-",
        row.ms_a_face,
        f"{float(row.train_s) / 60:.1f}",
        "" if p is None else _p(p),
    ]


def _right(context: Context, measured: dict[str, _Scored]) -> tuple[dict[str, BoolArray], list[Block]]:
    """Return which unseen samples of the test split each run got right, where that was kept; and what is damaged."""
    manifest = context.dataset.manifest
    rows, unseen = manifest.rows_in("test"), ~context.seen("test")
    right: dict[str, BoolArray] = {}
    damaged: list[Block] = []
    for name, scored in measured.items():
        try:
            predicted = context.ledger.predicted(scored.row, "test", len(rows))
        except MienError as error:
            damaged.append(Gap(f"the comparison of {name}: {error}."))
            continue
        if predicted is not None and unseen.any():
            right[name] = (predicted == manifest.label[rows])[unseen]
    return right, damaged


def _compared(right: dict[str, BoolArray], suggested: str) -> dict[str, float]:
    """Return McNemar's p of each network against the suggested one."""
    if suggested not in right:
        return {}
    return {name: mcnemar(own, right[suggested]) for name, own in right.items() if name != suggested}


def _p(p: float) -> str:
    """Return a p value as text."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _curves(context: Context, number: int, name: str, row: RunRow) -> Block:
    """Return the training curves of a network."""
    try:
        log = context.ledger.curves(row)
    except MienError as error:
        return Gap(f"the training curves of {name}: {error}.")
    if not log:
        return Gap(f"the training curves of {name}.")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    plot_curves(figure, log, title=name)
    caption = f"Training of {name}: loss and validation accuracy by epoch.{COUNTERPARTS.get(name, '')}"
    return Picture(f"curves-{number}", figure, caption, trained=True)


def _difference(context: Context, measured: dict[str, _Scored], suggested: str, p: dict[str, float]) -> Block:
    """Return in words how these numbers differ from each other and, of the same data, from the paper's."""
    tested = {name: scored for name, scored in measured.items() if scored.val and scored.test}
    if not tested:
        return Gap("how these numbers differ from the paper's.")
    told = []
    if suggested in tested and context.is_fer2013:
        told.append(_beside_the_claim(tested[suggested], suggested))
    if p:
        told.append(_beside_the_others(tested, suggested, p))
    best = max(tested, key=lambda name: number(tested[name].val_unseen))
    told.append(f"The one that validation would choose is {best}, with {share(number(tested[best].test))} on test.")
    if rising := [
        name for name, scored in tested.items() if scored.row.epochs and scored.row.best_epoch == scored.row.epochs
    ]:
        told.append(f"Best in the last of their epochs, and so perhaps not at their end: {'; '.join(rising)}.")
    gaps = [number(scored.test) - number(scored.val) for scored in tested.values()]
    here = f"{_points(min(gaps))} to {_points(max(gaps))}"
    papers = [_points(row.test_accuracy - row.val_accuracy) for row in TABLE_2 if row.val_accuracy]
    told.append(
        f"From all of validation to all of test the paper's rows go {_listed(papers)}; here it is {here}."
        if context.is_fer2013
        else f"From all of validation to all of test it is {here}."
    )
    if seen := int(context.seen("test").sum()):
        told.append(f"{seen:,} of the test pictures stand, pixel for pixel, in train or validation.")
    if LU in measured:
        told.append(
            "The network of Lu et al. is a guess at one whose layers were not to be had: `lu` in the zoo says what is "
            "known of it."
        )
    if LI in measured:
        told.append(
            "Li et al. are taken to be Li, Lin and Jiang 2018, whom the paper does not cite; widths, ReLUs and maximum "
            "pooling are ours: `cross-lenet` in the zoo says what is known."
        )
    if measured.keys() & FEATURES.keys():
        told.append(
            "The ways of the introduction end in a support vector machine with a Gaussian kernel, approximated by "
            f"{LANDMARKS:,} of the faces, on at most {COMPONENTS} principal components of the features, without "
            "augmentation. The paper names principal components in the place of such a machine; here it reads them."
        )
    return Text(" ".join(told))


def _beside_the_claim(own: _Scored, suggested: str) -> str:
    """Return in words how the suggested network stands to what the paper claims of it, and of it and the others."""
    claimed = TABLE_2[-1].test_accuracy
    low, high = (number(own.test, end) for end in ("low_95", "high_95"))
    where = "above" if claimed > high else "below" if claimed < low else "within"
    ahead = _listed(_points(claimed - row.test_accuracy) for row in TABLE_2[:-1])
    return (
        f"{suggested.capitalize()} has {percent(own.test)} on test: the paper's {share(claimed)} lies {where} that "
        f"interval. The paper has its network ahead of the others by {ahead}."
    )


def _beside_the_others(tested: dict[str, _Scored], suggested: str, p: dict[str, float]) -> str:
    """Return in words how the suggested network stands to the others, on pictures that are new."""
    own = tested[suggested]
    here = _listed(
        f"{name} by {_points(number(own.test_unseen) - number(other.test_unseen))} (p {_p(p[name])})"
        for name, other in tested.items()
        if name in p
    )
    return f"On pictures that are new, {suggested} differs from {here}."


def _listed(texts: Iterable[str]) -> str:
    """Return texts as a list in words."""
    *first, last = list(texts) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def _points(difference: float) -> str:
    """Return a difference of two shares in points, with its sign."""
    return f"{100 * difference:+.1f} points"


def _beyond(context: Context) -> Block:
    """Return what the shipped networks reach, which were trained by recipes of their own."""
    caption = (
        "The networks that ship: paper-cnn has the graph of Table I, taught by five networks, with mixed crops and no "
        "dropout where Table I prints 0.4; mien-fer2013 has six times its multiplications."
    )
    asked = {
        "validation": ("val", "all"), "validation, unseen": ("val", "unseen"),
        "test": ("test", "all"), "test, unseen": ("test", "unseen"),
    }  # fmt: skip
    claims = {"validation": _optional(TABLE_2[-1].val_accuracy), "test": f"{TABLE_2[-1].test_accuracy:.4f}"}
    papers = [["the paper's", *(claims.get(column, "-") for column in asked)]]
    if not context.is_fer2013:
        caption += " They were trained on FER2013; which of these pictures they saw there is not known here."
        asked, papers = {"test": ("test", "all")}, []
    rows = [[model, *(percent(context.shipped(model, *one)) for one in asked.values())] for model in SHIPPED]
    if not any(cell != "-" for _, *cells in rows for cell in cells):
        return Gap(f"the networks that ship: {context.failed.get(DATA, 'nothing in split test')}.")
    return Table(caption, ["model", *asked], [*rows, *papers], frozenset(range(len(rows), len(rows) + len(papers))))


def _optional(accuracy: float | None) -> str:
    """Return an accuracy that the paper may not give, as it prints it."""
    return "-" if accuracy is None else f"{accuracy:.4f}"

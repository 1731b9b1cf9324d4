"""Two predictors on the same faces: what the second gets right that the first does not, and whether that is chance."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader

from mien.errors import InputError
from mien.evaluate.report import plot_confusion, save_figure
from mien.evaluate.score import SampleTable, Scores, score
from mien.files import output_errors, write_text
from mien.metrics import mcnemar, wilson_interval
from mien.types import BoolArray

__all__ = [
    "HEAD",
    "SIGNIFICANT",
    "Comparison",
    "compare",
    "compare_subsets",
    "remove_page",
    "rows_of",
    "verdict",
    "write_page",
]

SIGNIFICANT = 0.05  # the p value below which a difference is told apart from chance, as is usual
MARK = '<meta name="generator" content="mien evaluate">'  # by which the template's pages are known
HEAD = ("", "n", "before", "95% interval", "after", "95% interval", "gained", "lost")


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The scores of two predictors on the same samples, and where they differ."""

    before: Scores
    after: Scores
    gained: BoolArray  # (L, N) of each actual label, which samples only the second got right
    lost: BoolArray  # (L, N) the same, only the first
    p: float  # McNemar's, exact and two-sided

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many samples only the second got right, and how many only the first."""
        return int(self.gained.sum()), int(self.lost.sum())


def compare(before: SampleTable, after: SampleTable, chosen: BoolArray | None = None) -> Comparison:
    """Return how two predictors compare on the samples of a split, or on the chosen (N,) ones among them.

    Raises InputError where the tables are of other samples or of other labels.
    """
    if before.labels != after.labels:
        raise InputError(
            f"the models have other labels: {', '.join(after.labels)}, against {', '.join(before.labels)}; "
            "--answer names an answer that both have"
        )
    if before.source != after.source or not np.array_equal(before.actual, after.actual):
        raise InputError("the two tables are of other samples; score both models on the same split")
    chosen = np.ones(len(before.actual), np.bool_) if chosen is None else chosen
    right, right_after = (table.actual == table.predicted for table in (before, after))
    of_label = (np.arange(len(before.labels))[:, None] == before.actual) & chosen
    return Comparison(
        before=score(before, chosen),
        after=score(after, chosen),
        gained=of_label & right_after & ~right,
        lost=of_label & right & ~right_after,
        p=mcnemar(right[chosen], right_after[chosen]),
    )


def compare_subsets(before: SampleTable, after: SampleTable) -> dict[str, Comparison]:
    """Return the comparison on "all" samples and, where some were seen before, on the "unseen" ones."""
    subsets = {"all": compare(before, after)}
    if before.seen.any() and not before.seen.all():
        subsets["unseen"] = compare(before, after, ~before.seen)
    return subsets


def verdict(comparison: Comparison, *, before: str, after: str) -> str:
    """Return in a sentence whether the second model is better, worse or not told apart from the first, by their names.

    That few faces differ is no proof that the models are of equal worth: the sentence says so.
    """
    gained, lost = comparison.counts
    n, chance = comparison.after.n, f"p = {comparison.p:.2g}"
    faces = f"{gained} of {n} faces gained, {lost} lost"
    if comparison.p < SIGNIFICANT:
        return f"{after} is {'better' if gained > lost else 'worse'} than {before}: {faces}, {chance}"
    if not gained + lost:
        return f"{after} and {before} are right on the same {comparison.after.correct} of {n} faces"
    return (
        f"no difference between {after} and {before} can be told apart from chance: {faces}, {chance}; "
        "more labelled faces would tell smaller differences"
    )


def rows_of(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the table of a comparison as texts under HEAD: accuracy, macro recall, recall of each expression."""
    first, second = comparison.before, comparison.after
    gained, lost = comparison.counts
    rows: list[tuple[str, ...]] = [
        (
            "accuracy", str(first.n), _percent(first.accuracy), _interval(first.interval), _percent(second.accuracy),
            _interval(second.interval), str(gained), str(lost),
        ),
        ("macro recall", str(first.n), _percent(first.macro_recall), "", _percent(second.macro_recall), "", "", ""),
    ]  # fmt: skip
    for index, label in enumerate(first.labels):
        total = int(first.confusion[index].sum())
        shown = [label, str(total)]
        for scores in (first, second):
            right = int(scores.confusion[index, index])
            recall, interval = _percent(right / total if total else float("nan")), wilson_interval(right, total)
            shown += [recall, _interval(interval) if total else ""]
        rows.append((*shown, str(int(comparison.gained[index].sum())), str(int(comparison.lost[index].sum()))))
    return rows


def write_page(
    path: str | Path, comparisons: dict[str, Comparison], *, before: str, after: str, facts: Sequence[str]
) -> None:
    """Write a comparison as one page that holds all it shows.

    comparisons: by subset, "all" first.  before, after: what the models are called.  facts: lines on what was compared.
    OutputError where it cannot be written.
    """
    whole = comparisons["all"]
    environment = Environment(
        loader=PackageLoader("mien.evaluate", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("compare.html.jinja").render(
        before=before,
        after=after,
        facts=facts,
        head=HEAD,
        parts=[
            (name, verdict(comparison, before=before, after=after), rows_of(comparison))
            for name, comparison in comparisons.items()
        ],
        bars=[
            (label, float(first), float(second))
            for label, first, second in zip(whole.before.labels, whole.before.recall, whole.after.recall, strict=True)
            if first == first
        ],
        pictures=[(name, _picture(scores, name)) for name, scores in ((before, whole.before), (after, whole.after))],
    )
    write_text(path, page + "\n")


def remove_page(path: Path) -> None:
    """Remove a page that `write_page` wrote; any other file stays, and so do pages from before it marked its own.

    OutputError where it cannot be removed.
    """
    with output_errors(path):
        if path.is_file() and MARK.encode() in path.read_bytes():
            path.unlink()


def _picture(scores: Scores, title: str) -> str:
    """Return a confusion matrix as the address of a picture."""
    drawing = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "mien"}):
        save_figure(plot_confusion(scores, title=title), drawing, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.getvalue()).decode()


def _percent(share: float) -> str:
    """Return a share as a text; empty where nothing was counted."""
    return f"{100 * share:.1f}%" if share == share else ""


def _interval(bounds: tuple[float, float]) -> str:
    """Return an interval of shares as a text."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}%"

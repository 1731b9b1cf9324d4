"""The page on natural faces: Table III, and the claims of the paper's discussion."""

from __future__ import annotations

import numpy as np

from mien.errors import MienError
from mien.evaluate.report import plot_confusion
from mien.evaluate.score import Scores
from mien.labels import FER2013
from mien.metrics import recalls, wilson_interval
from mien.paper.claims import NATURAL_CONFUSION
from mien.paper.context import Context, percent, share
from mien.paper.page import Block, Gap, Picture, Section, Table, Text
from mien.types import FloatArray, IntArray

__all__ = ["easy_claim", "fear_claim", "natural"]

MODELS = ("mien", "paper-cnn")
FEAR, SURPRISE = FER2013.index("fear"), FER2013.index("surprise")
EASY = ("happy", "neutral", "surprise")  # the paper: "recognition accuracy was high"
PAPERS = np.pad(NATURAL_CONFUSION, ((0, 0), (0, 1)))  # with a column for missed faces, of which it tells nothing
LABORATORY = [
    'FER2013 was "collected in a laboratory environment"',
    "stated in section IV.A",
    "its pictures were found by web searches for 184 words around emotion (Goodfellow et al. 2013, "
    '"Challenges in Representation Learning")',
    "no",
]


def natural(context: Context) -> Section:
    """Table III beside ours, and the discussion's claims on our numbers."""
    correct, total = int(np.trace(NATURAL_CONFUSION)), int(NATURAL_CONFUSION.sum())
    low, high = wilson_interval(correct, total)
    blocks: list[Block] = [
        Table(
            f"The paper's Table III: {correct} of {total} right, {share(correct / total)} ({100 * low:.1f} to "
            f"{100 * high:.1f}), on a set of its own that was not published.",
            ["actual", *FER2013, "recognized"],
            _matrix(NATURAL_CONFUSION, recalls(PAPERS)),
            frozenset(range(len(FER2013))),
        )
    ]
    found: dict[str, Scores] = {}
    try:
        for model in MODELS:
            found[f"{model}, natural"] = context.measure_natural(model).subsets["all"]
            blocks += _ours(model, found[f"{model}, natural"])
        blocks.append(_difference(found[f"{MODELS[0]}, natural"], total))
    except MienError as error:
        blocks.append(Gap(f"our Table III: {error}."))
    try:
        for model in ("mien-fer2013", "paper-cnn"):
            found[f"{model}, test"] = context.measure(model, "test").subsets["all"]
    except MienError as error:
        blocks.append(Gap(f"the claims on test: {error}."))
    claims = [fear_claim(found), easy_claim(found), LABORATORY]
    head = ["claim", "paper", "here", "holds"]
    blocks.append(Table("The claims of the paper's discussion, on our numbers.", head, claims))
    return Section("Natural faces (Table III)", blocks)


def _ours(model: str, scores: Scores) -> list[Block]:
    """Return a model's confusion matrix as a table and as a picture."""
    right = f"{scores.correct} of {scores.n} natural faces right, {percent(scores)}"
    missed = f"; in {scores.missed} of them no face was found, which counts as an error" if scores.missed else ""
    head = ["actual", *FER2013, "no face", "recognized"]
    figure = plot_confusion(scores, title=f"{model}, natural faces")
    return [
        Table(f"Our Table III, {model}: {right}{missed}.", head, _matrix(scores.confusion, scores.recall)),
        Picture(f"table-3-{model}", figure, f"The same as a picture, {model}."),
    ]


def _difference(scores: Scores, total: int) -> Block:
    """Return in words how our set differs from the paper's."""
    return Text(
        f"The paper's {total} faces were chosen and cropped by its authors; ours are {scores.n} others, found by a "
        f"detector. Mean recall over the seven: the paper's {share(float(np.nanmean(recalls(PAPERS))))}, ours "
        f"{share(scores.macro_recall)}."
    )


def _matrix(counts: IntArray, recall: FloatArray) -> list[list[str]]:
    """Return a confusion matrix as rows of texts."""
    return [
        [f"{label} ({row.sum()})", *(str(count) for count in row), "-" if np.isnan(one) else share(float(one))]
        for label, row, one in zip(FER2013, counts, recall, strict=True)
    ]


def fear_claim(found: dict[str, Scores]) -> list[str]:
    """Return a row of texts: whether fear is mistaken for surprise more often than for anything else.

    found: scores by what they are of.
    """
    told, holds = [], []
    for name, confusion in {"": PAPERS, **{name: scores.confusion for name, scores in found.items()}}.items():
        wrong = confusion[FEAR, : len(FER2013)].copy()
        wrong[FEAR] = 0
        most = [FER2013[label] for label in np.flatnonzero(wrong == wrong.max())] if wrong.any() else []
        taken = f"{wrong[SURPRISE]} of {confusion[FEAR].sum()} as surprise"
        told.append(f"{name}{': ' if name else ''}{taken}, most often as {' or '.join(most) or 'nothing else'}")
        if most and name:
            holds.append("surprise" in most)
    return ["fear is mistaken for surprise most of all", told[0], "; ".join(told[1:]) or "-", _verdict(holds)]


def easy_claim(found: dict[str, Scores]) -> list[str]:
    """Return a row of texts: whether happy, neutral and surprise are the three that are recognized best.

    found: scores by what they are of.
    """

    def best(recall: FloatArray) -> list[str]:
        order = np.argsort(-np.nan_to_num(recall, nan=-1.0))[: len(EASY)]
        return [FER2013[number] for number in order]

    told = {name: best(scores.recall) for name, scores in found.items()}
    holds = [set(labels) == set(EASY) for labels in told.values()]
    texts = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in told.items()) or "-"
    return ["happy, neutral and surprise are recognized best", ", ".join(best(recalls(PAPERS))), texts, _verdict(holds)]


def _verdict(holds: list[bool]) -> str:
    """Return one word on several tries."""
    if not holds:
        return "-"
    return "yes" if all(holds) else f"in {sum(holds)} of {len(holds)}" if any(holds) else "no"

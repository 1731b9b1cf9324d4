"""The page on natural faces: Table III, and the claims of the paper's discussion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from mien.data.sources import CROP_AT_MOST_PX
from mien.errors import MienError
from mien.evaluate.report import plot_confusion
from mien.evaluate.score import Scores
from mien.labels import FER2013
from mien.metrics import recalls, wilson_interval
from mien.paper.claims import NATURAL_CONFUSION, NATURAL_RATES
from mien.paper.context import LEFT_OUT, Context, interval, percent, rate, share
from mien.paper.page import Block, Gap, Picture, Section, Table, Text
from mien.types import FloatArray, IntArray

__all__ = ["easy_claim", "fear_claim", "natural"]

MODELS = ("mien", "paper-cnn")
FEAR, SURPRISE = FER2013.index("fear"), FER2013.index("surprise")
EASY = ("happy", "neutral", "surprise")  # the paper: "recognition accuracy was high"
LEVEL = 0.05
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
    blocks: list[Block] = [
        Table(
            f"The paper's Table III: {correct} of {total} right, {rate(correct, total)}, "
            "on a set of its own that was not published. The intervals, here and below, are ours.",
            ["actual", *FER2013, "recognized"],
            _matrix(NATURAL_CONFUSION, NATURAL_RATES),
            frozenset(range(len(FER2013))),
        )
    ]
    found: dict[str, Scores] = {}
    try:
        for model in MODELS:
            found[f"{model}, natural"] = context.measure_natural(model).subsets["all"]
            blocks += _ours(model, found[f"{model}, natural"])
        blocks.append(_difference({model: found[f"{model}, natural"] for model in MODELS}, total))
    except MienError as error:
        blocks.append(Gap(f"our Table III: {error}."))
    if LEFT_OUT in context.failed:
        blocks.append(Gap(f"{context.failed[LEFT_OUT]}."))
    try:
        for model in ("mien-fer2013", "paper-cnn"):
            found[f"{model}, test"] = context.measure(model, "test").subsets["all"]
    except MienError as error:
        blocks.append(Gap(f"the claims on test: {error}."))
    claims = [fear_claim(found), easy_claim(found), LABORATORY]
    head = ["claim", "paper", "here", "holds"]
    caption = (
        "The claims of the paper's discussion, which are of its natural faces, on our numbers. Of fear a set can tell "
        "where chance would not explain which of the two mistakes is more frequent (binomial test, 5%); of the three "
        "best, where the 95% interval of each lies above each other expression's, or one of them below another's."
    )
    blocks.append(Table(caption, head, claims))
    return Section("Natural faces (Table III)", blocks)


def _ours(model: str, scores: Scores) -> list[Block]:
    """Return a model's confusion matrix as a table and as a picture."""
    right = f"{scores.correct} of {scores.n} natural faces right, {percent(scores)}"
    missed = f"; in {scores.missed} of them no face was found, which counts as an error" if scores.missed else ""
    head = ["actual", *FER2013, "no face", "recognized"]
    figure = plot_confusion(scores, title=f"{model}, natural faces")
    return [
        Table(f"Our Table III, {model}: {right}{missed}.", head, _matrix(scores.confusion)),
        Picture(f"table-3-{model}", figure, f"The same as a picture, {model}."),
    ]


def _difference(found: dict[str, Scores], total: int) -> Block:
    """Return in words how our set and numbers differ from the paper's; found: scores by model."""
    first = next(iter(found.values()))
    counts, papers = first.confusion.sum(axis=1), NATURAL_CONFUSION.sum(axis=1)
    same = counts == papers
    told = [
        f"The paper's {total} faces were chosen and cropped by its authors; ours are {first.n} others, found by a "
        f"detector in what is larger than {CROP_AT_MOST_PX} pixels."
    ]
    if same.any() and not same.all():
        other = ", ".join(f"{FER2013[k]} {counts[k]} for {papers[k]}" for k in np.flatnonzero(~same))
        confusions = {"the paper": NATURAL_CONFUSION} | {model: scores.confusion for model, scores in found.items()}
        right = {name: int(np.diag(confusion)[same].sum()) for name, confusion in confusions.items()}
        equal = int(counts[same].sum())
        shares = [f"{name} {number}, {rate(number, equal)}" for name, number in right.items()]
        told.append(
            f"They hold other numbers of some expressions ({other}). Of the {equal} faces of the others, "
            f"as many of each as the paper has, right are: {'; '.join(shares)}."
        )
    told.append(
        f"Mean recall over the expressions that there are: the paper's {share(float(np.nanmean(recalls(PAPERS))))}, "
        + ", ".join(f"{model}'s {share(scores.macro_recall)}" for model, scores in found.items())
        + ", of which the rarest expressions' parts say little, as their intervals tell."
    )
    return Text(" ".join(told))


def _matrix(counts: IntArray, printed: Sequence[str] = ()) -> list[list[str]]:
    """Return a confusion matrix as rows of texts; printed: each expression's rate as somebody else gives it."""
    rows = []
    for number, (label, row) in enumerate(zip(FER2013, counts, strict=True)):
        right, total = int(row[number]), int(row.sum())
        recognized = f"{printed[number]} {interval(right, total)}" if printed else rate(right, total)
        rows.append([f"{label} ({total})", *(str(count) for count in row), recognized])
    return rows


def fear_claim(found: dict[str, Scores]) -> list[str]:
    """Return a row of texts: whether fear is mistaken for surprise more often than for anything else.

    found: scores by what they are of.  Where chance would explain which of two mistakes is more frequent (binomial
    test, 5%), that is said.
    """
    told, holds = [], []
    for name, confusion in {"": PAPERS, **{name: scores.confusion for name, scores in found.items()}}.items():
        wrong = confusion[FEAR, : len(FER2013)].copy()
        wrong[FEAR] = 0
        surprised, total = int(wrong[SURPRISE]), int(confusion[FEAR].sum())
        wrong[SURPRISE] = 0
        other = int(wrong.argmax())
        of = f"{name}: " if name else ""
        if total:
            rival = f", {wrong[other]} as {FER2013[other]}" if wrong[other] else ""
            told.append(f"{of}{surprised} of {total} {interval(surprised, total)} as surprise{rival}")
        else:
            told.append(f"{of}no fear in it")
        if name:
            both = surprised + int(wrong[other])
            by_chance = not both or binomtest(surprised, both).pvalue > LEVEL
            holds.append(None if by_chance else surprised > wrong[other])
    claim = 'fear is "often misidentified as a surprise": more often than as anything else'
    return [claim, told[0], "; ".join(told[1:]) or "-", _verdict(holds)]


def easy_claim(found: dict[str, Scores]) -> list[str]:
    """Return a row of texts: whether happy, neutral and surprise are the three that are recognized best.

    found: scores by what they are of.  They are where the interval of each of the three lies above each other one, and
    are not where one lies below another; else that cannot be told.
    """

    def best(recall: FloatArray) -> list[str]:
        order = np.argsort(-np.nan_to_num(recall, nan=-1.0))[: len(EASY)]
        return [FER2013[number] for number in order if not np.isnan(recall[number])]

    def holds(confusion: IntArray) -> bool | None:
        ends = {
            label: wilson_interval(int(confusion[number, number]), int(confusion[number].sum()))
            for number, label in enumerate(FER2013)
            if confusion[number].sum()
        }
        easy = [ends[label] for label in ends if label in EASY]
        others = [ends[label] for label in ends if label not in EASY]
        if not easy or not others:
            return None
        if min(low for low, _ in easy) > max(high for _, high in others):
            return True
        return False if min(high for _, high in easy) < max(low for low, _ in others) else None

    told = {name: best(scores.recall) for name, scores in found.items()}
    texts = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in told.items()) or "-"
    return [
        "happy, neutral and surprise are recognized best", ", ".join(best(recalls(PAPERS))), texts,
        _verdict([holds(scores.confusion) for scores in found.values()]),
    ]  # fmt: skip


def _verdict(holds: list[bool | None]) -> str:
    """Return in words whether a claim holds on several sets, None for one that cannot tell."""
    told = [one for one in holds if one is not None]
    if not told:
        return "cannot be told" if holds else "-"
    if len(told) < len(holds):
        return f"in {sum(told)} of {len(told)} ({len(holds) - len(told)} cannot tell)"
    return "yes" if all(told) else f"in {sum(told)} of {len(told)}" if any(told) else "no"

"""The page on natural faces: Table III, and the claims of the paper's discussion."""

from __future__ import annotations

import numpy as np

from mien.evaluate.report import plot_confusion
from mien.evaluate.score import Scores
from mien.labels import FER2013
from mien.metrics import recalls, wilson_interval
from mien.paper.claims import NATURAL_CONFUSION
from mien.paper.context import Context, percent, share
from mien.paper.page import Block, Picture, Section, Table, Text
from mien.types import IntArray

__all__ = ["natural"]

MODELS = ("mien", "paper-cnn")
FEAR, SURPRISE = FER2013.index("fear"), FER2013.index("surprise")
EASY = ("happy", "neutral", "surprise")  # the paper: "recognition accuracy was high"


def natural(context: Context) -> Section:
    """Table III beside ours, and the discussion's claims on our numbers."""
    found = {model: context.measure_natural(model).subsets["all"] for model in MODELS}
    private = {model: context.measure(model, "test").subsets["all"] for model in ("mien-fer2013", "paper-cnn")}
    papers = np.pad(NATURAL_CONFUSION, ((0, 0), (0, 1)))
    correct, total = int(np.trace(NATURAL_CONFUSION)), int(NATURAL_CONFUSION.sum())
    low, high = wilson_interval(correct, total)
    blocks: list[Block] = [
        Table(
            f"The paper's Table III: {correct} of {total} right, {share(correct / total)} ({100 * low:.1f} to "
            f"{100 * high:.1f}), on a set of its own that was not published.",
            ["actual", *FER2013, "recognized"],
            _matrix(NATURAL_CONFUSION, recalls(papers)),
            frozenset(range(len(FER2013))),
        )
    ]
    for model, scores in found.items():
        right = f"{scores.correct} of {scores.n} natural faces right, {percent(scores)}"
        missed = f"; in {scores.missed} of them no face was found, which counts as an error" if scores.missed else ""
        blocks.append(
            Table(
                f"Our Table III, {model}: {right}{missed}.",
                ["actual", *FER2013, "no face", "recognized"],
                _matrix(scores.confusion, scores.recall),
            )
        )
        figure = plot_confusion(scores, title=f"{model}, natural faces")
        blocks.append(Picture(f"table-3-{model}", figure, f"The same as a picture, {model}."))
    mean = float(np.nanmean(recalls(papers)))
    measured = {
        **{f"{name}, natural": scores for name, scores in found.items()},
        **{f"{name}, test": scores for name, scores in private.items()},
    }
    blocks += [
        Text(
            f"The paper's set and ours are different pictures: its 85.10% is of {total} faces that its authors chose "
            f"and cropped, ours is of {found['mien'].n} whose faces were found by a detector. Mean recall over the "
            f"seven: the paper's {share(mean)}, mien's {share(found['mien'].macro_recall)}."
        ),
        Table(
            "The claims of the paper's discussion, on our numbers.",
            ["claim", "paper", "here", "holds"],
            [
                _fear_claim(papers, measured),
                _easy_claim(papers, measured),
                ["FER2013 was \"collected in a laboratory environment\"", "stated in section IV.A",
                 "its pictures were found by web searches for 184 words around emotion (Goodfellow et al. 2013, "
                 "\"Challenges in Representation Learning\")", "no"],
            ],
        ),
    ]  # fmt: skip
    return Section("Natural faces (Table III)", blocks)


def _matrix(counts: IntArray, recall: object) -> list[list[str]]:
    """Return a confusion matrix as rows of texts."""
    shares = np.asarray(recall)
    return [
        [f"{label} ({row.sum()})", *(str(count) for count in row), "-" if np.isnan(one) else share(float(one))]
        for label, row, one in zip(FER2013, counts, shares, strict=True)
    ]


def _fear_claim(papers: IntArray, found: dict[str, Scores]) -> list[str]:
    """Return whether fear is read as surprise more than as anything else that it is not."""

    def taken_for(confusion: IntArray) -> tuple[str, int, int]:
        wrong = confusion[FEAR, : len(FER2013)].copy()
        wrong[FEAR] = -1
        return FER2013[int(wrong.argmax())], int(confusion[FEAR, SURPRISE]), int(confusion[FEAR].sum())

    most = {name: taken_for(scores.confusion) for name, scores in found.items() if scores.confusion[FEAR].sum()}
    told = [
        f"{name}: {taken} of {faces} as surprise, most often as {label}" for name, (label, taken, faces) in most.items()
    ]
    label, taken, faces = taken_for(papers)
    holds = [one[0] == "surprise" for one in most.values()]
    return ["fear is mistaken for surprise most of all", f"{taken} of {faces}, most often as {label}", "; ".join(told),
            _verdict(holds)]  # fmt: skip


def _easy_claim(papers: IntArray, found: dict[str, Scores]) -> list[str]:
    """Return whether happy, neutral and surprise are the three that are recognized best."""

    def best(recall: object) -> list[str]:
        order = np.argsort(-np.nan_to_num(np.asarray(recall), nan=-1.0))[: len(EASY)]
        return [FER2013[number] for number in order]

    told = {name: best(scores.recall) for name, scores in found.items()}
    holds = [set(labels) == set(EASY) for labels in told.values()]
    texts = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in told.items())
    return ["happy, neutral and surprise are recognized best", ", ".join(best(recalls(papers))), texts, _verdict(holds)]


def _verdict(holds: list[bool]) -> str:
    """Return one word on several tries."""
    return "yes" if all(holds) else f"in {sum(holds)} of {len(holds)}" if any(holds) else "no"

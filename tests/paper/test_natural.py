"""The discussion's claims on numbers, and Table III of natural faces."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.evaluate.report import read_results
from mien.evaluate.score import SampleTable, Scores, score
from mien.labels import FER2013
from mien.paper.context import Context
from mien.paper.natural import easy_claim, fear_claim, natural
from mien.paper.page import Gap, Table

ROOT = Path(__file__).resolve().parents[2]


def scores_of(*pairs: tuple[str, str]) -> Scores:
    actual, predicted = (np.array([FER2013.index(label) for label in labels]) for labels in zip(*pairs, strict=True))
    shares = np.full((len(pairs), 7), 1 / 7, np.float32)
    return score(SampleTable(FER2013, [""] * len(pairs), actual, predicted, shares, np.zeros(len(pairs), np.bool_), 0))


def test_fear_is_taken_for_surprise_where_it_is() -> None:
    surprised = scores_of(("fear", "surprise"), ("fear", "surprise"), ("fear", "sad"), ("fear", "fear"))
    assert fear_claim({"x": surprised})[1:] == [
        "13 of 38 as surprise, most often as surprise", "x: 2 of 4 as surprise, most often as surprise", "yes"
    ]  # fmt: skip
    assert fear_claim({"x": surprised, "y": scores_of(("fear", "sad"))})[3] == "in 1 of 2"


def test_a_tie_is_named_and_faces_that_are_all_right_say_nothing() -> None:
    tied = fear_claim({"x": scores_of(("fear", "angry"), ("fear", "surprise"))})
    assert tied[2:] == ["x: 1 of 2 as surprise, most often as angry or surprise", "yes"]
    right = fear_claim({"x": scores_of(("fear", "fear"))})
    assert right[2:] == ["x: 0 of 1 as surprise, most often as nothing else", "-"]
    assert fear_claim({})[2:] == ["-", "-"]


def test_the_easiest_three_are_compared() -> None:
    easy = scores_of(*((label, label) for label in ("happy", "neutral", "surprise")), ("sad", "fear"))
    assert easy_claim({"x": easy})[3] == "yes"
    hard = scores_of(("happy", "sad"), ("neutral", "neutral"), ("surprise", "surprise"), ("sad", "sad"))
    assert easy_claim({"x": hard})[3] == "no"


def test_table_3_counts_natural_faces_and_those_that_are_not_found(context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "natural"
    (folder / "faces").mkdir(parents=True)
    for name in ("astronaut.jpg", "chelsea.jpg"):
        shutil.copy(ROOT / "examples" / name, folder / "faces" / name)
    (folder / "labels.csv").write_text("file,emotion\nastronaut.jpg,happy\nchelsea.jpg,sad\n")
    context = replace(context, natural=folder)
    tables = [block for block in natural(context).blocks if isinstance(block, Table)]
    assert "337 of 396 right, 85.10%" in tables[0].caption
    assert "mien: 1 of 2 natural faces right, 50.00%" in tables[1].caption
    assert "in 1 of them no face was found" in tables[1].caption
    assert list(tables[1].rows[FER2013.index("happy")]) == ["happy (1)", *"00010000", "100.00%"]
    measured = [row for row in read_results(context.ledger.results) if row["data"] == "natural"]
    assert [(row["model"], row["correct"], row["missed"]) for row in measured] == [
        ("mien", "1", "1"), ("paper-cnn", "1", "1")
    ]  # fmt: skip


def test_without_natural_faces_the_papers_table_is_still_shown(context: Context) -> None:
    blocks = natural(context).blocks
    assert isinstance(blocks[0], Table)
    assert [block.text for block in blocks if isinstance(block, Gap)] == [
        "our Table III: no natural faces; --natural names a folder with faces/ and labels.csv."
    ]

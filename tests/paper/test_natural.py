"""The discussion's claims on numbers, and Table III of natural faces."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.evaluate.report import read_results
from mien.evaluate.score import SampleTable, Scores, score
from mien.labels import FER2013
from mien.paper.context import LEFT_OUT, Context
from mien.paper.natural import _difference, easy_claim, fear_claim, natural
from mien.paper.page import Gap, Table, Text

ROOT = Path(__file__).resolve().parents[2]


def scores_of(*pairs: tuple[str, str]) -> Scores:
    actual, predicted = (np.array([FER2013.index(label) for label in labels]) for labels in zip(*pairs, strict=True))
    shares = np.full((len(pairs), 7), 1 / 7, np.float32)
    return score(SampleTable(FER2013, [""] * len(pairs), actual, predicted, shares, np.zeros(len(pairs), np.bool_), 0))


def test_fear_is_taken_for_surprise_where_it_is() -> None:
    surprised = scores_of(*[("fear", "surprise")] * 20, ("fear", "sad"), *[("fear", "fear")] * 19)
    _, papers, here, holds = fear_claim({"x": surprised})
    assert papers == "13 of 38 (21.2 to 50.1) as surprise, 2 as neutral"
    assert (here, holds) == ("x: 20 of 40 (35.2 to 64.8) as surprise, 1 as sad", "yes")
    saddened = scores_of(*[("fear", "sad")] * 20, ("fear", "surprise"))
    assert fear_claim({"x": saddened})[3] == "no"
    assert fear_claim({"x": surprised, "y": saddened})[3] == "in 1 of 2"


def test_few_faces_do_not_tell_what_fear_is_taken_for() -> None:
    few = scores_of(("fear", "surprise"), ("fear", "surprise"), ("fear", "sad"), ("fear", "fear"))
    right = scores_of(("fear", "fear"))
    for scores in (few, right):
        assert fear_claim({"x": scores})[3] == "cannot be told"
    many = scores_of(*[("fear", "sad")] * 20)
    assert fear_claim({"x": few, "y": many})[3] == "in 0 of 1 (1 cannot tell)"
    assert fear_claim({})[2:] == ["-", "-"]


def test_the_easiest_three_are_compared() -> None:
    three = [(label, label) for label in ("happy", "neutral", "surprise") for _ in range(20)]
    assert easy_claim({"x": scores_of(*three, *[("sad", "fear")] * 20)})[3] == "yes"
    assert easy_claim({"x": scores_of(*three[20:], *[("happy", "sad")] * 20, *[("sad", "sad")] * 20)})[3] == "no"
    assert easy_claim({"x": scores_of(*three, ("sad", "sad"))})[3] == "cannot be told"
    few = [("disgust", "disgust")] * 4 + [("disgust", "sad")] * 2  # 67%, and anything from 30 to 90
    assert easy_claim({"x": scores_of(*three, *[("sad", "fear")] * 20, *few)})[3] == "cannot be told"
    assert easy_claim({})[3] == "-"
    assert easy_claim({"x": scores_of(*three)})[3] == "cannot be told"


def test_expressions_that_are_not_there_are_neither_recognized_nor_mistaken() -> None:
    two = scores_of(("happy", "happy"), ("sad", "sad"))
    assert easy_claim({"x": two})[2] == "x: happy, sad"
    assert fear_claim({"x": two})[2] == "x: no fear in it"


def test_equal_classes_are_compared_by_themselves() -> None:
    ours = scores_of(*[("happy", "happy")] * 70, *[("happy", "sad")] * 71, *[("fear", "fear")] * 2)
    told = _difference({"x": ours}, 396)
    assert isinstance(told, Text)
    assert "angry 0 for 37, disgust 0 for 22, fear 2 for 38" in told.text
    assert "Of the 141 faces of the others" in told.text
    assert "the paper 134, 95.04%" in told.text
    assert "x 70, 49.65%" in told.text


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
    assert list(tables[1].rows[FER2013.index("happy")]) == ["happy (1)", *"00010000", "100.00% (20.7 to 100.0)"]
    measured = [row for row in read_results(context.ledger.results) if row["data"] == "natural"]
    assert [(row["model"], row["correct"], row["missed"]) for row in measured] == [
        ("mien", "1", "1"), ("paper-cnn", "1", "1")
    ]  # fmt: skip


def test_pictures_that_cannot_be_used_are_left_out_and_told(context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "natural"
    (folder / "faces").mkdir(parents=True)
    for name in ("astronaut.jpg", "chelsea.jpg"):
        shutil.copy(ROOT / "examples" / name, folder / "faces" / name)
    rows = ("astronaut.jpg,happy", "chelsea.jpg,contempt", "away.jpg,sad", "astronaut.jpg,puzzled")
    (folder / "labels.csv").write_text("\n".join(("file,emotion", *rows)))
    context = replace(context, natural=folder)
    blocks = natural(context).blocks
    assert "mien: 1 of 1 natural faces right" in next(block.caption for block in blocks[1:] if isinstance(block, Table))
    (told,) = [block.text for block in blocks if isinstance(block, Gap)]
    assert f"{folder}: 3 of 4 left out" in told
    for where, why in (("labels.csv:4", "away.jpg"), ("labels.csv:5", "puzzled"), ("chelsea.jpg", "contempt is none")):
        assert re.search(f"{where}.*{why}", told)
    assert context.failed == {LEFT_OUT: told.removesuffix(".")}


def test_without_natural_faces_the_papers_table_is_still_shown(context: Context) -> None:
    blocks = natural(context).blocks
    assert isinstance(blocks[0], Table)
    assert [block.text for block in blocks if isinstance(block, Gap)] == [
        "our Table III: no natural faces; --natural names a folder with faces/ and labels.csv."
    ]

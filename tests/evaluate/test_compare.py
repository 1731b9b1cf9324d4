"""Two models on the same faces: who gained what, and whether that is chance."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError
from mien.evaluate.compare import HEAD, compare, compare_subsets, remove_page, rows_of, verdict, write_page
from mien.evaluate.score import SampleTable
from mien.labels import FER2013, FERPLUS
from mien.metrics import mcnemar


def table_of(
    predicted: list[int], actual: list[int], *, seen: int = 0, labels: tuple[str, ...] = FER2013
) -> SampleTable:
    """Return the table of a predictor that is sure of what it says; the first `seen` faces were seen before."""
    shares = np.eye(len(labels) + 1, dtype=np.float32)[predicted][:, : len(labels)]
    return SampleTable(
        labels=labels,
        source=[f"made:{index}" for index in range(len(actual))],
        actual=np.array(actual),
        predicted=np.array(predicted),
        probabilities=shares,
        seen=np.arange(len(actual)) < seen,
        left_out=0,
    )


ACTUAL = [0] * 10 + [3] * 10
BEFORE = table_of([0] * 4 + [1] * 6 + [3] * 9 + [7], ACTUAL)  # the last face was not found
AFTER = table_of([0] * 10 + [3] * 8 + [4] * 2, ACTUAL)


def test_what_only_one_of_them_got_right_is_counted_by_expression() -> None:
    comparison = compare(BEFORE, AFTER)
    assert comparison.counts == (6, 1)
    assert comparison.p == mcnemar(BEFORE.actual == BEFORE.predicted, AFTER.actual == AFTER.predicted)
    assert (comparison.before.correct, comparison.after.correct) == (13, 18)
    rows = {row[0]: row for row in rows_of(comparison)}
    assert all(len(row) == len(HEAD) for row in rows.values())
    assert rows["accuracy"][1:3] == ("20", "65.0%")
    assert rows["accuracy"][4] == "90.0%"
    assert rows["angry"][-2:] == ("6", "0")
    assert rows["happy"][-2:] == ("0", "1")
    assert rows["fear"][1:] == ("0", "", "", "", "", "0", "0")
    assert rows["macro recall"][2] == "65.0%"


def test_the_sentence_says_better_worse_or_not_told_apart() -> None:
    assert "can be told apart from chance: 6 of 20 faces gained, 1 lost, p = 0.12" in verdict(
        compare(BEFORE, AFTER), before="mien", after="own"
    )
    actual = [0] * 20
    weak, strong = table_of([0] * 5 + [1] * 15, actual), table_of([0] * 19 + [1], actual)
    assert verdict(compare(weak, strong), before="mien", after="own") == (
        "own is better than mien: 14 of 20 faces gained, 0 lost, p = 0.00012"
    )
    assert verdict(compare(strong, weak), before="mien", after="own").startswith("own is worse than mien: 0 of 20")
    assert re.search(r"right on the same \d+ of 20 faces", verdict(compare(weak, weak), before="mien", after="own"))


def test_faces_that_were_seen_before_are_left_out_of_a_part() -> None:
    before = table_of([1] * 4 + [0] * 6, [0] * 10, seen=4)
    after = table_of([0] * 9 + [1], [0] * 10, seen=4)
    whole, unseen = (compare_subsets(before, after)[name] for name in ("all", "unseen"))
    assert whole.counts == (4, 1)
    assert unseen.counts == (0, 1)
    assert unseen.after.n == 6


def test_tables_of_other_faces_or_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"other labels.*contempt.*--answer"):
        compare(BEFORE, table_of([0] * 20, ACTUAL, labels=FERPLUS))
    with pytest.raises(InputError, match="other samples"):
        compare(BEFORE, table_of([0] * 20, [0] * 20))


def test_the_page_holds_all_that_it_shows_and_no_name_becomes_markup(tmp_path: Path) -> None:
    write_page(
        tmp_path / "compare.html", compare_subsets(BEFORE, AFTER), before="<b>mien", after="own & mine",
        facts=["Faces: own, test."],
    )  # fmt: skip
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "6 of 20 faces gained, 1 lost" in page
    assert "<b>mien" not in page
    assert "&lt;b&gt;mien" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    for row in rows_of(compare(BEFORE, AFTER)):
        assert f'<th scope="row">{row[0]}</th>' in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page
    assert "nan%" not in page


def test_the_page_tells_of_unseen_faces_apart(tmp_path: Path) -> None:
    before, after = table_of([1] * 4 + [0] * 6, [0] * 10, seen=4), table_of([0] * 9 + [1], [0] * 10, seen=4)
    path = tmp_path / "compare.html"
    write_page(path, compare_subsets(before, after), before="mien", after="own", facts=[])
    page = path.read_text(encoding="utf-8")
    whole, _, unseen = page.partition("<h2>Without faces that stand")
    assert "4 of 10 faces gained, 1 lost" in whole
    assert "0 of 6 faces gained, 1 lost" in unseen
    assert '<th scope="row">accuracy</th><td>10</td><td>60.0%</td>' in whole
    assert '<th scope="row">accuracy</th><td>6</td><td>100.0%</td>' in unseen
    assert "Before is mien, after own" in unseen


def test_a_page_is_removed_and_any_other_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "compare.html"
    remove_page(path)
    write_page(path, compare_subsets(BEFORE, AFTER), before="mien", after="own", facts=[])
    remove_page(path)
    assert not path.exists()
    path.write_text("<!DOCTYPE html>")
    remove_page(path)
    assert path.exists()

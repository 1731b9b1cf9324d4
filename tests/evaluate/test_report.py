"""Scores to a row of results.csv and a confusion matrix."""

from __future__ import annotations

import csv
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import DataError
from mien.evaluate.report import (
    COLUMNS,
    Measurement,
    add_to_results,
    draw_confusion,
    read_results,
    write_confusion,
)
from mien.evaluate.score import SampleTable, Scores, score
from mien.labels import FER2013, FERPLUS

MEASURED = Measurement(
    model="paper-cnn",
    data='a folder, with "quotes"',
    split="test",
    subset="all",
    truth="label",
    views="own",
    change="",
    detector="",
    date="2026-01-02",
    hardware="2 cores",
    commit="abc+",
    model_sha256="0" * 64,
    manifest_sha256="1" * 64,
)


def make_scores(*, missed: int = 0, labels: tuple[str, ...] = FER2013, right: float = 0.7) -> Scores:
    generator = np.random.default_rng(0)
    n = 300
    actual = generator.integers(0, len(FER2013), n)
    predicted = np.where(generator.random(n) < right, actual, generator.integers(0, len(labels), n))
    predicted[:missed] = len(labels)
    shares = np.full((n, len(labels)), 0.3 / (len(labels) - 1), np.float32)
    shares[np.arange(n), np.minimum(predicted, len(labels) - 1)] = 0.7
    table = SampleTable(labels, [""] * n, actual, predicted, shares, np.zeros(n, np.bool_), left_out=0)
    return score(table)


def test_a_row_says_what_was_measured_and_how(tmp_path: Path) -> None:
    scores = make_scores(missed=4)
    add_to_results(tmp_path / "new" / "results.csv", [(MEASURED, scores)])
    (row,) = read_results(tmp_path / "new" / "results.csv")
    assert tuple(row) == COLUMNS
    for name in Measurement.__slots__:
        assert row[name] == getattr(MEASURED, name)
    assert (row["n"], row["correct"], row["missed"]) == ("300", str(scores.correct), "4")
    numbers = {
        "accuracy": scores.accuracy,
        "low_95": scores.interval[0],
        "high_95": scores.interval[1],
        "macro_recall": scores.macro_recall,
        "macro_f1": scores.macro_f1,
        "log_loss": scores.log_loss,
        "calibration_error": scores.calibration_error,
    }
    assert {name: float(row[name]) for name in numbers} == pytest.approx(numbers, abs=5e-5)
    recalls = [float(row[f"recall_{label}"]) for label in FER2013]
    np.testing.assert_allclose(recalls, scores.recall, atol=5e-5)
    assert row["recall_contempt"] == "", "the model does not know it"


def test_a_measurement_that_is_made_again_replaces_its_row_in_place(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    unseen = replace(MEASURED, subset="unseen")
    add_to_results(path, [(MEASURED, make_scores()), (unseen, make_scores(right=0.6))])
    before = path.read_text()
    add_to_results(path, [(MEASURED, make_scores()), (unseen, make_scores(right=0.6))])
    assert path.read_text() == before
    later = replace(MEASURED, date="2027-01-01", hardware="64 cores", commit="def", data="elsewhere")
    add_to_results(path, [(later, make_scores(right=0.9))])
    rows = read_results(path)
    assert [row["subset"] for row in rows] == ["all", "unseen"]
    assert [row["date"] for row in rows] == ["2027-01-01", "2026-01-02"]


@pytest.mark.parametrize(
    "key",
    ["model", "model_sha256", "manifest_sha256", "split", "subset", "truth", "views", "change", "detector"],
)
def test_a_measurement_of_something_else_is_a_row_of_its_own(tmp_path: Path, key: str) -> None:
    path = tmp_path / "results.csv"
    add_to_results(path, [(MEASURED, make_scores())])
    add_to_results(path, [(replace(MEASURED, **{key: "other"}), make_scores())])
    assert [row[key] for row in read_results(path)] == [getattr(MEASURED, key), "other"]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"",
        b"\xff\xfe\x00binary\x00",
        ",".join(COLUMNS[:-1]).encode() + b"\n",
        ",".join(COLUMNS).encode() + b"\n" + b"1," * len(COLUMNS) + b"1,1\n",
        ",".join(COLUMNS).encode() + b"\npaper-cnn,data\n",
        ",".join(COLUMNS).encode() + b'\n"open\n',
    ],
)
def test_a_file_that_is_no_results_csv_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"results\.csv.*--results"):
        add_to_results(path, [(MEASURED, make_scores())])
    assert path.read_bytes() == content


def test_a_folder_is_no_results_csv_and_where_nothing_is_there_are_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a results"):
        read_results(tmp_path)
    assert read_results(tmp_path / "absent.csv") == []


def test_the_columns_are_those_that_the_documents_explain() -> None:
    explained = (Path(__file__).resolve().parent.parent.parent / "results" / "README.md").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert f"`{column}`" in explained or column.startswith("recall_"), column
    assert [column for column in COLUMNS if column.startswith("recall_")] == [f"recall_{label}" for label in FERPLUS]


def test_the_confusion_matrix_is_written_with_what_was_not_found(tmp_path: Path) -> None:
    scores = make_scores(missed=5)
    write_confusion(tmp_path / "confusion.csv", scores)
    with (tmp_path / "confusion.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["actual", *FER2013, "no face"]
    assert [row[0] for row in rows] == list(FER2013)
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], int), scores.confusion)


@pytest.mark.parametrize(("missed", "labels"), [(0, FER2013), (9, FERPLUS)])
def test_the_picture_of_the_confusion_matrix_has_a_field_for_each_pair(
    tmp_path: Path, missed: int, labels: tuple[str, ...]
) -> None:
    scores = make_scores(missed=missed, labels=labels)
    draw_confusion(tmp_path / "confusion.svg", scores, title="paper-cnn on $_{$ <b>, test")
    svg = (tmp_path / "confusion.svg").read_text()
    texts = [line.strip() for line in svg.splitlines() if line.strip().startswith("<!--")]
    assert f"<!-- {100 * scores.accuracy:.2f}% of 300" in svg
    assert sum("no face" in text for text in texts) == (1 if missed else 0)
    for label, row in zip(labels, scores.confusion, strict=True):
        assert f"<!-- {label} ({row.sum()}) -->" in texts
    draw_confusion(tmp_path / "confusion.png", scores, title="paper-cnn on fer2013, test")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width > 900


def test_a_title_in_letters_that_the_font_lacks_is_drawn_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(tmp_path / "confusion.png", make_scores(), title="mien on 顔, test")
    assert (tmp_path / "confusion.png").is_file()

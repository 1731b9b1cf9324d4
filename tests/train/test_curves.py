"""The log of a run, for programs and for people."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mien.train.curves import COLUMNS, Row, draw_curves, plot_curves, write_log


def rows(count: int) -> list[Row]:
    generator = np.random.default_rng(0)
    return [
        {"epoch": epoch, **{name: float(generator.random()) for name in COLUMNS[1:]}} for epoch in range(1, count + 1)
    ]


def test_the_log_has_a_row_an_epoch_with_its_numbers(tmp_path: Path) -> None:
    written = rows(3)
    write_log(tmp_path / "log.csv", written)
    with (tmp_path / "log.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [tuple(row) for row in read] == [COLUMNS] * 3
    assert [row["epoch"] for row in read] == ["1", "2", "3"]
    for before, after in zip(written, read, strict=True):
        assert {name: float(value) for name, value in after.items()} == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("count", [1, 30])
def test_the_curves_are_a_picture_with_something_in_both_halves(tmp_path: Path, count: int) -> None:
    draw_curves(tmp_path / "curves.png", rows(count), title="a run")
    with Image.open(tmp_path / "curves.png") as opened:
        picture = np.asarray(opened.convert("RGB")).astype(int)
    assert picture.shape[1] > 800
    coloured = picture.max(axis=2) - picture.min(axis=2) > 60  # axes and text are grey
    middle = picture.shape[1] // 2
    assert coloured[60:-80, 100:middle].sum() > 250  # the legend alone has fewer
    assert coloured[60:-80, middle + 80 :].sum() > 40


def test_where_a_run_started_may_be_best() -> None:
    figure = Figure()
    plot_curves(figure, rows(3), title="run", best={**rows(1)[0], "epoch": 0, "val_accuracy": 0.99})
    assert figure.axes[1].get_title() == "best 99.00% in epoch 0"


def test_any_name_of_a_run_is_only_text(tmp_path: Path) -> None:
    draw_curves(tmp_path / "curves.svg", rows(2), title="$_{$ ^ 100% <b>")


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    draw_curves(tmp_path / "curves.svg", rows(2), title="a run")
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_the_heads_stand_behind_the_columns_of_every_run(tmp_path: Path) -> None:
    heads = ["val_accuracy_fer2013", "val_accuracy_ferplus"]
    written: list[Row] = [{**dict.fromkeys(heads, number / 8), **row} for number, row in enumerate(rows(2))]
    write_log(tmp_path / "log.csv", written)
    with (tmp_path / "log.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == [*COLUMNS, *heads]
    assert [row[heads[1]] for row in read] == ["0", "0.125"]

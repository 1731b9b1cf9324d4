"""What was trained stays known."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError
from mien.evaluate.report import COLUMNS
from mien.evaluate.score import SampleTable, Scores, score
from mien.labels import FER2013
from mien.paper.ledger import Ledger, RunRow, TrialRow

NUMBERS = ("epochs", "best_epoch", "parameters", "multiplications", "ms_a_face", "train_s")
RUN = RunRow(**{field.name: "3" if field.name in NUMBERS else field.name for field in fields(RunRow)})
LOG = [{"epoch": 1.0, "learning_rate": 0.1, "train_loss": 2.0, "val_loss": 1.5, "val_accuracy": 0.5,
        "images_per_s": 9.0, "seconds": 3.0}]  # fmt: skip


def scores_of(predicted: np.ndarray) -> Scores:
    shares = np.full((len(predicted), 7), 1 / 7, np.float32)
    return score(SampleTable(FER2013, [""] * len(predicted), predicted % 7, predicted, shares, predicted < 0, 0))


def test_a_run_is_found_again_with_its_log_and_what_it_predicted(tmp_path: Path) -> None:
    predicted = np.array([0, 6, 7, 3])  # 7: no face
    ledger = Ledger(tmp_path)
    assert ledger.find("recipe_sha256", "manifest_sha256") is None
    ledger.add(RUN, log=LOG, predicted={"test": (predicted, scores_of(predicted))})
    for known in (ledger, Ledger(tmp_path)):
        found = known.find("recipe_sha256", "manifest_sha256")
        assert found == RUN
        columns = known.predicted(RUN, "test", 4)
        assert columns is not None
        assert columns.tolist() == [0, 6, -1, 3]
        assert known.predicted(RUN, "val", 4) is None
        with pytest.raises(DataError, match="expected 5 digits"):
            known.predicted(RUN, "test", 5)
        assert known.curves(RUN) == LOG


def test_a_run_of_other_data_is_another(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(RUN)
    assert ledger.find("recipe_sha256", "other") is None
    ledger.add(replace(RUN, manifest_sha256="other"))
    assert Ledger(tmp_path).find("recipe_sha256", "manifest_sha256") == RUN


def test_the_same_run_again_takes_the_place_of_the_old(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(RUN)
    ledger.add(replace(RUN, epochs="9"))
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 2
    found = Ledger(tmp_path).find("recipe_sha256", "manifest_sha256")
    assert found is not None
    assert found.epochs == "9"


def test_trials_are_kept_by_search_data_and_strategy(tmp_path: Path) -> None:
    trial = TrialRow("search", "data", "grid", "0", "complete", "0.5", "4", "{}")
    Ledger(tmp_path).add_trials([trial, replace(trial, trial="1")])
    assert [row.trial for row in Ledger(tmp_path).trials("search", "data", "grid")] == ["0", "1"]
    assert Ledger(tmp_path).trials("search", "data", "random") == []
    Ledger(tmp_path).add_trials([replace(trial, val_accuracy="0.6")])  # another process made the same one
    assert [row.val_accuracy for row in Ledger(tmp_path).trials("search", "data", "grid")] == ["0.6", "0.5"]


@pytest.mark.parametrize(
    ("column", "value"), [("val_accuracy", "abc"), ("epochs", "2.0"), ("settings", "{"), ("settings", "[]")]
)
def test_a_trial_that_is_none_is_named(tmp_path: Path, column: str, value: str) -> None:
    trial = TrialRow("search", "data", "grid", "0", "complete", "0.5", "4", "{}")
    Ledger(tmp_path).add_trials([replace(trial, **{column: value})])
    with pytest.raises(DataError, match=rf"searches\.csv: {column} of 'trial 0'"):
        Ledger(tmp_path)


@pytest.mark.parametrize(("column", "value"), [("parameters", "517451.0"), ("parameters", ""), ("train_s", "")])
def test_a_run_whose_numbers_are_none_is_named(tmp_path: Path, column: str, value: str) -> None:
    Ledger(tmp_path).add(replace(RUN, **{column: value}))
    with pytest.raises(DataError, match=rf"runs\.csv: {column} of '.*' is '{value}'; expected a"):
        Ledger(tmp_path)


@pytest.mark.parametrize(("column", "value"), [("correct", "1.5"), ("n", ""), ("accuracy", "half")])
def test_a_score_that_is_no_number_is_named(tmp_path: Path, column: str, value: str) -> None:
    known = dict.fromkeys(COLUMNS, "0") | {
        "model": "one", "model_sha256": RUN.model_sha256, "manifest_sha256": RUN.manifest_sha256, "split": "val",
        "subset": "all", "truth": "label", "views": "own", "change": "", "detector": "",
    }  # fmt: skip
    lines = [",".join(COLUMNS), ",".join(known.values()), ",".join({**known, "split": "test", column: value}.values())]
    (tmp_path / "results.csv").write_text("\n".join(lines) + "\n")
    assert Ledger(tmp_path).score(RUN, "val") == known
    with pytest.raises(DataError, match=rf"results\.csv: {column} of 'one' is '{value}'"):
        Ledger(tmp_path).score(RUN, "test")


def test_curves_without_what_is_drawn_of_them_are_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(RUN, log=LOG)
    (log,) = (tmp_path / "curves").iterdir()
    log.write_text("epoch,train_loss\n1,2\n")
    with pytest.raises(DataError, match="it has no val_loss"):
        ledger.curves(RUN)


@pytest.mark.parametrize("text", ["study,variant\n", "a\x00b", '"', "study\n1,2\n"])
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(DataError, match=r"runs\.csv: "):
        Ledger(tmp_path)

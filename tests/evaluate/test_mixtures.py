"""Mixed expressions and calibration beside what FER+'s taggers said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.manifest import Manifest, read
from mien.data.rules import HALVES_NOTE
from mien.errors import DataError
from mien.evaluate.mixture_rows import NAME, add_to_mixtures, read_mixtures
from mien.evaluate.mixtures import Panel, score_mixtures, take_panel, top_two
from mien.evaluate.report import Measurement
from mien.evaluate.score import SampleTable
from mien.labels import FER2013, VOTES
from mien.types import FloatArray

MEASURED = Measurement(
    model="mien", data="made", split="val", subset="all", truth="label", views="own", change="", detector="",
    date="2026-01-02", hardware="2 cores", commit="abc", model_sha256="0" * 64, manifest_sha256="1" * 64,
)  # fmt: skip


def make_panel(n: int = 400, *, sharpen: float = 1.0, people: int = 10, seed: int = 0) -> Panel:
    """Return a model that knows how taggers vote, or is surer than that, and the votes of some."""
    generator = np.random.default_rng(seed)
    truly = generator.dirichlet(np.full(7, 0.25), n)
    votes = generator.multinomial(people, truly)
    said = truly**sharpen
    most = votes.argmax(axis=1)
    return Panel(
        labels=FER2013,
        probabilities=(said / said.sum(axis=1, keepdims=True)).astype(np.float32),
        votes=votes,
        majority=np.where(2 * votes.max(axis=1) > people, most, -1),
        label=np.array([generator.choice(7, p=row) for row in truly]),
    )


def as_table(manifest: Manifest, probabilities: FloatArray, *, missed: tuple[int, ...] = ()) -> SampleTable:
    """Return what a model said of a manifest's test rows."""
    rows = manifest.rows_in("test")
    predicted = probabilities.argmax(axis=1)
    predicted[list(missed)] = len(FER2013)
    return SampleTable(
        FER2013, [""] * len(rows), manifest.label[rows], predicted, probabilities, np.zeros(len(rows), np.bool_), 0
    )


def test_a_model_that_knows_the_votes_is_nearer_to_them_than_anything_else() -> None:
    scores = score_mixtures(make_panel())
    far = scores.distances
    assert far.model < min(far.words, far.top, far.mean)
    assert far.words < far.top < far.mean
    same = make_panel()
    exact = replace(same, probabilities=(same.votes / 10).astype(np.float32))
    assert score_mixtures(exact).distances.model == pytest.approx(0, abs=1e-3)
    assert score_mixtures(exact).top_two.model == score_mixtures(exact).top_two.model_ordered == 1


def test_a_calibrated_model_is_within_the_range_and_an_overconfident_one_beyond_it() -> None:
    honest, boastful = score_mixtures(make_panel(2000)), score_mixtures(make_panel(2000, sharpen=3))
    for scores, within in ((honest, True), (boastful, False)):
        for calibration in (scores.against_votes, scores.against_label):
            assert calibration.n == 2000
            assert (calibration.error < calibration.high) == within
    assert honest.against_votes.high < honest.against_label.high, "ten votes say more than one label"


def test_two_are_named_where_no_other_has_more_votes_and_equal_votes_are_either_ones() -> None:
    votes = np.array([[6, 4, 0], [6, 4, 0], [6, 2, 2], [6, 2, 2], [5, 5, 0], [5, 3, 2]])
    said = np.array([[2, 1, 0], [1, 2, 0], [2, 1, 0], [2, 0, 1], [1, 2, 0], [2, 0, 1]])
    named, ordered = top_two(said, votes)
    assert named.tolist() == [True, True, True, True, True, False]
    assert ordered.tolist() == [True, False, True, True, True, False]


def test_words_are_counted_by_whether_two_taggers_saw_a_second_expression() -> None:
    single, pair, unsure = [0.97, 0.03, 0, 0, 0, 0, 0], [0.7, 0.3, 0, 0, 0, 0, 0], [0.4, 0.3, 0.3, 0, 0, 0, 0]
    agreed, split = [9, 1, 0, 0, 0, 0, 0], [8, 2, 0, 0, 0, 0, 0]
    panel = panel_of([single, pair, unsure, single, pair, pair, pair, unsure], [agreed] * 4 + [split] * 4)
    words, two = score_mixtures(panel).words, score_mixtures(panel).top_two
    assert (words.single, words.pair, words.unsure) == (2 / 8, 4 / 8, 2 / 8)
    assert (words.pair_if_agreed, words.pair_if_split) == (1 / 3, 1)
    assert (words.unsure_if_agreed, words.unsure_if_split) == (1 / 4, 1 / 4)
    assert (two.n, two.model, two.model_ordered) == (4, 1, 1)


def panel_of(said: list[list[float]], votes: list[list[int]]) -> Panel:
    """Return a panel whose majority and labels are the first expression."""
    zeros = np.zeros(len(said), np.int64)
    return Panel(FER2013, np.array(said, np.float32), np.array(votes), zeros, zeros)


def test_the_least_sure_fifth_is_left_out_of_accuracy() -> None:
    sure, doubtful = [0.9, 0.05, 0.05, 0, 0, 0, 0], [0.3, 0.4, 0.3, 0, 0, 0, 0]
    surest = score_mixtures(panel_of([sure] * 8 + [doubtful] * 2, [[10, 0, 0, 0, 0, 0, 0]] * 10)).surest
    assert (surest.n, surest.accuracy, surest.without_fifth, surest.of_fifth) == (10, 0.8, 1, 0)
    assert (surest.unsure, surest.without_unsure) == (0.2, 1)


def test_the_majority_and_the_label_are_measured_apart() -> None:
    sure = [0.9, 0.1, 0, 0, 0, 0, 0]
    panel = panel_of([sure] * 10, [[10, 0, 0, 0, 0, 0, 0]] * 10)
    scores = score_mixtures(replace(panel, label=np.array([0] * 2 + [1] * 8)))
    assert scores.against_majority.error == pytest.approx(0.1, abs=1e-6)
    assert scores.against_label.error == pytest.approx(0.7, abs=1e-6)
    assert scores.against_votes.error == pytest.approx(0.1, abs=1e-6)


def test_votes_in_halves_are_measured_as_the_people_they_are_of() -> None:
    whole = make_panel(200)
    in_halves = score_mixtures(replace(whole, votes=2 * whole.votes, votes_a_tagger=2))
    assert in_halves == score_mixtures(whole)
    assert in_halves != score_mixtures(replace(whole, votes=2 * whole.votes))


def test_a_datasets_note_of_halves_reaches_the_panel(make_dataset: Callable[..., Path]) -> None:
    manifest = read(make_dataset(votes=True)).manifest
    rows = manifest.rows_in("test")
    table = as_table(manifest, np.full((len(rows), 7), 1 / 7, np.float32))
    assert take_panel(table, manifest, rows).votes_a_tagger == 1
    assert take_panel(table, replace(manifest, notes=("made", HALVES_NOTE)), rows).votes_a_tagger == 2


def test_equal_votes_of_others_are_ranked_by_chance_whichever_label_comes_first() -> None:
    # Of ten who vote 6 to 4 the six are ahead in 63.3% and level in 20.1%.
    for six, four in ((0, 1), (1, 0)):
        votes = np.zeros((400, 7), np.int64)
        votes[:, six], votes[:, four] = 6, 4
        two = score_mixtures(panel_of([[1 / 7] * 7] * 400, votes.tolist())).top_two
        assert two.redrawn_ordered == pytest.approx(0.633 + 0.201 / 2, abs=0.01)


def test_faces_without_votes_count_for_labels_alone() -> None:
    panel = make_panel(50)
    votes = panel.votes.copy()
    votes[:20] = 0
    scores = score_mixtures(replace(panel, votes=votes, majority=np.full(50, -1)))
    assert (scores.n, scores.against_votes.n, scores.against_label.n) == (30, 30, 50)
    assert (scores.surest.n, scores.against_majority.n) == (0, 0)
    assert math.isnan(scores.surest.accuracy)
    assert math.isnan(scores.against_majority.error)
    with pytest.raises(DataError, match="no face has votes"):
        score_mixtures(replace(panel, votes=np.zeros_like(panel.votes)))


def test_the_panel_takes_votes_for_the_models_labels_and_leaves_missed_faces_out(
    make_dataset: Callable[..., Path],
) -> None:
    manifest = read(make_dataset(votes=True)).manifest
    rows = manifest.rows_in("test")
    assert manifest.votes is not None
    votes = manifest.votes.copy()
    for row, counts in enumerate(({"contempt": 7, "sad": 3}, {"unknown": 6, "sad": 4}, {"happy": 9, "contempt": 1})):
        votes[rows[row]] = [counts.get(name, 0) for name in VOTES]
    manifest = replace(manifest, votes=votes)
    said = np.full((len(rows), 7), 1 / 7, np.float32)
    panel = take_panel(as_table(manifest, said, missed=(5,)), manifest, rows)
    assert len(panel.votes) == len(rows) - 1
    assert panel.votes[0].tolist() == [0, 0, 0, 0, 3, 0, 0]
    assert panel.votes[1].sum() == 0
    assert panel.votes[2].tolist() == [0, 0, 0, 9, 0, 0, 0]
    assert panel.majority[:3].tolist() == [-1, -1, FER2013.index("happy")], "contempt is none that the model knows"
    chosen = np.arange(len(rows)) < 3
    assert len(take_panel(as_table(manifest, said), manifest, rows, chosen).votes) == 3
    with pytest.raises(DataError, match="has no votes"):
        take_panel(as_table(manifest, said), replace(manifest, votes=None), rows)


def test_a_row_holds_every_score_and_is_replaced_when_it_is_measured_again(tmp_path: Path) -> None:
    scores = score_mixtures(make_panel())
    path = tmp_path / NAME
    add_to_mixtures(path, [(MEASURED, score_mixtures(make_panel(50))), (replace(MEASURED, subset="unseen"), scores)])
    add_to_mixtures(path, [(replace(MEASURED, date="2026-02-03"), scores)])
    row, other = read_mixtures(path)
    assert (row["subset"], other["subset"], row["date"], row["commit"]) == ("all", "unseen", "2026-02-03", "abc")
    assert (row["n"], row["top_two_n"]) == ("400", str(scores.top_two.n))
    for name, value in {
        "js_model": scores.distances.model,
        "js_redrawn": scores.distances.redrawn,
        "top_two_model_ordered": scores.top_two.model_ordered,
        "words_pair_if_split": scores.words.pair_if_split,
        "majority_without_fifth": scores.surest.without_fifth,
        "calibration_votes_error": scores.against_votes.error,
        "calibration_label_high": scores.against_label.high,
    }.items():
        assert float(row[name]) == pytest.approx(value, abs=5e-5)
    path.write_text("model,split\n")
    with pytest.raises(DataError, match=r"not a mixtures\.csv"):
        add_to_mixtures(path, [(MEASURED, scores)])

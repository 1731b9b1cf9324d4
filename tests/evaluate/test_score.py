"""Scores of a split, against tables made by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.manifest import Dataset, read
from mien.errors import DataError
from mien.evaluate.score import PREDICT_AT_ONCE, SampleTable, predict_split, score, write_samples
from mien.labels import FER2013, FERPLUS, VOTES
from mien.preprocess import enhance
from mien.spec import CropSpec
from mien.types import FloatArray, ImageArray

MakeDataset = Callable[..., Path]
LABELS = ("happy", "sad", "neutral")


def make_table(
    actual: list[int], predicted: list[int], *, seen: list[int] | None = None, confidence: float = 0.8
) -> SampleTable:
    """Return a table of three labels; a predicted 3 is a face that was not found."""
    shares = np.full((len(actual), 3), (1 - confidence) / 2, np.float32)
    for row, label in enumerate(predicted):
        shares[row] = 0 if label == 3 else shares[row]
        if label < 3:
            shares[row, label] = confidence
    return SampleTable(
        labels=LABELS,
        source=[f"made:{row}" for row in range(len(actual))],
        actual=np.array(actual, np.int64),
        predicted=np.array(predicted, np.int64),
        probabilities=shares,
        seen=np.isin(np.arange(len(actual)), seen or []),
        left_out=0,
    )


def by_bar(crops: ImageArray) -> FloatArray:
    """Return the right answer for the made crops: the class whose bar is bright."""
    rows = crops[:, [6 * label + 4 for label in range(7)], 20]
    shares: FloatArray = np.full(rows.shape, 0.01, np.float32)
    shares[np.arange(len(rows)), rows.argmax(axis=1)] = 0.94
    return shares


def test_accuracy_recalls_and_confusion_are_those_counted_by_hand() -> None:
    scores = score(make_table([0, 0, 0, 0, 1, 1, 2], [0, 0, 1, 2, 1, 0, 2]))
    assert (scores.n, scores.correct, scores.missed) == (7, 4, 0)
    assert scores.accuracy == pytest.approx(4 / 7)
    np.testing.assert_array_equal(scores.confusion, [[2, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_allclose(scores.recall, [0.5, 0.5, 1.0])
    assert scores.macro_recall == pytest.approx(2 / 3)
    f1 = [2 * 2 / (4 + 3), 2 * 1 / (2 + 2), 2 * 1 / (1 + 2)]
    assert scores.macro_f1 == pytest.approx(sum(f1) / 3)


def test_the_interval_is_wilsons() -> None:
    scores = score(make_table([0] * 10, [0] * 8 + [1] * 2))
    assert scores.interval == pytest.approx((0.490162, 0.943318), abs=1e-5)  # published for 8 of 10
    assert score(make_table([0] * 10, [0] * 10)).interval == pytest.approx((0.722467, 1.0), abs=1e-5)


def test_log_loss_and_calibration_are_those_of_the_answers() -> None:
    scores = score(make_table([0, 0, 0, 1], [0, 0, 1, 1]))
    assert scores.log_loss == pytest.approx(-(3 * np.log(0.8) + np.log(0.1)) / 4, rel=1e-5)
    assert scores.calibration_error == pytest.approx(0.05, abs=1e-6)  # says 80%, is right in 75%


def test_a_missed_face_is_an_error_and_stays_in_the_denominator() -> None:
    found, missed = score(make_table([0, 0, 1], [0, 0, 1])), score(make_table([0, 0, 1, 1, 2], [0, 0, 1, 3, 3]))
    assert (found.n, found.correct, found.missed) == (3, 3, 0)
    assert (missed.n, missed.correct, missed.missed) == (5, 3, 2)
    assert missed.accuracy == pytest.approx(0.6)
    np.testing.assert_allclose(missed.recall, [1.0, 0.5, 0.0])
    np.testing.assert_array_equal(missed.confusion[:, 3], [0, 1, 1])
    assert missed.log_loss == found.log_loss, "there are no probabilities for a face that was not found"
    assert missed.calibration_error == found.calibration_error


def test_a_part_of_the_samples_is_scored_by_itself() -> None:
    table = make_table([0, 1, 2, 0], [0, 1, 0, 1], seen=[0, 1])
    alone = score(table, ~table.seen)
    assert (alone.n, alone.correct) == (2, 0)
    assert (score(table).n, score(table).correct) == (4, 2)


def test_a_label_without_samples_has_no_recall_and_no_say_in_the_mean() -> None:
    scores = score(make_table([0, 0, 1], [0, 1, 1]))
    np.testing.assert_array_equal(np.isnan(scores.recall), [False, False, True])
    assert scores.macro_recall == pytest.approx(0.75)


def test_nothing_found_and_nothing_chosen_are_scored_without_a_warning() -> None:
    nothing_found = score(make_table([0, 1], [3, 3]))
    assert (nothing_found.accuracy, nothing_found.missed) == (0.0, 2)
    assert np.isnan(nothing_found.log_loss)
    nothing_chosen = score(make_table([0], [0]), np.array([False]))
    assert (nothing_chosen.n, nothing_chosen.interval) == (0, (0.0, 1.0))
    assert np.isnan(nothing_chosen.accuracy)


def test_every_sample_of_the_split_is_read_once_in_order(make_dataset: MakeDataset) -> None:
    dataset = read(make_dataset(train=7, val=3, test=PREDICT_AT_ONCE + 5))
    progress: list[tuple[int, int]] = []
    table = predict_split(
        by_bar, dataset, "test", labels=FER2013, crop=CropSpec(), on_progress=lambda *at: progress.append(at)
    )
    rows = dataset.manifest.rows_in("test")
    assert table.source == [dataset.manifest.source[row] for row in rows]
    np.testing.assert_array_equal(table.actual, dataset.manifest.label[rows])
    np.testing.assert_array_equal(table.predicted, table.actual)
    np.testing.assert_array_equal(table.probabilities, by_bar(np.array(dataset.crops[rows])))
    assert progress == [(PREDICT_AT_ONCE, len(rows)), (len(rows), len(rows))]


def test_the_models_contrast_is_applied_before_it_sees_the_crops(make_dataset: MakeDataset) -> None:
    dataset, crop = read(make_dataset()), CropSpec(contrast="equalise")
    seen: list[ImageArray] = []

    def predict(crops: ImageArray) -> FloatArray:
        seen.append(crops)
        return by_bar(crops)

    predict_split(predict, dataset, "val", labels=FER2013, crop=crop)
    plain = np.array(dataset.crops[dataset.manifest.rows_in("val")])
    np.testing.assert_array_equal(seen[0], enhance(plain, crop))
    assert not np.array_equal(seen[0], plain)


def test_labels_are_matched_by_name_whatever_the_models_order(make_dataset: MakeDataset) -> None:
    dataset = read(make_dataset())
    labels = tuple(reversed(FERPLUS))

    def predict(crops: ImageArray) -> FloatArray:
        return np.concatenate([np.zeros((len(crops), 1), np.float32), by_bar(crops)[:, ::-1]], axis=1)

    table = predict_split(predict, dataset, "test", labels=labels, crop=CropSpec())
    assert score(table).accuracy == 1
    assert [labels[index] for index in table.actual[:3]] == [
        FERPLUS[index] for index in dataset.manifest.label[dataset.manifest.rows_in("test")[:3]]
    ]


def missing(dataset: Dataset, *rows: int) -> Dataset:
    """Return the dataset with faces that were not found: their crops are blank."""
    missed = np.isin(np.arange(len(dataset.manifest)), rows)
    return Dataset(replace(dataset.manifest, missed=missed), np.where(missed[:, None, None], 0, dataset.crops))


def test_a_missed_face_is_not_shown_to_the_model(make_dataset: MakeDataset) -> None:
    dataset = read(make_dataset())
    rows = dataset.manifest.rows_in("test")
    seen: list[int] = []

    def predict(crops: ImageArray) -> FloatArray:
        seen.append(len(crops))
        return by_bar(crops)

    table = predict_split(predict, missing(dataset, rows[0], rows[4]), "test", labels=FER2013, crop=CropSpec())
    assert seen == [len(rows) - 2]
    assert np.flatnonzero(table.predicted == len(FER2013)).tolist() == [0, 4]
    assert not table.probabilities[[0, 4]].any()
    scores = score(table)
    assert (scores.n, scores.correct, scores.missed) == (len(rows), len(rows) - 2, 2)
    nobody = predict_split(predict, missing(dataset, *rows), "test", labels=FER2013, crop=CropSpec())
    assert score(nobody).accuracy == 0


@pytest.mark.parametrize(("split", "seen"), [("train", []), ("val", [2]), ("test", [3, 6, 9])])
def test_a_crop_was_seen_where_it_stands_in_a_split_that_comes_before(
    make_dataset: MakeDataset, split: str, seen: list[int]
) -> None:
    dataset = read(make_dataset())
    train, val, test = (dataset.manifest.rows_in(name) for name in ("train", "val", "test"))
    crops = np.array(dataset.crops)
    crops[test[3]], crops[test[9]], crops[val[2]] = crops[train[0]], crops[train[5]], crops[train[6]]
    crops[test[6]] = crops[val[8]]
    crops[test[4]] = crops[test[5]]  # a twin within the split is none
    crops[train[1]] = 0  # as blank as what is kept of a missed face
    changed = missing(Dataset(dataset.manifest, crops), test[7], val[4])
    table = predict_split(by_bar, changed, split, labels=FER2013, crop=CropSpec())
    assert np.flatnonzero(table.seen).tolist() == seen


def with_votes(dataset: Dataset, split: str, *votes: dict[str, int]) -> Dataset:
    """Return the dataset, of one split its first rows voted on so, of all others by nobody."""
    counted = np.zeros((len(dataset.manifest), len(VOTES)), np.uint8)
    for row, said in zip(dataset.manifest.rows_in(split), votes, strict=False):
        counted[row] = [said.get(name, 0) for name in VOTES]
    return Dataset(replace(dataset.manifest, votes=counted), dataset.crops)


VOTED: tuple[dict[str, int], ...] = (
    {"happy": 9}, {"sad": 4, "fear": 3, "angry": 3}, {"contempt": 9}, {"unknown": 9}, {"fear": 9},
)  # fmt: skip


@pytest.mark.parametrize(
    ("by", "labels", "rows", "truths"),
    [
        ("majority", FER2013, [0, 4], ["happy", "fear"]),
        ("plurality", FER2013, [0, 1, 4], ["happy", "sad", "fear"]),
        ("majority", FERPLUS, [0, 2, 4], ["happy", "contempt", "fear"]),
        ("label", FER2013, [*range(28)], None),
    ],
)
def test_samples_are_held_to_what_the_taggers_said_and_those_that_say_nothing_are_left_out(
    make_dataset: MakeDataset, by: str, labels: tuple[str, ...], rows: list[int], truths: list[str] | None
) -> None:
    dataset = with_votes(read(make_dataset()), "test", *VOTED)
    test = dataset.manifest.rows_in("test")

    def predict(crops: ImageArray) -> FloatArray:
        return np.pad(by_bar(crops), [(0, 0), (0, len(labels) - len(FER2013))])

    table = predict_split(predict, dataset, "test", labels=labels, crop=CropSpec(), by=by)
    assert table.source == [dataset.manifest.source[row] for row in test[rows]]
    labelled = [FERPLUS[label] for label in dataset.manifest.label[test[rows]]]
    assert [labels[index] for index in table.actual] == (truths or labelled)
    assert [labels[index] for index in table.predicted] == labelled, "the bars show what the label says"
    assert table.left_out == 28 - len(rows)
    assert score(table).n == len(rows)


def test_a_split_without_a_single_truth_is_refused(make_dataset: MakeDataset) -> None:
    dataset = with_votes(read(make_dataset()), "test", {"contempt": 9}, {"unknown": 9})
    with pytest.raises(DataError, match="nothing in split test that has a majority"):
        predict_split(by_bar, dataset, "test", labels=FER2013, crop=CropSpec(), by="majority")


def test_crops_are_changed_before_their_contrast_is_enhanced_and_missed_faces_never(make_dataset: MakeDataset) -> None:
    dataset, crop = read(make_dataset()), CropSpec(contrast="equalise")
    rows = dataset.manifest.rows_in("test")
    given: list[ImageArray] = []
    seen: list[ImageArray] = []

    def change(crops: ImageArray) -> ImageArray:
        given.append(crops)
        return 255 - crops

    def predict(crops: ImageArray) -> FloatArray:
        seen.append(crops)
        return by_bar(crops)

    predict_split(predict, missing(dataset, rows[0]), "test", labels=FER2013, crop=crop, change=change)
    np.testing.assert_array_equal(given[0], dataset.crops[rows[1:]])
    np.testing.assert_array_equal(seen[0], enhance(255 - dataset.crops[rows[1:]], crop))


@pytest.mark.parametrize(
    "crop", [CropSpec(size_px=64), CropSpec(margin=0.3), CropSpec(offset_y=0.0), CropSpec(colour="rgb")]
)
def test_crops_that_are_cut_otherwise_are_refused(make_dataset: MakeDataset, crop: CropSpec) -> None:
    with pytest.raises(DataError, match="cut otherwise"):
        predict_split(by_bar, read(make_dataset()), "test", labels=FER2013, crop=crop)


def test_a_label_that_the_model_does_not_know_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(DataError, match=r"does not know angry, sad, which split test holds; it knows disgust"):
        predict_split(
            by_bar,
            read(make_dataset()),
            "test",
            labels=tuple(label for label in FER2013 if label not in ("angry", "sad")),
            crop=CropSpec(),
        )


def test_a_split_that_is_empty_or_unknown_is_refused(make_dataset: MakeDataset) -> None:
    dataset = read(make_dataset(val=0))
    for split, said in (("val", "nothing in split val"), ("all", "unknown split 'all'")):
        with pytest.raises(DataError, match=said):
            predict_split(by_bar, dataset, split, labels=FER2013, crop=CropSpec())


def test_the_table_can_be_scored_again_from_its_file(tmp_path: Path) -> None:
    table = make_table([0, 1, 2, 0], [0, 1, 0, 3], seen=[2])
    write_samples(tmp_path / "samples.csv", table)
    with (tmp_path / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["source", "actual", "predicted", "seen", "p_happy", "p_sad", "p_neutral"]
    assert [row["source"] for row in rows] == table.source
    assert [row["actual"] for row in rows] == ["happy", "sad", "neutral", "happy"]
    assert [row["predicted"] for row in rows] == ["happy", "sad", "happy", "no face"]
    assert [row["seen"] for row in rows] == ["0", "0", "1", "0"]
    shares = [[float(row[f"p_{label}"]) for label in LABELS] for row in rows]
    np.testing.assert_allclose(shares, table.probabilities, atol=1e-6)

"""The audit finds what was planted, and what is known of the real FER2013."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.data.audit import audit, fingerprints, group_identical, has_twin
from mien.data.datasheet import write_datasheet
from mien.data.manifest import Dataset, Manifest
from mien.errors import OutputError
from mien.labels import FER2013, FERPLUS, VOTES
from mien.spec import CropSpec

TRAIN, VAL, TEST = 0, 1, 2


def dataset_of(
    rows: list[tuple[int, str, int]], *, crop: CropSpec | None = None, missed: tuple[int, ...] = ()
) -> Dataset:
    """Return a dataset of rows (split, label, picture): rows of the same picture have the same pixels."""
    crop = crop or CropSpec(size_px=8)
    pictures = np.random.default_rng(0).integers(0, 256, (max(row[2] for row in rows) + 1, *crop.shape), np.uint8)
    manifest = Manifest(
        crop=crop,
        source=[f"picture {number}" for number in range(len(rows))],
        person=[None] * len(rows),
        label=np.array([FERPLUS.index(row[1]) for row in rows]),
        votes=None,
        split=np.array([row[0] for row in rows]),
        licence=[None] * len(rows),
        missed=np.isin(np.arange(len(rows)), missed),
    )
    return Dataset(manifest, pictures[[row[2] for row in rows]])


PLANTED = [
    (TRAIN, "happy", 0), (TRAIN, "happy", 0), (TRAIN, "sad", 0),  # three alike, one called otherwise
    (TRAIN, "angry", 1), (VAL, "angry", 1), (TEST, "angry", 1), (TEST, "angry", 1),  # in all splits
    (TRAIN, "fear", 2), (TEST, "surprise", 2),  # across, called otherwise
    (VAL, "neutral", 3), (TEST, "neutral", 3),
    (TRAIN, "disgust", 4), (VAL, "happy", 5), (TEST, "happy", 6),  # alone
]  # fmt: skip


def test_a_gap_is_not_closed_by_copies() -> None:
    dataset = dataset_of([(TRAIN, "happy", number) for number in range(30)])
    origin = [None] * 12 + ["picture 0"] * 18
    copied = replace(dataset, manifest=replace(dataset.manifest, origin=origin))
    told = "train has 12 faces labelled happy: what is measured on them is uncertain"
    assert told in audit(copied).gaps
    assert not [gap for gap in audit(dataset).gaps if "labelled happy:" in gap]
    assert audit(copied).balance["train"] == [30]


def test_class_balance_counts_every_split_and_label() -> None:
    found = audit(dataset_of(PLANTED))
    assert found.labels == FER2013
    assert found.balance == {
        "train": [1, 1, 1, 2, 1, 0, 0], "val": [1, 0, 0, 1, 0, 0, 1], "test": [2, 0, 0, 1, 0, 1, 1]
    }  # fmt: skip


def test_labels_that_do_not_occur_are_left_out_and_contempt_is_known() -> None:
    found = audit(dataset_of([(TRAIN, "contempt", 0), (TEST, "disgust", 1)]))
    assert found.labels == ("disgust", "contempt")
    assert found.balance == {"train": [0, 1], "val": [0, 0], "test": [1, 0]}


def test_rows_have_the_same_fingerprint_where_they_show_the_same_and_none_where_they_show_no_face() -> None:
    dataset = dataset_of(PLANTED, missed=(1, 13))
    seen = [row for row in range(len(PLANTED)) if row not in (1, 13)]
    found = dict(zip(seen, fingerprints(dataset, np.arange(len(PLANTED))), strict=True))
    for row in seen:
        for other in seen:
            assert (found[row] == found[other]) == (PLANTED[row][2] == PLANTED[other][2])


def test_planted_duplicates_are_found_within_and_across_splits() -> None:
    found = audit(dataset_of(PLANTED))
    assert found.twins == {
        "train": {"val": 1, "test": 2}, "val": {"train": 1, "test": 2}, "test": {"train": 3, "val": 3}
    }  # fmt: skip
    assert found.identical_within == {"train": 2, "val": 0, "test": 1}
    assert found.groups == 4


def test_identical_crops_with_different_labels_are_listed_with_all_their_members() -> None:
    assert audit(dataset_of(PLANTED)).conflicts == [
        ["picture 0: happy", "picture 1: happy", "picture 2: sad"],
        ["picture 7: fear", "picture 8: surprise"],
    ]


def test_a_twin_in_another_split_is_told_row_by_row() -> None:
    dataset = dataset_of(PLANTED)
    rows = dataset.manifest.rows_in("test")
    assert has_twin(dataset, rows, "train").tolist() == [True, True, True, False, False]
    assert has_twin(dataset, rows, "val").tolist() == [True, True, False, True, False]


def test_a_group_is_named_by_its_first_row() -> None:
    dataset = dataset_of(PLANTED)
    assert group_identical(dataset.crops, np.arange(14)).tolist() == [0, 0, 0, 3, 3, 3, 3, 7, 7, 9, 9, 11, 12, 13]
    assert group_identical(dataset.crops, np.array([5, 4, 3, 11])).tolist() == [5, 5, 5, 11]


@pytest.mark.parametrize("pixel", [(0, 0), (0, 7), (7, 0), (7, 7), (3, 4)])
def test_one_grey_level_of_one_pixel_makes_another_picture(pixel: tuple[int, int]) -> None:
    dataset = dataset_of([(TRAIN, "happy", 0), (TEST, "happy", 0)])
    assert audit(dataset).groups == 1
    dataset.crops[1][pixel] ^= 1
    assert audit(dataset).groups == 0
    assert not has_twin(dataset, np.array([1]), "train").any()


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_constant_crops_are_named(colour: str) -> None:
    dataset = dataset_of(PLANTED, crop=CropSpec(size_px=8, colour=colour))
    dataset.crops[4] = 0
    dataset.crops[12] = 77 if colour == "grey" else [10, 20, 30]
    dataset.crops[13] = 77
    dataset.crops[13, 7, 7] = 78
    assert audit(dataset).constant == ["picture 4", "picture 12"]


def test_rows_without_a_face_are_counted_and_are_nobodys_twins() -> None:
    rows = [(TRAIN, "happy", 0), (TRAIN, "sad", 1), (TEST, "sad", 1), (TEST, "happy", 2)]
    dataset = dataset_of(rows, missed=(1, 2, 3))
    dataset.crops[1:] = 0
    found = audit(dataset)
    assert found.missed == 3
    assert (found.groups, found.conflicts, found.constant) == (0, [], [])
    assert found.balance["test"] == [1, 1], "they are part of the denominator"
    assert not has_twin(dataset, np.array([3]), "train").any()


def test_rows_with_votes_are_counted() -> None:
    dataset = dataset_of(PLANTED)
    votes = np.zeros((14, len(VOTES)), np.uint8)
    votes[[1, 2, 5]] = 3
    voted = Dataset(replace(dataset.manifest, votes=votes), dataset.crops)
    assert (audit(dataset).voted, audit(voted).voted) == (0, 3)


def test_a_dataset_of_missed_faces_alone_is_audited(tmp_path: Path) -> None:
    dataset = dataset_of([(TEST, "happy", 0), (TEST, "sad", 0)], missed=(0, 1))
    found = audit(dataset)
    assert (found.missed, found.groups, found.twins["test"]) == (2, 0, {"train": 0, "val": 0})
    assert write_datasheet(dataset, found, tmp_path).is_file()


def test_the_datasheet_and_its_json_say_the_same(tmp_path: Path) -> None:
    dataset = dataset_of(PLANTED)
    dataset = Dataset(replace(dataset.manifest, notes=("validation: by hand",), sha256="5" * 64), dataset.crops)
    found = audit(dataset)
    page = write_datasheet(dataset, found, tmp_path / "new")
    assert page == tmp_path / "new" / "datasheet.html"
    told = json.loads((tmp_path / "new" / "audit.json").read_text())
    assert told["balance"] == found.balance
    assert told["twins"] == found.twins
    assert told["conflicts"] == found.conflicts
    assert told["sha256"] == "5" * 64
    text = page.read_text()
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)]
    assert ["test", "2 (40.0%)", *["0 (0.0%)"] * 2, "1 (20.0%)", "0 (0.0%)", *["1 (20.0%)"] * 2, "5"] in rows
    assert ["test", "3", "3", "", "1"] in rows
    assert ["groups of identical crops", "4, of which 2 carry different labels"] in rows
    assert ["decided in preparing", "validation: by hand"] in rows
    assert ["SHA-256", "5" * 64] in rows


def test_what_sources_say_is_no_markup_in_the_datasheet(tmp_path: Path) -> None:
    dataset = dataset_of([(TRAIN, "happy", 0), (TEST, "sad", 0)])
    evil = "<script>alert('&')</script>"
    dataset = Dataset(replace(dataset.manifest, source=[evil, evil], licence=[evil] * 2, notes=(evil,)), dataset.crops)
    dataset.crops[:] = 0
    text = write_datasheet(dataset, audit(dataset), tmp_path).read_text()
    assert "<script" not in text
    assert text.count(html.escape(evil)) == 6, "conflict and constant name it twice, licence and note once"


def test_a_long_list_of_conflicts_is_cut_on_the_page_and_whole_in_the_json(tmp_path: Path) -> None:
    rows = [(TRAIN, label, number) for number in range(230) for label in ("happy", "sad")]
    dataset = dataset_of(rows)
    page = write_datasheet(dataset, audit(dataset), tmp_path).read_text()
    assert len(re.findall(": happy .*?: sad</li>", page)) == 200
    assert "and 30 more, in audit.json" in page
    assert len(json.loads((tmp_path / "audit.json").read_text())["conflicts"]) == 230


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    dataset = dataset_of(PLANTED)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match="cannot write there"):
        write_datasheet(dataset, audit(dataset), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_what_is_known_of_the_real_fer2013_is_found(real_fer2013: Any) -> None:
    count = len(real_fer2013.faces)
    manifest = Manifest(
        crop=CropSpec(),
        source=[f"row {row}" for row in range(count)],
        person=[None] * count,
        label=real_fer2013.emotion,
        votes=None,
        split=np.array([("Training", "PublicTest", "PrivateTest").index(usage) for usage in real_fer2013.usage]),
        licence=[None] * count,
        missed=np.zeros(count, np.bool_),
    )
    dataset = Dataset(manifest, real_fer2013.faces)
    found = audit(dataset)
    assert {split: sum(counts) for split, counts in found.balance.items()} == {
        "train": 28709,
        "val": 3589,
        "test": 3589,
    }
    assert found.twins["test"]["train"] == 288
    assert found.twins["val"]["train"] == 280
    assert found.groups == 1518
    assert len(found.conflicts) == 59
    assert int(has_twin(dataset, manifest.rows_in("test"), "train").sum()) == 288

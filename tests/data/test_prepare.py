"""From a source to a dataset on disk: whole, with everything that was dropped told, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.data.audit import audit
from mien.data.datasheet import write_datasheet
from mien.data.manifest import read
from mien.data.prepare import gather, prepare
from mien.errors import DataError, OutputError
from mien.labels import FERPLUS_COLUMNS, VOTES
from mien.media import write_image
from mien.spec import CropSpec
from mien.types import Face, ImageArray

WriteLines = Callable[..., Path]


def our_votes(mini: Any) -> ImageArray:
    """Return the votes (N, 10) in the order of labels.VOTES."""
    columns = list(FERPLUS_COLUMNS.values())
    ordered: ImageArray = mini.votes[:, [columns.index(answer) for answer in VOTES]]
    return ordered


@pytest.fixture
def csv_file(mini: Any, write_lines: WriteLines) -> Path:
    return write_lines(mini.lines())


@pytest.fixture
def ferplus(mini: Any, write_lines: WriteLines) -> Path:
    return write_lines(mini.ferplus_lines(), "fer2013new.csv")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "data" / "out"


def refused(message: str, source: Path, out: Path, **settings: Any) -> str:
    """Check that preparing is refused with a message and writes nothing; return all of what was said."""
    with pytest.raises(DataError, match=message) as raised:
        prepare(source, out, **settings)
    assert not out.exists()
    return str(raised.value)


def test_the_csv_becomes_a_dataset(mini: Any, csv_file: Path, out: Path) -> None:
    told = prepare(csv_file, out)
    dataset = read(out)
    np.testing.assert_array_equal(dataset.crops, mini.faces)
    np.testing.assert_array_equal(dataset.manifest.label, mini.emotion)
    assert [len(dataset.manifest.rows_in(split)) for split in ("train", "val", "test")] == [14, 5, 6]
    assert dataset.manifest.votes is None
    assert dataset.manifest.notes == ()
    assert told.dataset.manifest.sha256 == dataset.manifest.sha256
    assert told.dropped == []


def test_preparing_twice_gives_the_same_bytes(csv_file: Path, ferplus: Path, tmp_path: Path) -> None:
    for name in "ab":
        prepare(csv_file, tmp_path / name, ferplus=ferplus)
    for name in ("manifest.parquet", "crops.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_csv_and_folders_hold_the_same_faces(mini: Any, csv_file: Path, tmp_path: Path) -> None:
    mini.write_folders(tmp_path / "folders")
    ours, theirs = gather(csv_file).dataset, gather(tmp_path / "folders").dataset
    order = [int(source.rpartition("_")[2].removesuffix(".png")) for source in theirs.manifest.source]
    np.testing.assert_array_equal(theirs.crops, ours.crops[order])
    np.testing.assert_array_equal(theirs.manifest.label, ours.manifest.label[order])
    np.testing.assert_array_equal(theirs.manifest.split, ours.manifest.split[order])


@pytest.mark.parametrize("bad", ["", "torn", "3,1 2 3,Training", f"9,{' '.join(['0'] * 2304)},Training"])
def test_a_bad_row_stops_everything_unless_it_is_skipped(
    mini: Any, write_lines: WriteLines, out: Path, bad: str
) -> None:
    lines = mini.lines()
    path = write_lines([*lines[:9], bad, *lines[9:]])
    told = refused(r"fer2013\.csv: 1 bad row; nothing was written; .*--skip-bad.* drops and counts", path, out)
    assert "\n  fer2013.csv:10: " in told
    dropped = prepare(path, out, skip_bad=True).dropped
    assert [problem.where for problem in dropped] == ["fer2013.csv:10"]
    dataset = read(out)
    np.testing.assert_array_equal(dataset.crops, mini.faces)
    assert dataset.manifest.notes == ("dropped 1 bad row",)


def test_of_many_bad_rows_the_first_are_shown_and_all_are_counted(
    mini: Any, write_lines: WriteLines, out: Path
) -> None:
    path = write_lines([*mini.lines(), *(f"bad {number}" for number in range(1500))])
    told = refused(r"1,500 bad rows", path, out).splitlines()
    assert len(told) == 22
    assert told[1].startswith("  fer2013.csv:27: ")
    assert told[-1] == "  ... and 1,480 more"
    assert len(prepare(path, out, skip_bad=True).dropped) == 1500
    assert read(out).manifest.notes == ("dropped 1,500 bad rows",)


@pytest.mark.parametrize("rows", [[], ["bad", "worse"]])
def test_a_source_without_a_usable_row_is_refused(write_lines: WriteLines, out: Path, rows: list[str]) -> None:
    path = write_lines(["emotion,pixels,Usage", *rows])
    refused(rf"no usable face in it \({len(rows)} bad rows\)", path, out, skip_bad=True)


# FER+


def test_votes_are_joined_row_for_row(mini: Any, csv_file: Path, ferplus: Path, out: Path) -> None:
    prepare(csv_file, out, ferplus=ferplus)
    votes = read(out).manifest.votes
    assert votes is not None
    np.testing.assert_array_equal(votes, our_votes(mini))


def test_votes_stay_with_their_faces_after_dropped_rows_and_empty_lines(
    mini: Any, write_lines: WriteLines, ferplus: Path, out: Path
) -> None:
    lines = mini.lines()
    lines[4] = "3,1 2 3,Training"  # row 3
    lines[20] = mini.line(19, Usage="")
    path = write_lines([*lines[:11], "", *lines[11:-1], lines[-1][:500]])
    refused("4 bad rows", path, out, ferplus=ferplus)
    prepare(path, out, ferplus=ferplus, skip_bad=True)
    dataset = read(out)
    kept = np.delete(np.arange(25), [3, 19, 24])
    np.testing.assert_array_equal(dataset.crops, mini.faces[kept])
    assert dataset.manifest.votes is not None
    np.testing.assert_array_equal(dataset.manifest.votes, our_votes(mini)[kept])


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 24, 26])
def test_ferplus_with_another_number_of_rows_is_refused(
    mini: Any, csv_file: Path, write_lines: WriteLines, out: Path, rows: int, skip_bad: bool
) -> None:
    header, *lines = mini.ferplus_lines()
    path = write_lines([header, *(lines + lines[-1:])[:rows]], "fer2013new.csv")
    told = refused("FER. does not belong to it, row for row", csv_file, out, ferplus=path, skip_bad=skip_bad)
    assert f"FER+: {rows} rows, but fer2013.csv has 25" in told or rows < 10


@pytest.mark.parametrize("skip_bad", [False, True])
def test_ferplus_whose_rows_are_shifted_is_refused(
    mini: Any, csv_file: Path, write_lines: WriteLines, out: Path, skip_bad: bool
) -> None:
    header, *lines = mini.ferplus_lines()
    path = write_lines([header, *lines[1:], lines[0]], "fer2013new.csv")
    told = refused("FER. does not belong to it, row for row", csv_file, out, ferplus=path, skip_bad=skip_bad)
    assert "fer2013.csv:15: Usage is 'Training', but 'PublicTest' in the same row of FER+" in told


def test_a_bad_row_is_told_before_what_it_leads_to(
    mini: Any, write_lines: WriteLines, ferplus: Path, out: Path
) -> None:
    lines = mini.lines()
    told = refused("bad row", write_lines([*lines[:3], "too much", *lines[3:]]), out, ferplus=ferplus)
    assert told.splitlines()[1].startswith("  fer2013.csv:4: expected 3 fields, got 1")


@pytest.mark.parametrize("val", ["", "val"])
def test_votes_are_joined_to_folders_by_the_row_in_the_name(
    mini: Any, tmp_path: Path, ferplus: Path, out: Path, val: str
) -> None:
    prepare(mini.write_folders(tmp_path / "folders", val=val), out, ferplus=ferplus)
    dataset = read(out)
    rows = [int(source.rpartition("_")[2].removesuffix(".png")) for source in dataset.manifest.source]
    assert sorted(rows) == list(range(25))
    assert dataset.manifest.votes is not None
    np.testing.assert_array_equal(dataset.manifest.votes, our_votes(mini)[rows])


def test_votes_are_joined_to_pictures_that_bear_ferplus_names_by_the_name(
    mini: Any, tmp_path: Path, ferplus: Path, out: Path
) -> None:
    """FER+ counts on without the rows that show no face: fer0000002.png is row 3."""

    def name(row: int) -> str:
        return f"fer{row - (row > 2):07d}" if row != 2 else "nameless"

    root = mini.write_folders(tmp_path / "folders", name, val="val")
    told = refused("1 bad row", root, out, ferplus=ferplus)
    assert "train/fear/nameless.png: FER+ has no row for it" in told
    prepare(root, out, ferplus=ferplus, skip_bad=True)
    dataset = read(out)
    assert dataset.manifest.votes is not None
    assert len(dataset.manifest) == 24
    for crop, votes in zip(dataset.crops, dataset.manifest.votes, strict=True):
        (row,) = np.flatnonzero((mini.faces == crop).all(axis=(1, 2)))
        np.testing.assert_array_equal(votes, our_votes(mini)[row])


def test_validation_that_is_cut_here_keeps_its_votes(mini: Any, tmp_path: Path, ferplus: Path, out: Path) -> None:
    root = mini.write_folders(tmp_path / "folders")
    for path in root.glob("test/*/PublicTest_*"):
        path.unlink()
    for seed in range(5):
        prepare(root, out, ferplus=ferplus, seed=seed)
        manifest = read(out).manifest
        rows = [int(source.rpartition("_")[2].removesuffix(".png")) for source in manifest.source]
        assert manifest.votes is not None
        np.testing.assert_array_equal(manifest.votes, our_votes(mini)[rows])
    assert len(manifest) == 20


@pytest.mark.parametrize("skip_bad", [False, True])
def test_ferplus_is_not_joined_to_pictures_that_are_numbered_otherwise(
    mini: Any, tmp_path: Path, ferplus: Path, out: Path, skip_bad: bool
) -> None:
    def name(row: int) -> str:
        return f"{mini.usage[row]}_{(row * 7919 + 3) % 100_000}"

    root = mini.write_folders(tmp_path / "folders", name)
    told = refused("FER. does not belong to it", root, out, ferplus=ferplus, skip_bad=skip_bad)
    assert "of fer2013.csv, but FER+ has 25" in told


def test_ferplus_is_not_joined_to_faces_that_are_not_fer2013s(tmp_path: Path, ferplus: Path, out: Path) -> None:
    (tmp_path / "set" / "faces").mkdir(parents=True)
    write_image(tmp_path / "set" / "faces" / "a.png", np.zeros((48, 48, 3), np.uint8))
    (tmp_path / "set" / "labels.csv").write_text("file,emotion\na.png,happy\n")
    assert "labels.csv" not in refused("1 bad row", tmp_path / "set", out, ferplus=ferplus).splitlines()[0]


# What was decided is told


@pytest.mark.parametrize(
    ("val", "name", "note"),
    [
        ("", None, "validation: the test pictures named PublicTest_*"),
        ("val", None, "validation: the folder val"),
        ("valid", None, "validation: the folder valid"),
        ("", "face", "validation: one in ten train pictures, by a hash of pixels and seed 5 (the source names none)"),
    ],
)
def test_how_validation_came_about_is_noted(
    mini: Any, tmp_path: Path, out: Path, val: str, name: str | None, note: str
) -> None:
    root = mini.write_folders(tmp_path / "folders", (lambda row: f"{name}{row}") if name else None, val=val)
    prepare(root, out, seed=5)
    assert read(out).manifest.notes == (note,)


def test_progress_reaches_its_total(mini: Any, csv_file: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "faces").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "set" / "faces" / name, np.zeros((48, 48, 3), np.uint8))
    (tmp_path / "set" / "labels.csv").write_text("file,emotion\na.png,happy\nb.png,sad\n")
    folders = mini.write_folders(tmp_path / "folders")
    write_image(folders / "cover.png", np.zeros((48, 48, 3), np.uint8))
    for source in (csv_file, folders, tmp_path / "set"):
        steps: list[tuple[int, int]] = []
        gather(source, on_progress=lambda done, total, steps=steps: steps.append((done, total)))  # type: ignore[misc]  # a lambda
        assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
        assert {total for _, total in steps} == {len(steps)}


# Labelled faces


def half_finder(image_rgb: ImageArray) -> list[Face]:
    """Find a face in every picture that is not dark."""
    return [Face(np.array([0, 0, 80, 80], np.float32), None, 1.0)] if image_rgb.mean() > 10 else []


def test_labelled_faces_become_a_dataset_and_the_missed_stay(tmp_path: Path, out: Path) -> None:
    root = tmp_path / "set"
    (root / "faces").mkdir(parents=True)
    write_image(root / "faces" / "a.png", np.full((80, 80, 3), 200, np.uint8))
    write_image(root / "faces" / "dark.png", np.zeros((80, 80, 3), np.uint8))
    (root / "labels.csv").write_text("file,emotion,person\na.png,happy,Ann\ndark.png,sad,\n")
    prepare(root, out, detector=half_finder, split="val", crop=CropSpec(size_px=24, colour="rgb"))
    dataset = read(out)
    assert dataset.manifest.missed.tolist() == [False, True]
    assert dataset.manifest.person == ["Ann", None]
    assert len(dataset.manifest.rows_in("val")) == 2
    assert dataset.crops.shape == (2, 24, 24, 3)
    assert dataset.crops[0].min() == 200
    assert dataset.crops[1].max() == 0


def test_a_missing_picture_is_named_and_can_be_skipped(tmp_path: Path, out: Path) -> None:
    root = tmp_path / "set"
    (root / "faces").mkdir(parents=True)
    write_image(root / "faces" / "a.png", np.zeros((48, 48, 3), np.uint8))
    (root / "labels.csv").write_text("file,emotion\na.png,happy\nb.png,sad\n")
    assert "labels.csv:3: " in refused("1 bad row", root, out)
    assert len(prepare(root, out, skip_bad=True).dataset.manifest) == 1


# Sources that are none


def test_what_is_no_source_is_told_what_is_one(mini: Any, tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "picture.png").write_bytes(b"")
    refused("nowhere: no such file or folder", tmp_path / "nowhere", out)
    refused("no such file or folder", tmp_path / ("x" * 300), out)
    refused("no layout that mien knows; expected fer2013.csv, train|test", tmp_path / "empty", out)
    refused(r"picture\.png: expected fer2013\.csv or a folder", tmp_path / "picture.png", out)


def test_class_folders_without_pictures_are_refused(tmp_path: Path, out: Path) -> None:
    (tmp_path / "set" / "train" / "happy").mkdir(parents=True)
    (tmp_path / "set" / "test").mkdir()
    (tmp_path / "set" / "train" / "happy" / "notes.txt").write_text("")
    refused("no usable face in it", tmp_path / "set", out)


def test_ferplus_that_is_no_file_is_refused(csv_file: Path, tmp_path: Path, out: Path) -> None:
    refused("nowhere: no such file or folder", csv_file, out, ferplus=tmp_path / "nowhere")
    refused("cannot be read", csv_file, out, ferplus=tmp_path)
    refused("expected the columns Usage, Image name", csv_file, out, ferplus=csv_file)


def test_an_unknown_split_is_refused_before_anything_is_read(csv_file: Path, out: Path) -> None:
    refused("unknown split 'dev'; expected one of train, val, test", csv_file, out, split="dev")


# Where it goes


def test_a_dataset_replaces_another_and_its_datasheet(mini: Any, csv_file: Path, tmp_path: Path, out: Path) -> None:
    prepare(csv_file, out)
    dataset = read(out)
    write_datasheet(dataset, audit(dataset), out)
    (out / "mine.txt").write_text("mine")
    prepare(mini.write_folders(tmp_path / "folders"), out)
    assert sorted(path.name for path in out.iterdir()) == ["crops.npy", "manifest.parquet", "mine.txt"]
    assert read(out).manifest.source[0] == "train/angry/Training_0.png"


def test_pages_that_stood_in_the_folder_before_any_dataset_stay(csv_file: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for name in ("audit.json", "datasheet.html"):
        (out / name).write_text("mine")
    prepare(csv_file, out)
    assert [(out / name).read_text() for name in ("audit.json", "datasheet.html")] == ["mine", "mine"]


def test_a_refused_source_leaves_the_old_dataset(csv_file: Path, write_lines: WriteLines, out: Path) -> None:
    prepare(csv_file, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(DataError):
        prepare(write_lines(["emotion,pixels,Usage", "bad"], "bad.csv"), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_file_in_the_place_of_the_folder_is_told_before_reading(csv_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    steps: list[int] = []
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot write there"):
            prepare(csv_file, place, on_progress=lambda done, _: steps.append(done))
    assert (tmp_path / "file").read_text() == "kept"
    assert steps == []


def test_pictures_whose_names_are_not_utf8_reach_the_manifest(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "set" / "train" / "happy"
    folder.mkdir(parents=True)
    write_image(folder / os.fsdecode(b"M\xfcller.png"), np.zeros((48, 48, 3), np.uint8))
    prepare(tmp_path / "set", out)
    assert read(out).manifest.source == [r"train/happy/M\xfcller.png"]

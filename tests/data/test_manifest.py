"""A dataset on disk: what is written is read, mapped and not loaded, and damage is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.data.manifest import SPLITS, Dataset, Manifest, digest, is_dataset, read, write
from mien.errors import DataError, OutputError
from mien.labels import FERPLUS, VOTES
from mien.spec import CropSpec
from mien.types import ImageArray


def some(*, crop: CropSpec | None = None, votes: bool = True, rows: int = 6) -> tuple[Manifest, ImageArray]:
    """Return a manifest with every kind of value, and its crops."""
    crop = crop or CropSpec(size_px=8, margin=0.25, offset_y=-0.5, contrast="clahe", normalisation="fixed")
    generator = np.random.default_rng(0)
    manifest = Manifest(
        crop=crop,
        source=[f"faces/Jürgen, {row}.png" for row in range(rows)],
        person=[None if row % 2 else f"Person {row // 2}, Ä" for row in range(rows)],
        label=np.arange(rows) * 3 % len(FERPLUS),
        votes=generator.integers(0, 256, (rows, len(VOTES)), np.uint8) if votes else None,
        split=np.arange(rows) % 3,
        licence=["MIT" if row % 3 else None for row in range(rows)],
        missed=np.arange(rows) % 4 == 3,
        notes=("one", "zwei; drei"),
    )
    return manifest, generator.integers(0, 256, (rows, *crop.shape), np.uint8)


def assert_same(one: Manifest, other: Manifest) -> None:
    for field in fields(Manifest):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
        else:
            assert ours == theirs, field.name


def rewrite(folder: Path, *, metadata: dict[str, Any] | None = None, **columns: list[Any]) -> None:
    """Change columns, or the description, of a manifest on disk."""
    table = pq.read_table(folder / "manifest.parquet")
    described = json.loads(table.schema.metadata[b"mien"])
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    described = {"mien": json.dumps({**described, **(metadata or {})})}
    pq.write_table(table.replace_schema_metadata(described), folder / "manifest.parquet")


@pytest.mark.parametrize("votes", [True, False])
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_what_is_written_is_read(tmp_path: Path, votes: bool, colour: str) -> None:
    manifest, crops = some(votes=votes, crop=CropSpec(size_px=9, colour=colour))
    written = write(manifest, crops, tmp_path / "new" / "folder")
    dataset = read(tmp_path / "new" / "folder")
    assert_same(dataset.manifest, written)
    assert_same(replace(dataset.manifest, sha256=""), manifest)
    np.testing.assert_array_equal(dataset.crops, crops)


def test_pixels_are_mapped_and_not_loaded(tmp_path: Path) -> None:
    write(*some(), tmp_path)
    crops = read(tmp_path).crops
    assert isinstance(crops, np.memmap)
    assert not crops.flags.writeable


def test_crops_are_an_ordinary_npy_file(tmp_path: Path) -> None:
    manifest, crops = some()
    write(manifest, np.asfortranarray(crops), tmp_path)
    loaded = np.load(tmp_path / "crops.npy")
    np.testing.assert_array_equal(loaded, crops)
    assert loaded.flags.c_contiguous


def test_a_row_without_votes_beside_rows_with_them_has_zeros(tmp_path: Path) -> None:
    manifest, crops = some()
    assert manifest.votes is not None
    write(manifest, crops, tmp_path)
    rewrite(tmp_path, votes=[None if row in (0, 4) else votes for row, votes in enumerate(manifest.votes.tolist())])
    votes = read(tmp_path).manifest.votes
    assert votes is not None
    kept = np.array([1, 2, 3, 5])
    np.testing.assert_array_equal(votes[kept], manifest.votes[kept])
    assert not votes[[0, 4]].any()


def test_rows_of_a_split_come_in_order() -> None:
    manifest, _ = some()
    assert [manifest.rows_in(split).tolist() for split in SPLITS] == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(DataError, match="unknown split 'dev'; expected one of train, val, test"):
        manifest.rows_in("dev")


CHANGES: dict[str, Any] = {
    "crop": CropSpec(size_px=8),
    "source": [f"other {row}" for row in range(6)],
    "person": [None] * 6,
    "label": np.zeros(6, np.int64),
    "votes": np.zeros((6, len(VOTES)), np.uint8),
    "split": np.zeros(6, np.int64),
    "missed": np.zeros(6, np.bool_),
}


@pytest.mark.parametrize("column", CHANGES)
def test_the_hash_changes_with_what_training_depends_on(column: str) -> None:
    manifest, crops = some()
    assert digest(replace(manifest, **{column: CHANGES[column]}), crops) != digest(manifest, crops)


def test_the_hash_changes_with_one_grey_level_of_one_pixel() -> None:
    manifest, crops = some()
    other = crops.copy()
    other[3, 4, 5] ^= 1
    assert digest(manifest, other) != digest(manifest, crops)


def test_the_hash_is_that_of_the_content_and_not_of_how_it_lies_in_memory(tmp_path: Path) -> None:
    manifest, crops = some()
    narrow = replace(manifest, label=manifest.label.astype(np.int32), notes=("another",), sha256="another")
    assert digest(narrow, np.asfortranarray(crops)) == digest(manifest, crops)
    write(manifest, crops, tmp_path)
    dataset = read(tmp_path)
    assert digest(dataset.manifest, dataset.crops) == dataset.manifest.sha256 == digest(manifest, crops)


def test_a_second_dataset_replaces_the_first_and_leaves_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    write(*some(rows=6), tmp_path)
    old = read(tmp_path)
    pixels = np.array(old.crops)
    written = write(*some(rows=3, votes=False), tmp_path)
    assert_same(read(tmp_path).manifest, written)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops.npy", "manifest.parquet", "mine.txt"]
    np.testing.assert_array_equal(old.crops, pixels, err_msg="who has mapped the old pixels keeps them")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.arange(5)}, "label: 5 values for 6 rows"),
        ({"label": np.array([0, 1, 2, 3, 4, -1])}, "label: -1 to 4; expected 0 to 7"),
        ({"label": np.array([0, 1, 2, 3, 4, 8])}, "label: 0 to 8; expected 0 to 7"),
        ({"split": np.array([0, 1, 2, 3, 0, 0])}, "split: 0 to 3; expected 0 to 2"),
        ({"person": [None] * 7}, "person: 7 values for 6 rows"),
        ({"votes": np.zeros((6, 8), np.uint8)}, "votes .6, 8.; expected .6, 10."),
        ({"source": ["one"]}, "crops .6, 8, 8. of uint8; expected .1, 8, 8."),
        ({"crop": CropSpec()}, "crops .6, 8, 8. of uint8; expected .6, 48, 48."),
    ],
)
def test_columns_that_do_not_fit_together_are_not_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    manifest, crops = some()
    with pytest.raises(DataError, match=message):
        write(replace(manifest, **changes), crops, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_keeps_the_old_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(*some(), tmp_path)
    before = read(tmp_path).manifest

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(OutputError, match="cannot write there: No space left on device; choose another place"):
        write(*some(rows=3), tmp_path)
    assert_same(read(tmp_path).manifest, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops.npy", "manifest.parquet"]


@pytest.mark.parametrize("path", ["", "nowhere", "file.txt", "file.txt/below", "x" * 300])
def test_where_no_dataset_is_the_error_says_how_to_make_one(tmp_path: Path, path: str) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(
        DataError, match=r"no dataset there \(manifest.parquet is missing\); make one with `mien data pre"
    ):
        read(tmp_path / path)
    assert not is_dataset(tmp_path / path)


@pytest.mark.parametrize("name", ["manifest.parquet", "crops.npy"])
def test_a_file_cut_short_anywhere_is_a_damaged_dataset(tmp_path: Path, name: str) -> None:
    write(*some(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    for length in {*range(0, len(whole), len(whole) // 23), len(whole) - 1}:
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"damaged .*; prepare it again"):
            read(tmp_path)


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@pytest.mark.parametrize("name", ["manifest.parquet", "crops.npy"])
def test_flipped_bytes_are_never_more_than_a_data_error(tmp_path: Path, name: str) -> None:
    write(*some(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 128 if name == "crops.npy" else len(whole)), 3):
            damaged[place] = generator.integers(0, 256)
        (tmp_path / name).write_bytes(damaged)
        try:
            assert isinstance(read(tmp_path), Dataset)
        except DataError:
            refused += 1
    assert refused > 50


def test_crops_that_are_missing_are_named(tmp_path: Path) -> None:
    write(*some(), tmp_path)
    (tmp_path / "crops.npy").unlink()
    with pytest.raises(DataError, match=r"damaged .*crops\.npy"):
        read(tmp_path)


@pytest.mark.parametrize(
    "crops",
    [np.zeros((5, 8, 8), np.uint8), np.zeros((6, 8, 9), np.uint8), np.zeros((6, 8, 8), np.float32), np.zeros(6, "U3")],
)
def test_crops_of_another_dataset_are_refused(tmp_path: Path, crops: np.ndarray) -> None:
    write(*some(), tmp_path)
    np.save(tmp_path / "crops.npy", crops)
    with pytest.raises(DataError, match=r"crops\.npy does not fit manifest\.parquet"):
        read(tmp_path)


def test_pickled_and_zipped_arrays_are_not_opened(tmp_path: Path) -> None:
    write(*some(), tmp_path)
    np.save(tmp_path / "crops.npy", np.array([print] * 6, object), allow_pickle=True)
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path)
    np.savez(tmp_path / "crops.npz", np.zeros((6, 8, 8), np.uint8))
    shutil.move(tmp_path / "crops.npz", tmp_path / "crops.npy")
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path)


def test_a_parquet_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"label": ["happy"] * 5 + ["bored"]}, {"label": ["happy"] * 5 + [None]}, {"split": ["dev"] * 6},
        {"source": ["a"] * 5 + [None]}, {"missed": [True] * 5 + [None]}, {"missed": ["no"] * 6},
        {"votes": [[1] * 9] * 6}, {"votes": [[1] * 9 + [None]] * 6}, {"votes": [[300] * 10] * 6},
        {"metadata": {"crop": [48]}}, {"metadata": {"crop": {"size_px": 8}}}, {"metadata": {"notes": 3}},
        {"metadata": {"crop": None}},
    ],
)  # fmt: skip
def test_a_manifest_with_impossible_values_is_damaged(tmp_path: Path, change: dict[str, Any]) -> None:
    write(*some(), tmp_path)
    rewrite(tmp_path, **change)
    with pytest.raises(DataError, match=r"damaged .*; prepare it again"):
        read(tmp_path)


def test_a_manifest_of_another_format_says_so(tmp_path: Path) -> None:
    write(*some(), tmp_path)
    rewrite(tmp_path, metadata={"format": 2})
    with pytest.raises(DataError, match="made by another version of mien; prepare it again"):
        read(tmp_path)


def test_the_folders_name_is_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "label=happy" / "split=3"
    written = write(*some(), folder)
    assert_same(read(folder).manifest, written)

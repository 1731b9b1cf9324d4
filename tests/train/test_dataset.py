"""Prepared datasets become crops and targets, several of them at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.manifest import read, write
from mien.errors import DataError
from mien.labels import FERPLUS
from mien.preprocess import enhance
from mien.spec import CropSpec
from mien.train.config import DataConfig
from mien.train.dataset import CropTable, load

MakeDataset = Callable[..., Path]


def config(*folders: Path, **settings: object) -> DataConfig:
    return replace(DataConfig(manifests=tuple(str(folder) for folder in folders)), **settings)  # type: ignore[arg-type]


def everything(table: CropTable) -> tuple[np.ndarray, np.ndarray]:
    crops, targets = table.batch(np.arange(len(table)))
    return crops.numpy(), targets.numpy()


def rewrite(folder: Path, *, copied: dict[int, int] | None = None, **changes: object) -> Path:
    """Write a dataset again with columns of its manifest changed, or rows that show the crop of another: row, other."""
    dataset = read(folder)
    crops = np.array(dataset.crops)
    for row, other in (copied or {}).items():
        crops[row] = crops[other]
    write(replace(dataset.manifest, **changes), crops, folder)  # type: ignore[arg-type]
    return folder


def where(table: CropTable) -> list[tuple[int, int]]:
    """Return (dataset, row) of each crop of a table."""
    return list(zip(table.part.tolist(), table.row.tolist(), strict=True))


def test_each_split_has_its_own_rows_with_their_labels(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=14, val=7, test=7)
    dataset, data = read(folder), load(config(folder))
    assert (len(data.train), len(data.val)) == (14, 7)
    assert data.manifest_sha256 == dataset.manifest.sha256
    for table, rows in ((data.train, slice(0, 14)), (data.val, slice(14, 21))):
        crops, targets = everything(table)
        np.testing.assert_array_equal(crops, dataset.crops[rows])
        np.testing.assert_array_equal(targets.argmax(axis=1), dataset.manifest.label[rows])
        np.testing.assert_array_equal(np.sort(targets, axis=1), np.tile([0, 0, 0, 0, 0, 0, 1], (len(targets), 1)))


def test_a_batch_has_the_rows_that_are_asked_for_in_that_order(make_dataset: MakeDataset) -> None:
    table = load(config(make_dataset("a"), make_dataset("b", seed=1))).train
    crops, targets = everything(table)
    order = np.random.default_rng(0).permutation(len(table))[:20]
    some_crops, some_targets = table.batch(order)
    np.testing.assert_array_equal(some_crops.numpy(), crops[order])
    np.testing.assert_array_equal(some_targets.numpy(), targets[order])
    assert some_crops.numpy().dtype == np.uint8


def test_several_datasets_are_joined(make_dataset: MakeDataset) -> None:
    folders = make_dataset("a", train=14, val=7), make_dataset("b", train=21, val=14, seed=1)
    first, second = (load(config(folder)) for folder in folders)
    both = load(config(*folders))
    for split in ("train", "val"):
        parts = [everything(getattr(data, split)) for data in (first, second)]
        for joined, halves in zip(everything(getattr(both, split)), zip(*parts, strict=True), strict=True):
            np.testing.assert_array_equal(joined, np.concatenate(halves))
    assert both.manifest_sha256 == f"{first.manifest_sha256}+{second.manifest_sha256}"


def test_one_dataset_may_have_no_validation_where_another_has(make_dataset: MakeDataset) -> None:
    data = load(config(make_dataset("a", train=14, val=0), make_dataset("b", train=7, val=7, seed=1)))
    assert (len(data.train), len(data.val)) == (21, 7)


@pytest.mark.parametrize(
    "other", [CropSpec(margin=0.2), CropSpec(offset_y=0.1), CropSpec(size_px=64), CropSpec(colour="rgb")]
)
def test_datasets_that_are_cut_otherwise_are_not_joined(make_dataset: MakeDataset, other: CropSpec) -> None:
    first, second = make_dataset("a"), make_dataset("b")
    manifest = read(second).manifest
    write(replace(manifest, crop=other), np.zeros((len(manifest), *other.shape), np.uint8), second)
    with pytest.raises(DataError, match=rf"{second}: its crops are cut otherwise than those of {first}"):
        load(config(first, second))


def test_votes_become_shares_of_eight_expressions(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=14, val=7, votes=True)
    data = load(config(folder, labels="votes"))
    _, targets = everything(data.train)
    assert targets.shape == (14, 8)
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    label = np.arange(14) % 7
    np.testing.assert_allclose(targets[np.arange(14), label], 0.8)
    np.testing.assert_allclose(targets[np.arange(14), (label + 1) % 7], 0.2)


def test_faces_that_most_taggers_could_not_name_are_left_out_and_their_votes_do_not_count(
    make_dataset: MakeDataset,
) -> None:
    folder = make_dataset(train=14, val=7, votes=True)
    votes = read(folder).manifest.votes
    assert votes is not None
    votes[0] = [0, 0, 0, 2, 0, 0, 0, 0, 8, 0]  # unknown
    votes[1] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]  # no face
    votes[2] = 0  # nobody voted
    votes[3] = [0, 0, 0, 5, 0, 0, 0, 1, 3, 1]  # happy, contempt and answers that are no expression
    _, targets = everything(load(config(rewrite(folder, votes=votes), labels="votes")).train)
    assert len(targets) == 11
    np.testing.assert_allclose(targets[0], [0, 0, 0, 5 / 6, 0, 0, 0, 1 / 6])


def test_votes_are_asked_of_a_dataset_that_has_none(make_dataset: MakeDataset) -> None:
    folder = make_dataset()
    with pytest.raises(DataError, match=rf"{folder}: it has no votes; prepare it with --ferplus"):
        load(config(folder, labels="votes"))


def test_contempt_is_refused_where_seven_labels_are_trained(make_dataset: MakeDataset) -> None:
    folder = make_dataset()
    label = read(folder).manifest.label
    label[5] = FERPLUS.index("contempt")
    with pytest.raises(DataError, match=rf"{folder}: train holds faces labelled contempt"):
        load(config(rewrite(folder, label=label)))


def test_pictures_without_a_face_are_left_out(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=14, val=7, test=0)
    missed = np.zeros(21, np.bool_)
    missed[[0, 3, 20]] = True
    data = load(config(rewrite(folder, missed=missed)))
    assert (len(data.train), len(data.val)) == (12, 6)
    np.testing.assert_array_equal(everything(data.train)[0], read(folder).crops[[1, 2, *range(4, 14)]])


def test_a_split_without_a_usable_row_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(DataError, match="no usable row in split val"):
        load(config(make_dataset("a", val=0)))
    folder = make_dataset("b", train=3, val=2, test=0)
    with pytest.raises(DataError, match="no usable row in split train"):
        load(config(rewrite(folder, missed=np.array([True, True, True, False, False]))))


@pytest.mark.parametrize(("silent", "split"), [(slice(14), "train"), (slice(14, 21), "val")])
@pytest.mark.parametrize("labels", ["votes", "both"])
def test_a_split_on_which_nobody_voted_is_refused(
    make_dataset: MakeDataset, silent: slice, split: str, labels: str
) -> None:
    folder = make_dataset(train=14, val=7, votes=True, silent=silent)
    with pytest.raises(DataError, match=f"no usable row in split {split} for ferplus"):
        load(config(folder, labels=labels))
    load(config(folder))


def test_the_limit_is_of_the_rows_of_a_split_over_all_datasets(make_dataset: MakeDataset) -> None:
    folders = make_dataset("a", train=14, val=7), make_dataset("b", train=14, val=7, seed=1)
    whole, cut = load(config(*folders)), load(config(*folders, limit=16))
    assert (len(cut.train), len(cut.val)) == (16, 14)
    np.testing.assert_array_equal(everything(cut.train)[0], everything(whole.train)[0][:16])


@pytest.mark.parametrize("contrast", ["equalise", "clahe"])
def test_contrast_is_enhanced_as_in_recognition(make_dataset: MakeDataset, contrast: str) -> None:
    folder = make_dataset(train=14, val=7)
    data = load(config(folder, contrast=contrast, normalisation="fixed"))
    assert data.crop == CropSpec(contrast=contrast, normalisation="fixed")
    plain = np.array(read(folder).crops[:14])
    crops, _ = everything(data.train)
    np.testing.assert_array_equal(crops, enhance(plain, data.crop))
    assert not np.array_equal(crops, plain)


def test_pixels_stay_mapped_on_disk_where_contrast_is_left_alone(make_dataset: MakeDataset) -> None:
    data = load(config(make_dataset("a"), make_dataset("b")))
    assert all(isinstance(crops, np.memmap) for crops in (*data.train.crops, *data.val.crops))


def test_a_dataset_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no dataset there"):
        load(config(tmp_path / "absent"))


def test_two_heads_have_their_targets_beside_each_other_and_zeros_where_there_are_no_votes(
    make_dataset: MakeDataset,
) -> None:
    folder = make_dataset(train=14, val=7, votes=True, silent=slice(2, None, 4))
    votes = read(folder).manifest.votes
    assert votes is not None
    votes[5] = [0, 0, 0, 2, 0, 0, 0, 0, 8, 0]  # unknown
    both, label, named = (
        load(config(rewrite(folder, votes=votes), labels=kind)) for kind in ("both", "label", "votes")
    )
    for split in ("train", "val"):
        table = getattr(both, split)
        assert where(table) == where(getattr(label, split)), "a row was left out"
        np.testing.assert_array_equal(table.targets[:, :7], getattr(label, split).targets)
        voted = table.targets[:, 7:].any(axis=1)
        np.testing.assert_array_equal(table.targets[voted, 7:], getattr(named, split).targets)
    silent = np.flatnonzero(~both.train.targets[:, 7:].any(axis=1))
    assert silent.tolist() == [2, 5, 6, 10]


def test_the_prior_is_how_often_people_named_each_of_the_seven_in_train(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=8, val=7, votes=True, silent=slice(3, 4))
    manifest = read(folder).manifest
    votes = manifest.votes
    assert votes is not None
    votes[7] = [0, 0, 0, 5, 0, 0, 0, 5, 0, 0]  # half of it contempt
    rewrite(folder, votes=votes)
    label = np.bincount(manifest.label[:8], minlength=7) + 1  # one more of each: none is impossible
    np.testing.assert_allclose(load(config(folder)).prior, label / 15, rtol=1e-6)
    named = np.array([1, 1, 1, 0.2 + 0.5, 0.8, 1, 1]) + 1
    for labels in ("votes", "both"):
        np.testing.assert_allclose(load(config(folder, labels=labels)).prior, named / 13.5, rtol=1e-6)


def test_what_evens_labels_out_evens_the_prior_out(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=20, val=7)
    label = read(folder).manifest.label
    rewrite(folder, label=np.where(np.arange(len(label)) < 14, 3, label))
    labels = np.bincount(read(folder).manifest.label[:20], minlength=7)
    there = labels > 0
    for balance in ("loss", "sampling", "copies"):
        prior = load(config(folder, balance=balance)).prior
        np.testing.assert_allclose(prior[there], (20 / there.sum() + 1) / 27, rtol=1e-6)
    np.testing.assert_allclose(load(config(folder)).prior, (labels + 1) / 27, rtol=1e-6)
    voted = make_dataset("voted", train=20, val=7, votes=True)
    data = load(config(voted, labels="both", balance="sampling"))
    shown = np.bincount(data.train.labels(slice(0, 7)), minlength=7)
    rarity = 1 / shown[data.train.labels(slice(0, 7))]
    seen = (data.train.targets[:, 7:14] * rarity[:, None]).sum(axis=0) / rarity.mean() + 1
    np.testing.assert_allclose(data.prior, seen / seen.sum(), rtol=1e-5)


def test_twins_of_train_are_left_out_of_validation_where_the_recipe_says_so(make_dataset: MakeDataset) -> None:
    # Of the first dataset, 14 and 16 show crops of train, 15 one of val; of the second, 7 one of the first's train.
    first = rewrite(make_dataset("a", train=14, val=7, test=7), copied={14: 3, 16: 0, 15: 20})
    second = make_dataset("b", train=7, val=7, test=0, seed=1)
    crops = np.array(read(second).crops)
    crops[7] = read(first).crops[5]
    write(read(second).manifest, crops, second)
    whole, cut = (load(config(first, second, val_twins=kept)) for kept in (True, False))
    assert where(cut.train) == where(whole.train)
    assert set(where(whole.val)) - set(where(cut.val)) == {(0, 14), (0, 16), (1, 7)}
    assert len(cut.val) == 11


def test_twins_of_validation_and_test_are_left_out_of_training_where_the_recipe_says_so(
    make_dataset: MakeDataset,
) -> None:
    folder = rewrite(make_dataset(train=14, val=7, test=7), copied={14: 3, 20: 3, 21: 8, 9: 1, 22: 15})
    whole, cut = (load(config(folder, train_twins=kept)) for kept in (True, False))
    assert set(where(whole.train)) - set(where(cut.train)) == {(0, 3), (0, 8)}
    assert len(cut.train) == 12
    # What is left out of training need not be left out of validation.
    unseen = load(config(folder, train_twins=False, val_twins=False))
    assert where(unseen.val) == where(cut.val) == where(whole.val)


def test_faces_that_were_not_found_are_nobodys_twins(make_dataset: MakeDataset) -> None:
    missed = np.zeros(28, np.bool_)
    missed[[3, 15]] = True
    folder = rewrite(make_dataset(train=14, val=7, test=7), copied={14: 3, 15: 4}, missed=missed)
    assert [row for _, row in where(load(config(folder, val_twins=False)).val)] == [14, *range(16, 21)]
    assert 4 in [row for _, row in where(load(config(folder, train_twins=False)).train)]


@pytest.mark.parametrize("folders", [1, 2])
def test_the_parts_of_a_cross_validation_hold_each_crop_once_and_each_label_alike(
    make_dataset: MakeDataset, folders: int
) -> None:
    made = [make_dataset(f"part-{number}", train=70, val=35, seed=number) for number in range(folders)]
    validated, count = [], 105 * folders
    for fold in range(3):
        data = load(config(*made, folds=3, fold=fold))
        assert len(data.train) + len(data.val) == count
        held_out, trained = (
            {(part, row) for part, row in zip(table.part.tolist(), table.row.tolist(), strict=True)}
            for table in (data.val, data.train)
        )
        assert not held_out & trained
        assert data.val.targets.sum(axis=0) == pytest.approx(count / 21, abs=1)
        validated += sorted(held_out)
    assert sorted(validated) == [(part, row) for part in range(folders) for row in range(105)]  # none of the test's


def test_identical_crops_are_in_one_part_of_a_cross_validation(make_dataset: MakeDataset) -> None:
    copied = {row: row % 7 for row in range(7, 49)}
    folder = rewrite(make_dataset(train=70, val=35), copied=copied)
    for fold in range(3):
        held_out = set(load(config(folder, folds=3, fold=fold)).val.row.tolist())
        assert all((row in held_out) == (other in held_out) for row, other in copied.items())


def test_a_person_and_what_was_made_from_one_crop_are_in_one_part_and_copies_are_never_validated_on(
    make_dataset: MakeDataset,
) -> None:
    folder = make_dataset(train=70, val=35)
    dataset = read(folder)
    source = list(dataset.manifest.source)
    person = [f"person {row % 10}" if row < 50 else None for row in range(len(source))]
    origin = [source[row - 20] if 80 <= row < 100 else None for row in range(len(source))]
    write(replace(dataset.manifest, person=person, origin=origin), np.array(dataset.crops), folder)
    for fold in range(3):
        data = load(config(folder, folds=3, fold=fold))
        held_out, trained = set(data.val.row.tolist()), set(data.train.row.tolist())
        assert not held_out & set(range(80, 100))
        assert not {row % 10 for row in held_out if row < 50} & {row % 10 for row in trained if row < 50}
        assert not {row + 20 for row in held_out if 60 <= row < 80} & trained


def test_crops_without_a_face_are_in_no_part(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=21, val=7)
    dataset = read(folder)
    missed = np.arange(len(dataset.manifest)) % 4 == 1
    write(replace(dataset.manifest, missed=missed), np.array(dataset.crops), folder)
    parts = [load(config(folder, folds=2, fold=fold)) for fold in range(2)]
    held_out = [row for data in parts for row in data.val.row.tolist()]
    assert sorted(held_out) == [row for row in range(28) if not missed[row]]


def test_a_cross_validation_of_more_parts_than_rows_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(DataError, match=r"fewer rows in train and val than data\.folds = 20"):
        load(config(make_dataset(train=14, val=5), folds=20))
    with pytest.raises(DataError, match=r"no label has data\.folds = 4 rows"):
        load(config(make_dataset("rare", train=14, val=7), folds=4))

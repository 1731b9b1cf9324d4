"""Some faces of a dataset as a dataset of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.data.manifest import read
from mien.paper.sample import write_sample


def test_a_sample_has_rows_of_each_split_with_all_that_is_known_of_them(
    tmp_path: Path, make_dataset: Callable[..., Path]
) -> None:
    dataset = read(make_dataset(train=70, val=28, test=7, votes=True))
    kept: list[str | None] = [f"known {row}" for row in range(105)]
    dataset = replace(dataset, manifest=replace(dataset.manifest, consent=kept, origin=[None, *kept[1:]]))
    sample = read(write_sample(dataset, tmp_path / "sample", faces=20))
    assert [len(sample.manifest.rows_in(split)) for split in ("train", "val", "test")] == [20, 20, 7]
    where = [dataset.manifest.source.index(source) for source in sample.manifest.source]
    assert len(set(where)) == 47
    assert np.array_equal(sample.crops, dataset.crops[where])
    assert sample.manifest.label.tolist() == dataset.manifest.label[where].tolist()
    assert sample.manifest.votes is not None
    assert dataset.manifest.votes is not None
    assert np.array_equal(sample.manifest.votes, dataset.manifest.votes[where])
    assert sample.manifest.consent == [kept[row] for row in where]
    assert sample.manifest.origin == [kept[row] if row else None for row in where]
    assert sample.manifest.provenance is None
    again = read(write_sample(dataset, tmp_path / "again", faces=20))
    assert again.manifest.sha256 == sample.manifest.sha256 != dataset.manifest.sha256

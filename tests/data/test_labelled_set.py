"""A labelled set to a dataset: labels by the rule, nobody in two splits, copies in train alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import MakeFaceSet

from mien.data import labelled_set
from mien.data import manifest as manifests
from mien.data.annotate import LabelStore
from mien.data.audit import audit
from mien.data.faceset import FaceSet
from mien.data.labelled_set import LabelRules
from mien.data.prepare import prepare
from mien.errors import DataError
from mien.labels import FER2013


@pytest.fixture
def labelled(make_faceset: MakeFaceSet) -> Path:
    """Return a set of 60 faces of 15 people: half of them happy; two annotators, who differ on every tenth."""
    folder = make_faceset(60, people=15)
    store = LabelStore(folder)
    for number, face in enumerate(FaceSet(folder).faces()):
        label = "happy" if number % 2 else ("sad", "angry", "neutral")[number % 3]
        store.save("anna", face.key, label)
        store.save("ben", face.key, "fear" if number % 10 == 9 else label)
    return folder


def test_a_set_becomes_a_dataset_that_shares_nobody(labelled: Path, tmp_path: Path) -> None:
    prepare(labelled, tmp_path / "data")
    dataset = manifests.read(tmp_path / "data")
    found = audit(dataset)
    assert len(dataset.manifest) == 54, "those on whom two differ have no majority"
    assert found.people_crossing == []
    assert all(len(dataset.manifest.rows_in(split)) for split in manifests.SPLITS)
    assert any("no majority: 6 faces" in note for note in dataset.manifest.notes)
    faces = {face.key: face for face in FaceSet(labelled).faces()}
    for row, source in enumerate(dataset.manifest.source):
        key = source.rpartition("(")[2].rstrip(")")
        assert dataset.manifest.person[row] == faces[key].person
        assert np.array_equal(dataset.crops[row], FaceSet(labelled).crops([key])[0])
    assert dataset.manifest.votes is not None
    assert set(dataset.manifest.votes.sum(axis=1).tolist()) == {2}


def test_copies_balance_train_alone_and_keep_their_origin(labelled: Path, tmp_path: Path) -> None:
    prepare(labelled, tmp_path / "plain")
    prepare(labelled, tmp_path / "data", labels=LabelRules(balance=True))
    dataset, plain = manifests.read(tmp_path / "data"), manifests.read(tmp_path / "plain")
    found = audit(dataset)
    counts = Counter(dataset.manifest.label[dataset.manifest.rows_in("train")].tolist())
    assert len(set(counts.values())) == 1, "every label is as frequent"
    assert found.copies == len(dataset.manifest) - len(plain.manifest) > 0
    assert found.copies_crossing == []
    assert found.people_crossing == []
    for split in ("val", "test"):
        assert len(dataset.manifest.rows_in(split)) == len(plain.manifest.rows_in(split))
    assert dataset.manifest.origin is not None
    home = dict(zip(dataset.manifest.source, dataset.manifest.split.tolist(), strict=True))
    assert all(home[origin] == 0 for origin in dataset.manifest.origin if origin is not None)


def test_copies_that_cross_are_found(labelled: Path, tmp_path: Path) -> None:
    prepare(labelled, tmp_path / "data", labels=LabelRules(balance=True))
    dataset = manifests.read(tmp_path / "data")
    assert dataset.manifest.origin is not None
    made = next(row for row, origin in enumerate(dataset.manifest.origin) if origin is not None)
    dataset.manifest.split[made] = 2
    assert audit(dataset).copies_crossing == [dataset.manifest.source[made]]


def test_the_same_seed_gives_the_same_dataset_and_another_one_another(labelled: Path, tmp_path: Path) -> None:
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        prepare(labelled, tmp_path / str(number), seed=seed, labels=LabelRules(balance=True))
        hashes.append(manifests.read(tmp_path / str(number)).manifest.sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_known_of_the_pictures_is_kept(labelled: Path, tmp_path: Path) -> None:
    prepare(labelled, tmp_path / "data")
    manifest = manifests.read(tmp_path / "data").manifest
    faces = {face.key: face for face in FaceSet(labelled).faces()}
    for column, name in (("consent", "consent"), ("provenance", "source"), ("licence", "licence")):
        values = getattr(manifest, column) or [None] * len(manifest)
        for row, source in enumerate(manifest.source):
            assert values[row] == getattr(faces[source.rpartition("(")[2].rstrip(")")], name)


def test_the_rule_decides(labelled: Path, tmp_path: Path) -> None:
    sizes = {}
    for rule in ("majority", "unanimity", "votes"):
        prepare(labelled, tmp_path / rule, labels=LabelRules(rule))
        sizes[rule] = len(manifests.read(tmp_path / rule).manifest)
    assert sizes["majority"] == sizes["unanimity"] == 54
    assert sizes["votes"] >= 54


def test_what_cannot_become_a_dataset_is_told(make_faceset: MakeFaceSet, tmp_path: Path) -> None:
    folder = make_faceset(9, people=9)
    with pytest.raises(DataError, match=r"no face has a label by majority .*nobody answered: 9"):
        prepare(folder, tmp_path / "data")
    for face in FaceSet(folder).faces():
        LabelStore(folder).save("anna", face.key, FER2013[0])
    with pytest.raises(DataError, match="unknown rule 'loudest'"):
        prepare(folder, tmp_path / "data", labels=LabelRules("loudest"))
    with pytest.raises(DataError, match="too few answers: 9"):
        prepare(folder, tmp_path / "data", labels=LabelRules(least=2))
    assert not (tmp_path / "data" / "manifest.parquet").exists()


def test_a_dataset_gets_a_folder_of_its_own(labelled: Path) -> None:
    with pytest.raises(DataError, match="folder of its own"):
        prepare(labelled, labelled)


def test_copies_join_files_and_tell_whose_the_kept_face_is(make_faceset: MakeFaceSet, tmp_path: Path) -> None:
    folder = make_faceset(30)
    faceset = FaceSet(folder)
    keys = [face.key for face in faceset.faces()]
    faceset.mark_copies([(keys[1], keys[0])])
    known, group = labelled_set._known_faces(FaceSet(folder))
    copied = next(face for face in FaceSet(folder).faces(kept=False) if face.copy_of)
    same_file = [index for index, face in enumerate(known) if face.name == copied.name]
    original = next(index for index, face in enumerate(known) if face.key == keys[0])
    assert all(group[index] == group[original] for index in same_file)
    assert known[original].person == (faceset.faces()[0].person or copied.person)

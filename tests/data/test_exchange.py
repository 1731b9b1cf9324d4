"""Answers out of one set and into another: round trips, what is refused, and what is told of unknown faces."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.data.annotate import Answer, LabelStore
from mien.data.exchange import (
    Imported,
    add_answers,
    export_answers,
    export_folders,
    export_votes,
    read_answers,
)
from mien.data.faceset import FaceSet
from mien.data.ferplus import read_ferplus
from mien.data.rules import apply_rule
from mien.errors import DataError, InputError, LabelError, OutputError
from mien.labels import FERPLUS_COLUMNS

MakeFaceSet = Callable[..., Path]
SAID = {
    "Anne Müller": ["happy", "sad", "none", "skip", "fear", "fear"],
    "ben": ["happy", "angry", "none", "sad", "fear", "disgust"],
    "Zoë": ["neutral", "sad", "surprise", "sad", "skip", "happy"],
}


@pytest.fixture
def labelled(make_faceset: MakeFaceSet) -> tuple[FaceSet, list[str], LabelStore]:
    """Return a set of which three people have labelled six faces."""
    faceset = FaceSet(make_faceset(12))
    store = LabelStore(faceset.folder)
    keys = [face.key for face in faceset.faces()]
    for name, said in SAID.items():
        for key, answer in zip(keys, said, strict=False):
            store.save(name, key, answer)
    return faceset, keys, store


def said(answers: list[Answer]) -> set[tuple[str, str, str, str | None]]:
    """Return answers without their times."""
    return {(each.annotator, each.face, each.answer, each.second) for each in answers}


def test_answers_come_back_as_they_went(labelled: tuple[FaceSet, list[str], LabelStore], make_faceset: MakeFaceSet,
                                        tmp_path: Path) -> None:  # fmt: skip
    _, keys, store = labelled
    store.save("ben", keys[7], "sad", "fear")
    assert export_answers(keys, store.answers(), tmp_path / "a, ü.csv") == 19
    other = LabelStore(make_faceset(12, name="other"))
    assert add_answers(other, keys, read_answers(tmp_path / "a, ü.csv", None), replace=False) == Imported(19, 0, 0, 0)
    assert said(other.answers()) == said(store.answers())
    first, second = (apply_rule(keys, each.answers(), "votes") for each in (store, other))
    assert (first.votes == second.votes).all()


@pytest.mark.parametrize("mixed", [False, True])
def test_votes_come_back_as_they_went(
    labelled: tuple[FaceSet, list[str], LabelStore], make_faceset: MakeFaceSet, tmp_path: Path, mixed: bool
) -> None:
    _, keys, store = labelled
    if mixed:
        store.save("ben", keys[7], "sad", "fear")
    ruled = apply_rule(keys, store.answers(), "votes")
    assert export_votes(keys, ruled, tmp_path / "votes.csv") == 6 + mixed
    other = LabelStore(make_faceset(12, name="other"))
    add_answers(other, keys, read_answers(tmp_path / "votes.csv", "crowd"), replace=False)
    assert (apply_rule(keys, other.answers(), "votes").votes == ruled.votes).all()
    assert other.annotators() == [f"crowd {number}" for number in range(1, 7 if mixed else 4)]


def test_exported_votes_are_a_file_of_ferplus(labelled: tuple[FaceSet, list[str], LabelStore], tmp_path: Path) -> None:
    _, keys, store = labelled
    ruled = apply_rule(keys, store.answers(), "votes")
    export_votes(keys, ruled, tmp_path / "votes.csv")
    with (tmp_path / "votes.csv").open(encoding="utf-8") as file:
        header, first, *_ = csv.reader(file)
    assert header == ["Usage", "Image name", *FERPLUS_COLUMNS]
    assert first == ["Training", f"{keys[0]}.jpg", "1", "2", *"00000000"]
    votes = read_ferplus(tmp_path / "votes.csv")
    assert (votes.counts == ruled.votes[[keys.index(name[:-4]) for name in votes.row_of]]).all()


def test_labels_come_back_from_folders(labelled: tuple[FaceSet, list[str], LabelStore], make_faceset: MakeFaceSet,
                                       tmp_path: Path) -> None:  # fmt: skip
    faceset, keys, store = labelled
    ruled = apply_rule(keys, store.answers(), "majority")
    assert export_folders(faceset, keys, ruled, tmp_path / "out") == 4
    pictures = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/*/*"))
    assert pictures == sorted(f"{name}/{keys[row]}.jpg" for row, name in enumerate(["happy", "sad", "", "sad", "fear"])
                              if name)  # fmt: skip
    assert (tmp_path / "out" / pictures[0]).read_bytes() == faceset.view(Path(pictures[0]).stem).read_bytes()
    other = LabelStore(make_faceset(12, name="other"))
    add_answers(other, keys, read_answers(tmp_path / "out", "rule"), replace=False)
    assert (apply_rule(keys, other.answers(), "majority").label == ruled.label).all()


def test_folders_are_not_mixed_with_old_ones(labelled: tuple[FaceSet, list[str], LabelStore], tmp_path: Path) -> None:
    faceset, keys, store = labelled
    ruled = apply_rule(keys, store.answers(), "majority")
    export_folders(faceset, keys, ruled, tmp_path / "out")
    with pytest.raises(OutputError, match="not empty"):
        export_folders(faceset, keys, ruled, tmp_path / "out")


def test_a_missing_picture_leaves_no_half_export(
    labelled: tuple[FaceSet, list[str], LabelStore], tmp_path: Path
) -> None:
    faceset, keys, store = labelled
    faceset.view(keys[4]).unlink()
    with pytest.raises(DataError, match="picture of a face is missing"):
        export_folders(faceset, keys, apply_rule(keys, store.answers(), "majority"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_answer_that_contradicts_an_earlier_one_is_refused_and_nothing_is_imported(
    labelled: tuple[FaceSet, list[str], LabelStore],
) -> None:
    _, keys, store = labelled
    before = said(store.answers())
    incoming = [Answer("ben", keys[0], "sad", None, 1.0), Answer("ben", keys[9], "sad", None, 1.0)]
    with pytest.raises(InputError, match=f"1 answers contradict.*ben of {keys[0]}: happy, now sad.*--replace"):
        add_answers(store, keys, incoming, replace=False)
    assert said(store.answers()) == before
    assert add_answers(store, keys, incoming, replace=True) == Imported(added=1, same=0, replaced=1, unknown=0)
    assert ("ben", keys[0], "sad", None) in said(store.answers())


def test_the_same_answers_again_change_nothing(labelled: tuple[FaceSet, list[str], LabelStore]) -> None:
    _, keys, store = labelled
    before = store.answers()
    assert add_answers(store, keys, before, replace=True) == Imported(added=0, same=18, replaced=0, unknown=0)
    assert store.answers() == before


def test_unknown_faces_are_counted_and_not_imported(labelled: tuple[FaceSet, list[str], LabelStore]) -> None:
    _, keys, store = labelled
    incoming = [Answer("eve", "gone", "sad", None, 1.0), Answer("eve", keys[0], "sad", None, 1.0)]
    assert add_answers(store, keys, incoming, replace=False) == Imported(added=1, same=0, replaced=0, unknown=1)
    assert said(store.answers("eve")) == {("eve", keys[0], "sad", None)}


def test_what_ferplus_alone_knows_becomes_none(tmp_path: Path) -> None:
    header = ",".join(["Usage", "Image name", *FERPLUS_COLUMNS])
    (tmp_path / "votes.csv").write_text(f"{header}\nTraining,a.png,0,1,0,0,0,0,0,1,1,1\n", encoding="utf-8")
    assert [answer.answer for answer in read_answers(tmp_path / "votes.csv", "x")] == ["happy", "none", "none", "none"]


@pytest.mark.parametrize(
    ("name", "told"), [("", r"votes.csv:4: its Image name is empty"), ("a.jpg", r"votes.csv:4: a.jpg is in line 2")]
)
def test_votes_belong_to_one_face_each(tmp_path: Path, name: str, told: str) -> None:
    rows = [f"Training,{each},0,1,0,0,0,0,0,0,0,0" for each in ("a.png", "b.png", name)]
    lines = [",".join(["Usage", "Image name", *FERPLUS_COLUMNS]), *rows, ""]
    (tmp_path / "votes.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_answers(tmp_path / "votes.csv", "crowd")


def test_people_name_expressions_and_faces_as_they_like(tmp_path: Path) -> None:
    for name in ("Happiness/Müller, Ann.jpg", "sad/b.png", "none/c.jpg", "sad/notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"-")
    found = said(read_answers(tmp_path / "in", "ann"))
    assert found == {("ann", "Müller, Ann", "happy", None), ("ann", "b", "sad", None), ("ann", "c", "none", None)}
    (tmp_path / "answers.csv").write_text('face,annotator,answer,second\n"Müller, Ann",Ann,happy,\n', encoding="utf-8")
    assert said(read_answers(tmp_path / "answers.csv", None)) == {("Ann", "Müller, Ann", "happy", None)}


@pytest.mark.parametrize(
    ("rows", "error", "told"),
    [
        ("a,ben,joyful,", LabelError, r"answers.csv:2: unknown answer 'joyful'"),
        ("a,ben,happy,happy", LabelError, r"answers.csv:2: .*cannot be mixed"),
        ("a,,happy,", InputError, r"answers.csv:2: annotator ''"),
        ("a,ben,happy", DataError, r"answers.csv:2: expected 4 fields, got 3"),
        ("a,ben,happy,\na,ben,sad,", DataError, r"answers.csv:3: ben says of a sad, and happy before"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, rows: str, error: type[Exception], told: str) -> None:
    (tmp_path / "answers.csv").write_text(f"face,annotator,answer,second\n{rows}\n", encoding="utf-8")
    with pytest.raises(error, match=told):
        read_answers(tmp_path / "answers.csv", None)


def test_what_is_no_file_of_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd" / "grumpy").mkdir(parents=True)
    for name, error, told in (
        ("other.csv", DataError, "or those of FER"),
        ("missing.csv", DataError, "cannot be read"),
        ("empty", DataError, "folders named as expressions"),
        ("odd", LabelError, "unknown label 'grumpy'"),
    ):
        with pytest.raises(error, match=told):
            read_answers(tmp_path / name, None if name.endswith("csv") else "ann")


def test_the_annotator_is_named_once(labelled: tuple[FaceSet, list[str], LabelStore], tmp_path: Path) -> None:
    faceset, keys, store = labelled
    ruled = apply_rule(keys, store.answers(), "majority")
    export_answers(keys, store.answers(), tmp_path / "answers.csv")
    export_votes(keys, ruled, tmp_path / "votes.csv")
    export_folders(faceset, keys, ruled, tmp_path / "folders")
    with pytest.raises(InputError, match="leave --annotator out"):
        read_answers(tmp_path / "answers.csv", "ann")
    for name in ("votes.csv", "folders"):
        with pytest.raises(InputError, match="--annotator"):
            read_answers(tmp_path / name, None)


def test_a_picture_in_two_folders_is_refused(labelled: tuple[FaceSet, list[str], LabelStore], tmp_path: Path) -> None:
    faceset, keys, store = labelled
    export_folders(faceset, keys, apply_rule(keys, store.answers(), "majority"), tmp_path / "out")
    shutil.copy(tmp_path / "out" / "happy" / f"{keys[0]}.jpg", tmp_path / "out" / "sad")
    with pytest.raises(DataError, match=r"says of .* sad, and happy before"):
        read_answers(tmp_path / "out", "ann")


def test_answers_for_removed_faces_stay_at_home(
    labelled: tuple[FaceSet, list[str], LabelStore], tmp_path: Path
) -> None:
    _, keys, store = labelled
    assert export_answers(keys[1:], store.answers(), tmp_path / "answers.csv") == 15

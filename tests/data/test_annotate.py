"""Answers are on disk when they are said to be, once each, whoever else writes and whatever was cut off."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mien.data.annotate import ANSWERS, NONE, SKIP, Answer, LabelStore
from mien.errors import DataError, InputError, LabelError, OutputError
from mien.labels import FER2013


def said(store: LabelStore, annotator: str | None = None) -> list[tuple[str, str, str, str | None]]:
    """Return what stands, without times."""
    return [(each.annotator, each.face, each.answer, each.second) for each in store.answers(annotator)]


def test_an_answer_can_be_read_back_by_another_store_of_the_folder(tmp_path: Path) -> None:
    LabelStore(tmp_path).save("anna", "f1", "happy")
    LabelStore(tmp_path).save("anna", "f2", "sad", "fear")
    assert said(LabelStore(tmp_path)) == [("anna", "f1", "happy", None), ("anna", "f2", "sad", "fear")]


def test_the_answers_are_the_seven_expressions_none_and_skip() -> None:
    assert (*FER2013, NONE, SKIP) == ANSWERS


def test_a_new_answer_of_the_same_person_stands_and_others_keep_theirs(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    store.save("anna", "f1", "happy")
    store.save("ben", "f1", "sad")
    store.save("anna", "f1", "neutral")
    assert said(store) == [("ben", "f1", "sad", None), ("anna", "f1", "neutral", None)]
    assert said(store, "anna") == [("anna", "f1", "neutral", None)]
    assert store.annotators() == ["anna", "ben"]


def test_undo_withdraws_the_newest_of_the_person_and_nothing_is_lost_in_the_file(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    assert store.undo("anna") is None
    store.save("anna", "f1", "happy")
    store.save("ben", "f1", "sad")
    store.save("anna", "f2", "fear")
    assert [store.undo("anna") for _ in range(3)] == ["f2", "f1", None]
    assert said(store) == [("ben", "f1", "sad", None)]
    with closing(sqlite3.connect(store.path)) as database:
        assert database.execute("select count(*) from answers").fetchone() == (3,)


def test_undo_of_an_answer_that_was_given_anew_brings_no_older_one_back(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    store.save("anna", "f1", "happy")
    store.save("anna", "f1", "sad")
    store.save_many([Answer("anna", "f1", "fear", None, 1.0)])
    assert said(store) == [("anna", "f1", "fear", None)]
    assert store.undo("anna", "f1") == "f1"
    assert said(store) == []
    assert store.undo("anna", "f1") is None


def test_undo_of_a_face_leaves_newer_answers_to_others(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    store.save("anna", "f1", "happy")
    store.save("anna", "f2", "fear")
    assert store.undo("anna", "f1") == "f1"
    assert store.undo("anna", "f3") is None
    assert said(store) == [("anna", "f2", "fear", None)]


def test_what_is_sent_twice_counts_once(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    store.save("anna", "f1", "happy", client="a")
    store.save("anna", "f1", "sad", client="b")
    store.save("anna", "f1", "happy", client="a")  # comes late, a second time
    assert said(store) == [("anna", "f1", "sad", None)]
    store.save("ben", "f1", "fear", client="a")  # another person's page may make the same name
    assert len(said(store)) == 2
    assert store.undo("anna", "f1", client="c") == store.undo("anna", "f1", client="c") == "f1"
    assert said(store, "anna") == []


@pytest.mark.parametrize(
    ("answer", "second"), [("joy", None), ("", None), ("happy", "happy"), ("happy", "none"), ("skip", "sad")]
)
def test_what_is_no_answer_is_refused(tmp_path: Path, answer: str, second: str | None) -> None:
    store = LabelStore(tmp_path)
    with pytest.raises(LabelError):
        store.save("anna", "f1", answer, second)
    assert not store.path.exists()


@pytest.mark.parametrize("name", ["", " anna", "a/b", "..", "x" * 41, "a\n", "<b>"])
def test_odd_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        LabelStore(tmp_path).save(name, "f1", "happy")


def test_many_are_written_all_or_none(tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    good = Answer("anna", "f1", "happy", None, 1.0)
    with pytest.raises(LabelError):
        store.save_many([good, Answer("anna", "f2", "joy", None, 2.0)])
    assert store.answers() == []
    store.save_many([good])
    assert store.answers() == [good]


def test_people_who_answer_at_once_lose_nothing(tmp_path: Path) -> None:
    def answer(annotator: str) -> None:
        store = LabelStore(tmp_path)
        for face in range(10):
            store.save(annotator, f"f{face}", "happy", client=f"{face}")

    threads = [threading.Thread(target=answer, args=(name,)) for name in ("anna", "ben", "cleo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(LabelStore(tmp_path).answers()) == 30


def test_a_file_whose_first_answer_was_cut_off_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "labels.sqlite").touch()
    store = LabelStore(tmp_path)
    assert store.answers() == []
    assert store.undo("anna") is None
    store.save("anna", "f1", "happy")
    assert len(store.answers()) == 1


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_is_told_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.sqlite"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.sqlite"):
        LabelStore(tmp_path)
    assert path.read_bytes() == content


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "labels.sqlite")) as database:
        database.execute("pragma user_version = 99")
    with pytest.raises(DataError, match="version"):
        LabelStore(tmp_path)


def test_a_full_disk_is_an_output_error_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LabelStore(tmp_path)
    store.save("anna", "f1", "happy")
    connect = sqlite3.connect

    def full(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*arguments, **options)
        (pages,) = database.execute("pragma page_count").fetchone()
        database.execute(f"pragma max_page_count = {pages}")
        return database

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(OutputError, match="full"):  # noqa: PT012
        for face in range(1000):
            store.save("anna", f"face {face} {'x' * 500}", "happy")
    monkeypatch.undo()
    assert ("anna", "f1", "happy", None) in said(store)

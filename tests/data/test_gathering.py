"""Sources of a set: each file once, with what is known of it; lines of lists that are wrong are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.data.gathering import gather_files
from mien.errors import DataError
from mien.video_writer import VideoWriter


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with two pictures, a video and two other files."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name in ("b.jpg", "below/ä, ö.png", "clip.MP4", "notes.txt", ".hidden.jpg"):
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_gives_its_pictures_and_videos_in_order(photos: Path) -> None:
    files, problems = gather_files([photos])
    assert [file.name for file in files] == ["photos/b.jpg", "photos/below/ä, ö.png", "photos/clip.MP4"]
    assert [file.is_video for file in files] == [False, False, True]
    assert problems == []


def test_a_list_tells_who_it_is_and_keeps_commas_and_umlauts(photos: Path) -> None:
    table = photos / "list.csv"
    table.write_text(
        'file,person,consent,licence\n"below/ä, ö.png","Müller, Anna",written,CC0\nb.jpg,,,\n', encoding="utf-8"
    )
    files, _ = gather_files([table])
    assert [(file.path, file.person, file.consent, file.licence) for file in files] == [
        (photos / "below/ä, ö.png", "Müller, Anna", "written", "CC0"), (photos / "b.jpg", None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_a_list_says_holds_where_a_folder_has_the_file_too(photos: Path, order: tuple[int, int]) -> None:
    table = photos / "list.csv"
    table.write_text("file,person\nb.jpg,Anna\n", encoding="utf-8")
    files, _ = gather_files([(photos, table)[index] for index in order])
    assert {file.name: file.person for file in files} == {
        "photos/b.jpg": "Anna", "photos/below/ä, ö.png": None, "photos/clip.MP4": None,
    }  # fmt: skip


def test_lines_that_name_no_file_are_told_and_the_rest_is_taken(photos: Path) -> None:
    table = photos / "list.csv"
    table.write_text("file,person\nnone.jpg,Anna\nb.jpg,Ben\nb.jpg\n", encoding="utf-8")
    files, problems = gather_files([table])
    assert [file.person for file in files] == ["Ben"]
    assert len(problems) == 2
    assert "list.csv:2: no file 'none.jpg'" in problems[0]
    assert "list.csv:4: expected 2 fields" in problems[1]


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for top in ("x", "y"):
        (tmp_path / top / "photos").mkdir(parents=True)
        (tmp_path / top / "photos" / "a.jpg").write_bytes(b"x")
    files, _ = gather_files([tmp_path / "x" / "photos", tmp_path / "y" / "photos"])
    assert [file.name for file in files] == ["photos/a.jpg", "photos/a.jpg (2)"]


def test_sources_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        gather_files([tmp_path / "none"])
    with pytest.raises(DataError, match="neither photographs nor videos"):
        gather_files([tmp_path])
    (tmp_path / "list.csv").write_text("path\nb.jpg\n", encoding="utf-8")
    with pytest.raises(DataError, match="expected the columns file"):
        gather_files([tmp_path / "list.csv"])


def test_what_one_list_leaves_open_another_tells(photos: Path) -> None:
    (photos / "people.csv").write_text("file,person\nb.jpg,Anna\n")
    (photos / "licences.csv").write_text("file,licence\nb.jpg,CC0\n")
    for order in (("people.csv", "licences.csv"), ("licences.csv", "people.csv")):
        files, _ = gather_files([photos, *(photos / name for name in order)])
        assert [(file.person, file.licence) for file in files if file.path.name == "b.jpg"] == [("Anna", "CC0")]


def test_two_names_for_one_file_are_told(photos: Path) -> None:
    (photos / "who.csv").write_text("file,person\nb.jpg,Anna\nb.jpg,Ben\nb.jpg,Anna\n")
    files, problems = gather_files([photos / "who.csv"])
    assert [file.person for file in files] == ["Anna"]
    (told,) = problems
    assert "said to show Anna and Ben" in told


def test_other_spellings_of_a_name_are_no_other_person(photos: Path) -> None:
    (photos / "who.csv").write_text("file,person\nb.jpg,Renée Roy\nb.jpg,rene\u0301e  roy\n", encoding="utf-8")
    files, problems = gather_files([photos / "who.csv"])
    assert problems == []
    assert len(files) == 1


@pytest.mark.parametrize("column", ["person", "consent", "source", "licence"])
def test_what_a_list_says_of_a_file_is_utf8(photos: Path, column: str) -> None:
    (photos / "who.csv").write_text(f"file,{column}\nb.jpg,Renée\nclip.MP4,Rene\n", encoding="latin-1")
    files, problems = gather_files([photos / "who.csv"])
    assert [(file.path.name, getattr(file, column)) for file in files] == [("clip.MP4", "Rene")]
    assert problems == [f"{photos / 'who.csv'}:2: the {column} is not UTF-8; save the list as CSV in UTF-8"]


def test_columns_of_a_list_are_known_in_other_spellings(photos: Path) -> None:
    (photos / "who.csv").write_text("file,Person,CONSENT,License,Source\nb.jpg,Anna,given,CC0,web\n")
    ((file,), _) = gather_files([photos / "who.csv"])
    assert (file.person, file.consent, file.licence, file.source) == ("Anna", "given", "CC0", "web")


def test_links_to_folders_are_told_as_they_are_not_followed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    _, problems = gather_files([photos])
    assert problems == [f"{photos / 'linked'}: a link to a folder, which is not followed"]


def test_pictures_that_are_not_decoded_are_told_a_line_a_kind_and_other_files_are_handed_on(photos: Path) -> None:
    for name in ("IMG_2.HEIC", "below/IMG_1.heic", "raw.dng", "letter", "who.csv"):
        (photos / name).write_bytes(b"x")
    (photos / "who.csv").write_text("file,person\nb.jpg,Anna\n")
    others: list[Path] = []
    files, problems = gather_files([photos, photos / "who.csv"], on_other=others.append)
    assert len(files) == 3
    assert problems == [
        f"{photos / 'IMG_2.HEIC'} and 1 more: pictures as .heic cannot be read here; save them as JPEG",
        f"{photos / 'raw.dng'}: pictures as .dng cannot be read here; save them as JPEG",
    ]
    assert sorted(path.name for path in others) == ["letter", "notes.txt"], "the list is a source"


def test_a_folder_whose_pictures_are_not_decoded_spoils_no_other(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "IMG_1.HEIC").write_bytes(b"x")
    files, problems = gather_files([tmp_path / "phone", photos])
    assert len(files) == 3
    assert len(problems) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: neither photographs nor videos in it"):
        gather_files([tmp_path / "phone", tmp_path / "empty"])


def test_a_set_that_lies_in_a_folder_is_no_source_of_it(photos: Path) -> None:
    before, _ = gather_files([photos])
    built = photos / "set"
    (built / "faces").mkdir(parents=True)
    (built / "set.sqlite").write_bytes(b"")
    for name in ("contact-sheet.jpg", "faces/0.jpg"):
        (built / name).write_bytes(b"x")
    others: list[Path] = []
    after, _ = gather_files([photos], on_other=others.append)
    assert after == before
    assert others == [photos / "notes.txt"]


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("file;person", "separate its fields by commas"),
        ("file\tperson", "separate its fields by commas"),
        ("File,Person", "write them in lower case"),
    ],
)
def test_a_list_of_another_kind_is_refused_with_what_to_do(photos: Path, head: str, told: str) -> None:
    (photos / "list.csv").write_text(f"{head}\nb.jpg;Anna\n", encoding="utf-8")
    with pytest.raises(DataError, match=told):
        gather_files([photos / "list.csv"])
    (photos / "list.csv").write_text("file,person\n", encoding="utf-16")
    with pytest.raises(DataError, match="save it as CSV in UTF-8"):
        gather_files([photos / "list.csv"])


def test_a_video_that_is_named_needs_no_suffix_that_is_known(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip") as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8), 0.0)
    (tmp_path / "letter").write_bytes(b"x")
    files, _ = gather_files([tmp_path / "clip", tmp_path / "letter"])
    assert [file.is_video for file in files] == [True, False]

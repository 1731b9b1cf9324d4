"""The layouts in which people have faces: what is read of each, and what is told of each bad row."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.data.ferplus import read_ferplus
from mien.data.sources import (
    Problem,
    Sample,
    folder_splits,
    read_fer2013_csv,
    read_folders,
    read_labelled_faces,
)
from mien.errors import DataError
from mien.labels import FER2013, FERPLUS, FERPLUS_COLUMNS, VOTES
from mien.media import write_image
from mien.spec import CropSpec
from mien.types import Face, ImageArray

WriteLines = Callable[..., Path]
GREY, COLOUR = CropSpec(), CropSpec(size_px=32, colour="rgb")


def samples_of(rows: Any) -> list[Sample]:
    """Return the samples, where there is nothing else."""
    rows = list(rows)
    assert problems_of(rows) == []
    return [row for row in rows if isinstance(row, Sample)]


def problems_of(rows: Any) -> list[str]:
    return [str(row) for row in rows if isinstance(row, Problem)]


# fer2013.csv


def test_a_row_of_the_csv_is_its_pixels_label_and_split(mini: Any, write_lines: WriteLines) -> None:
    samples = samples_of(read_fer2013_csv(write_lines(mini.lines()), GREY))
    np.testing.assert_array_equal(np.stack([sample.crop for sample in samples]), mini.faces)
    assert [sample.label for sample in samples] == mini.emotion.tolist()
    assert [sample.split for sample in samples] == ["train"] * 14 + ["val"] * 5 + ["test"] * 6
    assert [sample.source for sample in samples] == [f"fer2013.csv:{row + 2}" for row in range(25)]
    assert [sample.row for sample in samples] == list(range(25))


def as_it_was(lines: list[str]) -> list[str]:
    return lines


def quoted(lines: list[str]) -> list[str]:
    return [lines[0], *(",".join(f'"{field}"' for field in line.split(",")) for line in lines[1:])]


def spaced(lines: list[str]) -> list[str]:
    return [line.replace(",", " , ") + " " for line in lines]


def reordered(lines: list[str]) -> list[str]:
    """Return the columns as in Kaggle's icml_face_data.csv, and one that is nothing to us."""
    rows = [line.split(",") for line in lines]
    header = ["emotion", " Usage", "note", " pixels"]
    return [",".join(header), *(f"{emotion},{usage},,{pixels}" for emotion, pixels, usage in rows[1:])]


@pytest.mark.parametrize("change", [as_it_was, quoted, spaced, reordered])
@pytest.mark.parametrize(
    ("begin", "end"), [(b"", b"\n"), (b"", b"\r\n"), (b"\xef\xbb\xbf", b"\n"), (b"\xef\xbb\xbf", b"\r\n")]
)
def test_the_csv_reads_the_same_however_it_was_saved(
    mini: Any, write_lines: WriteLines, change: Callable[[list[str]], list[str]], begin: bytes, end: bytes
) -> None:
    path = write_lines(change(mini.lines()), end=end, begin=begin)
    samples = samples_of(read_fer2013_csv(path, GREY))
    np.testing.assert_array_equal(np.stack([sample.crop for sample in samples]), mini.faces)
    assert [(sample.label, sample.split) for sample in samples] == [
        (label, {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}[usage])
        for label, usage in zip(mini.emotion, mini.usage, strict=True)
    ]
    assert [sample.source for sample in samples] == [f"fer2013.csv:{row + 2}" for row in range(25)]


def test_a_last_line_without_an_end_is_whole(mini: Any, write_lines: WriteLines) -> None:
    path = write_lines(mini.lines())
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert len(samples_of(read_fer2013_csv(path, GREY))) == 25


PIXELS = " ".join(["7"] * 2304)
BAD_LINES: dict[str, tuple[str | bytes, str]] = {
    "2,303 pixels": (f"3,{PIXELS[2:]},Training", "2,303 pixels, expected 2,304"),
    "2,305 pixels": (f"3,{PIXELS} 7,Training", "2,305 pixels, expected 2,304"),
    "no pixels": ("3,,Training", "the pixels are not numbers with spaces between them"),
    "a value of 300": (f"3,300{PIXELS[1:]},Training", "a pixel of 300, expected 0 to 255"),
    "a value of 256": (f"3,{PIXELS[:-1]}256,Training", "a pixel of 256, expected 0 to 255"),
    "a value beyond 64 bits": (f"3,{PIXELS[:-1]}18446744073709551623,Training", "a pixel of 9223372036854775807"),
    "a negative value": (f"3,-{PIXELS},Training", "the pixels are not numbers"),
    "a fraction": (f"3,{PIXELS[:-1]}7.5,Training", "the pixels are not numbers"),
    "a word": (f"3,{PIXELS[:-1]}seven,Training", "the pixels are not numbers"),
    "foreign digits": (f"3,{PIXELS[:-1]}\u0667,Training", "the pixels are not numbers"),
    "label 9": (f"9,{PIXELS},Training", "emotion is '9', expected 0 to 6"),
    "label 7": (f"7,{PIXELS},Training", "emotion is '7', expected 0 to 6"),
    "a negative label": (f"-1,{PIXELS},Training", "emotion is '-1'"),
    "no label": (f",{PIXELS},Training", "emotion is ''"),
    "a name as label": (f"happy,{PIXELS},Training", "emotion is 'happy'"),
    "a label of 5,000 digits": (f"{'9' * 5000},{PIXELS},Training", "emotion is '99999"),
    "empty Usage": (f"3,{PIXELS},", "Usage is '', expected Training, PublicTest, PrivateTest"),
    "unknown Usage": (f"3,{PIXELS},Test", "Usage is 'Test'"),
    "an empty line": ("", "the line is empty"),
    "a blank line": ("  ", "the line is empty"),
    "two fields": (f"3,{PIXELS}", "expected 3 fields, got 2 (is the line torn?)"),
    "four fields": (f"3,{PIXELS},Training,", "expected 3 fields, got 4"),
    "an open quote": (f'3,"{PIXELS},Training', "not a row of CSV"),
    "a quote in the pixels": (f'3,7"{PIXELS[1:]},Training', "the pixels are not numbers"),
    "a quoted comma": (f'3,"{PIXELS}",Training,"a,b"', "expected 3 fields, got 4"),
    "NUL bytes": (f"3,\0{PIXELS[1:]},Training", "the pixels are not numbers"),
    "a NUL after Usage": (f"3,{PIXELS},Training\0", "Usage is 'Training\\x00'"),
    "a block of NULs": (b"\0" * 4096, "expected 3 fields, got 1"),
    "a megabyte without an end": (b"\0" * (1 << 20), "the line has 131,072 characters or more"),
    "not UTF-8": (f"3,{PIXELS},".encode() + b"Tr\xe4ning", "Usage is 'Tr\\udce4ning'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_row_is_named_with_its_line_and_spoils_no_other(mini: Any, write_lines: WriteLines, kind: str) -> None:
    bad, message = BAD_LINES[kind]
    lines = mini.lines()
    path = write_lines([*lines[:5], bad, *lines[5:]])
    rows = list(read_fer2013_csv(path, GREY))
    (problem,) = problems_of(rows)
    assert problem.startswith(f"fer2013.csv:6: {message}")
    assert len(problem) < 200
    samples = [row for row in rows if isinstance(row, Sample)]
    np.testing.assert_array_equal(np.stack([sample.crop for sample in samples]), mini.faces)
    assert [sample.source for sample in samples] == [f"fer2013.csv:{line}" for line in range(2, 28) if line != 6]


def test_a_last_line_that_is_torn_anywhere_is_named(mini: Any, write_lines: WriteLines) -> None:
    lines = mini.lines()
    for length in range(1, len(lines[-1]), 97):
        rows = list(read_fer2013_csv(write_lines([*lines[:-1], lines[-1][:length]]), GREY))
        assert len(rows) == 25
        (problem,) = problems_of(rows)
        assert problem.startswith("fer2013.csv:26: ")


def test_every_bad_row_is_named_and_every_other_one_read(mini: Any, write_lines: WriteLines) -> None:
    lines: list[str | bytes] = [mini.lines()[0]]
    bad_at = []
    for row, (bad, _) in enumerate(BAD_LINES.values()):
        lines += [mini.line(row % 25), bad]
        bad_at.append(len(lines))
    rows = list(read_fer2013_csv(write_lines(lines), GREY))
    assert [problem.split(": ")[0] for problem in problems_of(rows)] == [f"fer2013.csv:{line}" for line in bad_at]
    assert sum(isinstance(row, Sample) for row in rows) == len(BAD_LINES)


def test_an_empty_line_is_no_row_and_a_torn_one_is(mini: Any, write_lines: WriteLines) -> None:
    lines = mini.lines()
    rows = list(read_fer2013_csv(write_lines([*lines[:3], "", "torn", *lines[3:]]), GREY))
    assert [row.row for row in rows] == [0, 1, None, 2, *range(3, 26)]


@pytest.mark.parametrize(
    "header", ["", "emotion,pixels", "label;pixels;usage", "\x89PNG\r", '"emotion,pixels,Usage', "\0" * 200_000]
)
def test_a_file_with_another_header_is_refused(mini: Any, write_lines: WriteLines, header: str) -> None:
    path = write_lines([header, *mini.lines()[1:]])
    with pytest.raises(
        DataError, match=r"fer2013\.csv: expected the columns emotion, pixels, Usage in its first line"
    ) as raised:
        list(read_fer2013_csv(path, GREY))
    assert len(str(raised.value)) < 200 + len(str(path))


def test_a_file_that_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_fer2013_csv(tmp_path, GREY))


def test_csv_rows_are_brought_to_the_asked_for_size_and_colour(mini: Any, write_lines: WriteLines) -> None:
    samples = samples_of(read_fer2013_csv(write_lines(mini.lines()), COLOUR))
    assert {sample.crop.shape for sample in samples} == {COLOUR.shape}
    for sample, face in zip(samples, mini.faces, strict=True):
        assert abs(float(sample.crop.mean()) - float(face.mean())) < 2
        np.testing.assert_array_equal(sample.crop[..., 0], sample.crop[..., 2])


# fer2013new.csv


def test_votes_come_in_our_order(mini: Any, write_lines: WriteLines) -> None:
    votes = read_ferplus(write_lines(mini.ferplus_lines()))
    assert votes.usage == mini.usage
    columns = list(FERPLUS_COLUMNS.values())
    for place, answer in enumerate(VOTES):
        np.testing.assert_array_equal(votes.counts[:, place], mini.votes[:, columns.index(answer)])
    assert votes.row_of["fer0000001.png"] == 1
    assert votes.row_of["fer0000002.png"] == 3, "the row without a face has no name"
    assert len(votes.row_of) == 24


@pytest.mark.parametrize("vote", ["", "-1", "many", "256", "1.5", "9" * 5000])
def test_a_vote_that_is_no_count_is_named_with_its_line(mini: Any, write_lines: WriteLines, vote: str) -> None:
    lines = mini.ferplus_lines()
    lines[4] = f"Training,fer0000002.png,{vote},0,0,0,0,0,0,0,0,0"
    with pytest.raises(DataError, match=r"fer2013\.csv:5: a vote is not a count"):
        read_ferplus(write_lines(lines))


def test_a_torn_row_and_another_header_of_ferplus_are_named(mini: Any, write_lines: WriteLines) -> None:
    lines = mini.ferplus_lines()
    with pytest.raises(DataError, match=r"fer2013\.csv:26: expected 12 fields, got"):
        read_ferplus(write_lines([*lines[:-1], lines[-1][:20]]))
    with pytest.raises(DataError, match=r"fer2013\.csv: expected the columns Usage, Image name, neutral, .*, NF"):
        read_ferplus(write_lines([lines[0].replace(",NF", ""), *lines[1:]]))
    with pytest.raises(DataError, match=r"fer2013\.csv: expected the columns"):
        read_ferplus(write_lines([]))


def test_empty_lines_of_ferplus_are_no_rows(mini: Any, write_lines: WriteLines) -> None:
    lines = mini.ferplus_lines()
    votes = read_ferplus(write_lines([*lines[:3], "", *lines[3:], ""], end=b"\r\n", begin=b"\xef\xbb\xbf"))
    np.testing.assert_array_equal(votes.counts, read_ferplus(write_lines(lines)).counts)


# train|val|test/<emotion>/


def by_source(rows: Any) -> dict[str, Sample]:
    return {sample.source: sample for sample in samples_of(rows)}


def test_folders_hold_what_the_csv_holds(mini: Any, write_lines: WriteLines, tmp_path: Path) -> None:
    root = mini.write_folders(tmp_path / "folders")
    rows = samples_of(read_folders(root, GREY))
    assert len(rows) == 25
    for sample in rows:
        row = sample.row
        assert row is not None
        np.testing.assert_array_equal(sample.crop, mini.faces[row])
        assert sample.label == mini.emotion[row]
        assert sample.usage == mini.usage[row]
        assert sample.split == {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}[mini.usage[row]]
    assert rows[0].source == "train/angry/Training_0.png"


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_a_val_folder_is_the_validation(mini: Any, tmp_path: Path, val: str) -> None:
    root = mini.write_folders(tmp_path, lambda row: f"face{row}", val=val)
    assert folder_splits(root) == (False, False)
    rows = by_source(read_folders(root, GREY))
    assert {sample.split for name, sample in rows.items() if name.startswith(f"{val}/")} == {"val"}
    assert sum(sample.split == "val" for sample in rows.values()) == 5
    assert all(sample.row is None for sample in rows.values())


def test_without_any_sign_of_validation_a_part_of_train_is_cut_off(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(260):
        folder = tmp_path / ("train" if number < 200 else "test") / FER2013[number % 7]
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{number}.png", generator.integers(0, 256, (8, 8, 3), np.uint8))
    assert folder_splits(tmp_path) == (False, True)
    first, again, other = (by_source(read_folders(tmp_path, GREY, seed=seed)) for seed in (0, 0, 1))
    splits = {name: sample.split for name, sample in first.items()}
    assert splits == {name: sample.split for name, sample in again.items()}
    assert splits != {name: sample.split for name, sample in other.items()}
    assert {split for name, split in splits.items() if name.startswith("test/")} == {"test"}
    assert {split for name, split in splits.items() if name.startswith("train/")} == {"train", "val"}
    assert 8 <= list(splits.values()).count("val") <= 35, "about one in ten of 200"


def test_identical_pictures_are_cut_to_the_same_side(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number, picture in enumerate(generator.integers(0, 256, (60, 8, 8, 3), np.uint8)):
        for emotion, name in (("happy", f"{number}.png"), ("sad", f"again-{number}.bmp")):
            (tmp_path / "train" / emotion).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "train" / emotion / name, picture)
    rows = by_source(read_folders(tmp_path, GREY))
    splits = [rows[f"train/happy/{number}.png"].split for number in range(60)]
    assert splits == [rows[f"train/sad/again-{number}.bmp"].split for number in range(60)]
    assert len(set(splits)) == 2


@pytest.mark.parametrize(("name", "label"), [("Angry", "angry"), ("happiness", "happy"), ("CONTEMPT", "contempt")])
def test_class_folders_are_named_as_people_name_them(tmp_path: Path, name: str, label: str) -> None:
    (tmp_path / "train" / name).mkdir(parents=True)
    write_image(tmp_path / "train" / name / "a.png", np.zeros((48, 48, 3), np.uint8))
    (sample,) = samples_of(read_folders(tmp_path, GREY))
    assert FERPLUS[sample.label] == label


def test_pictures_in_folders_of_another_name_are_named(mini: Any, tmp_path: Path) -> None:
    root = mini.write_folders(tmp_path)
    for where in ("train/bored", "test", "train/happy/deeper"):
        (root / where).mkdir(exist_ok=True)
        write_image(root / where / "x.png", np.zeros((48, 48, 3), np.uint8))
    rows = list(read_folders(root, GREY))
    known = "expected one of angry, disgust, fear, happy, sad, surprise, neutral, contempt"
    assert sorted(problems_of(rows)) == [
        f"test/x.png: unknown label 'test'; {known}",
        f"train/bored/x.png: unknown label 'bored'; {known}",
        f"train/happy/deeper/x.png: unknown label 'deeper'; {known}",
    ]
    assert len(rows) == 28


def test_a_picture_that_cannot_be_decoded_is_named_once(mini: Any, tmp_path: Path) -> None:
    root = mini.write_folders(tmp_path)
    (root / "train" / "happy" / "Training_99.png").write_bytes(b"")
    (root / "train" / "happy" / "notes.txt").write_text("no picture, and not named as one")
    rows = list(read_folders(root, GREY))
    assert problems_of(rows) == ["train/happy/Training_99.png: the file is empty; expected a picture"]
    assert len(rows) == 26


def test_names_that_are_not_utf8_are_kept_readable(mini: Any, tmp_path: Path) -> None:
    folder = tmp_path / "train" / "happy"
    folder.mkdir(parents=True)
    write_image(folder / os.fsdecode(b"M\xfcller.png"), np.zeros((48, 48, 3), np.uint8))
    (folder / os.fsdecode(b"bad-\xfc.png")).touch()
    rows = list(read_folders(tmp_path, GREY))
    assert [row.source for row in rows if isinstance(row, Sample)] == [r"train/happy/M\xfcller.png"]
    assert problems_of(rows) == [r"train/happy/bad-\xfc.png: the file is empty; expected a picture"]


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("Training_17", (17, "Training", "")), ("PublicTest_28709", (28709, "PublicTest", "")),
        ("fer0000017", (None, "", "fer0000017.png")), ("fer17", (None, "", "")), ("Training_", (None, "", "")),
        ("Training_x", (None, "", "")), ("Training_1_2", (None, "", "")), ("Training_٣", (None, "", "")),
        ("Test_17", (None, "", "")), ("17", (None, "", "")),
    ],
)  # fmt: skip
def test_a_name_tells_its_place_in_fer2013_or_none(tmp_path: Path, stem: str, expected: tuple[Any, ...]) -> None:
    (tmp_path / "train" / "happy").mkdir(parents=True)
    write_image(tmp_path / "train" / "happy" / f"{stem}.png", np.zeros((48, 48, 3), np.uint8))
    (sample,) = samples_of(read_folders(tmp_path, GREY))
    assert (sample.row, sample.usage, sample.ferplus_name) == expected


# faces/ beside labels.csv


def labelled(root: Path, lines: list[str], pictures: dict[str, ImageArray], *, encoding: str = "utf-8") -> Path:
    """Write a labelled folder."""
    (root / "faces").mkdir(parents=True)
    (root / "labels.csv").write_bytes("\n".join(lines).encode(encoding) + b"\n")
    for name, picture in pictures.items():
        write_image(root / "faces" / name, picture)
    return root


def finder(image_rgb: ImageArray) -> list[Face]:
    """Find a large face in the left half and a small one elsewhere; none in a picture that is dark."""
    if image_rgb.mean() < 10:
        return []
    boxes = np.array([[10, 20, 50, 60], [70, 70, 80, 80]], np.float32)
    return [Face(box, None, 0.9) for box in boxes]


GRADIENT = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None] + 50, (100, 100, 3)).copy()


def test_a_labelled_picture_has_all_that_its_row_tells(tmp_path: Path) -> None:
    lines = [
        "file,emotion,person,split,licence",
        '"Müller, Jürgen 1.png",happiness,"Müller, Jürgen",train,CC-BY',
        "b.png,4,,,",
        "c.png,Contempt,Somebody,val,",
    ]
    pictures = dict.fromkeys(("Müller, Jürgen 1.png", "b.png", "c.png"), GRADIENT)
    samples = samples_of(read_labelled_faces(labelled(tmp_path, lines, pictures), GREY, finder, split="test"))
    told = [(FERPLUS[one.label], one.person, one.split, one.licence, one.source, one.missed) for one in samples]
    assert told == [
        ("happy", "Müller, Jürgen", "train", "CC-BY", "faces/Müller, Jürgen 1.png", False),
        ("sad", None, "test", None, "faces/b.png", False),
        ("contempt", "Somebody", "val", None, "faces/c.png", False),
    ]


def test_of_several_faces_the_largest_is_cut(tmp_path: Path) -> None:
    root = labelled(tmp_path, ["file,emotion", "a.png,happy"], {"a.png": GRADIENT})
    (sample,) = samples_of(read_labelled_faces(root, CropSpec(margin=0, offset_y=0, size_px=40), finder))
    np.testing.assert_array_equal(sample.crop, GRADIENT[20:60, 10:50, 0])


def test_a_picture_without_a_face_stays_as_missed(tmp_path: Path) -> None:
    dark = np.zeros((100, 100, 3), np.uint8)
    lines = ["file,emotion", "a.png,happy", "dark.png,sad"]
    root = labelled(tmp_path, lines, {"a.png": GRADIENT, "dark.png": dark})
    found, missed = samples_of(read_labelled_faces(root, COLOUR, finder))
    assert (found.missed, missed.missed) == (False, True)
    assert missed.label == FER2013.index("sad")
    assert missed.crop.shape == COLOUR.shape
    assert not missed.crop.any()


def test_a_small_picture_and_one_without_a_detector_are_the_crop(tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    root = labelled(tmp_path, ["file,emotion", "a.png,happy", "b.png,happy"], {"a.png": GRADIENT, "b.png": small})
    spec = CropSpec(size_px=48, colour="rgb")
    found = samples_of(read_labelled_faces(root, spec, finder))
    whole = samples_of(read_labelled_faces(root, spec, None))
    np.testing.assert_array_equal(found[1].crop, small[8:56])
    np.testing.assert_array_equal(whole[1].crop, small[8:56])
    assert abs(float(whole[0].crop.mean()) - float(GRADIENT.mean())) < 1
    assert abs(float(found[0].crop.mean()) - float(GRADIENT.mean())) > 5


BAD_LABELS = {
    "a.png,bored": "unknown label 'bored'; expected one of angry",
    "a.png,": "unknown label ''",
    "a.png,8": "unknown label '8'",
    f"a.png,{'9' * 5000}": "unknown label '999",
    "a.png": "expected 2 fields, got 1",
    "Müller, Hans.png,happy": "expected 2 fields, got 3",
    '"a.png,happy': "not a row of CSV",
    ",happy": "the file is ''; expected the name of a picture in faces/",
    "missing.png,happy": "{root}/faces/missing.png: cannot be read (No such file or directory)",
    "../outside.png,happy": "the file is '../outside.png'; expected the name of a picture in faces/",
    "below/../../outside.png,happy": "the file is 'below/../../outside.png'; expected",
    "{root}/outside.png,happy": "the file is ",
    "nul\0.png,happy": r"{root}/faces/nul\x00.png: cannot be read (embedded null byte)",
    ".,happy": "{root}/faces: cannot be read (Is a directory)",
    f"{'x' * 300}.png,happy": "{root}/faces/" + "x" * 300,
}


@pytest.mark.parametrize("row", BAD_LABELS)
def test_a_bad_row_of_labels_is_named_and_spoils_no_other(tmp_path: Path, row: str) -> None:
    line = row.replace("{root}", str(tmp_path))
    pictures = dict.fromkeys(("a.png", "b.png"), GRADIENT)
    root = labelled(tmp_path, ["file,emotion", "a.png,happy", line, "", "b.png,sad"], pictures)
    write_image(tmp_path / "outside.png", GRADIENT)
    rows = list(read_labelled_faces(root, GREY, finder))
    assert [row.label for row in rows if isinstance(row, Sample)] == [FER2013.index("happy"), FER2013.index("sad")]
    (problem,) = problems_of(rows)
    assert problem.startswith(f"labels.csv:3: {BAD_LABELS[row]}".replace("{root}", str(tmp_path)))


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    root = labelled(tmp_path, ["file,emotion,split", "a.png,happy,dev"], {"a.png": GRADIENT})
    assert problems_of(read_labelled_faces(root, GREY, finder)) == [
        "labels.csv:2: unknown split 'dev'; expected one of train, val, test"
    ]


def test_names_of_files_in_another_encoding_find_them(tmp_path: Path) -> None:
    pictures = {os.fsdecode(b"M\xfcller.png"): GRADIENT}
    root = labelled(tmp_path, ["file,emotion,person", "Müller.png,happy,Muller"], pictures, encoding="latin-1")
    (sample,) = samples_of(read_labelled_faces(root, GREY, finder))
    assert sample.source == r"faces/M\xfcller.png"


@pytest.mark.parametrize("column", ["person", "licence"])
def test_who_it_is_and_what_holds_of_it_is_utf8(tmp_path: Path, column: str) -> None:
    lines = [f"file,emotion,{column}", "a.png,happy,Renée", "b.png,sad,Rene"]
    root = labelled(tmp_path, lines, dict.fromkeys(("a.png", "b.png"), GRADIENT), encoding="latin-1")
    rows = list(read_labelled_faces(root, GREY, finder))
    assert problems_of(rows) == [f"labels.csv:2: the {column} is not UTF-8; save the list as CSV in UTF-8"]
    assert len(rows) == 2


def test_columns_that_may_be_missing_are_known_in_other_spellings(tmp_path: Path) -> None:
    lines = ["file,emotion,Person,SPLIT,license", "a.png,happy,Ann,val,CC0"]
    root = labelled(tmp_path, lines, {"a.png": GRADIENT})
    (sample,) = samples_of(read_labelled_faces(root, GREY, finder))
    assert (sample.person, sample.split, sample.licence) == ("Ann", "val", "CC0")
    root = labelled(tmp_path / "own", ["file,emotion,Person,person", "a.png,happy,Ann,Ben"], {"a.png": GRADIENT})
    (sample,) = samples_of(read_labelled_faces(root, GREY, finder))
    assert sample.person == "Ben", "the column's own name comes first"
    root = labelled(tmp_path / "twice", ["file,emotion,Person,PERSON", "a.png,happy,Ann,Ben"], {"a.png": GRADIENT})
    with pytest.raises(DataError, match=r"labels\.csv: has more than one column person; expected one"):
        list(read_labelled_faces(root, GREY, finder))


@pytest.mark.parametrize("again", ["a.png", "./a.png", ".//a.png"])
def test_a_picture_that_is_listed_again_is_a_problem_that_names_the_earlier_line(tmp_path: Path, again: str) -> None:
    lines = ["file,emotion,split", "a.png,bored,test", "a.png,happy,train", f"{again},sad,test"]
    rows = list(read_labelled_faces(labelled(tmp_path, lines, {"a.png": GRADIENT}), GREY, finder))
    assert [row.split for row in rows if isinstance(row, Sample)] == ["train"]
    first, second = problems_of(rows)
    assert first.startswith("labels.csv:2: unknown label 'bored'")
    assert second == f"labels.csv:4: {again} is in line 3 already; name a picture once"


def test_labels_without_the_columns_are_refused(tmp_path: Path) -> None:
    root = labelled(tmp_path, ["name,emotion", "a.png,happy"], {})
    with pytest.raises(
        DataError, match=r"labels\.csv: expected the columns file, emotion in its first line; got 'name"
    ):
        list(read_labelled_faces(root, GREY, finder))


def test_rows_of_the_real_fer2013_survive_the_csv(real_fer2013: Any, write_lines: WriteLines) -> None:
    chosen = np.linspace(0, 35886, 300).astype(int)
    path = write_lines(["emotion,pixels,Usage", *(real_fer2013.line(row) for row in chosen)])
    samples = samples_of(read_fer2013_csv(path, GREY))
    np.testing.assert_array_equal(np.stack([sample.crop for sample in samples]), real_fer2013.faces[chosen])
    assert [sample.label for sample in samples] == real_fer2013.emotion[chosen].tolist()
    assert {sample.split for sample in samples} == {"train", "val", "test"}

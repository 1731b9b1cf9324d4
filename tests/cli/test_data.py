"""`mien data`: what it prints, what it leaves with, and that an error is one plain message."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mien.cli.main import main
from mien.data import manifest as manifests
from mien.data.annotate import LabelStore
from mien.data.faceset import FaceSet
from mien.data.manifest import read
from mien.media import write_image
from mien.spec import CropSpec

MakeDataset = Callable[..., Path]


@dataclass(frozen=True)
class Left:
    """What a command left behind."""

    code: int | str | None
    out: str
    err: str


Mien = Callable[..., Left]


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    """Return a function that runs the command line."""

    def run(*arguments: str | Path) -> Left:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return Left(left.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """Return a fer2013.csv of three rows."""
    generator = np.random.default_rng(0)
    rows = [
        f"{emotion},{' '.join(map(str, generator.integers(0, 256, 48 * 48)))},{usage}"
        for emotion, usage in ((3, "Training"), (0, "PublicTest"), (6, "PrivateTest"))
    ]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *rows, ""]))
    return path


def words(text: str) -> str:
    """Return text without the frames and line ends that a terminal's width puts into it."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def error_of(left: Left, message: str) -> None:
    """Check that a command said one thing, on stderr, and left with 2."""
    assert left.code == 2
    assert left.out == ""
    assert left.err.startswith("mien: ")
    assert re.search(message, left.err), left.err
    assert "Traceback" not in left.err
    assert left.err.count("\n") == 1


def test_prepare_writes_a_dataset_and_says_how_much(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    left = mien("data", "prepare", csv_file, "--out", tmp_path / "out")
    assert left == Left(0, f"3 faces (train 1, val 1, test 1) in {tmp_path / 'out'}\n", "")
    assert len(read(tmp_path / "out").manifest) == 3


def test_the_line_is_one_however_long_the_folders_name(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200) / ("y" * 200)
    assert mien("data", "prepare", csv_file, "--out", folder).out.endswith(f" in {folder}\n")


def test_names_are_printed_as_they_are(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    for name in (":smile:", "[bold]", "ä"):
        assert mien("data", "prepare", csv_file, "--out", tmp_path / name).out.endswith(f"/{name}\n")
        assert mien("data", "audit", tmp_path / name).err == f"datasheet: {tmp_path / name / 'datasheet.html'}\n"
        error_of(mien("data", "audit", tmp_path / f"no{name}"), rf"/no{re.escape(name)}: no dataset there")
    folder = tmp_path / os.fsdecode(b"\xff")
    assert mien("data", "prepare", csv_file, "--out", folder).out.endswith("/\\xff\n")
    assert mien("data", "audit", folder).code == 0


def test_size_and_colour_reach_the_crops(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    left = mien(
        "data", "prepare", csv_file, "--out", tmp_path / "out", "--size", "32", "--colour", "rgb", "--margin", "0.5"
    )
    assert left.code == 0
    assert read(tmp_path / "out").crops.shape == (3, 32, 32, 3)
    assert read(tmp_path / "out").manifest.crop.margin == 0.5


def test_an_option_that_would_be_ignored_is_refused(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    FaceSet.create(tmp_path / "set", crop=CropSpec(), settings={})
    (tmp_path / "faces").mkdir()
    (tmp_path / "labels.csv").write_text("file,emotion\n")
    (tmp_path / "split" / "faces").mkdir(parents=True)
    (tmp_path / "split" / "labels.csv").write_text("file,emotion,Split\na.png,happy,train\n")
    (tmp_path / "cut" / "val").mkdir(parents=True)
    for source, option, value, told in (
        (tmp_path / "set", "--size", "48", "--size would be ignored: .*set is a set"),
        (tmp_path / "set", "--split", "val", "--split would be ignored"),
        (tmp_path / "set", "--ferplus", csv_file, "--ferplus would be ignored"),
        (tmp_path, "--rule", "votes", "--rule would be ignored: it is for a set"),
        (csv_file, "--shares", "0.5,0.2,0.3", "--shares would be ignored: it is for a set"),
        (csv_file, "--detector", "dlib", "--detector would be ignored: it is for faces/"),
        (csv_file, "--seed", "1", "--seed would be ignored: validation is not cut"),
        (
            tmp_path / "split",
            "--split",
            "val",
            "--split would be ignored: .*labels.csv names the split of each picture",
        ),
        (tmp_path, "--seed", "1", "--seed would be ignored: validation is not cut"),
        (tmp_path / "cut", "--seed", "1", "--seed would be ignored: validation is not cut"),
        (tmp_path / "absent", "--rule", "votes", "absent: no such file or folder"),
    ):
        error_of(mien("data", "prepare", source, "--out", tmp_path / "out", option, value), told)
    assert not (tmp_path / "out").exists()


def test_how_a_set_is_labelled_split_and_balanced_reaches_the_dataset(
    mien: Mien, tmp_path: Path, make_faceset: Callable[..., Path]
) -> None:
    folder = make_faceset(24, people=6)
    store = LabelStore(folder)
    for number, face in enumerate(FaceSet(folder).faces()):
        store.save("ann", face.key, "sad" if number % 3 else "happy")
        if number < 20:
            store.save("ben", face.key, "fear" if number % 10 == 9 else "sad" if number % 3 else "happy")
    options = ("--rule", "votes", "--least", "2", "--shares", "0.5,0,0.5", "--balance", "--seed", "3")
    left = mien("data", "prepare", folder, "--out", tmp_path / "out", *options)
    assert left.code == 0, left.err
    manifest = read(tmp_path / "out").manifest
    assert manifest.notes[0] == "labels by votes of at least 2 answers of 2 annotators"
    assert "split by person and file with seed 3: train 0.5 wanted" in " ".join(manifest.notes)
    assert "no label, too few answers: 4 faces" in manifest.notes
    assert len(manifest.rows_in("val")) == 0
    assert any(origin is not None for origin in manifest.origin or ())
    counts = np.bincount(manifest.label[manifest.rows_in("train")])
    assert len(set(counts[counts > 0].tolist())) == 1, "balanced"
    assert all(note in left.err for note in manifest.notes)


def test_a_bad_row_is_an_error_that_names_it_and_can_be_skipped(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    with csv_file.open("a") as file:
        file.write("3,1 2 3,Training\n9")
    left = mien("data", "prepare", csv_file, "--out", tmp_path / "out")
    assert left.code == 2
    assert left.err.splitlines() == [
        f"mien: {csv_file}: 2 bad rows; nothing was written; `mien data prepare --skip-bad` drops and counts them",
        "  fer2013.csv:5: 3 pixels, expected 2,304",
        "  fer2013.csv:6: expected 3 fields, got 1 (is the line torn?)",
    ]
    assert not (tmp_path / "out").exists()
    left = mien("data", "prepare", csv_file, "--out", tmp_path / "out", "--skip-bad")
    assert left.code == 0
    assert left.out.startswith("3 faces ")
    assert left.err.splitlines() == [
        "dropped:",
        "  fer2013.csv:5: 3 pixels, expected 2,304",
        "  fer2013.csv:6: expected 3 fields, got 1 (is the line torn?)",
        "dropped 2 bad rows",
    ]


def test_of_many_dropped_rows_some_are_shown(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    with csv_file.open("a") as file:
        file.write("bad\n" * 500)
    left = mien("data", "prepare", csv_file, "--out", tmp_path / "out", "--skip-bad")
    assert len(left.err.splitlines()) == 23
    assert "... and 480 more" in left.err
    assert left.err.endswith("dropped 500 bad rows\n")


def test_missed_faces_are_told(mien: Mien, tmp_path: Path, portrait: Path) -> None:
    (tmp_path / "set" / "faces").mkdir(parents=True)
    (tmp_path / "set" / "faces" / "portrait.jpg").write_bytes(portrait.read_bytes())
    write_image(tmp_path / "set" / "faces" / "wall.png", np.full((128, 128, 3), 128, np.uint8))
    (tmp_path / "set" / "labels.csv").write_text("file,emotion\nportrait.jpg,happy\nwall.png,sad\n")
    left = mien("data", "prepare", tmp_path / "set", "--out", tmp_path / "out", "--split", "val")
    assert left.out.startswith("2 faces (train 0, val 2, test 0) in ")
    assert left.err == "no face was found in 1 of 2 pictures; they count as errors in evaluation\n"
    assert read(tmp_path / "out").manifest.missed.tolist() == [False, True]
    left = mien("data", "prepare", tmp_path / "set", "--out", tmp_path / "out", "--detector", "none")
    assert left.out.startswith("2 faces (train 0, val 0, test 2) in ")
    assert left.err == ""


def test_how_validation_was_cut_is_said(mien: Mien, tmp_path: Path) -> None:
    (tmp_path / "set" / "train" / "Happy").mkdir(parents=True)
    write_image(tmp_path / "set" / "train" / "Happy" / "a.png", np.zeros((48, 48, 3), np.uint8))
    left = mien("data", "prepare", tmp_path / "set", "--out", tmp_path / "out", "--seed", "3")
    assert "validation: one in ten train pictures, by a hash of pixels and seed 3" in left.err


def test_what_cannot_be_read_is_one_line(mien: Mien, csv_file: Path, tmp_path: Path) -> None:
    def prepare(source: Path, *more: str | Path) -> Left:
        return mien("data", "prepare", source, "--out", tmp_path / "out", *more)

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "manifest.parquet").write_bytes(b"PAR1")
    error_of(prepare(tmp_path / "nowhere"), "nowhere: no such file or folder")
    error_of(prepare(tmp_path / "empty"), "empty: no layout that mien knows")
    error_of(prepare(tmp_path / "empty.csv"), r"empty\.csv: expected the columns emotion, pixels, Usage .* got ''")
    error_of(prepare(csv_file, "--ferplus", tmp_path / "nowhere"), "nowhere: no such file or folder")
    error_of(prepare(csv_file, "--ferplus", tmp_path), "cannot be read")
    error_of(prepare(csv_file, "--size", "4"), "crop size_px is 4; expected 8 to 1024")
    error_of(prepare(csv_file, "--colour", "sepia"), "crop colour is 'sepia'; expected one of grey, rgb")
    (tmp_path / "set" / "faces").mkdir(parents=True)
    (tmp_path / "set" / "labels.csv").touch()
    error_of(prepare(tmp_path / "set", "--split", "dev"), "unknown split 'dev'")
    error_of(prepare(tmp_path / "set", "--detector", "magic"), "detector 'magic'")
    error_of(prepare(tmp_path / "set"), r"labels\.csv: expected the columns file, emotion")
    error_of(prepare(tmp_path / ("x" * 300)), "no such file or folder")
    error_of(mien("data", "audit", tmp_path / "empty"), "no dataset there .*; make one with `mien data prepare`")
    error_of(mien("data", "audit", tmp_path / "half"), "the dataset is damaged .*; prepare it again")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_one_line(
    mien: Mien, csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_dataset: MakeDataset
) -> None:
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        error_of(mien("data", "prepare", csv_file, "--out", place), "cannot write there: .*; choose another place")
        error_of(mien("data", "audit", make_dataset(), "--out", place), "cannot write there: .*; choose another place")
    assert (tmp_path / "file").read_text() == "kept"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    error_of(mien("data", "prepare", csv_file, "--out", tmp_path / "out"), "out: cannot write there: No space left")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("arguments", [("prepare",), ("prepare", "x.csv"), ("audit",), ("nonsense",), ("audit", "--x")])
def test_a_command_that_is_not_understood_leaves_with_2(mien: Mien, arguments: tuple[str, ...]) -> None:
    left = mien("data", *arguments)
    assert left.code == 2
    assert "Usage: mien data" in left.err


def test_help_shows_an_example_and_every_option(mien: Mien) -> None:
    left = mien("data", "prepare", "--help")
    assert left.code == 0
    told = words(left.out)
    assert "Example: mien data prepare fer2013.csv --ferplus fer2013new.csv --out data/fer2013" in told
    for option in ("--ferplus", "--skip-bad", "--detector", "--split", "--size", "--margin", "--colour", "--seed"):
        assert option in told
    left = mien("data", "audit", "--help")
    assert left.code == 0
    assert "Example: mien data audit data/fer2013" in words(left.out)


def test_audit_prints_tables_and_leaves_a_datasheet(mien: Mien, make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset(train=7, val=7, test=0)
    dataset = read(folder)
    crops = np.array(dataset.crops)
    crops[7] = crops[1]  # disgust called angry as well
    crops[8] = 9
    manifests.write(dataset.manifest, crops, folder)
    left = mien("data", "audit", folder, "--out", tmp_path / "sheet")
    assert left.code == 0
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in left.out.splitlines() if "│" in line]
    assert rows == [
        ["train", *["1"] * 7, "7"], ["val", *["1"] * 7, "7"], ["test", *["0"] * 7, "0"],
        ["train", "", "1", "0", "0"], ["val", "1", "", "0", "0"], ["test", "0", "0", "", "0"],
    ]  # fmt: skip
    assert "groups of identical crops: 1; with different labels: 1\n" in left.out
    assert "constant crops: 1 made:8\n" in left.out
    assert left.err == f"datasheet: {tmp_path / 'sheet' / 'datasheet.html'}\n"
    assert sorted(path.name for path in (tmp_path / "sheet").iterdir()) == ["audit.json", "datasheet.html"]
    assert sorted(path.name for path in folder.iterdir()) == ["crops.npy", "manifest.parquet"]


def test_the_datasheet_lies_beside_the_data_unless_told_otherwise(mien: Mien, make_dataset: MakeDataset) -> None:
    folder = make_dataset()
    assert mien("data", "audit", folder).code == 0
    assert (folder / "datasheet.html").is_file()
    read(folder)


def test_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from mien.cli.main import main; main()", "data", "audit", str(tmp_path)]
    left = subprocess.run(command, capture_output=True, text=True, check=False)
    assert left.returncode == 2
    assert left.stdout == ""
    assert re.fullmatch(r"mien: .*: no dataset there .*\n", left.stderr)

"""`mien recognize`: results on stdout, all else on stderr, one line where it cannot be done, and never a traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from PIL import Image

import mien
from mien.cli.main import main
from mien.errors import ImageError
from mien.faces.detect import DlibDetector
from mien.labels import FER2013
from mien.media import read_image, write_image
from mien.recognize import Recognizer
from mien.types import ImageArray

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class Told:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Told]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Return a function that runs `mien` in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def go(*arguments: str | Path) -> Told:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        code = left.value.code
        return Told(code if isinstance(code, int) else 0, said.out, said.err)

    return go


@pytest.fixture
def quick(make_model: Callable[..., Path]) -> list[str]:
    """Return options that make a run quick: a tiny model, and every picture is one face."""
    return ["--model", str(make_model()), "--detector", "none"]


def picture(seed: int, side: int = 40) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def album(folder: Path, *names: str, seed: int = 0) -> Path:
    """Write a picture of its own for each name, in the format of its suffix."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(seed + number)).save(folder / name, quality=92)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_table_is_shown_where_nothing_else_is_asked_for(run: Run) -> None:
    told = run("recognize", EXAMPLES)
    assert told.code == 0
    for word in ("picture", "face", "astronaut.jpg", "happy", "%"):
        assert word in told.out
    assert "chelsea" not in told.out
    assert told.err.splitlines()[0].startswith("2 pictures, 1 face; 1 without a face; 1 other file left out")


def test_json_lines_hold_what_the_recognizer_reads(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "b.png", "a.png", "sub/c.png")
    told = run("recognize", folder, "--format", "jsonl", *quick)
    assert told.code == 0
    assert [row["source"] for row in told.rows] == [str(folder / name) for name in ("a.png", "b.png", "sub/c.png")]
    recognizer = Recognizer.load(quick[1], detector="none")
    for row in told.rows:
        (reading,) = recognizer.read(row["source"])
        assert list(row) == [
            "source", "frame", "time_s", "face", "track", "box", "detector_score", "expression", "confidence",
            "probabilities", "mixture",
        ]  # fmt: skip
        assert (row["frame"], row["time_s"], row["track"], row["face"]) == (None, None, None, 0)
        assert row["box"] == [0, 0, 40, 40]
        assert row["expression"] == reading.expression
        assert row["probabilities"] == pytest.approx(reading.probabilities, abs=1e-5)
        assert list(row["probabilities"]) == list(FER2013)
    assert told.err == "3 pictures, 3 faces\n"


def test_every_format_tells_the_same(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png", "b.png")
    rows = run("recognize", folder, "--format", "jsonl", *quick).rows
    table = list(csv.DictReader(io.StringIO(run("recognize", folder, "--format", "csv", *quick).out)))
    run("recognize", folder, "--out", tmp_path / "readings.parquet", *quick)
    parquet = pq.read_table(tmp_path / "readings.parquet").to_pylist()
    shown = run("recognize", folder, *quick).out
    assert len(rows) == len(table) == len(parquet) == 2
    for row, line, record in zip(rows, table, parquet, strict=True):
        for other in (line, record):
            assert (other["source"], other["expression"]) == (row["source"], row["expression"])
            assert float(other["confidence"]) == row["confidence"]
            assert [float(other[f"p_{label}"]) for label in FER2013] == list(row["probabilities"].values())
            assert [float(other[f"box_{corner}"]) for corner in ("x0", "y0", "x1", "y1")] == row["box"]
        assert f"{100 * row['confidence']:.1f}%" in shown


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_out_is_a_file_or_a_folder_and_stdout_stays_empty(
    run: Run, quick: list[str], tmp_path: Path, kind: str
) -> None:
    folder = album(tmp_path / "album", "a.png")
    (tmp_path / "there").mkdir()
    for out, written in (
        (f"one.{kind}", f"one.{kind}"),
        ("new", f"new/readings.{kind}"),
        ("there", f"there/readings.{kind}"),
        (f"deep/er/two.{kind.upper()}", f"deep/er/two.{kind.upper()}"),
    ):
        told = run("recognize", folder, "--out", tmp_path / out, "--format", kind, *quick)
        assert (told.code, told.out) == (0, "")
        assert (tmp_path / written).stat().st_size > 0


def test_the_suffix_of_out_tells_the_format(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png")
    for name in ("r.csv", "r.CSV"):
        run("recognize", folder, "--out", tmp_path / name, *quick)
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("source,frame,time_s,face,track,box_x0,")
    for name in ("r.jsonl", "r.json", "r.txt"):
        run("recognize", folder, "--out", tmp_path / name, *quick)
        assert json.loads((tmp_path / name).read_text(encoding="utf-8"))["face"] == 0
    run("recognize", folder, "--out", tmp_path / "r.parquet", *quick)
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 1


def test_the_smallest_face_and_the_detector_are_honoured(run: Run, quick: list[str]) -> None:
    portrait = EXAMPLES / "astronaut.jpg"
    model = quick[:2]
    (found,) = run("recognize", portrait, "--format", "jsonl", *model).rows
    assert 80 < found["box"][2] - found["box"][0] < 130
    assert run("recognize", portrait, "--format", "jsonl", "--min-face", "200", *model).rows == []
    (whole,) = run("recognize", portrait, "--format", "jsonl", *quick).rows
    assert whole["box"] == [0, 0, 512, 512]
    assert run("recognize", portrait, "--format", "jsonl", "--min-face", "513", *quick).rows == []


def test_annotated_copies_keep_their_names_and_folders(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.jpg", "sub/b.PNG", "c.gif", "d.tif")
    told = run("recognize", folder, "--annotate", tmp_path / "copies", *quick)
    assert told.code == 0
    assert str(tmp_path / "copies") in told.err
    assert files(tmp_path / "copies") == ["a.jpg", "c.png", "d.png", "sub/b.PNG"]
    for copy, source in (("sub/b.PNG", "sub/b.PNG"), ("d.png", "d.tif")):
        drawn, plain = read_image(tmp_path / "copies" / copy), read_image(folder / source)
        assert drawn.shape == plain.shape
        assert 0 < (drawn != plain).any(axis=2).mean() < 0.9


def test_pictures_without_a_face_are_copied_as_they_are(run: Run, quick: list[str], tmp_path: Path) -> None:
    write_image(tmp_path / "wall.png", picture(0))
    assert run("recognize", tmp_path / "wall.png", "--annotate", "copies", *quick[:2]).code == 0
    assert np.array_equal(read_image("copies/wall.png"), picture(0))


def test_pictures_of_the_same_name_do_not_overwrite_each_other(run: Run, quick: list[str], tmp_path: Path) -> None:
    first = album(tmp_path / "first", "a.png", "b.png", seed=1)
    second = album(tmp_path / "second", "a.gif", "a.png", "b.png", "x.png", seed=11)
    run("recognize", first, second, second / "a.png", "--annotate", "copies", *quick)
    assert files(Path("copies")) == ["a-2.png", "a-3.png", "a.png", "b-2.png", "b.png", "x.png"]
    sources = {path: read_image(path).astype(int) for folder in (first, second) for path in folder.iterdir()}

    def source_of(copy: Path) -> Path:
        drawn = read_image(copy)
        return min(sources, key=lambda path: float(np.abs(sources[path] - drawn).mean()))

    assert {source_of(copy) for copy in Path("copies").iterdir()} == set(sources)


def test_names_that_differ_in_case_alone_get_copies_of_their_own(run: Run, quick: list[str], tmp_path: Path) -> None:
    first, second = album(tmp_path / "first", "a.png"), album(tmp_path / "second", "A.png")
    run("recognize", first, second, "--annotate", "copies", *quick)
    assert len({name.casefold() for name in files(Path("copies"))}) == 2


def test_copies_never_overwrite_what_is_read(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png", "a-2.png", "sub/a.png")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    told = run("recognize", folder, "--annotate", folder, *quick)
    assert told.code == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(files(folder)) == 6
    for source in (folder, folder / "sub" / "a.png"):  # a second time copies take the place of copies, of nothing else
        told = run("recognize", source, "--annotate", folder, "--format", "jsonl", *quick)
        assert len(told.rows) == (3 if source == folder else 1), "copies were read"
        assert all(path.read_bytes() == content for path, content in before.items())
        assert len(files(folder)) == 6


def test_copies_in_a_folder_of_the_album_are_not_read_the_next_time(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png", "sub/b.png")
    for _ in range(3):
        told = run("recognize", folder, "--annotate", folder / "copies", "--format", "jsonl", *quick)
        assert len(told.rows) == 2
        assert told.err.startswith("2 pictures, 2 faces; annotated")
        assert files(folder / "copies") == ["a.png", "sub/b.png"]
    # What is named is read all the same.
    assert len(run("recognize", folder / "copies", "--annotate", "others", "--format", "jsonl", *quick).rows) == 2
    assert len(run("recognize", folder / "sub", "--annotate", folder, "--format", "jsonl", *quick).rows) == 1


def test_the_readings_never_take_the_place_of_what_is_read(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png")
    for name in ("photo", "photo.jpg_large"):
        content = (folder / "a.png").read_bytes()
        (tmp_path / name).write_bytes(content)
        one_line(
            run("recognize", tmp_path / name, "--format", "csv", "--out", tmp_path / name, *quick), "it is read, so"
        )
        assert (tmp_path / name).read_bytes() == content


def test_a_copy_never_takes_the_place_of_a_picture_that_is_not_read(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png", "june/a.png")
    before = (folder / "a.png").read_bytes()
    for _ in range(2):
        run("recognize", folder / "june", "--annotate", folder, *quick)
        assert (folder / "a.png").read_bytes() == before
        assert files(folder) == ["a-2.png", "a.png", "june/a.png"]


def test_a_picture_too_wide_for_its_format_costs_its_copy_alone(run: Run, quick: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (17_000, 2)).save(tmp_path / "a.webp", format="PNG")
    write_image(tmp_path / "b.png", picture(1))
    told = run("recognize", tmp_path, "--annotate", "copies", "--format", "jsonl", *quick)
    assert (told.code, len(told.rows)) == (1, 2)
    assert "not written: copies/a.webp: 17,000 pixels are too many for WEBP; write it as .png" in told.err
    assert files(Path()) == ["copies/b.png"]


@pytest.mark.parametrize("name", ["x" * 255, "x" * 252 + ".bw"])
def test_a_name_too_long_for_a_copy_costs_its_copy_alone(run: Run, quick: list[str], tmp_path: Path, name: str) -> None:
    (tmp_path / "album").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "album" / name, format="PNG")
    write_image(tmp_path / "album" / "b.png", picture(1))
    sources = tmp_path / "album" / name, tmp_path / "album" / "b.png"
    told = run("recognize", *sources, "--annotate", "copies", "--format", "jsonl", *quick)
    assert (told.code, len(told.rows)) == (1, 2)
    assert "cannot write there: File name too long" in told.err
    assert files(Path()) == ["copies/b.png"]


def test_links_in_a_circle_take_no_reading_and_no_run(run: Run, quick: list[str], tmp_path: Path) -> None:
    source = album(tmp_path / "album", "a.png") / "a.png"
    Path("loop.csv").symlink_to("loop.csv")
    one_line(run("recognize", source, "--out", "loop.csv", *quick), "its links lead in a circle")
    Path("copies").mkdir()
    Path("copies/a.png").symlink_to("a.png")
    told = run("recognize", source, "--annotate", "copies", "--format", "jsonl", *quick)
    assert (told.code, len(told.rows)) == (1, 1)
    assert "not written: copies/a.png: cannot write there: its links lead in a circle" in told.err


def test_a_picture_without_a_suffix_is_no_video(run: Run, quick: list[str], tmp_path: Path) -> None:
    for kind in ("gif", "ico", "png"):
        Image.fromarray(picture(0)).save(tmp_path / "avatar", format=kind)
        told = run("recognize", tmp_path / "avatar", "--annotate", "copies", "--format", "jsonl", *quick)
        assert [row["track"] for row in told.rows] == [None], kind
    assert files(Path()) == ["copies/avatar.png"]


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_pipe_is_written_to_whatever_it_is_called(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png")
    reader, writer = os.pipe()
    try:
        assert run("recognize", folder, "--out", f"/dev/fd/{writer}", *quick).code == 0
    finally:
        os.close(writer)
    with os.fdopen(reader) as file:
        assert json.loads(file.read())["face"] == 0


def test_a_dash_is_stdout(run: Run, quick: list[str], tmp_path: Path) -> None:
    told = run("recognize", album(tmp_path / "album", "a.png"), "--out", "-", "--format", "jsonl", *quick)
    assert (told.code, len(told.rows)) == (0, 1)
    assert files(Path()) == []


def test_pictures_behind_a_link_to_a_folder_are_counted_among_what_is_left_out(
    run: Run, quick: list[str], tmp_path: Path
) -> None:
    folder = album(tmp_path / "album", "a.png")
    album(tmp_path / "real", "b.png")
    (folder / "june").symlink_to(tmp_path / "real", target_is_directory=True)
    told = run("recognize", folder, folder, *quick)
    assert "1 picture, 1 face; 1 other file left out" in told.err


def test_a_picture_that_comes_through_a_pipe_has_no_copy(run: Run, quick: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    one_line(run("recognize", tmp_path / "pipe", "--annotate", "copies", *quick), "can be read but once")


def test_blurred_copies_show_nobody(run: Run, quick: list[str], tmp_path: Path) -> None:
    portrait = EXAMPLES / "astronaut.jpg"
    run("recognize", portrait, "--annotate", "shown", *quick[:2])
    run("recognize", portrait, "--annotate", "blurred", "--blur-faces", *quick[:2])
    face = np.s_[95:160, 190:260]
    shown, blurred = (read_image(Path(name) / "astronaut.jpg")[face].astype(float) for name in ("shown", "blurred"))
    assert np.abs(np.diff(blurred, axis=0)).mean() < 0.4 * np.abs(np.diff(shown, axis=0)).mean()


def test_copies_in_which_nothing_could_be_blurred_are_counted(run: Run, quick: list[str]) -> None:
    told = run("recognize", EXAMPLES, "--annotate", "copies", "--blur-faces", *quick[:2])
    assert "nothing was blurred in 1 copy" in told.err
    assert "small faces" not in told.err


@pytest.mark.parametrize(
    ("size", "smallest", "below"),
    [
        ((1100, 1100), [], 44), ((900, 900), [], 0), ((300, 300), ["90"], 90), ((1100, 1100), ["40"], 0),
        ((40_000, 500), ["40"], 57),  # as much as is looked through
    ],
)  # fmt: skip
def test_small_faces_that_may_have_been_left_in_the_clear_are_warned_of(
    run: Run, quick: list[str], tmp_path: Path, size: tuple[int, int], smallest: list[str], below: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(DlibDetector, "_run", lambda *_: [])
    Image.new("RGB", size).save(tmp_path / "a.png")
    options = ["--min-face", *smallest] if smallest else []
    told = run("recognize", tmp_path / "a.png", "--annotate", "copies", "--blur-faces", *options, *quick[:2])
    said = f"in 1 picture faces of less than about {below} pixels were not looked for, so not blurred"
    assert told.err.count(said) == bool(below)
    assert ("; --min-face 40 looks for smaller ones" in told.err) == (bool(below) and smallest != ["40"])


def test_a_picture_that_changes_while_it_is_read_is_listed(
    run: Run, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(path: Path) -> ImageArray:
        raise ImageError(f"{path}: gone")

    monkeypatch.setattr("mien.cli.pictures.read_image", changed)
    folder = album(tmp_path / "album", "a.png", "b.png")
    told = run("recognize", folder / "a.png", "--annotate", "copies", "--format", "jsonl", *quick)
    assert told.code in (1, 2)
    assert "gone" in told.err


def test_copies_carry_nothing_of_the_camera(run: Run, quick: list[str], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    Image.fromarray(picture(1)).save(tmp_path / "a.jpg", exif=exif)
    run("recognize", tmp_path / "a.jpg", "--annotate", "copies", "--blur-faces", *quick)
    assert b"taken at home" not in Path("copies/a.jpg").read_bytes()


def test_a_picture_that_is_named_twice_is_read_once(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png", "sub/b.png")
    os.chdir(folder)
    told = run(
        "recognize", folder, folder, folder / "a.png", "a.png", "./sub/../a.png", "sub", "--format", "jsonl", *quick
    )
    assert [row["source"] for row in told.rows] == [str(folder / "a.png"), str(folder / "sub" / "b.png")]


def test_links_in_a_circle_end(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / "self.png").symlink_to(folder / "self.png")
    told = run("recognize", folder, "--format", "jsonl", *quick)
    assert (told.code, len(told.rows)) == (0, 1)


def test_many_pictures_go_through_the_network_in_batches(
    run: Run, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = album(tmp_path / "album", "0.png")
    content = (folder / "0.png").read_bytes()
    for number in range(1, 200):
        (folder / f"{number}.png").write_bytes(content)
    sizes: list[int] = []
    predict = mien.Classifier.predict

    def watch(self: mien.Classifier, crops: ImageArray) -> Any:
        sizes.append(len(crops))
        return predict(self, crops)

    monkeypatch.setattr(mien.Classifier, "predict", watch)
    told = run("recognize", folder, "--format", "jsonl", *quick)
    assert len(told.rows) == 200
    assert len({json.dumps(row["probabilities"]) for row in told.rows}) == 1
    assert sizes == [64, 64, 64, 8]


def test_pictures_of_odd_sizes_are_read_and_drawn(run: Run, quick: list[str], tmp_path: Path) -> None:
    for number, size in enumerate([(1, 1), (3, 10_000), (10_000, 3)]):
        write_image(tmp_path / f"{number}.png", np.full((*size, 3), 99, np.uint8))
    for options, faces in ((quick, 3), (quick[:2], 0)):
        told = run("recognize", *sorted(tmp_path.glob("*.png")), "--annotate", "copies", "--format", "jsonl", *options)
        assert (told.code, len(told.rows)) == (0, faces)
    assert len(files(Path("copies"))) == 3


BAD = {
    "empty.jpg": b"",
    "text.jpg": b"this is no picture\n" * 30,
    "cut.jpg": (EXAMPLES / "astronaut.jpg").read_bytes()[:30_000],
}


def test_bad_pictures_of_a_folder_are_listed_and_the_rest_is_done(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png", "m.png", "z.png")
    for name, content in BAD.items():
        (folder / name).write_bytes(content)
    told = run("recognize", folder, "--format", "jsonl", "--annotate", "copies", *quick)
    assert told.code == 1
    assert [Path(row["source"]).name for row in told.rows] == ["a.png", "m.png", "z.png"]
    assert files(Path("copies")) == ["a.png", "m.png", "z.png"]
    summary, *listed = told.err.splitlines()
    assert summary.startswith("3 pictures, 3 faces; 3 not read")
    assert sorted(Path(line.split(": ")[1]).name for line in listed) == sorted(BAD)
    assert all(line.startswith("not read: ") for line in listed)
    run("recognize", folder, "--out", tmp_path / "readings.csv", *quick)
    assert len((tmp_path / "readings.csv").read_text(encoding="utf-8").splitlines()) == 4


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "table"])
def test_one_bad_picture_is_one_line_and_exit_code_2(
    run: Run, quick: list[str], tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    told = run("recognize", tmp_path / name, "--format", kind, *quick)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"mien: {tmp_path / name}: ")
    assert len(told.err.splitlines()) == 1


def test_nothing_is_written_where_no_picture_could_be_read(run: Run, quick: list[str], tmp_path: Path) -> None:
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    told = run("recognize", tmp_path, "--out", "readings.csv", *quick)
    assert told.code == 2
    assert "none of the 3 pictures could be read" in told.err
    assert all(name in told.err for name in BAD)
    assert files(Path()) == []


def one_line(told: Told, *words: str) -> None:
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("mien: ")
    assert len(told.err.splitlines()) == 1
    for word in words:
        assert word in told.err


def test_paths_that_lead_to_no_picture_are_one_line(run: Run, quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    one_line(run("recognize", tmp_path / "letters", *quick), "no pictures and no videos in this folder", ".jpg")
    one_line(run("recognize", "missing.jpg", *quick), "missing.jpg: No such file or directory")
    one_line(run("recognize", EXAMPLES, "missing", *quick), "missing: No such file or directory")
    one_line(run("recognize", "x" * 300, *quick), "File name too long")
    one_line(run("recognize", EXAMPLES / "astronaut.jpg" / "below", *quick), "Not a directory")


def test_models_and_detectors_that_cannot_be_had_are_one_line(
    run: Run, quick: list[str], tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    foreign = onnx.load(quick[1])
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "half.onnx").write_bytes(Path(quick[1]).read_bytes()[:500])
    for model in ("text.onnx", "foreign.onnx", "half.onnx", "missing.onnx", ""):
        one_line(run("recognize", EXAMPLES, "--model", tmp_path / model))
    one_line(run("recognize", EXAMPLES, "--model", "papercnn"), "papercnn", "paper-cnn")
    tiny = quick[:2]
    one_line(run("recognize", EXAMPLES, *tiny, "--detector", "haar"), "dlib, none, yunet:FILE")
    one_line(run("recognize", EXAMPLES, *tiny, "--detector", f"yunet:{tmp_path / 'text.onnx'}"), "YuNet")
    one_line(run("recognize", EXAMPLES, *tiny, "--detector", f"yunet:{quick[1]}"), "YuNet")
    one_line(run("recognize", EXAMPLES, *tiny, "--detector", "yunet:missing.onnx"), "missing.onnx")
    for size in ("0", "-3", "nan", "inf"):
        one_line(run("recognize", EXAMPLES, *tiny, f"--min-face={size}"), "smallest face")


def test_options_that_contradict_each_other_are_one_line(run: Run, quick: list[str]) -> None:
    one_line(run("recognize", EXAMPLES, "--format", "parquet", *quick), "--out")
    one_line(run("recognize", EXAMPLES, "--format", "table", "--out", "a.txt", *quick), "table")
    one_line(run("recognize", EXAMPLES, "--blur-faces", *quick), "--annotate")
    one_line(run("recognize", EXAMPLES, "--format", "csv", "--out", "a.jsonl", *quick), "let them agree")
    one_line(run("recognize", EXAMPLES, "--out", "a.xlsx", *quick), "the name tells no format")
    for option in (["--every", "1s"], ["--smooth", "0.5s"], ["--resume", "--out", "a.csv"], ["--report", "r"]):
        why = f"{option[0]} would be ignored: it is of videos, and there is none"
        one_line(run("recognize", EXAMPLES, *option, *quick), why)
    one_line(run("recognize", "", *quick), "a source is an empty text")
    for name in ("portrait.jpg", "portrait.PNG"):
        one_line(run("recognize", EXAMPLES, "--out", name, *quick), "--annotate")
    assert files(Path()) == []


def test_places_that_cannot_be_written_are_one_line_and_keep_what_they_hold(
    run: Run, quick: list[str], tmp_path: Path
) -> None:
    folder = album(tmp_path / "album", "a.png")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.csv").mkdir()
    for options in (
        ["--out", tmp_path / "file" / "readings.csv"],
        ["--out", tmp_path / "file" / "deeper" / "readings"],
        ["--annotate", tmp_path / "file"],
        ["--annotate", tmp_path / "file" / "copies"],
    ):
        one_line(run("recognize", folder, *map(str, options), *quick), "cannot write there")
    one_line(run("recognize", folder, "--out", "x" * 300 + ".csv", *quick), "File name too long")
    assert (tmp_path / "file").read_text() == "kept"
    assert files(Path()) == []
    assert files(folder) == ["a.png"]


def test_folders_that_are_closed_to_the_user_are_one_line(run: Run, quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "a.png", "closed/b.png")
    locked = tmp_path / "locked"
    locked.mkdir()
    try:
        locked.chmod(0o500)
        (folder / "closed").chmod(0o400)
        if os.access(locked, os.W_OK):
            pytest.skip("this user may write everywhere")
        for options in (
            ["--out", "readings.csv"],
            ["--annotate", "."],
            ["--annotate", "copies"],
            ["--out", "new/a.csv"],
        ):
            where = [options[0], locked / options[1]]
            one_line(run("recognize", folder / "a.png", *where, *quick), str(locked), "cannot write there")
        assert files(locked) == []
        one_line(run("recognize", folder / "closed" / "b.png", *quick), "Permission denied")
        told = run("recognize", folder, "--format", "jsonl", *quick)
        assert (told.code, len(told.rows)) == (1, 1)
        assert f"not read: {folder / 'closed'}: Permission denied" in told.err
        (folder / ".Trash").mkdir(mode=0)
        (folder / "closed").chmod(0)
        told = run("recognize", folder, "--format", "jsonl", *quick)
        assert (told.code, len(told.rows)) == (1, 1)
        assert f"not read: {folder / 'closed'}: Permission denied" in told.err
        assert ".Trash" not in told.err
        one_line(run("recognize", folder / "closed", *quick), "no picture or video could be found (Permission denied)")
        (folder / "a.png").chmod(0)
        one_line(run("recognize", folder / "a.png", *quick), "cannot be read (Permission denied)")
        write_image(folder / "z.png", picture(2))
        told = run("recognize", folder / "a.png", folder / "z.png", "--format", "jsonl", *quick)
        assert (told.code, len(told.rows)) == (1, 1)
    finally:
        locked.chmod(0o700)
        (folder / "closed").chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_full_disk_is_one_line(run: Run, quick: list[str], tmp_path: Path, kind: str) -> None:
    folder = album(tmp_path / "album", "a.png")
    told = run("recognize", folder, "--out", "/dev/full", "--format", kind, *quick)
    one_line(told, "/dev/full: cannot write there", "No space left on device")


def test_a_copy_that_cannot_be_written_is_told_and_the_rest_is_done(
    run: Run, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = album(tmp_path / "album", "a.png", "b.png")
    save = Image.Image.save

    def full(self: Image.Image, path: Path, **options: Any) -> None:
        if Path(path).name.startswith(".b.png."):  # the temporary name ends at random, maybe in b.png
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    told = run("recognize", folder, "--annotate", "copies", "--out", "readings.jsonl", *quick)
    assert told.code == 1
    assert "not written: copies/b.png: cannot write there: No space left on device" in told.err
    assert files(Path()) == ["copies/a.png", "readings.jsonl"]
    assert len(Path("readings.jsonl").read_text(encoding="utf-8").splitlines()) == 2, "rows are worth more than copies"


def test_an_unknown_format_or_option_is_told_with_those_that_there_are(run: Run) -> None:
    told = run("recognize", EXAMPLES, "--format", "xml")
    assert (told.code, told.out) == (2, "")
    assert all(kind in told.err for kind in ("xml", "table", "jsonl", "csv", "parquet"))
    for arguments in ([EXAMPLES, "--colour", "red"], [], [EXAMPLES, "--min-face", "small"]):
        told = run("recognize", *arguments)
        assert (told.code, told.out) == (2, "")


def test_help_shows_an_example_and_every_option(run: Run) -> None:
    told = run("recognize", "--help")
    assert told.code == 0
    assert "Example: mien recognize " in told.out
    for option in (
        "--format",
        "--out",
        "--annotate",
        "--model",
        "--answer",
        "--detector",
        "--min-face",
        "--blur-faces",
    ):
        assert option in told.out


@pytest.mark.parametrize("name", ["[red]warm[/red] [1].png", ":cat: é 日本.png", 'semi;colon, "quoted".png'])
def test_names_are_shown_as_they_are(run: Run, quick: list[str], tmp_path: Path, name: str) -> None:
    folder = album(tmp_path / "album", name)
    source = str(next(folder.rglob("*.png")))
    assert source in run("recognize", folder, *quick).out
    assert run("recognize", folder, "--format", "jsonl", *quick).rows[0]["source"] == source
    table = csv.DictReader(io.StringIO(run("recognize", folder, "--format", "csv", *quick).out))
    assert next(table)["source"] == source
    Path(source).write_bytes(b"bad")
    assert source in run("recognize", folder, *quick).err


@pytest.mark.skipif(os.name == "nt", reason="names there are text")
@pytest.mark.parametrize("name", [b"not utf-8 \xff.png", b"two\nlines.png", b"bell\x07\x1b[31m.png"])
def test_names_that_no_terminal_shows_do_no_harm(run: Run, quick: list[str], tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    write_image(tmp_path / "a.png", picture(0))
    (tmp_path / "a.png").rename(path)
    for kind in ("jsonl", "csv", "table"):
        told = run("recognize", path, "--format", kind, "--annotate", f"copies-{kind}", *quick)
        assert told.code == 0
        assert "\x1b" not in told.out if kind != "csv" else told.out
        assert len(files(Path(f"copies-{kind}"))) == 1
    path.write_bytes(b"bad")
    one_line(run("recognize", path, *quick), "not a picture")


def in_a_process(*arguments: str | Path, before: str = "pass", **options: Any) -> subprocess.Popen[bytes]:
    """Start `mien` as a process of its own."""
    code = f"import sys; {before}; sys.argv[0] = 'mien'; from mien.cli.main import main; main()"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(Path(mien.__file__).parents[1])} | options.pop("env", {})
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, **options)


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_leaves_early_gets_no_traceback(quick: list[str], tmp_path: Path, buffered: bool) -> None:
    folder = album(tmp_path / "album", "a.png", "b.png")
    env = {} if buffered else {"PYTHONUNBUFFERED": "1"}
    process = in_a_process("recognize", folder, "--format", "jsonl", *quick, stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    process.stdout.close()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in told
    assert b"rror" not in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("kind", ["jsonl", "table"])
def test_a_full_disk_behind_stdout_is_one_line(quick: list[str], tmp_path: Path, kind: str) -> None:
    folder = album(tmp_path / "album", "a.png")
    with Path("/dev/full").open("wb") as full:
        process = in_a_process("recognize", folder, "--format", kind, *quick, stdout=full)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert told.splitlines()[-1] == b"mien: the output: No space left on device"
    assert b"Traceback" not in told


def test_json_lines_are_utf_8_whatever_the_terminal_is(quick: list[str], tmp_path: Path) -> None:
    folder = album(tmp_path / "album", "été 日本.png")
    for kind in ("jsonl", "csv", "table"):
        process = in_a_process(
            "recognize", folder, "--format", kind, *quick, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"}
        )
        out, told = process.communicate(timeout=60)
        assert (process.returncode, told) == (0, b"1 picture, 1 face\n")
        if kind != "table":
            assert "été 日本.png" in out.decode("utf-8")


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").out.strip() == mien.__version__


@pytest.mark.parametrize("command", [["train", "recipe.toml"], ["models", "export", "best.pt", "--out", "a.onnx"]])
def test_a_command_whose_extra_is_missing_says_so_in_one_line(tmp_path: Path, command: list[str]) -> None:
    process = in_a_process(*command, before="sys.modules['torch'] = None", stdout=subprocess.PIPE, cwd=tmp_path)
    out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert told == b"mien: this command needs torch; install mien with its extra [train], as the README shows\n"


def test_scenes_of_photographs_are_read_drawn_and_counted(run: Run, shared: Path) -> None:
    scenes = shared / "data" / "scenes"
    pictures = [path for path in sorted(scenes.iterdir()) if path.suffix in (".jpg", ".png")]
    told = run("recognize", *pictures, "--format", "jsonl", "--annotate", "copies")
    assert told.code == 0
    faces = [Path(row["source"]).name for row in told.rows]
    assert faces.count("one-face.jpg") == faces.count("one-man-480p.jpg") == 1
    assert "no-face.jpg" not in faces
    assert len(files(Path("copies"))) == len(pictures) == 8

"""`mien data build` as people call it: killed and gone on, unreadable files told, exit codes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data import build as building
from mien.data.faceset import UNFINISHED, FaceSet, is_faceset
from mien.faces.detect import DlibDetector
from mien.spec import CropSpec
from mien.video_writer import VideoWriter

RunMien = Callable[..., tuple[int, str, str]]

MIEN = [sys.executable, "-c", "from mien.cli.main import main; main()"]


@pytest.fixture
def photos(tmp_path: Path, portrait: Path) -> Path:
    """Return a folder of twelve pictures of one face, each turned a little, so that none is a copy of another."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(portrait) as image:
        for number in range(12):
            crop = image.crop((100 - 3 * number, 20, 360 + 4 * number, 300))
            crop.rotate(2 * number - 11, fillcolor="grey").resize((520, 560)).save(folder / f"{number:02}, ä.jpg")
    return folder


def test_killed_at_any_moment_the_same_command_goes_on(run_mien: RunMien, photos: Path, tmp_path: Path) -> None:
    code, _, err = run_mien("data", "build", photos, "--out", tmp_path / "whole", "--jobs", "1")
    assert code == 0, err
    out = tmp_path / "set"
    command = [*MIEN, "data", "build", str(photos), "--out", str(out), "--jobs", "1"]
    child = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if is_faceset(out) and len(FaceSet(out).files()) >= 3:
            break
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    before = len(FaceSet(out).files())
    assert before >= 3
    code, _, err = run_mien("data", "build", photos, "--out", out, "--jobs", "1")
    assert code == 0, err
    assert f"{12 - before} files read now" in err
    for kept in (True, False):
        assert [face.key for face in FaceSet(out).faces(kept=kept)] == [
            face.key for face in FaceSet(tmp_path / "whole").faces(kept=kept)
        ]


def test_bad_files_are_told_and_the_rest_is_done(run_mien: RunMien, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"no picture")
    (photos / "bad.mp4").write_bytes(b"no video")
    shutil.copy(photos / "00, ä.jpg", photos / "picture.mp4")
    for name in list(photos.iterdir()):
        if name.name > "03" and name.suffix == ".jpg" and name.name[0].isdigit():
            name.unlink()
    code, out, err = run_mien("data", "build", photos, "--out", tmp_path / "set", "--jobs", "1")
    assert code == 1
    assert "not read: photos/bad.jpg: " in err
    assert "not read: photos/bad.mp4: cannot be read as video" in err
    assert "dropped" in out
    assert (tmp_path / "set" / "contact-sheet.jpg").is_file()
    assert (tmp_path / "set" / "datasheet.html").is_file()


def test_what_a_folder_holds_besides_is_told(
    run_mien: RunMien, tmp_path: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(portrait, folder / "a.jpg")
    for name in ("notes.txt", "letter", "who.csv"):
        (folder / name).write_bytes(b"file\na.jpg\n")
    monkeypatch.setattr(DlibDetector, "LARGEST_PIXELS", 512 * 512)
    code, _, err = run_mien("data", "build", folder, folder / "who.csv", "--out", tmp_path / "set", "--jobs", "1")
    assert code == 0, err
    assert "2 other files left out" in err
    assert re.search(
        r"in 1 file read now, of too many pixels .* less than about \d+ pixels were not looked for, "
        r"though --min-face is 48", err,
    )  # fmt: skip
    (folder / "b.heic").write_bytes(b"x")
    (folder / "c.jpg").symlink_to(folder / "gone.jpg")
    code, _, err = run_mien("data", "build", folder, "--out", tmp_path / "set", "--jobs", "1")
    assert code == 1
    assert f"not read: {folder / 'b.heic'}: pictures as .heic cannot be read here; save them as JPEG" in err
    assert f"not read: {folder / 'c.jpg'}: a link by which no file is reached" in err


def test_options_reach_the_set(run_mien: RunMien, tmp_path: Path, portrait: Path) -> None:
    out = tmp_path / "set"
    options = ("--detector", "none", "--min-face", "60", "--size", "32", "--colour", "rgb")
    drops = ("--threshold", "sharpness=off", "--threshold", "size_px=100")
    code, _, err = run_mien("data", "build", portrait, "--out", out, "--jobs", "1", *options, *drops)
    assert code == 0, err
    made = FaceSet(out)
    assert (made.settings["detector"], made.settings["min_face_px"]) == ("none", "60")
    assert made.settings["thresholds"].startswith("sharpness -inf, exposure 0.25, size_px 100, ")
    assert made.crop == CropSpec(size_px=32, colour="rgb")
    (face,) = [*made.faces(), *made.faces(kept=False)]
    assert made.crops([face.key]).shape == (1, 32, 32, 3)
    with Image.open(portrait) as image:
        assert face.quality.size_px == min(image.size), "the picture is the face"


@pytest.mark.parametrize(("option", "pictures"), [(("--every", "0.4"), 3), (("--on-change",), 5)])
def test_how_often_a_video_is_looked_at_reaches_the_build(
    run_mien: RunMien, tmp_path: Path, option: tuple[str, ...], pictures: int
) -> None:
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for number in range(5):
            writer.write(np.full((64, 64, 3), 128, np.uint8), number / 5)
    code, _, err = run_mien("data", "build", tmp_path / "clip.mp4", "--out", tmp_path / "set", "--jobs", "1", *option)
    assert code == 0, err
    (file,) = FaceSet(tmp_path / "set").files()
    assert file.pictures == pictures


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none"], "no such file or folder"),
        (["."], "neither photographs nor videos"),
        (["photo.jpg", "--every", "0"], "--every is 0 seconds"),
        (["photo.jpg", "--threshold", "beauty=1"], "expected NAME=NUMBER"),
        (["photo.jpg", "--detector", "magic"], "unknown detector 'magic'"),
        (["list.csv"], "no file to read"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_exit_code_2(
    run_mien: RunMien, tmp_path: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] != ".":
        shutil.copy(portrait, "photo.jpg")
        Path("list.csv").write_text("file\nnone.jpg\n")
    code, out, err = run_mien("data", "build", *arguments, "--out", "set")
    assert (code, out) == (2, "")
    assert told in err
    assert not Path("set").exists()


def test_a_file_is_forgotten_by_its_path_its_name_or_the_end_of_that(
    run_mien: RunMien, portrait: Path, tmp_path: Path
) -> None:
    folder, photos = tmp_path / "set", tmp_path / "photos"
    for name in ("a/one.jpg", "b/one.jpg", "two.jpg", "three.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(portrait, photos / name)
    assert run_mien("data", "build", photos, "--out", folder, "--jobs", "1")[0] == 0
    for name, told in (
        ("one.jpg", f"may be any of {photos}/a/one.jpg, {photos}/b/one.jpg; name one by its whole path"),
        ("tow.jpg", "nothing of 'tow.jpg' in the set; expected such as"),
    ):
        code, _, err = run_mien("data", "forget", folder, "--file", name)
        assert (code, told in err) == (2, True), err
    for given, count in ((photos / "a/one.jpg", 3), ("b/one.jpg", 2), ("photos/two.jpg", 1), ("three.jpg", 0)):
        assert run_mien("data", "forget", folder, "--file", given)[0] == 0
        assert len(list(FaceSet(folder).files())) == count


@pytest.mark.parametrize("way", ["whole", "from here", "from above", "by name"])
def test_a_path_that_is_another_files_name_takes_nothing_out_until_one_is_named(
    run_mien: RunMien, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    places = [tmp_path / top / "photos" / "a.jpg" for top in ("x", "y")]
    for number, place in enumerate(places):
        place.parent.mkdir(parents=True)
        shutil.copy(photos / f"{number:02}, ä.jpg", place)
    folder = tmp_path / "set"
    assert run_mien("data", "build", *(place.parent for place in places), "--out", folder, "--jobs", "1")[0] == 0
    assert [file.name for file in FaceSet(folder).files()] == ["photos/a.jpg", "photos/a.jpg (2)"]
    monkeypatch.chdir(tmp_path / "y")
    code, _, err = run_mien("data", "forget", folder, "--file", "photos/a.jpg")
    assert code == 2
    assert f"may be any of {places[0]}, {places[1]}; name one by its whole path" in err
    assert len(FaceSet(folder).files()) == 2
    named = {
        "whole": (places[0], 1), "from here": ("./photos/a.jpg", 0), "from above": ("../x/photos/a.jpg", 1),
        "by name": ("photos/a.jpg (2)", 0),
    }  # fmt: skip
    text, left = named[way]
    assert run_mien("data", "forget", folder, "--file", text)[0] == 0
    assert [file.path for file in FaceSet(folder).files()] == [places[left]]


def test_forgetting_takes_the_copies_of_a_set_whose_build_was_killed_and_nothing_of_others(
    run_mien: RunMien, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "copy.jpg"):
        shutil.copy(portrait, photos / name)
    (tmp_path / "photos/who.csv").write_text("file,person\na.jpg,Anna\n")

    def killed(_: FaceSet) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "set"
    with monkeypatch.context() as patch:
        patch.setattr(building, "mark_copies", killed)
        assert run_mien("data", "build", photos, photos / "who.csv", "--out", folder, "--jobs", "1")[0] == 130
    assert len(FaceSet(folder).faces()) == 2, "a copy, which nobody has looked for"
    (folder / "faces/holiday.jpg").write_bytes(b"somebody's own")
    (folder / "faces/@eaDir").mkdir()
    code, _, err = run_mien("data", "forget", folder, "--person", "Anna")
    assert code == 0, err
    assert FaceSet(folder).faces() == []
    assert {path.name for path in (folder / "faces").iterdir()} == {"holiday.jpg", "@eaDir"}
    assert UNFINISHED in FaceSet(folder).settings


def test_processes_end_with_the_one_that_is_killed(photos: Path, tmp_path: Path) -> None:
    for number in range(600):  # so that there is work for a while
        shutil.copy(photos / "00, ä.jpg", photos / f"more {number}.jpg")
    command = [*MIEN, "data", "build", str(photos), "--out", str(tmp_path / "set"), "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.parent.is_dir():
        process.kill()
        pytest.skip("the system does not tell which processes another one has begun")
    deadline = time.monotonic() + 60
    workers: list[str] = []
    while len(workers) < 3 and time.monotonic() < deadline:  # two, and the one that keeps count of what they share
        workers = children.read_text().split() if children.exists() else workers
        time.sleep(0.05)
    time.sleep(5)  # until they have begun to follow it
    assert process.poll() is None
    process.kill()
    process.wait()
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    assert not [worker for worker in workers if Path(f"/proc/{worker}/cmdline").exists()]


def test_options_that_would_be_ignored_are_refused(run_mien: RunMien, photos: Path, tmp_path: Path) -> None:
    command = ("data", "build", photos, "--out", tmp_path / "set", "--on-change", "--every", "0.5")
    code, _, err = run_mien(*command)
    assert code == 2
    assert "--every would be ignored: --on-change takes a face whenever it changes" in err
    assert not (tmp_path / "set").exists()

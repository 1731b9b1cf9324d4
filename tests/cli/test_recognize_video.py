"""`mien recognize` of videos: rows, reports and copies; bad files in a line; what was stopped goes on."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import mien
from mien.cli import cameras
from mien.cli.videos import work_folder
from mien.errors import InputError, OutputError
from mien.labels import FER2013
from mien.media import read_image, write_image
from mien.recognize import Recognizer
from mien.types import ImageArray
from mien.video import Frame, frames
from mien.video_run import VideoRun
from mien.video_writer import VideoWriter

RATE, COUNT = 20, 24
Run = Callable[..., tuple[int, str, str]]


def write_clip(path: Path, picture: ImageArray, *, count: int = COUNT) -> Path:
    """Write a clip in which a picture moves."""
    with av.open(str(path), "w", format="matroska" if path.suffix == ".mkv" else "mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = picture.shape[1] - 20, picture.shape[0] - 20, "yuv420p"
        for number in range(count):
            x = round(10 + 10 * np.sin(number / 8))
            image = np.ascontiguousarray(picture[10:-10, x : x + stream.width], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def small(portrait: Path) -> ImageArray:
    return np.asarray(cv2.resize(read_image(portrait), (116, 116), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture
def clip(tmp_path: Path, small: ImageArray) -> Path:
    return write_clip(tmp_path / "clip.mp4", small)


@pytest.fixture
def quick(make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return options that make a run quick, which goes on in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return ["--model", str(make_model()), "--detector", "none"]


def parsed(told: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.splitlines()]


def left(folder: Path = Path()) -> list[str]:
    """Return every file and folder below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def one_line(told: tuple[int, str, str], *words: str) -> None:
    code, out, err = told
    assert (code, out) == (2, ""), err
    assert err.startswith("mien: ")
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err


def test_every_format_tells_the_same(run_mien: Run, quick: list[str], clip: Path) -> None:
    code, out, err = run_mien("recognize", clip, "--format", "jsonl", *quick)
    assert (code, err.splitlines()[-1]) == (0, f"1 video, {COUNT} frames, {COUNT} readings")
    rows = parsed(out)
    assert [row["frame"] for row in rows] == list(range(COUNT))
    assert [row["time_s"] for row in rows] == pytest.approx([number / RATE for number in range(COUNT)], abs=1e-3)
    for row in rows:
        assert (row["source"], row["face"], row["track"], row["box"]) == (str(clip), 0, 1, [0, 0, 96, 96])
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert sum(row["mixture"]["shares"].values()) in (0, pytest.approx(1, abs=1e-4))
    for name in ("rows.csv", "rows.parquet"):
        assert run_mien("recognize", clip, "--out", name, *quick)[:2] == (0, "")
    table = list(csv.DictReader(io.StringIO(Path("rows.csv").read_text(encoding="utf-8"))))
    parquet = pq.read_table("rows.parquet").to_pylist()
    assert len(table) == len(parquet) == COUNT
    for row, line, record in zip(rows, table, parquet, strict=True):
        for other in (line, record):
            assert (other["source"], other["mixture"]) == (row["source"], row["mixture"]["name"])
            assert (int(other["frame"]), int(other["track"])) == (row["frame"], row["track"])
            assert float(other["time_s"]) == row["time_s"]
            assert [float(other[f"p_{label}"]) for label in FER2013] == list(row["probabilities"].values())
    assert left() == ["rows.csv", "rows.parquet"]


def test_the_terminal_shows_the_people_of_a_video(run_mien: Run, quick: list[str], clip: Path) -> None:
    code, out, _ = run_mien("recognize", clip, *quick)
    assert code == 0
    assert "person" in out
    assert "clip.mp4" in out
    assert left() == []


def test_a_face_is_found_and_followed(run_mien: Run, quick: list[str], tmp_path: Path, portrait: Path) -> None:
    large = cv2.resize(read_image(portrait)[:420, 20:440], (420, 420))
    video = write_clip(tmp_path / "large.mp4", np.asarray(large, np.uint8), count=12)
    code, out, _ = run_mien("recognize", video, "--format", "jsonl", *quick[:2])
    rows = parsed(out)
    assert code == 0
    assert [row["frame"] for row in rows] == list(range(12))
    assert {row["track"] for row in rows} == {1}
    for row in rows:
        moved = row["box"][0] + round(10 + 10 * np.sin(row["frame"] / 8))
        assert moved == pytest.approx(rows[0]["box"][0] + 10, abs=5)


def test_a_folder_may_hold_pictures_and_videos(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    write_image(folder / "a.png", small)
    write_clip(folder / "sub" / "b.MP4", small, count=5)
    (folder / "notes.txt").write_text("dear")
    code, out, err = run_mien("recognize", folder, "--format", "jsonl", "--annotate", "copies", *quick)
    rows = parsed(out)
    assert code == 0
    assert [Path(row["source"]).name for row in rows] == ["a.png"] + 5 * ["b.MP4"]
    assert [row["frame"] for row in rows] == [None, 0, 1, 2, 3, 4]
    assert err.splitlines()[-1] == (
        "1 picture, 1 face; 1 video, 5 frames, 5 readings; 1 other file left out; annotated copies in copies"
    )
    assert left() == ["copies", "copies/a.png", "copies/sub", "copies/sub/b.mp4"]


@pytest.mark.parametrize("every", ["0.2s", "200ms", "0.2"])
def test_a_frame_is_read_every_so_often(run_mien: Run, quick: list[str], clip: Path, every: str) -> None:
    _, out, _ = run_mien("recognize", clip, "--format", "jsonl", "--every", every, *quick)
    assert [row["frame"] for row in parsed(out)] == [0, 4, 8, 12, 16, 20]


def test_smoothing_can_be_left_out(run_mien: Run, quick: list[str], clip: Path) -> None:
    plain, smooth = (
        [
            row["probabilities"]["happy"]
            for row in parsed(run_mien("recognize", clip, "--format", "jsonl", "--smooth", smooth, *quick)[1])
        ]
        for smooth in ("0", "500ms")
    )
    assert np.abs(np.diff(smooth, 2)).sum() < 0.7 * np.abs(np.diff(plain, 2)).sum()


def test_a_report_is_a_timeline_a_summary_and_where_asked_for_faces(
    run_mien: Run, quick: list[str], clip: Path
) -> None:
    code, _, err = run_mien("recognize", clip, "--format", "jsonl", "--report", "report", *quick)
    assert code == 0
    assert "reports in report" in err
    assert left() == ["report", "report/clip-summary.json", "report/clip-timeline.png"]
    told = json.loads(Path("report/clip-summary.json").read_text(encoding="utf-8"))
    assert (told["source"], told["frames"], told["every_s"]) == (str(clip), COUNT, 0)
    assert told["duration_s"] == pytest.approx((COUNT - 1) / RATE, abs=0.01)
    assert len(told["people"]) == 1
    assert read_image("report/clip-timeline.png").shape[0] > 50
    run_mien("recognize", clip, "--format", "jsonl", "--report", "report", "--thumbnails", *quick)
    assert any(name.startswith("report/clip-faces/") for name in left())
    Path("report/clip-faces/person-1-own.jpg").write_bytes(b"somebody's own")
    run_mien("recognize", clip, "--format", "jsonl", "--report", "report", *quick)
    assert [name for name in left() if "faces" in name] == ["report/clip-faces", "report/clip-faces/person-1-own.jpg"]


def test_an_annotated_copy_has_all_frames_with_something_drawn_in(run_mien: Run, quick: list[str], clip: Path) -> None:
    code, _, err = run_mien("recognize", clip, "--format", "jsonl", "--annotate", "copies", *quick)
    assert code == 0
    assert "annotated copies in copies" in err
    assert left() == ["copies", "copies/clip.mp4"]
    copied = list(frames("copies/clip.mp4"))
    assert [frame.time_s for frame in copied] == pytest.approx([n / RATE for n in range(COUNT)], abs=0.002)
    changed = [np.abs(a.image_rgb.astype(int) - b.image_rgb).max() for a, b in zip(frames(clip), copied, strict=True)]
    assert min(changed) > 60


def sound_alone(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        container.mux([*stream.encode(sound), *stream.encode(None)])


def write_bad(folder: Path, portrait: Path) -> dict[str, str]:
    """Write what cannot be read as video; return a word of what is told of each."""
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mkv").write_text("no video\n" * 99)
    (folder / "picture.mp4").write_bytes(portrait.read_bytes())
    sound_alone(folder / "sound.mp4")
    return {
        "empty.mp4": "not a video", "text.mkv": "not a video", "picture.mp4": "a picture, not a video",
        "sound.mp4": "no video in it, audio alone",
    }  # fmt: skip


def test_a_bad_video_is_one_line_and_leaves_nothing_behind(
    run_mien: Run, quick: list[str], tmp_path: Path, portrait: Path
) -> None:
    bad = write_bad(tmp_path, portrait)
    for name, word in bad.items():
        one_line(run_mien("recognize", tmp_path / name, *quick), name, word)
        one_line(run_mien("recognize", tmp_path / name, "--out", "rows.csv", *quick), name, word)
    assert left() == []
    places = ["--annotate", "copies", "--report", "report"]
    for name, word in bad.items():
        one_line(run_mien("recognize", tmp_path / name, "--format", "jsonl", *places, *quick), name, word)
    assert left() == []


def test_bad_videos_among_good_ones_are_listed_and_the_rest_is_done(
    run_mien: Run, quick: list[str], tmp_path: Path, portrait: Path, small: ImageArray
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    bad = write_bad(folder, portrait)
    write_clip(folder / "good.mp4", small)
    code, out, err = run_mien("recognize", folder, "--format", "jsonl", *quick)
    assert code == 1
    assert {Path(row["source"]).name for row in parsed(out)} == {"good.mp4"}
    assert len(parsed(out)) == COUNT
    summary, *listed = err.splitlines()
    assert summary == f"1 video, {COUNT} frames, {COUNT} readings; {len(bad)} not read"
    assert sorted(line.split(": ")[1] for line in listed) == sorted(str(folder / name) for name in bad)
    (folder / "good.mp4").unlink()
    code, out, err = run_mien("recognize", folder, "--out", "rows.csv", *quick)
    assert (code, out) == (2, "")
    assert f"none of the {len(bad)} files could be read" in err
    assert left() == []


def test_a_torn_video_is_read_as_far_as_it_goes(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    content = write_clip(tmp_path / "whole.mkv", small, count=60).read_bytes()
    (tmp_path / "torn.mkv").write_bytes(content[: len(content) // 2])
    code, _, err = run_mien("recognize", tmp_path / "torn.mkv", "--out", "rows.jsonl", *quick)
    assert code == 1
    assert err.splitlines()[-1].startswith(f"not read to its end: {tmp_path / 'torn.mkv'}: ends in the middle")
    assert 10 < len(parsed(Path("rows.jsonl").read_text(encoding="utf-8"))) < 50


def test_options_that_do_not_fit_are_one_line(run_mien: Run, quick: list[str], clip: Path, small: ImageArray) -> None:
    one_line(run_mien("recognize", clip, "--thumbnails", *quick), "--report")
    one_line(
        run_mien("recognize", clip, "--thumbnails", "--report", "r", "--annotate", "c", "--blur-faces", *quick),
        "--blur-faces",
    )
    one_line(run_mien("recognize", clip, "--for", "2s", *quick), "--for", "camera")
    one_line(run_mien("recognize", clip, "--out", "copy.mp4", *quick), "--annotate")
    smooth = ["--smooth", "1min", "--out", "rows.csv", "--annotate", "copies"]
    one_line(run_mien("recognize", clip, *smooth, *quick), "expected 0 (none) to 10")
    one_line(run_mien("recognize", "camera:99", *smooth, *quick), "expected 0 (none) to 10")
    write_image(clip.with_name("a.png"), small)
    one_line(run_mien("recognize", clip.with_name("a.png"), "--report", "r", *quick), "--report")
    for option in ("--every", "--smooth", "--for"):
        for value in ("soon", "-1s"):
            code, out, err = run_mien("recognize", clip, f"{option}={value}", *quick)
            assert (code, out) == (2, "")
            assert "no length of time" in err
    one_line(run_mien("recognize", clip, "--resume", *quick), "--resume", "--out")
    assert left() == []


def test_a_camera_that_is_not_there_is_one_line(run_mien: Run, quick: list[str], clip: Path) -> None:
    if Path("/dev/video99").exists():
        pytest.skip("there is such a camera here")
    one_line(run_mien("recognize", "camera:99", *quick), "camera:99")
    one_line(run_mien("recognize", "camera:99", "--out", "rows.csv", *quick), "camera:99")
    one_line(run_mien("recognize", "camera:99", clip, *quick), "read alone")
    one_line(run_mien("recognize", "camera:99", "--resume", *quick), "--resume")
    one_line(run_mien("recognize", "camera:99", "--report", "report", *quick), "--report")
    assert left() == []


# Marks at each frame, which takes its time; and a signal that is heard, whatever the shell that runs the tests says.
SLOWLY = """
import signal, time, mien.video_run as run
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
run.MARK_S, to_row = 0, run.to_row
run.to_row = lambda *a, **k: (time.sleep(0.03), to_row(*a, **k))[1]
"""


def stopped(command: list[str], signal_number: int, *, when: Callable[[], bool], scratch: Path = Path()) -> bytes:
    """Return what a command tells on stderr that is sent a signal at some time; scratch: its temporary folder."""
    code = f"{SLOWLY}\nimport sys; sys.argv[0] = 'mien'; from mien.cli.main import main; main()"
    environment = os.environ | {"PYTHONPATH": str(Path(mien.__file__).parents[1]), "TMPDIR": str(scratch.resolve())}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    ends_s = time.monotonic() + 60
    while not when():
        assert process.poll() is None
        assert time.monotonic() < ends_s
        time.sleep(0.02)
    process.send_signal(signal_number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert b"Traceback" not in told
    return told


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize(
    ("output", "kept", "ending"),
    [(["--format", "jsonl"], [], "SIGTERM"), (["--out", "rows.csv"], [".rows.csv-run"], "SIGHUP")],
)
def test_what_is_terminated_leaves_no_rows_behind_but_those_to_go_on_with(
    quick: list[str], clip: Path, tmp_path: Path, output: list[str], kept: list[str], ending: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    work = Path() if kept else scratch
    command = ["recognize", str(clip), *output, *quick]
    stopped(command, signal.Signals[ending], when=lambda: any(work.glob("*/0/run.json")), scratch=scratch)
    assert left(scratch) == []
    assert [path.name for path in Path().iterdir()] == kept


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
def test_what_was_stopped_goes_on(run_mien: Run, quick: list[str], clip: Path) -> None:
    command = ["recognize", str(clip), "--annotate", "copies", "--report", "report", "--out", "rows.jsonl", *quick]
    work = Path(".rows.jsonl-run/0")
    told = stopped(command, signal.SIGINT, when=lambda: (work / "part-2.mp4").exists())  # some frames are marked
    assert b"the same command with --resume goes on from there" in told
    assert not Path("rows.jsonl").exists()
    done = json.loads((work / "run.json").read_text(encoding="utf-8"))["progress"]["frames"]
    assert 0 < done < COUNT
    one_line(run_mien(*command, "--resume", "--every", "1s"), "differs from this in settings")
    assert run_mien(*command, "--resume")[:2] == (0, "")
    assert left() == [
        "copies", "copies/clip.mp4", "report", "report/clip-summary.json", "report/clip-timeline.png", "rows.jsonl"
    ]  # fmt: skip
    assert len(list(frames("copies/clip.mp4"))) == COUNT
    resumed = Path("rows.jsonl").read_text(encoding="utf-8")
    run_mien("recognize", clip, "--out", "whole.jsonl", *quick)
    assert resumed == Path("whole.jsonl").read_text(encoding="utf-8")


def test_a_copy_that_cannot_be_written_costs_no_rows(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    videos = [write_clip(tmp_path / name, small, count=5) for name in ("a.mp4", "b.mp4")]
    Path("copies/a.mp4/in the way").mkdir(parents=True)
    command = ["recognize", *videos, "--out", "rows.jsonl", "--annotate", "copies", "--report", "report", *quick]
    code, _, err = run_mien(*command)
    assert code == 1
    assert "not written: copies/a.mp4: cannot write there: it is a folder" in err.splitlines()[-1]
    rows = Path("rows.jsonl").read_text(encoding="utf-8")
    assert [Path(row["source"]).name for row in parsed(rows)] == 5 * ["a.mp4"] + 5 * ["b.mp4"]
    assert Path("copies/b.mp4").is_file()
    assert Path("report/a-summary.json").is_file()
    Path("copies/a.mp4/in the way").rmdir()
    Path("copies/a.mp4").rmdir()
    assert run_mien(*command, "--resume")[0] == 0
    assert Path("rows.jsonl").read_text(encoding="utf-8") == rows
    reports = [f"report/{name}" for name in ("a-summary.json", "a-timeline.png", "b-summary.json", "b-timeline.png")]
    assert left() == ["copies", "copies/a.mp4", "copies/b.mp4", "report", *reports, "rows.jsonl"]


def test_a_copy_that_fails_on_the_way_is_told_and_the_other_files_are_done(
    run_mien: Run, quick: list[str], clip: Path, small: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_clip(clip.with_name("other.mp4"), small)
    write, failing = VideoWriter.write, iter(range(5))

    def fail(writer: VideoWriter, image_rgb: ImageArray, time_s: float) -> None:
        if next(failing, None) == 4:
            raise OutputError(f"{writer._path}: cannot be written as video (No space left on device)")
        write(writer, image_rgb, time_s)

    monkeypatch.setattr(VideoWriter, "write", fail)
    asked = ("recognize", clip, other, "--out", "rows.csv", "--annotate", "copies", *quick)
    code, _, err = run_mien(*asked)
    assert code == 1
    assert f"not written: {clip}: its annotated copy cannot be written as video (No space left on device)" in err
    assert len(Path("rows.csv").read_text().splitlines()) == 1 + 2 * COUNT
    assert not Path("copies/clip.mp4").exists()
    assert Path("copies/other.mp4").is_file()
    monkeypatch.setattr(VideoWriter, "write", write)
    assert run_mien(*asked, "--resume")[0] == 0
    assert Path("copies/clip.mp4").is_file()
    assert len(Path("rows.csv").read_text().splitlines()) == 1 + 2 * COUNT


def test_what_goes_to_the_shells_stdout_is_added_to_its_file(quick: list[str], portrait: Path) -> None:
    target = Path("all.csv")
    target.write_text("earlier row\n")
    with target.open("a") as opened:
        asked = ["recognize", str(portrait), "--out", "/dev/stdout", "--format", "csv", *quick]
        done = subprocess.run(
            [sys.executable, "-c", "from mien.cli.main import main; main()", *asked], stdout=opened, check=False
        )
    assert done.returncode == 0
    lines = target.read_text().splitlines()
    assert lines[0] == "earlier row"
    assert len(lines) == 3


def test_rows_that_cannot_be_written_at_the_end_can_be_gone_on_with(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", small, count=5)
    read = VideoRun.read

    def in_the_way(run: VideoRun, *arguments: Any, **named: Any) -> None:
        read(run, *arguments, **named)
        Path("rows.jsonl").mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(VideoRun, "read", in_the_way)
        one_line(run_mien("recognize", clip, "--out", "rows.jsonl", *quick), "rows.jsonl: cannot write there")
    Path("rows.jsonl").rmdir()
    assert Path(".rows.jsonl-run/0").is_dir()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(Recognizer, "read_many", never)
    assert run_mien("recognize", clip, "--out", "rows.jsonl", "--resume", *quick)[0] == 0
    assert len(parsed(Path("rows.jsonl").read_text())) == 5
    assert left() == ["rows.jsonl"]


def test_a_pipe_is_written_to_and_a_colon_is_part_of_a_name(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", small, count=5)
    reader, writer = os.pipe()
    try:
        command = ("recognize", clip, "--format", "jsonl", "--out", f"/dev/fd/{writer}", "--annotate", "12:30", *quick)
        code, _, err = run_mien(*command)
        assert code == 0, err
    finally:
        os.close(writer)
    with os.fdopen(reader) as file:
        assert len(file.read().splitlines()) == 5
    assert left() == ["12:30", "12:30/clip.mp4"]
    assert run_mien("recognize", clip, "--out", "take:2.csv", "--annotate", "copies", *quick)[0] == 0
    assert len(list(frames("copies/clip.mp4"))) == 5


def test_a_recording_that_cannot_be_written_costs_no_rows(
    run_mien: Run, quick: list[str], small: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def three(*_: object, **__: object) -> Generator[Frame]:
        yield from (Frame(number / 10, small, number) for number in range(3))

    written: list[float] = []

    def full(_: VideoWriter, __: ImageArray, time_s: float) -> None:
        written.append(time_s)
        if time_s > 0:
            raise OutputError("copies: No space left on device")

    monkeypatch.setattr(cameras, "_frames", three)
    monkeypatch.setattr(VideoWriter, "write", full)
    command = ("recognize", "rtsp://host/live", "--out", "rows.jsonl", "--annotate", "copies", "--blur-faces", *quick)
    code, _, err = run_mien(*command)
    assert code == 1
    assert "not written: copies: No space left on device" in err
    assert "in videos a face is not blurred in the frames in which it was not found" in err
    assert len(written) == 2
    assert parsed(Path("rows.jsonl").read_text())[-1]["frame"] == 2, "which came after the copy had failed"
    assert [name for name in left() if name.startswith("copies/")] == []


def test_a_recording_shows_no_face_before_a_second_detection_has_confirmed_it(
    run_mien: Run, quick: list[str], portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def three(*_: object, **__: object) -> Generator[Frame]:
        yield from (Frame(number / 25, read_image(portrait), number) for number in range(3))

    monkeypatch.setattr(cameras, "_frames", three)
    roughness = []
    for options in ([], ["--blur-faces"]):
        command = ("recognize", "rtsp://host/live", "--annotate", "copies", *options, "--detector", "dlib", *quick[:2])
        assert run_mien(*command)[0] == 0
        face = next(frames(next(Path("copies").iterdir()))).image_rgb[95:160, 190:260]
        roughness.append(np.abs(np.diff(face.astype(float), axis=0)).mean())
    assert roughness[1] < 0.5 * roughness[0]


def test_a_run_that_fails_before_anything_is_kept_leaves_nothing_behind(
    run_mien: Run, quick: list[str], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InputError("not like this")

    monkeypatch.setattr(VideoRun, "read", fail)
    one_line(run_mien("recognize", clip, "--out", "rows.csv", *quick), "not like this")
    assert left() == []


@pytest.mark.parametrize("frames_came", [False, True])
def test_a_recording_replaces_an_earlier_one_once_a_frame_has_come(
    run_mien: Run, quick: list[str], small: ImageArray, monkeypatch: pytest.MonkeyPatch, frames_came: bool
) -> None:
    def stop(*_: object, **__: object) -> Generator[Frame]:
        if frames_came:
            yield Frame(0.0, small, 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(cameras, "_frames", stop)
    recording = Path("copies/rtsp-host-live.mp4")
    recording.parent.mkdir()
    with VideoWriter(recording) as writer:
        writer.write(small, 0.0)
        writer.write(small, 0.1)
    for _ in range(2):
        assert run_mien("recognize", "rtsp://host/live", "--annotate", "copies", *quick)[0] == 0
        assert left() == ["copies", str(recording)]
        assert len(list(frames(recording))) == (1 if frames_came else 2)


def test_a_recording_never_takes_the_place_of_what_mien_did_not_write(
    run_mien: Run, quick: list[str], small: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(*_: object, **__: object) -> Generator[Frame]:
        yield Frame(0.0, small, 0)

    monkeypatch.setattr(cameras, "_frames", one)
    mine = Path("copies/rtsp-host-live.mp4")
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    for _ in range(2):
        assert run_mien("recognize", "rtsp://host/live", "--annotate", "copies", *quick)[0] == 0
        assert mine.read_bytes() == b"mine"
        assert left() == ["copies", "copies/rtsp-host-live-2.mp4", str(mine)]


def test_what_is_stopped_before_anything_is_kept_leaves_nothing_behind(
    run_mien: Run, quick: list[str], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoRun, "read", stop)
    for places in (["--out", "rows.csv"], ["--out", "folder"], ["--format", "jsonl", "--annotate", "copies"]):
        code, _, err = run_mien("recognize", clip, *places, *quick)
        assert code == 130
        assert err.endswith("clip.mp4: stopped at 0.0 s\n")
        assert left() == []


@pytest.mark.usefixtures("quick")  # its folder
def test_a_run_into_a_folder_lies_in_it_whatever_the_folders_name() -> None:
    for is_there in (False, True):
        with work_folder(Path("copies.v1"), is_folder=True) as work:
            assert work == Path("copies.v1/.mien-run")
            assert (work / "0").is_dir() == is_there
            (work / "0").mkdir(exist_ok=True)
            (work / "0" / "run.json").touch()  # what a run to go on with leaves


def test_what_was_written_into_the_folder_that_is_read_is_not_read_the_next_time(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    (tmp_path / "album").mkdir()
    write_clip(tmp_path / "album" / "a.mp4", small, count=5)
    places = [tmp_path / "album", "--annotate", tmp_path / "album", "--report", tmp_path / "album", "--thumbnails"]
    for _ in range(3):
        code, _, err = run_mien("recognize", *places, "--format", "jsonl", *quick)
        assert (code, "1 video, 5 frames, 5 readings" in err) == (0, True), err
        names = {path.name for path in (tmp_path / "album").iterdir()}
        assert names == {"a.mp4", "a-2.mp4", "a-summary.json", "a-timeline.png", "a-faces"}


def test_a_report_never_takes_the_place_of_what_mien_did_not_write(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    clip = write_clip(tmp_path / "my.clip.mp4", small, count=5)
    Path("report").mkdir()
    Path("report/my.clip-timeline.png").write_bytes(b"a drawing")
    for _ in range(2):
        assert run_mien("recognize", clip, "--report", "report", *quick)[0] == 0
        assert Path("report/my.clip-timeline.png").read_bytes() == b"a drawing"
        written = ["report/my.clip-2-summary.json", "report/my.clip-2-timeline.png"]
        assert left() == ["report", *written, "report/my.clip-timeline.png"]


def test_the_rows_never_take_the_place_of_the_video(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", small, count=5).rename(tmp_path / "clip.film")
    before = clip.read_bytes()
    one_line(run_mien("recognize", clip, "--format", "jsonl", "--out", clip, *quick), "it is read")
    assert clip.read_bytes() == before


def test_a_video_that_is_named_needs_no_suffix_that_is_known(
    run_mien: Run, quick: list[str], tmp_path: Path, small: ImageArray
) -> None:
    write_clip(tmp_path / "clip.mp4", small, count=5).rename(tmp_path / "clip.film")
    code, out, _ = run_mien("recognize", tmp_path / "clip.film", "--annotate", "copies", "--format", "jsonl", *quick)
    assert (code, len(parsed(out))) == (0, 5)
    assert left() == ["copies", "copies/clip.mp4"]


def test_two_runs_do_not_write_to_one_place(run_mien: Run, quick: list[str], clip: Path) -> None:
    from filelock import FileLock

    Path(".rows.csv-run").mkdir()
    with FileLock(".rows.csv-run/lock"):
        one_line(run_mien("recognize", clip, "--out", "rows.csv", *quick), "another run is writing there")
    assert run_mien("recognize", clip, "--out", "rows.csv", *quick)[0] == 0
    assert left() == ["rows.csv"]

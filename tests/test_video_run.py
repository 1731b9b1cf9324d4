"""A video is read into a folder; what was stopped goes on, and comes out as if it had not been."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from mien import video_run
from mien.classify import Classifier
from mien.errors import InputError, OutputError, VideoError
from mien.files import write_text
from mien.media import read_image
from mien.recognize import Recognizer
from mien.sinks import Row
from mien.types import Face, FrameReading, ImageArray
from mien.video import frames
from mien.video_run import VideoRun, VideoSettings
from mien.video_writer import VideoWriter

RATE, COUNT = 20, 44
MakeRun = Callable[..., VideoRun]


class Standing:
    """A detector that finds a face in the middle."""

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        return [Face(np.array([30, 20, 80, 70], np.float32), None, 0.9)]


@pytest.fixture
def recognizer(make_model: Callable[..., Path]) -> Recognizer:
    return Recognizer(Standing(), Classifier.load(make_model(), threads=1))


@pytest.fixture
def clip(tmp_path: Path, portrait: Path) -> Path:
    """Return a clip of the portrait, moving, of 2.5 seconds."""
    small = cv2.resize(read_image(portrait), (160, 160), interpolation=cv2.INTER_AREA)
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 112, 96, "yuv420p"
        for number in range(COUNT):
            x = round(20 + 15 * np.sin(number / 8))
            image = np.ascontiguousarray(small[10:106, x : x + 112], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return tmp_path / "clip.mkv"


@pytest.fixture
def make_run(tmp_path: Path, clip: Path) -> MakeRun:
    """Return a function that begins a run of the clip, or goes on with it."""

    def make(folder: str = "run", *, source: Path = clip, model: str = "a model", **options: Any) -> VideoRun:
        resume = options.pop("resume", False)
        settings = VideoSettings(**options)
        return VideoRun(tmp_path / folder, source, settings, name="clip", model=model, resume=resume)

    return make


def stop_after(count: int) -> Callable[[FrameReading, list[Row]], None]:
    """Return what stops a run after so many frames."""
    left = iter(range(count - 1))

    def on_frame(reading: FrameReading, rows: list[Row]) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return on_frame


def test_a_video_is_read_to_its_end(make_run: MakeRun, recognizer: Recognizer) -> None:
    run = make_run()
    told: list[tuple[int, list[Row]]] = []
    run.read(recognizer, on_frame=lambda reading, rows: told.append((reading.number, rows)))
    assert (run.progress.frames, run.progress.faces, run.progress.done) == (COUNT, COUNT, True)
    assert run.progress.time_s == pytest.approx((COUNT - 1) / RATE, abs=0.01)
    assert run.progress.broke_off is None
    rows = list(run.rows())
    assert [row["frame"] for row in rows] == [number for number, _ in told] == list(range(COUNT))
    assert rows == [row for _, rows in told for row in rows]
    assert {(row["source"], row["track"], row["face"]) for row in rows} == {("clip", 1, 0)}
    summary, timeline = run.describe()
    assert [person.track for person in summary.people()] == [1]
    assert timeline.draw().ndim == 3


def test_a_frame_is_read_every_so_often(make_run: MakeRun, recognizer: Recognizer) -> None:
    run = make_run(every_s=0.25)
    run.read(recognizer)
    assert [row["frame"] for row in run.rows()] == list(range(0, COUNT, 5))


def test_slides_last_until_the_next_one(make_run: MakeRun, recognizer: Recognizer, tmp_path: Path, clip: Path) -> None:
    first = next(frames(clip)).image_rgb
    with VideoWriter(tmp_path / "slides.mp4") as writer:
        for number in range(6):
            writer.write(first, 2.0 * number)
    run = make_run("slides", source=tmp_path / "slides.mp4")
    run.read(recognizer)
    (person,) = run.describe()[0].people()
    assert person.seen_s == pytest.approx(12)


@pytest.mark.parametrize("stops", [[1], [23, 15]])
def test_what_was_stopped_comes_out_as_if_it_had_not_been(
    make_run: MakeRun, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: list[int]
) -> None:
    whole = make_run("whole", annotate=True)
    whole.read(recognizer)
    monkeypatch.setattr(video_run, "MARK_S", 0.0)
    for number, count in enumerate(stops):
        with pytest.raises(KeyboardInterrupt):
            make_run(annotate=True, resume=bool(number)).read(recognizer, on_frame=stop_after(count))
    run = make_run(annotate=True, resume=True)
    before = run.progress.frames
    assert before > 0 or stops == [1]
    told: list[int] = []
    run.read(recognizer, on_frame=lambda reading, rows: told.append(reading.number))
    assert told == list(range(before, COUNT))
    assert list(run.rows()) == list(whole.rows())
    assert run.progress.frames == COUNT
    for one, name in ((whole, "whole.mp4"), (run, "resumed.mp4")):
        one.write_annotated(tmp_path / name)
    read, expected = (list(frames(tmp_path / name)) for name in ("resumed.mp4", "whole.mp4"))
    assert [frame.time_s for frame in read] == pytest.approx([number / RATE for number in range(COUNT)], abs=0.002)
    for mine, other in zip(read, expected, strict=True):
        assert np.abs(mine.image_rgb.astype(int) - other.image_rgb).mean() < 4  # each is the frame that it should be


def test_a_copy_that_fails_on_the_way_costs_no_rows_and_is_tried_again(
    make_run: MakeRun, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = VideoWriter.write

    def fail(writer: VideoWriter, image_rgb: ImageArray, time_s: float) -> None:
        if time_s > 1:
            raise OutputError(f"{writer._path}: cannot be written as video (No space left on device)")
        write(writer, image_rgb, time_s)

    with monkeypatch.context() as patched:
        patched.setattr(VideoWriter, "write", fail)
        run = make_run(annotate=True)
        run.read(recognizer)
    assert (run.progress.frames, run.progress.done) == (COUNT, True)
    assert run.progress.copy_failed == "cannot be written as video (No space left on device)"
    rows = list(run.rows())
    again = make_run(annotate=True, resume=True)
    again.read(recognizer)
    assert again.progress.copy_failed is None
    assert list(again.rows()) == rows
    again.write_annotated(tmp_path / "copy.mp4")
    assert len(list(frames(tmp_path / "copy.mp4"))) == COUNT


def test_a_copy_that_fails_late_is_not_made_of_what_came_before(
    make_run: MakeRun, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write, written = VideoWriter.write, iter(range(30))

    def fail(writer: VideoWriter, image_rgb: ImageArray, time_s: float) -> None:
        if next(written, None) is None:
            raise OutputError(f"{writer._path}: cannot be written as video (No space left on device)")
        write(writer, image_rgb, time_s)

    monkeypatch.setattr(video_run, "MARK_S", 0.0)
    monkeypatch.setattr(VideoWriter, "write", fail)
    run = make_run(annotate=True)
    run.read(recognizer)
    assert run.progress.frames == COUNT
    assert not list((tmp_path / "run").glob("part-*"))
    with pytest.raises(OutputError, match=r"clip: its annotated copy cannot be written as video \(No space"):
        run.write_annotated(tmp_path / "copy.mp4")
    assert not (tmp_path / "copy.mp4").exists()


def test_frames_further_apart_than_mp4_can_say_are_refused(tmp_path: Path) -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(black, 0.0)
        with pytest.raises(OutputError, match=r"frames 36,000 s apart"):
            writer.write(black, 36_000.0)


def test_what_is_done_is_not_read_again(make_run: MakeRun, recognizer: Recognizer) -> None:
    make_run().read(recognizer)
    run = make_run(resume=True)
    run.read(recognizer, on_frame=stop_after(1))
    assert len(list(run.rows())) == run.progress.frames == COUNT


def test_without_resume_it_begins_anew(make_run: MakeRun, recognizer: Recognizer, tmp_path: Path) -> None:
    make_run(annotate=True).read(recognizer)
    run = make_run()
    assert list(run.rows()) == []
    assert not list((tmp_path / "run").iterdir())
    run.read(recognizer)
    assert len(list(run.rows())) == COUNT


def test_resuming_where_nothing_was_begun_begins(make_run: MakeRun, recognizer: Recognizer) -> None:
    run = make_run(resume=True)
    run.read(recognizer)
    assert run.progress.frames == COUNT


def test_what_differs_from_what_was_stopped_is_an_input_error(
    make_run: MakeRun, recognizer: Recognizer, clip: Path
) -> None:
    make_run().read(recognizer)
    for options in ({"every_s": 1.0}, {"smooth_s": 0.1}, {"annotate": True}):
        with pytest.raises(InputError, match="differs from this in settings; leave --resume out"):
            make_run(resume=True, **options)
    with pytest.raises(InputError, match="in model;"):
        make_run(resume=True, model="another")
    os.utime(clip, (1, 1))
    with pytest.raises(InputError, match="in stamp;"):
        make_run(resume=True)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"about": {}, "progress": {"no": 1}, "reader": null}'])
def test_a_damaged_state_is_an_input_error(
    make_run: MakeRun, recognizer: Recognizer, tmp_path: Path, content: str
) -> None:
    make_run()
    (tmp_path / "run" / "run.json").write_text(content)
    with pytest.raises(InputError, match="cannot be resumed from"):
        make_run(resume=True)


def test_what_was_lost_since_the_last_mark_is_an_input_error(
    make_run: MakeRun, recognizer: Recognizer, tmp_path: Path
) -> None:
    make_run(annotate=True).read(recognizer)
    part, rows = tmp_path / "run" / "part-0.mp4", tmp_path / "run" / "rows.jsonl"
    content = part.read_bytes()
    part.unlink()
    with pytest.raises(InputError, match=r"part-0\.mp4 is missing.; leave --resume out"):
        make_run(annotate=True, resume=True)
    part.write_bytes(content)
    os.truncate(rows, rows.stat().st_size - 1)
    with pytest.raises(InputError, match=r"rows\.jsonl is shorter than it was.; leave --resume out"):
        make_run(annotate=True, resume=True)
    rows.unlink()
    with pytest.raises(InputError, match=r"rows\.jsonl is shorter than it was.; leave --resume out"):
        make_run(annotate=True, resume=True)


def test_a_mark_comes_after_what_it_tells_of_is_on_the_disk(
    make_run: MakeRun, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        events.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def mark(path: Path, text: str) -> None:
        events.append("mark")
        write_text(path, text)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(video_run, "write_text", mark)
    make_run(annotate=True).read(recognizer)
    part, rows, state = ((tmp_path / "run" / name).stat().st_ino for name in ("part-0.mp4", "rows.jsonl", "run.json"))
    assert events == [part, rows, "mark", state]


def test_rows_after_the_last_mark_are_made_again(make_run: MakeRun, recognizer: Recognizer, tmp_path: Path) -> None:
    make_run().read(recognizer)
    rows = tmp_path / "run" / "rows.jsonl"
    whole = rows.read_bytes()
    rows.write_bytes(whole + b'{"torn')
    assert list(make_run(resume=True).rows()) == [json.loads(line) for line in whole.splitlines()]


def test_a_torn_video_keeps_what_came_before(
    make_run: MakeRun, recognizer: Recognizer, clip: Path, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    run = make_run(source=torn, annotate=True)
    run.read(recognizer)
    assert run.progress.broke_off is not None
    assert "ends in the middle" in run.progress.broke_off
    assert 10 < run.progress.frames < COUNT - 10
    assert [row["frame"] for row in run.rows()] == list(range(run.progress.frames))
    run.write_annotated(tmp_path / "copy.mp4")
    assert len(list(frames(tmp_path / "copy.mp4"))) == run.progress.frames
    again = make_run(source=torn, annotate=True, resume=True)
    again.read(recognizer, on_frame=stop_after(1))
    assert again.progress.broke_off == run.progress.broke_off


def test_what_is_no_video_is_a_video_error(make_run: MakeRun, recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        make_run(source=tmp_path / "text.mp4").read(recognizer)
    with pytest.raises(VideoError, match="clip: cannot be read"):
        make_run(source=tmp_path / "missing.mp4")


def test_a_run_is_removed_with_all_it_holds(make_run: MakeRun, recognizer: Recognizer, tmp_path: Path) -> None:
    run = make_run(annotate=True)
    run.read(recognizer)
    run.remove()
    assert not (tmp_path / "run").exists()

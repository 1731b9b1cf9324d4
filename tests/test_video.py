"""Video: frames in order and upright, errors that say what is wrong, and what came before them kept."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from mien.errors import VideoError
from mien.video import duration_of, frame_at, frames

RATE = 10


def write_clip(path: Path, *, seconds: float = 3.0, noise: bool = False, turned_deg: int = 0) -> Path:
    """Write a clip whose frame at t seconds is grey of 60 * t, its upper left quarter white."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 2_000_000
        if turned_deg:
            stream.set_display_rotation(turned_deg)
        for number in range(round(seconds * RATE)):
            image = np.full((48, 64, 3), 60 * number / RATE, np.uint8)
            image[:24, :32] = 255
            if noise:
                image[:] = np.random.default_rng(number).integers(0, 256, image.shape)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a clip of three seconds."""
    return write_clip(tmp_path / "clip.mp4")


def test_every_frame_comes_once_in_order(clip: Path) -> None:
    read = list(frames(clip))
    assert [round(frame.time_s, 3) for frame in read] == [number / RATE for number in range(30)]
    assert all(frame.image_rgb.shape == (48, 64, 3) and frame.image_rgb.dtype == np.uint8 for frame in read)
    assert np.allclose([frame.image_rgb[-1, -1].mean() for frame in read], [6 * n for n in range(30)], atol=8)


@pytest.mark.parametrize("every", [0.5, 1.0, 0.95])
def test_ticks_are_so_many_seconds_apart(clip: Path, every: float) -> None:
    times = [frame.time_s for frame in frames(clip, every_s=every)]
    assert times[0] == 0
    assert all(0 <= time - number * every < 1 / RATE + 1e-3 for number, time in enumerate(times))
    assert len(times) == int(2.9 / every) + 1


def test_a_time_shows_the_frame_that_frames_gives_there(clip: Path) -> None:
    for frame in frames(clip, every_s=0.7):
        assert np.abs(frame_at(clip, frame.time_s).astype(int) - frame.image_rgb).max() <= 2


def test_a_clip_says_how_long_it_is(clip: Path) -> None:
    assert duration_of(clip) == pytest.approx(3.0, abs=0.15)


def test_frames_are_turned_as_the_file_says(tmp_path: Path) -> None:
    upright = next(frames(write_clip(tmp_path / "upright.mp4"))).image_rgb
    for turned_deg in (90, -90, 180):
        turned = next(frames(write_clip(tmp_path / f"{turned_deg}.mp4", turned_deg=turned_deg))).image_rgb
        assert np.array_equal(turned, np.rot90(upright, turned_deg // 90)), turned_deg


def test_a_damaged_end_is_told_and_what_came_before_is_kept(clip: Path, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", seconds=6, noise=True)
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    read = []
    with pytest.raises(VideoError, match=r"torn\.mkv: ends in the middle, at \d\.\d of 6\.0 s"):  # noqa: PT012
        for frame in frames(torn):
            read.append(frame.time_s)  # noqa: PERF401 - what came before the error is what is asked
    assert 5 < len(read) < 60


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_what_is_no_video_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4: cannot be read as video"):
        list(frames(path))
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        frame_at(path, 0)


def test_sound_alone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video in it, audio alone"):
        list(frames(path))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No such file"):
        list(frames(tmp_path / "none.mp4"))


def test_the_real_clips_are_read(shared: Path) -> None:
    read = list(frames(shared / "data" / "scenes" / "expressive-woman.mp4", every_s=5))
    assert [frame.image_rgb.shape for frame in read] == [(360, 640, 3)] * 4

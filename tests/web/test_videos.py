"""Videos over HTTP: a job is followed, its files fetched, and nothing of it stays."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.web.conftest import MakeService, files_in, until
from tests.web.test_api import problem_of

import mien.video
import mien.video_run
from mien.errors import OutputError
from mien.media import encode_jpeg
from mien.timeline import Timeline
from mien.types import ImageArray
from mien.video import Frame, duration_of
from mien.web import video_reading, videos
from mien.web.answers import VideoSummary

MakeClient = Callable[..., TestClient]
MP4 = {"content-type": "video/mp4"}
FILES = ("rows", "summary", "timeline.png", "annotated.mp4")


def send(client: TestClient, clip: Path, **query: Any) -> str:
    """Send a video and return the path of its job."""
    with clip.open("rb") as file:
        response = client.post("/v1/videos", files={"file": ("holiday/clip, grün.mp4", file)}, params=query)
    assert response.status_code == 202, response.text
    place: str = response.headers["location"]
    assert place == f"/v1/videos/{response.json()['id']}"
    return place


def ended(client: TestClient, place: str) -> dict[str, Any]:
    """Return a job when it has ended."""
    until(lambda: client.get(place).json()["state"] in ("done", "failed"))
    job: dict[str, Any] = client.get(place).json()
    return job


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Return what lets the second frame of each video come."""
    let, frames = threading.Event(), mien.video.frames

    def slowly(*arguments: Any, **settings: Any) -> Iterator[Frame]:
        for number, frame in enumerate(frames(*arguments, **settings)):
            if number:
                let.wait(20)
            yield frame

    monkeypatch.setattr(mien.video_run, "frames", slowly)
    yield let
    let.set()


def audio(path: Path) -> Path:
    """Write a file with nothing but sound."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# ---- Results


def test_a_video_comes_to_rows_in_each_format_a_summary_a_timeline_and_a_copy(
    make_client: MakeClient, clip: Path
) -> None:
    client = make_client()
    place = send(client, clip, annotate="true")
    job = ended(client, place)
    assert (job["state"], job["progress"], job["error"], job["faces"], job["annotated"]) == ("done", 1, None, 10, True)
    told = client.get(f"{place}/rows")
    rows = [json.loads(line) for line in told.text.splitlines()]
    assert [row["frame"] for row in rows] == list(range(10))
    assert {row["track"] for row in rows} == {1}
    assert {row["source"] for row in rows} == {"clip, grün.mp4"}
    assert "clip%2C%20gr%C3%BCn.jsonl" in told.headers["content-disposition"]
    flat = list(csv.DictReader(io.StringIO(client.get(f"{place}/rows", params={"format": "csv"}).text)))
    table = pq.read_table(io.BytesIO(client.get(f"{place}/rows", params={"format": "parquet"}).content)).to_pylist()
    assert [row["expression"] for row in rows] == [row["expression"] for row in flat]
    assert [row["time_s"] for row in rows] == [row["time_s"] for row in table]
    summary = client.get(f"{place}/summary").json()
    assert VideoSummary.model_validate(summary).model_dump() == summary
    (person,) = summary["people"]
    assert person["track"] == 1
    assert person["seen_s"] == pytest.approx(1, abs=0.01)
    assert Image.open(io.BytesIO(client.get(f"{place}/timeline.png").content)).width > 1000
    with av.open(io.BytesIO(client.get(f"{place}/annotated.mp4").content), "r") as copy:
        assert len(list(copy.decode(video=0))) == 10


def test_the_timeline_goes_on_to_the_end_of_the_video(
    make_client: MakeClient, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, ends = Timeline.draw, []

    def note(self: Timeline, *, duration_s: float = 0.0) -> ImageArray:
        ends.append(duration_s)
        return draw(self, duration_s=duration_s)

    monkeypatch.setattr(Timeline, "draw", note)
    client = make_client()
    ended(client, send(client, clip))
    assert ends == [pytest.approx(0.9)]


def test_of_every_so_many_seconds_one_frame_is_read(make_client: MakeClient, clip: Path) -> None:
    client = make_client()
    place = send(client, clip, every_s=0.5)
    assert ended(client, place)["faces"] == 2
    assert "annotate=true" in problem_of(client.get(f"{place}/annotated.mp4"), 409)


def test_however_short_the_step_is_a_video_comes_to_its_end(make_client: MakeClient, clip: Path) -> None:
    client = make_client()
    assert ended(client, send(client, clip, every_s=1e-300))["faces"] == 10


def test_of_a_video_that_ends_in_the_middle_what_came_before_is_there(
    make_client: MakeClient, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(max_video_s=0.45)
    monkeypatch.setattr(video_reading.Task, "check_duration", lambda task: None)  # as where a file does not say
    place = send(client, clip)
    job = ended(client, place)
    assert (job["state"], job["faces"]) == ("done", 6)
    assert "0.45 s" in job["error"]
    assert len(client.get(f"{place}/rows").text.splitlines()) == 6


# ---- What is refused


def test_what_is_no_video_is_refused_and_leaves_nothing(
    make_client: MakeClient, make_app: object, tmp_path: Path, clip: Path, picture: bytes
) -> None:
    client = make_client()
    sound = audio(tmp_path / "sound.mp4").read_bytes()
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    for content, says in ((b"", ""), (b"no video", ""), (picture, "picture"), (sound, "audio alone"),
                          (clip.read_bytes()[:300], ""), (playlist, "")):  # fmt: skip
        for sent in ({"content": content, "headers": MP4}, {"files": {"file": ("clip.mp4", content)}}):
            detail = problem_of(client.post("/v1/videos", **sent), 422)
            assert says in detail
            assert "mien-serve" not in detail
    assert files_in(tmp_path / "temporary") == []
    problem_of(client.post("/v1/videos", content=b"x", headers={"content-type": "image/png"}), 415)
    problem_of(client.post("/v1/videos", files={"files": b"x"}), 422)
    problem_of(client.post("/v1/videos", files=[("file", b"x"), ("file", b"y")]), 413)
    for query in ("every_s=-1", "every_s=60.1", "every_s=nan", "every_s=inf", "every_s=x", "annotate=maybe"):
        problem_of(client.post(f"/v1/videos?{query}", content=clip.read_bytes(), headers=MP4), 422)


def test_too_large_or_too_long_a_video_is_refused(make_client: MakeClient, clip: Path, tmp_path: Path) -> None:
    content = clip.read_bytes()
    small = make_client(max_video_bytes=len(content) - 1)
    problem_of(small.post("/v1/videos", content=content, headers=MP4), 413)
    problem_of(small.post("/v1/videos", content=iter([content[:100], content[100:]]), headers=MP4), 413)
    assert "longer than" in problem_of(
        make_client(max_video_s=0.5).post("/v1/videos", content=content, headers=MP4), 422
    )
    assert files_in(tmp_path / "temporary") == []


def test_as_many_videos_as_may_be_are_taken(make_client: MakeClient, clip: Path, held: threading.Event) -> None:
    client = make_client(max_videos=2)
    first, second = send(client, clip), send(client, clip)
    with clip.open("rb") as file:
        refused = client.post("/v1/videos", content=file, headers=MP4)
    problem_of(refused, 429)
    assert int(refused.headers["retry-after"]) >= 1
    until(lambda: client.get(first).json()["state"] == "running")
    assert client.get(second).json()["state"] == "waiting"
    assert "mien_videos_waiting 1.0" in client.get("/metrics").text
    for name in FILES[:3]:
        problem_of(client.get(f"{first}/{name}"), 409)
    assert client.delete(second).status_code == 204
    third = send(client, clip)
    held.set()
    assert ended(client, third)["state"] == "done"


@pytest.mark.skipif(os.name == "nt", reason="rights of folders")
def test_a_video_lies_where_nobody_else_may_look_also_after_its_folders_were_cleaned_away(
    make_client: MakeClient, clip: Path, tmp_path: Path
) -> None:
    client = make_client()
    for _ in range(2):
        job = ended(client, send(client, clip))
        assert job["state"] == "done"
        (folder,) = (tmp_path / "temporary").iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert job["id"] not in "".join(files_in(tmp_path / "temporary"))
        shutil.rmtree(folder)


# ---- The end of a job


def test_a_deleted_job_is_gone_with_its_files_done_running_or_waiting(
    make_client: MakeClient, clip: Path, held: threading.Event, tmp_path: Path
) -> None:
    client = make_client()
    running, waiting = send(client, clip, annotate="true"), send(client, clip)
    until(lambda: client.get(running).json()["state"] == "running")
    for place in (waiting, running):
        assert client.delete(place).status_code == 204
        problem_of(client.get(place), 404)
        problem_of(client.delete(place), 404)
        for name in FILES:
            problem_of(client.get(f"{place}/{name}"), 404)
    held.set()
    until(lambda: not files_in(tmp_path / "temporary"))
    done = send(client, clip)
    assert ended(client, done)["state"] == "done"
    client.delete(done)
    until(lambda: not files_in(tmp_path / "temporary"))


def test_results_are_gone_after_a_while(make_client: MakeClient, clip: Path, tmp_path: Path) -> None:
    client = make_client(keep_s=0.2)
    place = send(client, clip)
    until(lambda: client.get(place).status_code == 404)
    until(lambda: not files_in(tmp_path / "temporary"))


def test_the_end_of_the_service_ends_what_runs(
    make_app: Callable[..., Any], clip: Path, held: threading.Event, tmp_path: Path
) -> None:
    with TestClient(make_app(), base_url="http://127.0.0.1:8000") as client:
        place = send(client, clip)
        until(lambda: client.get(place).json()["state"] == "running")
        threading.Timer(0.2, held.set).start()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_full_disk_fails_the_job_without_naming_it(
    make_client: MakeClient, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_arguments: object) -> None:
        raise OutputError("/var/tmp: cannot write there: No space left on device")

    monkeypatch.setattr(video_reading, "write_image", fail)
    client = make_client()
    place = send(client, clip)
    job = ended(client, place)
    assert (job["state"], "/var/tmp" in job["error"]) == ("failed", False)
    assert "no room" in problem_of(client.get(f"{place}/rows"), 409)
    assert files_in(tmp_path / "temporary") == []


def test_results_that_were_cleaned_away_are_not_there(make_client: MakeClient, clip: Path, tmp_path: Path) -> None:
    client = make_client()
    place = send(client, clip)
    assert ended(client, place)["state"] == "done"
    shutil.rmtree(tmp_path / "temporary")
    for name in ("rows", "summary", "timeline.png"):
        problem_of(client.get(f"{place}/{name}"), 404)
    assert "no right to write" in problem_of(client.post("/v1/videos", content=b"x", headers=MP4), 507)
    (tmp_path / "temporary").mkdir()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("size", [100, 3 * 2**20])
def test_a_disk_that_is_full_while_a_video_comes_in_is_told(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    make = tempfile.mkdtemp

    def make_full(**settings: Any) -> str:
        folder: str = make(**settings)
        (Path(folder) / "source").symlink_to("/dev/full")
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", make_full)
    assert "no room" in problem_of(make_client().post("/v1/videos", content=bytes(size), headers=MP4), 507)


def test_an_error_of_ours_fails_the_job_and_the_next_is_read(
    make_client: MakeClient, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    with monkeypatch.context() as patched:
        patched.setattr(video_reading, "write_text", None)
        assert ended(client, send(client, clip))["state"] == "failed"
    assert ended(client, send(client, clip))["state"] == "done"


def test_one_who_hangs_up_while_sending_leaves_nothing(serve: MakeService) -> None:
    service = serve(max_videos=1)
    with socket.create_connection(("127.0.0.1", service.port)) as sending:
        sending.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: video/mp4\r\n"
                        b"Content-Length: 9000000\r\n\r\n" + bytes(3_000_000))  # fmt: skip
        until(lambda: bool(service.left()))
    until(lambda: not service.left())
    with httpx2.Client(base_url=service.address) as client:  # the place is free again
        problem_of(client.post("/v1/videos", content=encode_jpeg(np.zeros((8, 8, 3), np.uint8), quality=80),
                               headers=MP4), 422)  # fmt: skip


def test_one_who_hangs_up_before_the_answer_leaves_no_job(
    serve: MakeService, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, let = threading.Event(), threading.Event()

    def slowly(path: Path) -> float | None:
        begun.set()
        assert let.wait(20)
        return duration_of(path)

    monkeypatch.setattr(videos, "duration_of", slowly)
    service, content = serve(), clip.read_bytes()
    with socket.create_connection(("127.0.0.1", service.port)) as sending:
        sending.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: video/mp4\r\n"
                        b"Content-Length: %d\r\n\r\n" % len(content) + content)  # fmt: skip
        assert begun.wait(20)
    time.sleep(0.2)  # for the service to see it
    let.set()
    until(lambda: not service.left())

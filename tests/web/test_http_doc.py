"""docs/http.md says what the service does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi.testclient import TestClient
from tests.web.conftest import MakeService

from mien.video import MAX_PIXELS
from mien.web.limits import Limits

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")


def test_every_curl_line_asks_what_there_is(make_client: Callable[..., TestClient]) -> None:
    described = make_client().get("/openapi.json").json()["paths"]
    asked = set()
    for line in re.findall(r"^curl (.+)$", TEXT, flags=re.MULTILINE):
        address = urlsplit(re.search(r"http://127\.0\.0\.1:8000[^\s']*", line)[0])  # type: ignore[index]
        sends = "-F " in line or "--data" in line
        method = "delete" if "-X DELETE" in line else "post" if sends else "get"
        path = re.sub("/ID(?=/|$)", "/{job_id}", address.path)
        asked.add((path, method))
        known = {one["name"] for one in described[path][method].get("parameters", ())}
        assert {key for key, _ in parse_qsl(address.query)} <= known, line
    assert asked == {(path, method) for path, methods in described.items() for method in methods}


def test_every_status_of_the_service_is_in_the_table(make_client: Callable[..., TestClient]) -> None:
    told = set(re.findall(r"^\| (\d{3}) \|", TEXT, flags=re.MULTILINE))
    document = make_client(token="correct-horse-battery").app.openapi()  # type: ignore[attr-defined]
    described = {
        status
        for methods in document["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
    }
    assert {status for status in described if status >= "400"} - {"500"} <= told


def test_the_limits_are_those_of_the_code() -> None:
    limits = Limits()
    said = {
        "max_bytes": f"{limits.max_bytes // 2**20} MiB and {limits.max_pictures} pictures",
        "max_pictures": f"{limits.max_pictures} pictures",
        "max_pixels": f"{limits.max_pixels:,} pixels a picture",
        "max_at_once": f"{limits.max_at_once} requests with pictures",
        "max_held_bytes": f"{limits.max_held_bytes // 2**20} MiB of them in memory",
        "answer_s": f"{limits.answer_s:g} s; {limits.max_live} cameras",
        "upload_s": f"{limits.upload_s:g} s, and a second more",
        "min_bytes_per_s": f"each {limits.min_bytes_per_s // 2**10} KiB",
        "max_video_bytes": f"{limits.max_video_bytes // 2**20} MiB a video",
        "max_video_s": f"{limits.max_video_s:,.0f} s a video",
        "max_videos": f"{limits.max_videos} videos",
        "keep_s": f"results stay for {limits.keep_s:g} s",
        "max_live": f"{limits.max_live} cameras",
        "max_frame_bytes": f"at most {limits.max_frame_bytes // 2**20} MiB",
        "max_frame_pixels": f"{limits.max_frame_pixels:,} pixels",
        "live_idle_s": "nothing came for two minutes" if limits.live_idle_s == 120 else "?",
    }
    assert f"{MAX_PIXELS:,} a frame of a video" in TEXT
    assert said.keys() == {field.name for field in fields(Limits)}
    for name, words in said.items():
        assert words in TEXT, name


def test_the_python_lines_run(
    serve: MakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    service = serve()
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(compile(block.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"), "docs/http.md", "exec"), {})
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in told] == ["0", "1", "2", "astronaut.jpg", "chelsea.jpg"]
    assert "error" not in told

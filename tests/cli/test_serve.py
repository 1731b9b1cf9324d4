"""`mien serve` as a process: it tells where it is, answers, and ends without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from mien.cli.main import main
from mien.client import Client
from mien.errors import InputError

MakeModel = Callable[..., Path]
COMMAND = [sys.executable, "-c", "from mien.cli.main import main; main()", "serve", "--port", "0"]


@contextmanager
def serving(temporary: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a running `mien serve`, whose temporary files lie in a folder, and its address."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUTF8": "1", **environment},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate(timeout=20)[1]
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM")
def test_it_reads_a_portrait_and_ends_with_a_video_running_leaving_nothing(tmp_path: Path, portrait: Path, shared: Path
) -> None:  # fmt: skip
    with serving(tmp_path) as (process, address):
        assert urlsplit(address).hostname == "127.0.0.1"
        assert httpx2.get(f"{address}healthz").json() == {"status": "ok"}
        client = Client(address)
        (picture,) = client.recognize([portrait])
        assert [face["expression"] for face in picture["faces"]] == ["happy"]
        job_id = client.start_video(shared / "data" / "scenes" / "expressive-woman.mp4", annotate=True)
        end = time.monotonic() + 20
        while client.job(job_id)["state"] != "running" and time.monotonic() < end:
            time.sleep(0.05)
        assert list(tmp_path.glob("mien*")) != []
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "Ctrl-C ends\n"
    # ONNX Runtime leaves a file of its own there, .ses, whoever imports it.
    assert [path.name for path in tmp_path.iterdir() if path.name != ".ses"] == []


def test_on_every_address_it_asks_for_the_token_of_the_environment(tmp_path: Path, make_model: MakeModel) -> None:
    quick = ("--model", str(make_model()), "--detector", "none", "--host", "0.0.0.0")
    with serving(tmp_path / "none", *quick, MIEN_TOKEN="correct-horse-battery") as (process, address):
        port = urlsplit(address).port
        assert parse_qs(urlsplit(address).query) == {"token": ["correct-horse-battery"]}
        here = f"http://127.0.0.1:{port}"
        assert httpx2.get(f"{here}/healthz").status_code == 200
        assert httpx2.get(f"{here}/metrics").status_code == 401
        assert (
            httpx2.get(f"{here}/metrics", headers={"Authorization": "Bearer correct-horse-battery"}).status_code == 200
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "network" in process.stderr.read()


def test_what_cannot_be_served_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments, says in (
        (["--token", "short"], "token"),
        (["--model", "nothing"], "nothing"),
        (["--detector", "eyes"], "eyes"),
        (["--min-face", "0"], "smallest face"),
        (["--host", "nowhere.invalid"], "--host"),
        (["--host", "0.0.0.0", "--name", "faces.example"], "every name is served"),
        (["--name", "faces.example:8443"], "a host alone"),
        (["--name", "https://faces.example"], "a host alone"),
        (["--name", ""], "a host alone"),
    ):
        monkeypatch.setattr(sys, "argv", ["mien", "serve", "--port", "0", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert (left.value.code, said.out, len(said.err.splitlines())) == (2, "", 1)
        assert says in said.err


def test_unless_more_are_asked_for_four_pictures_are_decoded_at_once(
    monkeypatch: pytest.MonkeyPatch, make_model: MakeModel
) -> None:
    asked = []

    def stop(*_arguments: object, workers: int, **_settings: object) -> None:
        asked.append(workers)
        raise InputError("enough")

    monkeypatch.setattr("mien.web.pictures.PictureReader", stop)
    for cores, options in ((64, []), (2, []), (2, ["--workers", "8"])):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(sys, "argv", ["mien", "serve", "--model", str(make_model()), *options])
        with pytest.raises(SystemExit):
            main()
    assert asked == [4, 2, 8]


def test_without_the_extra_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "mien.web.api", raising=False)
    monkeypatch.setattr(sys, "argv", ["mien", "serve"])
    with pytest.raises(SystemExit):
        main()
    assert "extra [serve]" in capsys.readouterr().err

"""The container and the systemd unit: what they run is what mien has, as nobody in particular."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer

from mien.cli.main import app
from mien.web.api import HEALTH

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy" / "mien.service"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile, each with what it is given."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in text.splitlines() if line.strip()]


def given(name: str) -> list[str]:
    """Return what the last stage of the Containerfile gives to an instruction."""
    found = instructions()
    last = max(number for number, (each, _) in enumerate(found) if each == "FROM")
    return [value for each, value in found[last:] if each == name]


def settings() -> dict[str, list[str]]:
    """Return the settings of the systemd unit, each with its values."""
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


def parsed(arguments: list[str]) -> dict[str, object]:
    """Return the options of a command line of mien, which is not run; click's error where there are no such options."""
    group = typer.main.get_command(app)
    command = group.commands[arguments[0]]  # type: ignore[attr-defined]  # it is a group
    return dict(command.make_context(arguments[0], arguments[1:]).params)


def test_the_container_runs_a_command_that_mien_has() -> None:
    program, *arguments = json.loads(given("ENTRYPOINT")[0])
    assert program == "mien"
    options = parsed(arguments)
    assert options["host"] == "0.0.0.0"
    assert given("EXPOSE") == [str(options["port"])]


def test_the_container_is_not_root_and_writes_to_tmp_alone() -> None:
    user, _, group = given("USER")[0].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    environment = dict(pair.split("=", 1) for pair in given("ENV")[0].split())
    assert environment["TMPDIR"] == environment["HOME"] == given("WORKDIR")[0] == "/tmp"
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_container_is_built_from_files_that_are_there_and_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for each, value in instructions() if each == "COPY" and "--from" not in value
              for name in value.split()[:-1]}  # fmt: skip
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (install,) = [value for each, value in instructions() if each == "RUN"]
    assert "--constraint constraints.txt" in install
    assert re.findall(r"\.\[(\w+)\]", install) == ["serve"]
    assert "serve" in extras


@pytest.fixture(params=[200, 503])
def answering(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Return the status that a server gives to the health check, and the server's port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param if self.path == HEALTH else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield request.param, server.server_address[1]
        server.shutdown()


def test_the_health_check_passes_where_the_service_is_well(
    answering: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, port = answering
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    program, flag, code = json.loads(given("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert (program, flag) == ("python", "-c")
    assert f"127.0.0.1:{given('EXPOSE')[0]}{HEALTH}" in code
    done = subprocess.run([sys.executable, "-c", code.replace(":8000", f":{port}")], capture_output=True, check=False)
    assert (done.returncode == 0) == (status == 200)


def test_the_unit_runs_a_command_that_mien_has() -> None:
    program, *arguments = shlex.split(settings()["ExecStart"][0])
    assert Path(program).name == "mien"
    assert arguments.pop() == "$MIEN_OPTIONS"
    assert parsed(arguments)["host"] == "127.0.0.1"


def test_no_runtime_calls_home() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in given("ENV")[0].split()
    assert "ORT_DISABLE_TELEMETRY=1" in settings()["Environment"]
    assert settings()["IPAddressDeny"] == ["any"]


def test_the_token_stays_out_of_the_journal() -> None:
    assert settings()["StandardOutput"] == ["null"]
    assert settings()["EnvironmentFile"] == ["/etc/mien/mien.env"]
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]  # it is a group
    assert "MIEN_TOKEN" in str(serve.params[3].envvar)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_the_unit_well_guarded() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


def test_the_options_that_the_page_of_advice_names_are_there() -> None:
    text = (ROOT / "deploy" / "README.md").read_text()
    for line in ("--workers 2 --max-video-mb 200", "--workers 2 --name mien.example.org"):
        assert line in text
        assert parsed(["serve", *line.split()])["workers"] == 2

"""`mien models`: what ships, what a file says of itself, and a checkpoint made into a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.cli.main import main
from mien.labels import FER2013
from mien.spec import CropSpec, ModelSpec
from mien.weights import catalogue

MakeModel = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `mien models` and gives (exit code, stdout, stderr)."""

    def go(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mien", "models", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return go


def test_every_shipped_model_is_listed_and_the_default_is_marked(run: Run) -> None:
    code, out, err = run("list")
    assert (code, err) == (0, "")
    for name, shipped in catalogue.SHIPPED.items():
        (line,) = (line for line in out.splitlines() if shipped.sha256[:12] in line)
        assert name in line
        assert shipped.licence in line
        assert shipped.card in line
        assert ("(default)" in line) == (name == catalogue.DEFAULT)


@pytest.mark.parametrize("name", catalogue.SHIPPED)
def test_a_shipped_model_describes_itself_as_json(run: Run, name: str) -> None:
    code, out, err = run("show", name)
    assert (code, err) == (0, "")
    assert ModelSpec.loads(out).name == name


def test_a_file_describes_itself_as_json(run: Run, make_model: MakeModel) -> None:
    crop = CropSpec(size_px=24, colour="rgb", contrast="clahe")
    code, out, err = run("show", make_model(crop=crop, mirror=True))
    assert (code, err) == (0, "")
    assert ModelSpec.loads(out) == ModelSpec("tiny", FER2013, crop, 1.0, True, "MIT", "0" * 64)
    assert json.loads(out)["labels"] == list(FER2013)


def test_a_file_that_is_no_model_is_one_line(run: Run, make_model: MakeModel, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "half.onnx").write_bytes(make_model().read_bytes()[:400])
    for model in ("text.onnx", "half.onnx", "missing.onnx", "."):
        code, out, err = run("show", tmp_path / model)
        assert (code, out) == (2, "")
        assert err.startswith("mien: ")
        assert len(err.splitlines()) == 1


def test_a_file_that_is_no_checkpoint_is_one_line_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "empty.pt").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    for checkpoint in ("text.pt", "empty.pt", "missing.pt"):
        code, out, err = run("export", tmp_path / checkpoint, "--out", tmp_path / "model.onnx")
        assert (code, out) == (2, "")
        assert err.startswith("mien: ")
        assert checkpoint in err
        assert len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["export"]])
def test_help_shows_an_example_of_every_command(run: Run, command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert f"mien models {' '.join(command)}" in out
    assert ("Example: " in out) == bool(command)

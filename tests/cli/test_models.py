"""`mien models`: what ships, what a file says of itself, a checkpoint made into a file, and that into an 8-bit one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mien.classify import Classifier
from mien.cli.main import main
from mien.data.manifest import read, write
from mien.labels import FER2013
from mien.spec import CropSpec, ModelSpec
from mien.weights import catalogue

MakeDataset = Callable[..., Path]
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


@pytest.fixture
def make_convolving(make_model: MakeModel) -> MakeModel:
    """Return a function that writes a small model which changes its crops by two convolutions before it reads them."""

    def make(name: str = "blurred.onnx", *, crop: CropSpec | None = None) -> Path:
        path = make_model(name, crop=crop)
        model = onnx.load(path)
        cast, reshape, *rest = model.graph.node
        side = (crop or CropSpec()).size_px
        for key, value in (
            ("planes", np.array([-1, 1, side, side], np.int64)),
            ("kernel", np.random.default_rng(0).uniform(-0.25, 0.25, (1, 1, 3, 3)).astype(np.float32)),
        ):
            model.graph.initializer.append(numpy_helper.from_array(value, key))
        reshape.input[0] = "twice"
        added = [
            helper.make_node("Reshape", [cast.output[0], "planes"], ["plane"]),
            helper.make_node("Conv", ["plane", "kernel"], ["once"], pads=[1] * 4),
            helper.make_node("Conv", ["once", "kernel"], ["twice"], pads=[1] * 4),
        ]
        nodes = [cast, *added, reshape, *rest]
        model.graph.ClearField("node")
        model.graph.node.extend(nodes)
        onnx.save(model, path)
        return path

    return make


def one_line(told: tuple[int, str, str]) -> str:
    """Return the error of a command that could do nothing: exit code 2, one line on stderr, nothing on stdout."""
    code, out, err = told
    assert (code, out) == (2, "")
    assert err.startswith("mien: ")
    assert len(err.splitlines()) == 1
    return err


def test_every_shipped_model_is_listed_and_the_default_is_marked(run: Run) -> None:
    code, out, err = run("list")
    assert (code, err) == (0, "")
    for name, shipped in catalogue.SHIPPED.items():
        (line,) = (line for line in out.splitlines() if re.search(rf"│ {name} ", line))
        assert shipped.sha256[:12] in line
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


def test_each_answer_of_a_file_describes_itself(run: Run, make_model: MakeModel) -> None:
    model = make_model(answers=("people", "ferplus"))
    for options, name in (((), "tiny"), (("--answer", "people"), "tiny"), (("--answer", "ferplus"), "tiny-ferplus")):
        code, out, err = run("show", model, *options)
        assert (code, err) == (0, "")
        assert ModelSpec.loads(out).name == name
    told = one_line(run("show", model, "--answer", "nobody"))
    assert "has no answer 'nobody'; it has people, ferplus" in told


def test_a_file_that_is_no_model_is_one_line(run: Run, make_model: MakeModel, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "half.onnx").write_bytes(make_model().read_bytes()[:400])
    for model in ("text.onnx", "half.onnx", "missing.onnx", "."):
        one_line(run("show", tmp_path / model))


def test_a_file_that_is_no_checkpoint_is_one_line_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "empty.pt").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    for checkpoint in ("text.pt", "empty.pt", "missing.pt"):
        assert checkpoint in one_line(run("export", tmp_path / checkpoint, "--out", tmp_path / "model.onnx"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_checkpoint_is_not_overwritten_by_its_export(run: Run, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"kept")
    told = one_line(run("export", tmp_path / "best.pt", "--out", tmp_path / "best.pt"))
    assert "is the checkpoint itself" in told
    assert (tmp_path / "best.pt").read_bytes() == b"kept"


def test_a_model_becomes_an_8_bit_one_and_it_is_told_how_often_the_two_agree(
    run: Run, make_dataset: MakeDataset, make_convolving: MakeModel, tmp_path: Path
) -> None:
    model, data, out_path = make_convolving(), make_dataset(), tmp_path / "new" / "int8.onnx"
    code, out, err = run("quantise", model, "--data", data, "--out", out_path)
    assert (code, err) == (0, "")
    dataset = read(data)
    crops = np.array(dataset.crops[dataset.manifest.rows_in("val")])
    before, after = (Classifier.load(path).predict(crops).argmax(axis=1) for path in (model, out_path))
    agreed = f"the same answer as {model} for {(before == after).sum()} of 28 crops of val"
    assert re.fullmatch(rf"{re.escape(str(out_path))}: \d+\.\d MiB; {re.escape(agreed)}\n", out)
    assert Classifier.load(out_path).spec == Classifier.load(model).spec
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(out_path).graph.node)
    assert [path.name for path in out_path.parent.iterdir()] == ["int8.onnx"]


def test_a_model_is_not_overwritten_by_its_8_bit_copy(
    run: Run, make_dataset: MakeDataset, make_convolving: MakeModel
) -> None:
    model = make_convolving()
    before = model.read_bytes()
    told = one_line(run("quantise", model, "--data", make_dataset(), "--out", model.parent / "." / model.name))
    assert "is the model itself" in told
    assert model.read_bytes() == before


def test_training_crops_alone_decide_the_ranges_and_the_seed_which(
    run: Run, make_dataset: MakeDataset, make_convolving: MakeModel, tmp_path: Path
) -> None:
    model, data, other = make_convolving(), make_dataset(), make_dataset("other")
    dataset = read(other)
    crops = np.array(dataset.crops)
    crops[dataset.manifest.split > 0] //= 2
    crops[dataset.manifest.rows_in("train")[0]] = 0
    missed = np.arange(len(crops)) == 0  # its crop is blank, and no face
    write(replace(dataset.manifest, missed=missed), crops, other)

    def written(data: Path, *options: str) -> bytes:
        assert run("quantise", model, "--data", data, "--out", tmp_path / "int8.onnx", *options)[0] == 0
        return (tmp_path / "int8.onnx").read_bytes()

    assert written(data) == written(data) == written(other)
    drawn = {seed: written(data, "--faces", "1", "--seed", seed) for seed in ("0", "1", "0")}
    assert len(set(drawn.values())) == 2


def test_what_cannot_be_made_8_bit_is_one_line_and_leaves_nothing(
    run: Run, make_dataset: MakeDataset, make_convolving: MakeModel, make_model: MakeModel, tmp_path: Path
) -> None:
    model, data, untrained = make_convolving(), make_dataset(), make_dataset("untrained", train=0)
    out_path = tmp_path / "out" / "int8.onnx"
    (tmp_path / "text.onnx").write_text("no network")
    wider = make_convolving("wider.onnx", crop=CropSpec(margin=0.5))
    for path, folder, said in (
        (make_model(), data, "no convolution"),
        (tmp_path / "text.onnx", data, "text.onnx: not an ONNX file"),
        (tmp_path / "missing.onnx", data, "no such model"),
        (wider, data, "cut otherwise than the model wants"),
        (model, untrained, "no usable row in split train"),
        (model, tmp_path / "absent", "no dataset there"),
    ):
        assert said in one_line(run("quantise", path, "--data", folder, "--out", out_path))
    assert not list(out_path.parent.glob("*"))
    (tmp_path / "file").touch()
    told = one_line(run("quantise", model, "--data", data, "--out", tmp_path / "file" / "int8.onnx"))
    assert "cannot write there" in told
    code, out, _ = run("quantise", model, "--data", data, "--out", out_path, "--faces", "0")
    assert (code, out) == (2, "")


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["export"], ["quantise"]])
def test_help_shows_an_example_of_every_command(run: Run, command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert f"mien models {' '.join(command)}" in out
    assert "Example: " in out

"""Checkpoints are whole, ours and data only, or refused."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from mien.errors import ModelError, OutputError
from mien.labels import FER2013
from mien.spec import CropSpec, ModelSpec
from mien.train.checkpoint import FORMAT, load, load_predictor, save
from mien.train.config import ModelConfig, Recipe
from mien.train.models.registry import build

SPEC = ModelSpec("x", FER2013, CropSpec(normalisation="fixed"), 1.5, True, "MIT", "0" * 64)
PRIOR = [1 / 7] * 7
CONTENT: dict[str, Any] = {"weights": {"a": torch.arange(6.0)}, "rows": [{"epoch": 1, "loss": 0.5}], "best": None}


class Trap:
    """What a pickle runs when it is opened without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    save(tmp_path / "new" / "a.pt", CONTENT)
    content = load(tmp_path / "new" / "a.pt")
    assert torch.equal(content.pop("weights")["a"], CONTENT["weights"]["a"])
    assert content == {"format": FORMAT, "rows": CONTENT["rows"], "best": None}


def test_a_predictor_answers_as_the_network_that_was_saved(tmp_path: Path) -> None:
    recipe = Recipe("x", model=ModelConfig(batch_norm=True, dropout=0.2))
    network = build(recipe.model, labels=7, crop=SPEC.crop)
    content = {"recipe": asdict(recipe), "specs": {"fer2013": SPEC.dumps()}, "prior": PRIOR}
    save(tmp_path / "best.pt", {**content, "weights": network.state_dict()})
    predictor, loaded_recipe, specs = load_predictor(tmp_path / "best.pt")
    assert (loaded_recipe, specs) == (recipe, {"fer2013": SPEC})
    assert not predictor.training
    assert list(predictor.answers) == ["fer2013"]
    assert predictor.answer().temperature == 1.5
    inputs = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(predictor.network(inputs), network.eval()(inputs))


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_checkpoint_that_is_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "last.pt"
    save(path, {"weights": torch.rand(1000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ModelError, match=r"last\.pt: damaged or not a checkpoint") as raised:
        load(path)
    assert "\n" not in str(raised.value)


def test_a_checkpoint_with_a_flipped_byte_is_never_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save(path, CONTENT)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            load(path)
        except ModelError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"PK\x03\x04" + b"\0" * 100,
        pickle.dumps({"format": FORMAT}),
        pickle.dumps([1, 2]),
        b"\x80*" + b"J\x8c" * 20,  # opcodes that leave the unpickler's stack empty
        b"}q\x00X\x03",
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.pt: ") as raised:
        load(tmp_path / "a.pt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [[1], {"state_dict": {}}, {"format": "mien-checkpoint-0"}, torch.zeros(3)])
def test_a_file_of_torch_that_is_not_ours_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="not a checkpoint of mien"):
        load(tmp_path / "a.pt")


def test_a_file_or_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(ModelError, match="no such checkpoint"):
            load(path)


def test_nothing_that_hides_in_a_pickle_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    torch.save({"format": FORMAT, "weights": Trap(marker)}, tmp_path / "zip.pt")
    torch.save({"format": FORMAT, "weights": Trap(marker)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Trap(marker)))
    for name in ("zip.pt", "old.pt", "bare.pt"):
        with pytest.raises(ModelError):
            load(tmp_path / name)
        assert not marker.exists()
    pickle.loads((tmp_path / "bare.pt").read_bytes())
    assert marker.exists(), "the trap itself does not work"


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": None},
        {"recipe": {"name": "x", "speed": 1}},
        {"recipe": {"name": "x", "model": {"name": "lenet"}}},
        {"specs": "{}"},
        {"specs": {}},
        {"specs": {"fer2013": 3}},
        {"specs": {"fer2013": "{}"}},
        {"prior": None},
        {"weights": {}},
        {"weights": {"a": torch.zeros(1)}},
        {"weights": 3},
    ],
)
def test_a_checkpoint_whose_parts_do_not_fit_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = Recipe("x", model=ModelConfig("resnet", widths=(4,), depths=(1,)))
    weights = build(recipe.model, labels=7, crop=SPEC.crop).state_dict()
    content = {"recipe": asdict(recipe), "specs": {"fer2013": SPEC.dumps()}, "prior": PRIOR, "weights": weights}
    save(tmp_path / "a.pt", content)
    load_predictor(tmp_path / "a.pt")
    save(tmp_path / "a.pt", {**content, **changes})
    with pytest.raises(ModelError, match="does not fit this version of mien") as raised:
        load_predictor(tmp_path / "a.pt")
    assert "\n" not in str(raised.value)


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.pt", {"rows": []})
    with pytest.raises(ModelError, match="does not fit"):
        load_predictor(tmp_path / "a.pt")


def test_a_save_that_fails_leaves_the_older_checkpoint_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save(path, CONTENT)
    before = path.read_bytes()

    def half(content: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("unexpected pos 64 vs 0")  # what torch says of a full disk

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OutputError, match=r"last\.pt: cannot write there"):
        save(path, CONTENT)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="/dev/full: cannot write there: No space left on device"):
        save("/dev/full", CONTENT)


def test_the_same_content_makes_the_same_bytes_wherever_it_is_saved(tmp_path: Path) -> None:
    save(tmp_path / "best.pt", CONTENT)
    save(tmp_path / "elsewhere" / "other.pt", CONTENT)
    assert (tmp_path / "best.pt").read_bytes() == (tmp_path / "elsewhere" / "other.pt").read_bytes()

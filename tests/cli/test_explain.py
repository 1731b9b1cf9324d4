"""`mien explain`: figures of what a model looks at, and one line where there is nothing to explain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeModel = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
ASTRONAUT = Path(__file__).resolve().parents[2] / "examples/astronaut.jpg"


def figures(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder, each of which can be opened and shows something."""
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5, path
    return sorted(path.name for path in folder.iterdir())


def test_a_shipped_model_is_shown_layer_by_layer_and_by_hiding(run_mien: Run, tmp_path: Path) -> None:
    code, said, _ = run_mien("explain", "paper-cnn", ASTRONAUT, "--out", tmp_path / "out")
    assert code == 0
    assert said.startswith("happy ")
    assert figures(tmp_path / "out") == [
        "fused.png", "layer-01.png", "layer-02.png", "layer-03.png", "layer-04.png", "occlusion.png"
    ]  # fmt: skip


def test_a_checkpoint_gives_grad_cam(run_mien: Run, make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    code, said, _ = run_mien("explain", make_checkpoint("vgg"), ASTRONAUT, "--out", tmp_path / "out", "--label", "sad")
    assert code == 0
    assert said.startswith("sad ")
    assert figures(tmp_path / "out") == ["grad-cam.png", "occlusion.png"]


def test_a_model_without_convolutions_is_explained_by_hiding_alone(
    run_mien: Run, make_model: MakeModel, tmp_path: Path
) -> None:
    code, _, _ = run_mien("explain", make_model(), ASTRONAUT, "--out", tmp_path / "out")
    assert code == 0
    assert figures(tmp_path / "out") == ["occlusion.png"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("paper-cnn", "missing.jpg"), "missing.jpg"),
        (("nobody", ASTRONAUT), "nobody"),
        (("missing.pt", ASTRONAUT), "missing.pt: no such checkpoint"),
        (("paper-cnn", ASTRONAUT, "--label", "joy"), "unknown label 'joy'; the model knows angry, "),
        (("paper-cnn", ASTRONAUT, "--answer", "people"), "has no answer 'people'"),
        (("paper-cnn", ASTRONAUT, "--face", "1"), "1 face found, and face 1 was asked for, counted from 0"),
        (("paper-cnn", ASTRONAUT.with_name("chelsea.jpg")), "no face found; --detector none takes the whole picture"),
    ],
)
def test_what_cannot_be_explained_is_told_in_one_line_and_nothing_is_made(
    run_mien: Run, tmp_path: Path, arguments: tuple[str | Path, ...], reason: str
) -> None:
    code, said, why = run_mien("explain", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert said == ""
    assert reason in why
    assert why.count("\n") == 1
    assert not (tmp_path / "out").exists()

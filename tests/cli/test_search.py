"""`mien search`: a recipe with a [search] section to a better recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

RunMien = Callable[..., tuple[int, str, str]]
MakeDataset = Callable[..., Path]

RECIPE = """
name = "small"
[model]
name = "vgg"
widths = [4]
depths = [1]
[optimiser]
epochs = 1
warmup_epochs = 0
batch_size = 20
[search]
"optimiser.learning_rate" = { low = 0.001, high = 0.1, log = true }
"""


def test_the_best_recipe_is_written_and_can_be_trained(
    run_mien: RunMien, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    data = make_dataset()
    (tmp_path / "small.toml").write_text(RECIPE)
    search = ("search", tmp_path / "small.toml", "--data", data, "--out", tmp_path / "out", "--strategy", "random")
    code, said, why = run_mien(*search, "--trials", "2", "--set", "optimiser.epochs=2")
    assert code == 0
    assert "on validation in trial" in said
    assert "(2 complete)" in said
    assert why.count("trial 0: complete") == why.count("trial 1: complete") == 1
    assert "optimiser.learning_rate 0.0" in why
    code, said, _ = run_mien("train", tmp_path / "out/best.toml", "--out", tmp_path / "runs")
    assert code == 0
    assert "-best: " in said
    code, _, why = run_mien(*search, "--trials", "3")
    assert code == 2
    assert "holds a search with another recipe" in why


@pytest.mark.parametrize(
    ("text", "arguments", "reason"),
    [
        ("", (), "no [search] section"),
        (RECIPE, ("--strategy", "luck"), "unknown strategy 'luck'"),
        (RECIPE, ("--set", "optimiser.learning_rate=0.1"), "--set optimiser.learning_rate would be ignored"),
        (RECIPE + '"model.widths" = [[4], [4, 8]]', (), "search.model.widths: [4, 8] cannot be: 2 widths for 1 depths"),
    ],
)
def test_what_cannot_be_searched_is_told_in_one_line_and_nothing_is_made(
    run_mien: RunMien, make_dataset: MakeDataset, tmp_path: Path, text: str, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "small.toml").write_text(text or 'name = "small"')
    code, said, why = run_mien(
        "search", tmp_path / "small.toml", "--data", make_dataset(), "--out", tmp_path / "out", *arguments
    )
    assert code == 2
    assert said == ""
    assert reason in why
    assert why.count("\n") == 1
    assert not (tmp_path / "out").exists()

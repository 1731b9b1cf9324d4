"""The [search] section says what may be varied, and is refused where a network cannot have it."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest

from mien.errors import RecipeError
from mien.spec import CropSpec
from mien.train.config import ModelConfig, Recipe, read_recipe
from mien.train.search_space import Choices, Interval, Space, read_space

RECIPE = Recipe("searched")


def section(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "searched.toml"
    path.write_text(f'name = "searched"\n[search]\n{text}\n', encoding="utf-8")
    return path


def test_lists_are_choices_and_tables_intervals(tmp_path: Path) -> None:
    path = section(
        tmp_path,
        '"optimiser.batch_size" = [32, 64]\n"model.kernels" = [[1, 5, 3, 3], [3, 3, 3, 3]]\n'
        '"optimiser.learning_rate" = { low = 0.001, high = 0.1, log = true }\n'
        '"optimiser.epochs" = { low = 2, high = 9 }',
    )
    assert read_space(path, RECIPE, CropSpec()) == {
        "optimiser.batch_size": Choices((32, 64)),
        "model.kernels": Choices(([1, 5, 3, 3], [3, 3, 3, 3])),
        "optimiser.learning_rate": Interval(0.001, 0.1, log=True),
        "optimiser.epochs": Interval(2, 9, whole=True),
    }
    assert read_recipe(path) == RECIPE, "training leaves the section aside"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"the \[search\] section opens nothing; it opens settings, as"),
        ("[search.model]", r"the \[search\] section opens nothing"),
        ('"optimiser.sizes_px" = [[48], [24]]', r"sizes_px: \[24\] cannot be: .* cannot read crops of 24 pixels"),
        ('"model.widths" = [[32, 32, 64, 100000000000000000]]', "search.model.widths: .* cannot be: "),
        ('"teacher.models" = [["gone.onnx"]]', "search.teacher.models: .* cannot be: .*gone.onnx"),
        ('"model.start" = ["gone.onnx"]', "search.model.start: gone.onnx cannot be: .*gone.onnx"),
        ('"model.dropout" = []', r"search.model.dropout is \[\]; expected a list of choices"),
        ('"model.dropout" = 0.3', "is 0.3; expected a list"),
        ('"model.dropout" = { low = 0.3 }', "expected a list"),
        ('"model.dropout" = { low = 0.3, high = 0.2 }', "low below high"),
        ('"optimiser.learning_rate" = { low = 0, high = 0.2, log = true }', "above 0 where log is true"),
        ('"model.dropout" = { low = 0.3, high = nan }', "expected a list"),
        ('"augment.mixup" = { low = 0, high = 0.5 }', "search.augment.mixup: 0.0005 cannot be"),
        ('"model.dropout" = { low = 0.3, high = 0.5, step = 0.1 }', "expected a list"),
        ('"model.dropout" = { low = 1, high = 1e300 }', "expected a list"),
        ('"model.droput" = [0.3]', "search.model.droput: 0.3 cannot be: unknown key model.droput"),
        ('"droput" = [0.3]', "search.droput: nothing to search; what can be is model, augment, "),
        ('"name" = ["a", "b"]', "search.name: nothing to search"),
        ('"people.logit_adjustment" = [0.5, 1]', "search.people.logit_adjustment: nothing to search"),
        ('"data.val_twins" = [true, false]', "search.data.val_twins: nothing to search"),
        ('"model.dropout" = [0.3, 1.5]', "search.model.dropout: 1.5 cannot be: .*out of range: model.dropout"),
        ('"optimiser.batch_size" = [32.5]', "search.optimiser.batch_size: 32.5 cannot be"),
        (
            '"model.kernels" = [[1, 5, 3, 3], [60, 5, 3, 3]]',
            r"search.model.kernels: \[60, 5, 3, 3\] cannot be: .*60x60",
        ),
        ('"model.name" = ["lenet-9000"]', "search.model.name: lenet-9000 cannot be: unknown model"),
    ],
)
def test_what_cannot_be_searched_is_told_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason) as raised:
        read_space(section(tmp_path, text), RECIPE, CropSpec())
    assert "\n" not in str(raised.value)


def test_a_recipe_without_the_section_is_told_so_and_the_balance_of_training_can_be_searched(tmp_path: Path) -> None:
    path = tmp_path / "plain.toml"
    path.write_text('name = "plain"\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=r"plain\.toml: no \[search\] section"):
        read_space(path, RECIPE, CropSpec())
    assert read_space(section(tmp_path, 'data.balance = ["none", "sampling"]'), RECIPE, CropSpec())


def test_keys_need_no_quotes_and_a_setting_of_fractions_is_no_whole_number(tmp_path: Path) -> None:
    path = section(tmp_path, "augment.erase = { low = 0, high = 1 }\noptimiser.epochs = { low = 2, high = 4 }")
    space = read_space(path, RECIPE, CropSpec())
    assert space == {"augment.erase": Interval(0, 1), "optimiser.epochs": Interval(2, 4, whole=True)}


def test_each_choice_counts_once(tmp_path: Path) -> None:
    path = section(tmp_path, "model.dropout = [0.1, 0.1, 0.3]")
    assert read_space(path, RECIPE, CropSpec()) == {"model.dropout": Choices((0.1, 0.3))}


def test_settings_that_belong_together_can_be_searched_together(tmp_path: Path) -> None:
    path = section(tmp_path, "model.kernels = [[1, 5, 3, 3], [5, 3]]\nmodel.widths = [[32, 32, 64, 128], [16, 32]]")
    assert set(read_space(path, RECIPE, CropSpec())) == {"model.kernels", "model.widths"}


def test_what_a_network_can_have_hangs_on_the_crops(tmp_path: Path) -> None:
    path = section(tmp_path, "model.widths = [[8, 8, 8, 8, 8, 8]]\nmodel.depths = [[1, 1, 1, 1, 1, 1]]")
    residual = Recipe("searched", model=ModelConfig("resnet"))
    with pytest.raises(RecipeError, match=r"search\.model\.widths: \[8, 8, 8, 8, 8, 8\] cannot be"):
        read_space(path, residual, CropSpec())
    assert read_space(path, residual, CropSpec(size_px=96))


@pytest.mark.parametrize(
    ("interval", "points"),
    [
        (Interval(0.0, 1.0), [0.0, 0.5, 1.0]),
        (Interval(0.001, 0.1, log=True), [0.001, 0.01, 0.1]),
        (Interval(1, 9, whole=True), [1, 5, 9]),
        (Interval(1, 2, whole=True), [1, 2]),
        (Interval(1, 100, log=True, whole=True), [1, 10, 100]),
    ],
)
def test_a_grid_holds_both_ends_and_what_lies_between(interval: Interval, points: list[float]) -> None:
    grid = interval.grid(3)
    assert grid == pytest.approx(points)
    assert grid[0] == interval.low
    assert grid[-1] == interval.high
    assert all(type(value) is type(interval.low) for value in grid)


def test_what_optuna_keeps_is_read_back_as_it_was() -> None:
    choices = Choices((1, 0.5, "b", True, [1, 2]))
    space: Space = {"a": choices, "b": Interval(1, 9, whole=True), "c": Interval(1e-4, 1.0, log=True)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = []
    for _ in range(60):
        trial = study.ask()
        values = {key: opened.suggest(trial, key) for key, opened in space.items()}
        assert values == {key: opened.decode(trial.params[key]) for key, opened in space.items()}
        seen.append(values)
    assert all(any(values["a"] == choice for values in seen) for choice in choices.ends())
    assert {type(values["b"]) for values in seen} == {int}
    small = sum(float(str(values["c"])) < math.sqrt(1e-4) for values in seen)
    assert 15 < small < 45, "log: half of the draws lie below the geometric mean"

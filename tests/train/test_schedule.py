"""The learning rate rises, reaches what the recipe says and decays; crops grow as it says."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mien.train.config import OptimiserConfig
from mien.train.schedule import learning_rate_at, size_at

STEPS = 10


def rates(schedule: str, *, epochs: int = 20, warmup: int = 1) -> list[float]:
    config = OptimiserConfig(learning_rate=0.01, schedule=schedule, epochs=epochs, warmup_epochs=warmup)
    return [learning_rate_at(config, step, STEPS) for step in range(epochs * STEPS)]


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_it_warms_up_in_a_straight_line_to_the_recipes_rate(schedule: str) -> None:
    found = rates(schedule, warmup=2)
    assert found[: 2 * STEPS] == pytest.approx([0.01 * (step + 1) / (2 * STEPS) for step in range(2 * STEPS)])
    assert max(found) == found[2 * STEPS] == pytest.approx(0.01)


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_it_decays_after_the_warm_up_and_never_to_nothing(schedule: str) -> None:
    after = rates(schedule)[STEPS:]
    assert all(later <= earlier for earlier, later in pairwise(after))
    assert 0 < after[-1] < 0.01 * 0.003


def test_the_cosine_is_at_half_in_the_middle() -> None:
    assert rates("cosine", warmup=0)[10 * STEPS] == pytest.approx(0.005)


def test_the_step_halves_ten_times_in_equal_parts() -> None:
    found = rates("step", warmup=0)
    assert sorted(set(found), reverse=True) == pytest.approx([0.01 * 0.5**times for times in range(10)])
    assert all(found.count(rate) == 20 for rate in set(found))


def test_constant_is_constant() -> None:
    assert set(rates("constant", warmup=0)) == {0.01}


def test_a_run_of_one_epoch_that_is_all_warm_up_ends_at_the_recipes_rate() -> None:
    assert rates("cosine", epochs=1, warmup=1)[-1] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("sizes", "epochs", "expected"),
    [
        ((), 4, [0, 0, 0, 0]),
        ((48,), 3, [48, 48, 48]),
        ((32, 48), 4, [32, 32, 48, 48]),
        ((32, 40, 48), 3, [32, 40, 48]),
        ((32, 32, 48), 6, [32, 32, 32, 32, 48, 48]),
        ((24, 32, 48), 2, [32, 48]),
        ((24, 32, 48), 7, [24, 24, 24, 32, 32, 48, 48]),
    ],
)
def test_each_size_has_an_equal_part_of_the_run(sizes: tuple[int, ...], epochs: int, expected: list[int]) -> None:
    config = OptimiserConfig(epochs=epochs, sizes_px=sizes)
    assert [size_at(config, epoch) for epoch in range(1, epochs + 1)] == expected

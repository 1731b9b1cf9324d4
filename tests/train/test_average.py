"""The averaged weights follow the network's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mien.train.average import UPDATE_EVERY, update_average


def pair() -> tuple[nn.Module, nn.Module]:
    """Return an average whose weights are 0 and a network whose weights are 1."""
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    averaged = copy.deepcopy(network)
    for module, value in ((averaged, 0.0), (network, 1.0)):
        for parameter in module.parameters():
            nn.init.constant_(parameter, value)
    return averaged, network


def reaches(decay: float, *, epochs: int, steps: int) -> dict[tuple[int, int], float]:
    """Return (epoch, step) -> how far the average went towards the network, where it went at all."""
    found = {}
    for epoch in range(1, epochs + 1):
        for done in range(1, steps + 1):
            averaged, network = pair()
            update_average(averaged, network, decay, epoch=epoch, done=done, steps=steps)
            if reach := float(next(averaged.parameters()).detach().mean()):
                found[epoch, done] = reach
    return found


def test_it_is_updated_every_eighth_step_and_at_the_end_of_an_epoch() -> None:
    assert list(reaches(0.9, epochs=2, steps=20)) == [(1, 8), (1, 16), (1, 20), (2, 8), (2, 16), (2, 20)]
    assert list(reaches(0.9, epochs=1, steps=16)) == [(1, 8), (1, 16)]
    assert list(reaches(0.9, epochs=2, steps=1)) == [(1, 1), (2, 1)]


def test_early_updates_reach_further_than_the_decay_says() -> None:
    found = list(reaches(0.5, epochs=7, steps=UPDATE_EVERY + 1).values())
    growing = [(1 + number) / (10 + number) for number in range(14)]
    assert found == pytest.approx([1 - min(0.5, decay) for decay in growing])
    assert found[-1] == 0.5


def test_weights_and_running_statistics_move_alike_and_counts_are_taken_over() -> None:
    averaged, network = pair()
    fresh = {name: kept.clone() for name, kept in averaged.named_buffers()}
    network(torch.randn(5, 3) + 1)
    update_average(averaged, network, 0.9, epoch=1, done=8, steps=8)
    for parameter in averaged.parameters():
        torch.testing.assert_close(parameter.data, torch.full_like(parameter, 0.9))
    current = dict(network.named_buffers())
    for name, kept in averaged.named_buffers():
        expected = torch.lerp(fresh[name], current[name], 0.9) if kept.is_floating_point() else current[name]
        assert not torch.equal(kept, fresh[name])
        torch.testing.assert_close(kept, expected)
    assert all(bool((parameter == 1).all()) for parameter in network.parameters()), "the network itself was changed"

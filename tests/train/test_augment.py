"""Augmentation moves and relights as far as the recipe says, and no further."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mien.evaluate.cameras import BLUR_PX, GAMMA, NOISE, SIDELIGHT
from mien.train.augment import _blur, _sample, degrade, mix, move
from mien.train.config import AugmentConfig

NOTHING = AugmentConfig(rotation_deg=0, shift=0, zoom=0, flip=False, brightness=0, contrast=0, erase=0)
EVERYTHING = AugmentConfig(
    rotation_deg=30, shift=0.2, zoom=0.3, flip=True, brightness=0.3, contrast=0.5, camera=0.5, erase=0.5
)
SIDE = 48
MANY = 400


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augment(crops: Tensor, config: AugmentConfig, *, generator: torch.Generator) -> Tensor:
    """Return crops changed in every way but mixed."""
    return degrade(move(crops, config, generator=generator), config, generator=generator)


def noise(count: int = 8, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, SIDE, SIDE, generator=seeded(99))


def spot(x: float, y: float, count: int = MANY) -> Tensor:
    """Return crops (N, 1, S, S), black but for a soft white spot at (x, y) from the middle, in pixels."""
    position = torch.arange(SIDE) - (SIDE - 1) / 2
    across, down = torch.exp(-((position - x) ** 2) / 8), torch.exp(-((position - y) ** 2) / 8)
    return (down[:, None] * across[None, :]).expand(count, 1, SIDE, SIDE)


def centre(crops: Tensor) -> Tensor:
    """Return (N, 2) where each crop's brightness has its centre, (x, y) from the middle, in pixels."""
    position = torch.arange(SIDE) - (SIDE - 1) / 2
    light = crops.sum(dim=1)
    x, y = (light.sum(dim=1) * position).sum(dim=1), (light.sum(dim=2) * position).sum(dim=1)
    return torch.stack([x, y], dim=1) / light.sum(dim=(1, 2))[:, None]


def alike(left: Tensor, right: Tensor) -> Tensor:
    """Return (N,) whether the crops are the same but for rounding."""
    return (left - right).abs().amax(dim=(1, 2, 3)) < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_type_and_range_stay_and_the_given_crops_are_left_alone(channels: int) -> None:
    crops = noise(20, channels)
    before = crops.clone()
    changed = augment(crops, EVERYTHING, generator=seeded())
    assert changed.shape == crops.shape
    assert changed.dtype == crops.dtype
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert torch.equal(crops, before)


def test_nothing_changes_where_all_is_0() -> None:
    crops = noise()
    assert torch.equal(augment(crops, NOTHING, generator=seeded()), crops)


def test_the_generator_alone_decides() -> None:
    crops = noise()
    torch.manual_seed(1)
    first = augment(crops, EVERYTHING, generator=seeded(5))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = augment(crops, EVERYTHING, generator=seeded(5))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state), "torch's own random state was used"
    assert not torch.equal(augment(crops, EVERYTHING, generator=seeded(6)), first)


@pytest.mark.parametrize(
    "config",
    [
        replace(NOTHING, rotation_deg=10),
        replace(NOTHING, shift=0.1),
        replace(NOTHING, zoom=0.2),
        replace(NOTHING, brightness=0.1),
        replace(NOTHING, contrast=0.3),
        replace(NOTHING, camera=1),
        replace(NOTHING, erase=1),
    ],
)
def test_each_kind_changes_every_crop_of_a_batch_in_its_own_way(config: AugmentConfig) -> None:
    crops = noise(1).expand(6, 1, SIDE, SIDE)
    changed = augment(crops, config, generator=seeded())
    for index in range(6):
        assert not torch.equal(changed[index], crops[index])
        for other in range(index):
            assert not torch.equal(changed[index], changed[other])


def test_the_channels_of_a_crop_move_together() -> None:
    crops = noise(6).expand(6, 3, SIDE, SIDE)
    changed = augment(crops, replace(EVERYTHING, camera=0, erase=1), generator=seeded())
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_rotation_turns_both_ways_up_to_its_angle_about_the_middle() -> None:
    x, y = centre(augment(spot(12, 0), replace(NOTHING, rotation_deg=20), generator=seeded())).T
    angle = torch.rad2deg(torch.atan2(y, x))
    assert float(angle.abs().max()) == pytest.approx(20, abs=1)
    assert float(angle.min()) < -18
    assert float(angle.max()) > 18
    torch.testing.assert_close(torch.hypot(x, y), torch.full_like(x, 12), atol=0.15, rtol=0)


def test_shift_moves_both_ways_up_to_its_share_of_the_side() -> None:
    found = centre(augment(spot(0, 0), replace(NOTHING, shift=0.15), generator=seeded())) / SIDE
    for axis in range(2):
        assert float(found[:, axis].min()) == pytest.approx(-0.15, abs=0.01)
        assert float(found[:, axis].max()) == pytest.approx(0.15, abs=0.01)
    assert abs(float(np.corrcoef(found.numpy().T)[0, 1])) < 0.2, "across and down are one number"


def test_zoom_makes_larger_and_smaller_by_up_to_its_factor() -> None:
    config = replace(NOTHING, zoom=0.25)
    x, y = centre(augment(spot(10, -6), config, generator=seeded())).T
    for factor in (x / 10, y / -6):
        assert float(factor.min()) == pytest.approx(1 / 1.25, abs=0.01)
        assert float(factor.max()) == pytest.approx(1.25, abs=0.01)
        assert 0.4 < float((factor > 1).float().mean()) < 0.6
    torch.testing.assert_close(x / 10, y / -6, atol=0.01, rtol=0)


def test_a_flip_mirrors_left_and_right_every_second_time() -> None:
    crops = noise(MANY)
    changed = augment(crops, replace(NOTHING, flip=True), generator=seeded())
    same, mirrored = alike(changed, crops), alike(changed, crops.flip(3))
    assert bool((same ^ mirrored).all())
    assert 0.4 < float(mirrored.float().mean()) < 0.6


def test_brightness_is_added_alike_to_every_pixel_within_its_bounds() -> None:
    crops = noise(MANY) * 0.2 + 0.4
    added = augment(crops, replace(NOTHING, brightness=0.3), generator=seeded()) - crops
    torch.testing.assert_close(added.amax(dim=(1, 2, 3)), added.amin(dim=(1, 2, 3)), atol=1e-5, rtol=0)
    assert float(added.min()) == pytest.approx(-0.3, abs=0.01)
    assert float(added.max()) == pytest.approx(0.3, abs=0.01)


def test_contrast_stretches_about_the_crops_mean_within_its_bounds() -> None:
    crops = noise(MANY) * 0.2 + torch.linspace(0.3, 0.5, MANY)[:, None, None, None]
    changed = augment(crops, replace(NOTHING, contrast=0.5), generator=seeded())
    mean = crops.mean(dim=(1, 2, 3), keepdim=True)
    gain = changed.std(dim=(1, 2, 3), keepdim=True) / crops.std(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(changed - mean, (crops - mean) * gain, atol=1e-5, rtol=0)
    assert float(gain.min()) == pytest.approx(1 / 1.5, abs=0.01)
    assert float(gain.max()) == pytest.approx(1.5, abs=0.01)


def test_erasing_hides_one_rectangle_of_2_to_25_percent_as_often_as_it_says() -> None:
    crops = noise(MANY)
    changed = augment(crops, replace(NOTHING, erase=0.3), generator=seeded())
    hidden = (changed != crops)[:, 0]
    share = hidden.float().mean(dim=(1, 2))
    assert 0.22 < float((share > 0).float().mean()) < 0.38
    assert 0.01 < float(share[share > 0].min()) < 0.05
    assert 0.2 < float(share.max()) < 0.28
    for crop, before, mask in zip(changed, crops, hidden, strict=True):
        if mask.any():
            rows, columns = mask.any(dim=1), mask.any(dim=0)
            assert torch.equal(mask, rows[:, None] & columns[None, :])
            torch.testing.assert_close(crop[0][mask], before.mean().expand(int(mask.sum())), atol=1e-5, rtol=0)


def test_another_camera_takes_as_many_as_it_says_and_leaves_the_others_alone() -> None:
    crops = noise(MANY)
    changed = augment(crops, replace(NOTHING, camera=0.3), generator=seeded())
    touched = (changed != crops).any(dim=(1, 2, 3))
    assert 0.22 < float(touched.float().mean()) < 0.38
    assert (changed != crops)[touched].float().mean() > 0.9, "a crop is changed as a whole"


def test_a_camera_that_takes_none_of_a_batch_changes_none() -> None:
    crops = noise()
    assert torch.equal(augment(crops, replace(NOTHING, camera=1e-9), generator=seeded()), crops)


def test_another_camera_exposes_lights_and_grains_a_flat_crop_within_its_bounds() -> None:
    changed = augment(torch.full((MANY, 1, SIDE, SIDE), 0.5), replace(NOTHING, camera=1), generator=seeded())[:, 0]
    exposure = changed.mean(dim=(1, 2)).log() / math.log(0.5)
    assert float(exposure.log().abs().max()) == pytest.approx(GAMMA, abs=0.02)
    assert 0.4 < float((exposure > 1).float().mean()) < 0.6
    place = torch.linspace(-1, 1, SIDE)
    relative = changed / changed.mean(dim=(1, 2), keepdim=True)
    slopes = [(relative.mean(dim=axis) * place).sum(dim=1) / (place**2).sum() for axis in (1, 2)]
    steepest = torch.hypot(*slopes)
    assert float(steepest.min()) < 0.02
    assert float(steepest.max()) == pytest.approx(SIDELIGHT, abs=0.02)
    plane = 1 + slopes[0][:, None, None] * place + slopes[1][:, None, None] * place[:, None]
    grain = (changed - plane * changed.mean(dim=(1, 2), keepdim=True)).std(dim=(1, 2)) * 255
    assert float(grain.min()) < 0.1
    assert float(grain.max()) == pytest.approx(NOISE, rel=0.06)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_blur_is_opencvs(channels: int) -> None:
    crops, deviation = noise(20, channels), torch.linspace(0.05, BLUR_PX, 20)
    blurred = _blur(crops, deviation)
    for crop, sigma, found in zip(crops, deviation, blurred, strict=True):
        planes = [cv2.GaussianBlur(p.numpy(), (7, 7), float(sigma), borderType=cv2.BORDER_REPLICATE) for p in crop]
        np.testing.assert_allclose(found.numpy(), planes, atol=1e-5)


def test_what_moves_in_from_outside_repeats_the_edge() -> None:
    crops = torch.full((50, 1, SIDE, SIDE), 0.7)
    moved = augment(crops, replace(NOTHING, rotation_deg=45, shift=0.4, zoom=0.5, flip=True), generator=seeded())
    torch.testing.assert_close(moved, crops)


def test_edges_are_repeated_alike_where_the_device_does_not_know_how() -> None:
    crops = noise(5, 3)
    grid = torch.rand(5, SIDE, SIDE, 2, generator=seeded()) * 4 - 2
    known, cut = (_sample(crops, grid, knows_border=knows) for knows in (True, False))
    torch.testing.assert_close(cut, known, atol=1e-5, rtol=0)


def test_the_mean_crop_stays_where_it_was() -> None:
    """No kind pulls to one side: over many draws, position and brightness have no drift."""
    config = replace(EVERYTHING, flip=False, camera=0, erase=0, shift=0.1)
    found = centre(augment(spot(0, 0, 2000), replace(config, brightness=0, contrast=0), generator=seeded()))
    assert float(found.mean(dim=0).abs().max()) < 0.25
    lift = augment(torch.full((2000, 1, 4, 4), 0.5), replace(NOTHING, brightness=0.3), generator=seeded()).mean()
    assert float(lift) == pytest.approx(0.5, abs=0.01)


def mixed(a: float, *, count: int = MANY, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return (crops, mixed crops, shares (N, N) of each crop in each mixed one)."""
    crops = torch.rand(count, 1, 4, 4, generator=seeded(1))
    return crops, *mix(crops, torch.eye(count), replace(NOTHING, mixup=a), generator=seeded(seed))


@pytest.mark.parametrize("a", [0.001, 0.2, 1.0, 50.0])
def test_targets_are_mixed_in_the_shares_of_their_crops_of_which_the_largest_is_its_own(a: float) -> None:
    crops, changed, shares = mixed(a)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(MANY))
    torch.testing.assert_close(changed, torch.einsum("ij,jchw->ichw", shares, crops))
    assert float(shares.diagonal().min()) >= 0.5
    assert int((shares > 0).sum(dim=1).max()) <= 2


def test_shares_are_drawn_for_each_crop_from_the_distribution_of_the_recipe() -> None:
    own = [mixed(a)[2].diagonal() for a in (0.2, 1.0, 50.0)]
    # The mean of the larger of x and 1 - x: of Beta(1, 1) 3/4, and of Beta(a, a) nearer to 1 the smaller a is.
    assert float(own[1].mean()) == pytest.approx(0.75, abs=0.03)
    assert float(own[0].mean()) > 0.85
    assert float(own[2].max()) < 0.7
    assert len(set(own[1].tolist())) > MANY * 0.9


def test_a_batch_is_mixed_by_the_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    _, first, shares = mixed(0.4)
    assert torch.equal(torch.get_rng_state(), state), "torch's own random state was used"
    _, again, same_shares = mixed(0.4)
    assert torch.equal(first, again)
    assert torch.equal(shares, same_shares)
    assert not torch.equal(mixed(0.4, seed=1)[1], first)


def test_without_mixup_crops_and_targets_stay_and_nothing_is_drawn() -> None:
    crops, targets, generator = noise(), torch.eye(8), seeded()
    state = generator.get_state()
    left = mix(crops, targets, NOTHING, generator=generator)
    assert left[0] is crops
    assert left[1] is targets
    assert torch.equal(generator.get_state(), state)


def test_rows_that_ask_for_nothing_are_mixed_as_nothing() -> None:
    targets = torch.eye(8)
    targets[::2] = 0
    _, changed = mix(noise(), targets, replace(NOTHING, mixup=0.4), generator=seeded())
    _, shares = mix(noise(), torch.eye(8), replace(NOTHING, mixup=0.4), generator=seeded())
    torch.testing.assert_close(changed, shares @ targets)

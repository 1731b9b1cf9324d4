"""Label-preserving changes to a whole batch at once, driven by a generator that is passed in.

The kinds are those of the paper's Figure 3 and section IV.A: rotation, shift, zoom, mirror image, lighting; beyond them
mixed crops, what another camera would have made of them, and hidden parts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mien.evaluate.cameras import BLUR_PX, GAMMA, NOISE, SIDELIGHT
from mien.train.config import AugmentConfig

__all__ = ["degrade", "mix", "move"]

BLUR_REACH = 3  # pixels on each side that a blur looks at: more than three standard deviations


def move(crops: Tensor, config: AugmentConfig, *, generator: torch.Generator) -> Tensor:
    """Return the crops rotated, zoomed, shifted and mirrored in one resampling, each by itself, edges repeated.

    crops: (N, C, S, S) float from 0 to 1; the result is the same shape and range, on the same device.
    generator: on the CPU, so that a run is the same on every device.
    """
    if not (config.rotation_deg or config.zoom or config.shift or config.flip):
        return crops
    count = len(crops)
    angle = _uniform(count, math.radians(config.rotation_deg), generator)
    scale = torch.exp(_uniform(count, math.log1p(config.zoom), generator))
    shift = torch.stack([_uniform(count, 2 * config.shift, generator) for _ in range(2)], dim=1)
    mirrored = torch.rand(count, generator=generator) < 0.5
    sign = torch.where(mirrored & config.flip, -1.0, 1.0)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    matrix = torch.stack(
        [
            torch.stack([cosine * sign, -sine, shift[:, 0]], dim=1),
            torch.stack([sine * sign, cosine, shift[:, 1]], dim=1),
        ],
        dim=1,
    ).to(crops.device)
    grid = functional.affine_grid(matrix, list(crops.shape), align_corners=False)
    return _sample(crops, grid, knows_border=crops.device.type != "mps")  # there since torch 2.13 (pytorch#125098)


def degrade(crops: Tensor, config: AugmentConfig, *, generator: torch.Generator) -> Tensor:
    """Return the crops relit, taken by another camera and partly hidden, each by itself; see `move` for the rest.

    A teacher is asked before: what it says of the whole picture is learned from the spoilt one (Xie et al. 2020,
    "Self-training with Noisy Student improves ImageNet classification").
    """
    return _erase(_retake(_relight(crops, config, generator), config, generator), config, generator)


def mix(crops: Tensor, targets: Tensor, config: AugmentConfig, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return each crop and its target mixed with those of another of the batch, in a share drawn from Beta(a, a).

    crops: (N, C, S, S).  targets: (N, L).  The larger share stays with the crop's own.
    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", with a share for each crop.
    """
    if not config.mixup:
        return crops, targets
    count = len(crops)
    gammas = torch._standard_gamma(torch.full((2, count), config.mixup), generator=generator)
    share = (gammas / gammas.sum(dim=0)).max(dim=0).values.to(crops.device)
    other = torch.randperm(count, generator=generator).to(crops.device)
    mixed = crops * share.view(-1, 1, 1, 1) + crops[other] * (1 - share.view(-1, 1, 1, 1))
    return mixed, targets * share[:, None] + targets[other] * (1 - share[:, None])


def _uniform(count: int, reach: float, generator: torch.Generator) -> Tensor:
    """Return (count,) numbers between -reach and reach."""
    return (torch.rand(count, generator=generator) * 2 - 1) * reach


def _sample(crops: Tensor, grid: Tensor, *, knows_border: bool) -> Tensor:
    """Return the crops read at the grid (N, S, S, 2), edges repeated; without the border mode the grid is cut there."""
    if not knows_border:
        edge = 1 - 1 / crops.shape[-1]  # the middle of the outermost pixels
        grid = grid.clamp(-edge, edge)
    padding = "border" if knows_border else "zeros"
    return functional.grid_sample(crops, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _relight(crops: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return the crops with contrast stretched about each one's mean and brightness added."""
    if not config.brightness and not config.contrast:
        return crops
    count = len(crops)
    gain = torch.exp(_uniform(count, math.log1p(config.contrast), generator)).view(-1, 1, 1, 1).to(crops.device)
    lift = _uniform(count, config.brightness, generator).view(-1, 1, 1, 1).to(crops.device)
    mean = crops.mean(dim=(1, 2, 3), keepdim=True)
    return ((crops - mean) * gain + mean + lift).clamp_(0, 1)


def _retake(crops: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return the crops, some blurred, under another exposure, with light from one side and the noise of a sensor.

    What evaluate/cameras.py does to single crops, as far, without its re-cutting (`move`) and its JPEG file.
    """
    if not config.camera:
        return crops
    chosen = (torch.rand(len(crops), generator=generator) < config.camera).nonzero().squeeze(1)
    if not len(chosen):
        return crops
    count, channels, side = len(chosen), crops.shape[1], crops.shape[-1]
    deviation = (torch.rand(count, generator=generator) * BLUR_PX).clamp(min=0.05)
    gamma = torch.exp(_uniform(count, GAMMA, generator)).view(-1, 1, 1, 1)
    angle = _uniform(count, math.pi, generator).view(-1, 1, 1, 1)
    place = torch.linspace(-1, 1, side)
    slope = torch.cos(angle) * place + torch.sin(angle) * place[:, None]
    light = 1 + torch.rand(count, 1, 1, 1, generator=generator) * SIDELIGHT * slope
    strength = torch.rand(count, 1, 1, 1, generator=generator) * NOISE / 255
    grain = torch.randn(count, channels, side, side, generator=generator) * strength
    gamma, light, grain, chosen = (part.to(crops.device) for part in (gamma, light, grain, chosen))
    taken = _blur(crops[chosen], deviation).clamp(0, 1) ** gamma * light + grain
    return crops.index_copy(0, chosen, taken.clamp_(0, 1))


def _blur(crops: Tensor, deviation: Tensor) -> Tensor:
    """Return the crops (N, C, S, S) blurred with a Gaussian of each one's deviation (N,) in pixels, edges repeated."""
    count, channels = crops.shape[:2]
    distance = torch.arange(-BLUR_REACH, BLUR_REACH + 1)
    kernel = torch.softmax(-(distance**2) / (2 * deviation[:, None] ** 2), dim=1).to(crops.device)
    kernel = kernel.repeat_interleave(channels, dim=0)[:, None, None, :]  # one a crop and channel, as groups
    padded = functional.pad(crops, [BLUR_REACH] * 4, mode="replicate")
    across = functional.conv2d(padded.flatten(0, 1)[None], kernel, groups=count * channels)
    return functional.conv2d(across, kernel.mT, groups=count * channels).reshape(crops.shape)


def _erase(crops: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return the crops, some with a rectangle of 2% to 25% of the area filled with its crop's mean."""
    if not config.erase:
        return crops
    count, side = len(crops), crops.shape[-1]
    chosen = torch.rand(count, generator=generator) < config.erase
    area = 0.02 + 0.23 * torch.rand(count, generator=generator)
    aspect = torch.exp(_uniform(count, math.log(3), generator))
    height, width = torch.sqrt(area * aspect).clamp(max=1), torch.sqrt(area / aspect).clamp(max=1)
    top = torch.rand(count, generator=generator) * (1 - height)
    left = torch.rand(count, generator=generator) * (1 - width)
    position = (torch.arange(side) + 0.5) / side
    rows = (position >= top[:, None]) & (position < (top + height)[:, None]) & chosen[:, None]
    columns = (position >= left[:, None]) & (position < (left + width)[:, None])
    hidden = (rows[:, :, None] & columns[:, None, :])[:, None].to(crops.device)
    return torch.where(hidden, crops.mean(dim=(1, 2, 3), keepdim=True), crops)

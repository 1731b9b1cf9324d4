"""Train the small network behind the numbers "frontal" and "visible", and write src/mien/data/quality.npz.

    python benchmarks/train_quality.py --data data/fer2013 [--epochs 10] [--seed 0] [--out src/mien/data/quality.npz]

FER2013's Training faces (`mien data prepare`) as they are count as good.  In each epoch a fifth of them is turned away
(the face is wrapped around an upright ellipsoid, which is turned by 30 to 75 degrees) and almost half of them hidden in
part (by shapes of many kinds), anew each time.  Blur, light, noise, shifts and mirror images come to all alike, so that
they tell nothing.  Validation faces, spoiled by the same hands, are only measured.  The same seed and number of
threads give the same weights on the same machine; 10 epochs take 10 to 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.data.manifest import read
from mien.data.quality import WEIGHTS, network_input
from mien.files import atomic_path
from mien.types import FloatArray, ImageArray

SIDE = 48
BATCH = 256
MIDDLE = (24.0, 25.0)  # of the face in a crop of FER2013
FACE = (18.0, 23.0)  # its half axes
LEAST_HIDDEN = 0.13  # share of the face; a shape that hides less is drawn again
GOOD, TURNED, HIDDEN = range(3)
SHARES = (0.35, 0.2, 0.45)  # to turn is soon learnt, to hide is not


def main() -> None:
    """Train, measure on the validation faces and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dataset = read(options.data)
    faces = np.asarray(dataset.crops[dataset.manifest.rows_in("train")])
    held_out = np.asarray(dataset.crops[dataset.manifest.rows_in("val")])
    known = {face.tobytes() for face in held_out}
    faces = faces[[face.tobytes() not in known for face in faces]]  # some faces stand in both splits
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    network = build()
    fit(network, faces, held_out, epochs=options.epochs, rng=rng)
    write(network, options.out)


def build() -> nn.Sequential:
    """Return the network: three convolutions of stride 2 and two layers; two logits, frontal and visible."""
    widths, layers = (1, 16, 32, 64), []
    for index, size in enumerate((5, 3, 3)):
        convolution = nn.Conv2d(widths[index], widths[index + 1], size, stride=2, padding=size // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(widths[index + 1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 36, 32), nn.ReLU(), nn.Linear(32, 2))


def fit(
    network: nn.Sequential, faces: ImageArray, held_out: ImageArray, *, epochs: int, rng: np.random.Generator
) -> None:
    """Train in place; print the areas under the curve on the held-out faces after each epoch."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * math.ceil(len(faces) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    for epoch in range(epochs):
        network.train()
        order = rng.permutation(len(faces))
        for start in range(0, len(order), BATCH):
            seen, kinds = spoil(faces, order[start : start + BATCH], rng)
            loss = nn.functional.binary_cross_entropy_with_logits(network(tensor(seen)), answers(kinds))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        frontal, visible = measure(network, held_out)
        print(
            f"epoch {epoch + 1}: loss {loss.item():.3f}, AUC frontal {frontal:.4f}, visible {visible:.4f}", flush=True
        )


def measure(network: nn.Sequential, faces: ImageArray) -> tuple[float, float]:
    """Return the areas under the curve, frontal and visible, good faces against spoiled ones, always spoiled alike."""
    network.eval()
    rng = np.random.default_rng(0)
    seen, kinds = spoil(faces, rng.permutation(len(faces)), rng)
    with torch.no_grad():
        logits = network(tensor(seen)).numpy()
    good = logits[kinds == GOOD]
    return area(good[:, 0], logits[kinds == TURNED, 0]), area(good[:, 1], logits[kinds == HIDDEN, 1])


def area(good: FloatArray, bad: FloatArray) -> float:
    """Return the share of pairs in which the good one is higher."""
    return float(np.mean(good[:, None] > bad))


def tensor(faces: ImageArray) -> torch.Tensor:
    """Return grey faces (N, 48, 48) as the network takes them."""
    return torch.from_numpy(network_input(faces)[:, None])


def answers(kinds: np.ndarray) -> torch.Tensor:
    """Return (N, 2) frontal and visible, 1 where it is so."""
    return torch.from_numpy(np.stack([kinds != TURNED, kinds != HIDDEN], axis=1).astype(np.float32))


def write(network: nn.Sequential, path: Path) -> None:
    """Write the weights as half floats, the normalisations folded into the convolutions."""
    arrays: dict[str, FloatArray] = {}
    parts = list(network.eval())
    for index in range(3):
        convolution, norm = parts[3 * index], parts[3 * index + 1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        kernel = convolution.weight * scale[:, None, None, None]
        arrays[f"kernel{index}"] = kernel.permute(2, 3, 1, 0).detach().numpy()
        arrays[f"bias{index}"] = (norm.bias - norm.running_mean * scale).detach().numpy()
    for index, linear in ((3, parts[11]), (4, parts[13])):
        assert isinstance(linear, nn.Linear)
        arrays[f"kernel{index}"] = linear.weight.T.detach().numpy()
        arrays[f"bias{index}"] = linear.bias.detach().numpy()
    # The maps come as (height, width, channels) where the shipped network runs, as (channels, height, width) here.
    hidden = arrays["kernel3"].reshape(64, 6, 6, 32).transpose(1, 2, 0, 3)
    arrays["kernel3"] = np.ascontiguousarray(hidden.reshape(64 * 36, 32))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, allow_pickle=False, **{name: array.astype(np.float16) for name, array in arrays.items()}
        )


def spoil(faces: ImageArray, rows: np.ndarray, rng: np.random.Generator) -> tuple[ImageArray, np.ndarray]:
    """Return the faces of these rows (N, 48, 48), each good, turned or hidden, and which it is (N,)."""
    kinds = rng.choice(3, size=len(rows), p=SHARES)
    seen = []
    for row, kind in zip(rows.tolist(), kinds.tolist(), strict=True):
        face = faces[row]
        if kind == TURNED:
            face = turn(face, rng)
        elif kind == HIDDEN:
            face = hide(face, faces[rng.integers(len(faces))], rng)
        seen.append(disturb(face, rng))
    return np.stack(seen), kinds


def turn(face: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Return a face turned to a side: wrapped around an ellipsoid of random proportions."""
    yaw = math.radians(rng.uniform(30, 75)) * rng.choice([-1, 1])
    width, height = FACE[0] * rng.uniform(0.9, 1.35), FACE[1] * rng.uniform(1.0, 1.7)
    depth = rng.uniform(0.7, 1.4)  # of the head, over its width
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    round_head = rng.random() < 0.6  # else a cylinder
    down = np.clip((y - MIDDLE[1]) / height, -1, 1)
    half = width * np.sqrt(np.maximum(1 - down**2, 0.02)) if round_head else np.full_like(x, width)
    seen_half = half * math.hypot(math.cos(yaw), depth * math.sin(yaw))
    place = (x - MIDDLE[0] - rng.uniform(-3, 3)) / seen_half
    angle = np.arcsin(np.clip(place, -1, 1)) - math.atan2(depth * math.sin(yaw), math.cos(yaw))
    source = MIDDLE[0] + half * np.sin(angle)
    back = np.abs(angle) > math.pi / 2  # not to be seen from the front: cheek and hair
    if rng.random() < 0.5:
        source = np.where(back, MIDDLE[0] + half * np.sign(angle), source)
    outside = np.abs(place) > 1
    beyond = MIDDLE[0] + np.sign(place) * half * (1 + 0.3 * (np.abs(place) - 1))
    kind = rng.integers(3)
    source = np.where(outside, beyond if kind == 0 else x, source) if kind < 2 else source
    how = cv2.BORDER_REFLECT_101 if rng.random() < 0.5 else cv2.BORDER_REPLICATE
    turned = cv2.remap(face, source.astype(np.float32), y, cv2.INTER_LINEAR, borderMode=how).astype(np.uint8)
    if kind == 2 or rng.random() < 0.2:
        shade = fill(face, face, rng) if rng.random() < 0.3 else np.full_like(face, rng.integers(256))
        turned[outside] = shade[outside]
    if rng.random() < 0.25:
        turned[back] = int(np.median(face[:6]))
    return turned


def hide(face: ImageArray, other: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Return a face that something stands before."""
    y, x = np.mgrid[:SIDE, :SIDE]
    oval = ((x - MIDDLE[0]) / FACE[0]) ** 2 + ((y - MIDDLE[1]) / FACE[1]) ** 2 < 1
    while True:
        mask = shape(rng)
        if rng.random() < 0.15:
            mask = np.maximum(mask, shape(rng))
        share = float((mask[oval] > 0.5).mean())
        if LEAST_HIDDEN < share < 0.6:
            break
    soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.3, 1.2))
    return np.rint(face * (1 - soft) + fill(face, other, rng) * soft).astype(np.uint8)


def shape(rng: np.random.Generator) -> FloatArray:
    """Return (48, 48) 1 where a random thing stands: block, oval, bar, mask, sunglasses, hand or jagged piece."""
    large = np.zeros((4 * SIDE, 4 * SIDE), np.uint8)  # four times as fine as the face, for smooth edges
    x, y = rng.uniform(20, 172, 2)
    turn = float(rng.uniform(-30, 30))
    kind = int(rng.integers(8))
    if kind == 0:
        box(large, x, y, rng.uniform(36, 130), rng.uniform(36, 130), turn * 3)
    elif kind == 1:
        size = rng.uniform(20, 70, 2)
        cv2.ellipse(large, (int(x), int(y)), (int(size[0]), int(size[1])), turn * 3, 0, 360, 255, -1)
    elif kind == 2:  # a bar over the eyes
        box(large, 96 + rng.uniform(-12, 12), rng.uniform(64, 92), rng.uniform(120, 230), rng.uniform(28, 60), turn / 3)
    elif kind == 3:  # a mask over mouth and nose
        top, low, wide = rng.uniform(92, 126), rng.uniform(165, 200), rng.uniform(45, 76)
        middle = 96 + rng.uniform(-10, 10)
        rim = wide * rng.uniform(0.5, 1.0)
        corners = [
            (middle - wide, top + rng.uniform(0, 14)),
            (middle, top - rng.uniform(0, 14)),
            (middle + wide, top + 7),
        ]
        corners += [(middle + rim, low - 15), (middle, low + 6), (middle - rim, low - 15)]
        cv2.fillPoly(large, [np.array(corners, np.int32)], 255)
    elif kind == 4:  # sunglasses
        level, apart, tilt = rng.uniform(70, 88), rng.uniform(32, 42), rng.uniform(-6, 6)
        axes = (int(rng.uniform(23, 34)), int(rng.uniform(17, 29)))
        middle = 96 + rng.uniform(-8, 8)
        for sign in (-1, 1):
            place = (int(middle + sign * apart), int(level + sign * tilt))
            if rng.random() < 0.5:
                cv2.ellipse(large, place, axes, 0, 0, 360, 255, -1)
            else:
                box(large, *place, 2 * axes[0], 2 * axes[1], tilt)
        thick = int(rng.uniform(3, 14))
        cv2.line(large, (int(middle - apart), int(level - tilt)), (int(middle + apart), int(level + tilt)), 255, thick)
    elif kind == 5:  # a hand: a palm and some fingers that come from a side
        angle = rng.uniform(0, 2 * math.pi)
        along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        palm = np.array([x, y])
        cv2.ellipse(large, tuple(palm.astype(int).tolist()), (40, 32), math.degrees(angle), 0, 360, 255, -1)
        for finger in range(-2, 2):
            root = palm + across * finger * 17
            tip = palm + along * rng.uniform(60, 110) + across * finger * rng.uniform(14, 26)
            ends = tuple(root.astype(int).tolist()), tuple(tip.astype(int).tolist())
            cv2.line(large, *ends, 255, int(rng.uniform(12, 22)))
    elif kind == 6:  # a jagged piece
        angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 9))))
        reach = rng.uniform(30, 85, len(angles))
        cv2.fillPoly(
            large, [np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], 1).astype(np.int32)], 255
        )
    else:  # what comes in from a side of the picture
        depth = rng.uniform(50, 110)
        box(large, 96, depth - 150, 600, 300, turn)
        large = np.ascontiguousarray(np.rot90(large, int(rng.integers(4))))
    small = np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(small / np.float32(255), np.float32)


def box(canvas: ImageArray, x: float, y: float, width: float, height: float, angle: float) -> None:
    """Draw a turned rectangle."""
    corners = cv2.boxPoints(((float(x), float(y)), (float(width), float(height)), float(angle)))
    cv2.fillPoly(canvas, [corners.astype(np.int32)], 255)


def fill(face: ImageArray, other: ImageArray, rng: np.random.Generator) -> FloatArray:
    """Return (48, 48) grey levels of the thing: flat, shaded, skin, noise, cloud, stripes or a piece of a picture."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    kind = int(rng.integers(9))
    level = float(rng.choice([0, 255, rng.uniform(0, 255), rng.uniform(0, 60)]))
    texture: NDArray[Any] = np.full((SIDE, SIDE), level, np.float32)
    if kind == 2:
        angle = rng.uniform(0, 2 * math.pi)
        texture = level + rng.uniform(0.5, 3) * ((x - 24) * math.cos(angle) + (y - 24) * math.sin(angle))
    elif kind in (3, 4):  # as light as the skin, softly shaded
        skin = float(np.median(face[14:38, 12:36])) * rng.uniform(0.7, 1.25)
        texture = skin + cloud(rng, rng.uniform(3, 8)) * rng.uniform(4, 18)
    elif kind == 5:
        texture = level + rng.normal(0, rng.uniform(8, 70), (SIDE, SIDE))
    elif kind == 6:
        texture = level + cloud(rng, rng.uniform(0.7, 4)) * rng.uniform(15, 60)
    elif kind == 7 and rng.random() < 0.4:
        angle, step = rng.uniform(0, math.pi), rng.uniform(3, 12)
        wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) / step * 2 * math.pi)
        texture = level + rng.uniform(20, 90) * (np.sign(wave) if rng.random() < 0.5 else wave)
    elif kind == 7:  # a piece of another face, so placed that it is none
        texture = np.roll(np.rot90(other, int(rng.integers(1, 4))), tuple(rng.integers(48, size=2).tolist()), (0, 1))
    elif kind == 8:  # strong blotches, as of cloth in a pattern
        texture = rng.uniform(80, 175) + cloud(rng, rng.uniform(0.6, 3)) * rng.uniform(25, 75)
    return np.asarray(np.clip(texture, 0, 255), np.float32)


def cloud(rng: np.random.Generator, sigma: float) -> FloatArray:
    """Return (48, 48) smooth noise of deviation 1."""
    soft = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)).astype(np.float32), (0, 0), sigma)
    return np.asarray(soft / (soft.std() + 1e-6), np.float32)


def disturb(face: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Return a face mirrored, shifted, tilted, scaled, blurred, lit otherwise and grainy, each of them sometimes."""
    if rng.random() < 0.5:
        face = face[:, ::-1]
    pixels: NDArray[Any] = np.ascontiguousarray(face, np.float32)
    if rng.random() < 0.8:
        matrix = cv2.getRotationMatrix2D((23.5, 23.5), rng.normal(0, 5), math.exp(rng.normal(0, 0.08)))
        matrix[:, 2] = matrix[:, 2] + rng.normal(0, 2.2, 2)
        how = cv2.BORDER_REPLICATE  # as where a crop reaches beyond its picture
        pixels = cv2.warpAffine(pixels, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=how)
    if rng.random() < 0.4:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 1.4))
    if rng.random() < 0.5:
        pixels = 255 * (np.clip(pixels, 0, 255) / 255) ** math.exp(rng.normal(0, 0.4))
        pixels = (pixels - 128) * math.exp(rng.normal(-0.1, 0.3)) + 128 + rng.normal(0, 20)
    if rng.random() < 0.3:
        pixels = pixels + rng.normal(0, rng.uniform(1, 8), pixels.shape)
    return np.asarray(np.rint(np.clip(pixels, 0, 255)), np.uint8)


if __name__ == "__main__":
    main()

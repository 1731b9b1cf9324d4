"""Where a run computes, and in which precision."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from mien.errors import InputError, RecipeError

__all__ = ["autocast", "describe", "find_device", "find_layout", "find_precision", "has_room", "memory_told"]


def find_device(name: str = "auto") -> torch.device:
    """Return the device of a name: CUDA, else MPS, else the CPU for "auto".  InputError where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(name):
        raise InputError(
            f"device {name!r} is not here; expected one of {', '.join(n for n, ok in present.items() if ok)}"
        )
    return torch.device(name)


def find_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the processor computes in it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has_onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # PyTorch: untyped
    if has_onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # oneDNN takes bfloat16 on any AVX-512; without the instructions for it, it is slower than float32.
        has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if has_instructions else torch.float32
    return torch.float32


def has_room(device: torch.device, size: int) -> bool:
    """Return whether a device has a memory of its own that so many bytes fill to a quarter at most."""
    return device.type == "cuda" and 4 * size <= torch.cuda.mem_get_info(device)[0]


def find_layout(device: torch.device) -> torch.memory_format:
    """Return how pictures lie in memory where convolutions are fastest and right.

    On MPS batch normalisation computes wrong gradients of channels that come last (pytorch/pytorch#175189).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which networks compute in the device's precision."""
    precision = find_precision(device)
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


class MemoryShortError(RecipeError):
    """There is less memory than a recipe takes."""


@contextmanager
def memory_told(recipe_name: str) -> Iterator[None]:
    """Have memory that is not enough be MemoryShortError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # Of the processor's memory PyTorch tells by a plain RuntimeError.
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)
        if not known:
            raise
        raise MemoryShortError(
            f"recipe {recipe_name!r}: memory is not enough; lower optimiser.batch_size or make the network smaller"
        ) from error


def describe(device: torch.device) -> str:
    """Return the hardware of a run in a few words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads of a {platform.machine()} {device.type}"

"""Where a run computes."""

from __future__ import annotations

import platform

import pytest
import torch

from mien.errors import InputError, RecipeError
from mien.train.devices import autocast, describe, find_device, find_layout, find_precision, memory_told

CPU = torch.device("cpu")


def test_the_cpu_is_always_there_and_said_in_words() -> None:
    assert find_device("cpu") == CPU
    assert platform.machine() in describe(CPU)


def test_auto_takes_cuda_before_mps_before_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda answer=cuda: answer)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda answer=mps: answer)
        assert find_device("auto").type == expected


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_is_not_enough_is_told_and_other_errors_pass(error: Exception) -> None:
    with pytest.raises(RecipeError, match="recipe 'run': memory is not enough"), memory_told("run"):
        raise error
    with pytest.raises(RuntimeError, match="shapes"), memory_told("run"):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "meta"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"is not here; expected one of cpu"):
        find_device(name)


def test_a_processor_without_onednn_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert find_precision(CPU) == torch.float32


@pytest.mark.parametrize("instructions", [False, True])
def test_networks_compute_in_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, instructions: bool
) -> None:
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # type: ignore[no-untyped-call]
        pytest.skip("this processor has no bfloat16 at all")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with autocast(CPU):
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype == (torch.bfloat16 if instructions else torch.float32)


def test_mps_computes_in_float32_without_a_warning() -> None:
    with autocast(torch.device("mps")):
        assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == torch.float32


def test_channels_come_last_but_on_mps_where_gradients_would_be_wrong() -> None:
    layouts = [find_layout(torch.device(name)) for name in ("cpu", "cuda", "mps")]
    assert layouts == [torch.channels_last, torch.channels_last, torch.contiguous_format]

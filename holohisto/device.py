"""The torch device that work runs on, and the precision that encoders compute in."""

import contextlib
from collections.abc import Generator
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from holohisto.config.fields import Precision


def best_device() -> torch.device:
    """Return the first CUDA device, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights, or of its buffers; the CPU if it has neither."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def resolve_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return the precision that `tokens.precision` means on a device: `auto` is bf16 on GPUs."""
    if wanted == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    return wanted


@contextlib.contextmanager
def encoding_in(precision: Precision, device: torch.device) -> Generator[None, None, None]:
    """Compute in one precision, whatever autocast surrounds the call.

    fp32 is full fp32, and GPUs use one convolution algorithm: TF32 would change tokens.
    """
    exact = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with exact, torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the faster layout for narrow convolutions: channels last on GPUs only."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def gpu_count() -> int:
    """Return the number of CUDA devices; 0 without any."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def at_least_fp32(values: Tensor) -> Tensor:
    """Return a tensor in fp32, or in its own fp64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

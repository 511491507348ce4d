"""Which torch device work runs on."""

import os

import psutil
import torch
from torch import nn


def best_device() -> torch.device:
    """Return the first CUDA device, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a model's weights are on (buffers, for a model without weights)."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def peak_memory_mb() -> float:
    """Return the peak memory of the GPU, or the resident memory of the process on a CPU, MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return psutil.Process(os.getpid()).memory_info().rss / 2**20

"""The torch device that work runs on."""

import torch
from torch import nn


def best_device() -> torch.device:
    """Return the first CUDA device, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights, or of its buffers; the CPU if it has neither."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the faster layout for narrow convolutions: channels last on GPUs only."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def gpu_count() -> int:
    """Return the number of CUDA devices; 0 without any."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0

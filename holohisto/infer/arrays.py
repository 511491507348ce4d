"""The arrays that tiles are blended in: of numpy, or of torch on a GPU.

Stitching is written once, with what both have in common. torch is imported only for its own.
"""

from typing import Any, Protocol

import numpy as np

from holohisto.runtime.arithmetic import round_up

Array = Any
"""A numpy array, or a tensor of torch."""


class Arrays(Protocol):
    """What is done differently by numpy and torch."""

    library: Any
    """The module `numpy` or `torch`, for names that both have."""

    def zeros(self, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """Return an array of zeros, on the device."""
        ...

    def of(self, array: np.ndarray) -> Array:
        """Bring an array to the device."""
        ...

    def numpy(self, array: Array) -> np.ndarray:
        """Bring an array from the device."""
        ...

    def copy(self, array: Array) -> Array:
        """Copy an array."""
        ...

    def means(self, plane: Array, side: int) -> Array:
        """Average (rows, columns) float32 over squares of `side`; the last pixels are repeated."""
        ...


class NumpyArrays:
    """Arrays of numpy."""

    library = np

    def zeros(self, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
        """See Arrays."""
        return np.zeros(shape, dtype)

    def of(self, array: np.ndarray) -> np.ndarray:
        """See Arrays."""
        return array

    def numpy(self, array: np.ndarray) -> np.ndarray:
        """See Arrays."""
        return array

    def copy(self, array: np.ndarray) -> np.ndarray:
        """See Arrays."""
        return array.copy()

    def means(self, plane: np.ndarray, side: int) -> np.ndarray:
        """See Arrays."""
        rows, columns = plane.shape
        margin = (round_up(rows, side) - rows, round_up(columns, side) - columns)
        if any(margin):
            plane = np.pad(plane, [(0, margin[0]), (0, margin[1])], mode="edge")
        lines = sum(plane[first::side] for first in range(1, side)) + plane[::side]
        total = sum(lines[:, first::side] for first in range(1, side)) + lines[:, ::side]
        return total / np.float32(side * side)


class TorchArrays:
    """Tensors of torch on a device."""

    def __init__(self, device: Any) -> None:
        """`device` is a `torch.device`."""
        import torch

        self.library, self._device = torch, device

    def zeros(self, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """See Arrays."""
        return self.library.zeros(shape, dtype=getattr(self.library, dtype), device=self._device)

    def of(self, array: np.ndarray) -> Array:
        """See Arrays."""
        return self.library.from_numpy(array).to(self._device)

    def numpy(self, array: Array) -> np.ndarray:
        """See Arrays."""
        return array.cpu().numpy()

    def copy(self, array: Array) -> Array:
        """See Arrays."""
        return array.clone()

    def means(self, plane: Array, side: int) -> Array:
        """See Arrays."""
        functional = self.library.nn.functional
        margin = (0, -plane.shape[1] % side, 0, -plane.shape[0] % side)
        wide = functional.pad(plane[None, None], margin, mode="replicate")
        return functional.avg_pool2d(wide, side)[0, 0]

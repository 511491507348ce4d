"""The identity of a computation, by which an interrupted run recognises its own state."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holohisto import __version__

Input = np.ndarray[Any, Any] | Path | Sequence[Any] | Mapping[str, Any] | float | None


def hash_of_inputs(*inputs: Input) -> str:
    """Return the SHA-256 of this version of the package and of every input of a computation.

    An interrupted run is resumed only if the hash is the same.

    Args:
        inputs: Arrays (of any type and shape), files as `Path` (hashed by content), and values
            that JSON holds.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: an input is of another type.
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256(__version__.encode())
    for value in inputs:
        content = _content(value)
        digest.update(f"{type(value).__name__} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def _content(value: Input) -> bytes:
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return f"{value.dtype.str} {value.shape} ".encode() + hashlib.sha256(content.data).digest()
    if isinstance(value, Path):
        with value.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    return json.dumps(value).encode()

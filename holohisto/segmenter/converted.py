"""A segmenter as a network of OpenVINO, in one file beside it, so that a CPU needs no torch.

The file is made from the segmenter on first use and can be deleted at any time. It holds the
digest of the segmenter and its own, and one that does not match is made again.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.runtime.paths import is_own_file
from holohisto.runtime.seal import require_header, sealed_header
from holohisto.segmenter.sides import Sides

logger = logging.getLogger(__name__)
FORMAT = "holohisto-openvino-1"


@dataclass(frozen=True)
class ConvertedSegmenter:
    """Intermediate representation of a segmenter, from tokens and pixels to probabilities.

    Inputs are `tokens` (1, h, w) int64 and `rgb` (1, H, W, 3) uint8, as far as the segmenter reads
    them; the output is (1, classes, H, W) float32.
    """

    xml: bytes
    weights: bytes
    sides: Sides
    """Heights and widths of tiles that it accepts."""
    needs_tokens: bool
    needs_pixels: bool


def load_or_convert(
    name: str, folders: Sequence[Path], digest: str, convert: Callable[[], ConvertedSegmenter]
) -> ConvertedSegmenter:
    """Return the converted segmenter from its file; without one, convert and write it.

    Args:
        name: Name of the file.
        folders: Folders to look in; the file is written into the first one that allows it.
        digest: Digest of the segmenter's weights.
        convert: Converts the segmenter.
    """
    for folder in folders:
        if (found := _load(folder / name, digest)) is not None:
            return found
    converted = convert()
    for folder in folders:
        try:
            _save(converted, digest, folder / name)
            break
        except HolohistoError as error:
            logger.info("%s", error)
    return converted


def _save(converted: ConvertedSegmenter, digest: str, path: Path) -> None:
    facts = asdict(converted)
    xml, weights = facts.pop("xml"), facts.pop("weights")
    header = {
        "format": FORMAT,
        "segmenter": digest,
        "openvino": _version(),
        "digest": _digest(xml, weights),
        "facts": json.dumps(facts),
    }
    arrays = {"xml": np.frombuffer(xml, np.uint8), "weights": np.frombuffer(weights, np.uint8)}
    with atomic.replacing(path) as temporary:
        save_file(arrays, temporary, metadata=sealed_header(header))


def _load(path: Path, digest: str) -> ConvertedSegmenter | None:
    """Read a file; None if it is missing, damaged, or of another user or segmenter."""
    if not is_own_file(path):
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            expected = {"format": FORMAT, "segmenter": digest, "openvino": _version()}
            if not expected.items() <= header.items():
                return None
            require_header(path, header)
            xml, weights = (file.get_tensor(name).tobytes() for name in ("xml", "weights"))
        if header["digest"] != _digest(xml, weights):
            return None
        facts: dict[str, Any] = json.loads(header["facts"])
        sides = facts.pop("sides")
        sides["fixed"] = sides["fixed"] and tuple(sides["fixed"])
        return ConvertedSegmenter(xml=xml, weights=weights, sides=Sides(**sides), **facts)
    except (OSError, SafetensorError, KeyError, ValueError, HolohistoError):
        return None
    except (TypeError, AttributeError):  # facts of another kind
        return None


def _digest(xml: bytes, weights: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(xml).digest() + weights).hexdigest()


def _version() -> str:
    import openvino

    return openvino.get_version()

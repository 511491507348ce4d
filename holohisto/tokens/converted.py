"""The encoder as networks of OpenVINO, in one file beside the tokenizer.

Converting takes longer than encoding a small slide. The file is made from the tokenizer on first
use and can be deleted at any time; one that does not match the tokenizer is made again.
"""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.runtime.paths import is_own_file
from holohisto.runtime.processor import intermediate_representation, read_network
from holohisto.runtime.seal import require_header, sealed_header

logger = logging.getLogger(__name__)
FORMAT = "holohisto-openvino-encoder-1"
SUFFIX = ".openvino"
Parts = dict[str, np.ndarray]
"""`PHASE.xml` and `PHASE.weights` of each network, uint8."""


def load_or_convert(
    path: Path | None, digest: str, convert: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return the networks by phase, each an `openvino.Model`.

    They always come from an intermediate representation, so that a file and a conversion give the
    same numbers.

    Args:
        path: The file, which is written if need be and possible; None: none is kept.
        digest: Digest of the tokenizer.
        convert: Converts the tokenizer.
    """
    parts = _load(path, digest) if path is not None else None
    if parts is None:
        parts = _parts(convert())
        if path is not None:
            _save(parts, digest, path)
    phases = [name.removesuffix(".xml") for name in parts if name.endswith(".xml")]
    return {
        phase: read_network(parts[f"{phase}.xml"].tobytes(), parts[f"{phase}.weights"].tobytes())
        for phase in phases
    }


def _parts(networks: dict[str, Any]) -> Parts:
    parts = {}
    for phase, network in networks.items():
        xml, weights = intermediate_representation(network)
        parts |= {f"{phase}.xml": np.frombuffer(xml, np.uint8)}
        parts |= {f"{phase}.weights": np.frombuffer(weights, np.uint8)}
    return parts


def _save(parts: Parts, digest: str, path: Path) -> None:
    header = sealed_header(_expected(digest), *_content(parts))
    try:
        with atomic.replacing(path) as temporary:
            save_file(parts, temporary, metadata=header)
    except HolohistoError as error:  # the folder of a finished run may be read-only
        logger.info("%s", error)


def _load(path: Path, digest: str) -> Parts | None:
    """Read a file; None if it is missing, damaged, or of another user or tokenizer."""
    if not is_own_file(path):
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if not _expected(digest).items() <= header.items():
                return None
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        require_header(path, header, *_content(parts))
    except (OSError, SafetensorError, ValueError, HolohistoError):
        return None
    return parts


def _content(parts: Parts) -> list[memoryview]:
    return [parts[name].data for name in sorted(parts)]


def _expected(digest: str) -> dict[str, str]:
    openvino: Any = importlib.import_module("openvino")
    return {"format": FORMAT, "tokenizer": digest, "openvino": openvino.get_version()}

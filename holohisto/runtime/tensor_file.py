"""The header of a safetensors file, read with limits before the file is opened."""

import json
from pathlib import Path
from typing import Any, cast

from holohisto.errors import HolohistoError

LONGEST_HEADER = 8 * 2**20
"""Bytes; 20,000 tensors. The largest network here has 2,000."""


def read_header(
    path: Path, what: str, format_name: str, advice: str | None = None
) -> dict[str, str]:
    """Return the texts in the header of a safetensors file of one format.

    Args:
        path: The file.
        what: What it should be, such as "segmenter".
        format_name: Value that the header's `format` must have.
        advice: What to do about a file of another format.

    Raises:
        HolohistoError: missing, no safetensors file, a header beyond all limits, or of another
            format.
    """
    metadata = read_metadata(path, what)
    if metadata.get("format") != format_name:
        raise HolohistoError(
            path,
            f"is not a HoloHisto {what} of this version",
            found=metadata.get("format", "no format in the header"),
            allowed=format_name,
            advice=advice,
        )
    return metadata


def read_metadata(path: Path, what: str) -> dict[str, str]:
    """Return the texts in the header of a safetensors file.

    Raises:
        HolohistoError: missing, no safetensors file, or a header beyond all limits.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > LONGEST_HEADER:
                raise HolohistoError(
                    path,
                    f"is no {what}, or damaged: its header is too long",
                    found=length,
                    allowed=f"{LONGEST_HEADER} bytes",
                )
            header = cast(object, json.loads(file.read(length)))
    except OSError as error:
        raise HolohistoError(path, f"{what} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise HolohistoError(path, f"{what} cannot be read: no safetensors file") from error
    texts = cast(dict[str, Any], header).get("__metadata__") if isinstance(header, dict) else None
    metadata = cast(dict[str, Any], texts) if isinstance(texts, dict) else {}
    return {key: str(value) for key, value in metadata.items()}

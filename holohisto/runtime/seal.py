"""Digests of what is stored, so that a damaged file is noticed when it is read."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from holohisto.errors import HolohistoError

KEY = "seal"
"""Key of the digest in a header."""
JSON_KEY = "sha256 of the other fields"
"""Key of the digest in JSON; no name of a class, which may be keys beside it."""
MARK = b"\nholohisto-seal-1 "
"""Starts the last line of a file with a digest of all bytes before it."""
MADE_AGAIN = "delete it; the step that writes it makes it again"


def sealed_header(header: Mapping[str, str], *content: memoryview) -> dict[str, str]:
    """Return a header with a digest of its texts and of the content that it belongs to."""
    return {**header, KEY: _digest(header, content)}


def require_header(path: Path, header: Mapping[str, str], *content: memoryview) -> None:
    """Check the digest of a header that `sealed_header` made.

    Raises:
        HolohistoError: the header or the content has changed, or has no digest.
    """
    rest = {key: text for key, text in header.items() if key != KEY}
    if header.get(KEY) != _digest(rest, content):
        raise _damaged(path)


def seal_file(path: Path) -> None:
    """Append the digest of a file to it; readers of TIFF ignore what follows the last page."""
    with path.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(MARK + digest.encode())


def require_file(path: Path) -> None:
    """Check the digest at the end of a file.

    Raises:
        HolohistoError: the file has changed since it was written, or has no digest.
    """
    length = len(MARK) + 64
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END) - length
            file.seek(max(0, end))
            line = file.read(length)
            file.seek(0)
            sha = hashlib.sha256()
            while (left := end - file.tell()) > 0 and (block := file.read(min(left, 2**20))):
                sha.update(block)
    except OSError as error:
        raise HolohistoError(path, f"cannot be read: {error.strerror}") from error
    if line != MARK + sha.hexdigest().encode():
        raise _damaged(path)


def sealed_json(fields: Mapping[str, Any]) -> str:
    """Return JSON, one field per line, the last one a digest of the others."""
    read = json.loads(json.dumps(fields))  # as they will be read: keys are texts
    fields = {**fields, JSON_KEY: _json_digest(read)}
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return the fields that `sealed_json` wrote to a file.

    Raises:
        OSError: the file cannot be read.
        HolohistoError: it is no such JSON, or has changed since it was written.
    """
    try:
        fields = cast(object, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise HolohistoError(path, "is damaged: no JSON", advice=MADE_AGAIN) from error
    if not isinstance(fields, dict):
        raise HolohistoError(path, "is damaged: no mapping", advice=MADE_AGAIN)
    if JSON_KEY not in fields:
        raise _damaged(path)
    return without_seal(path, cast(dict[str, Any], fields))


def without_seal(path: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of JSON without their digest, which is checked where there is one.

    Raises:
        HolohistoError: they have changed since they were written to `path`.
    """
    rest = {name: value for name, value in fields.items() if name != JSON_KEY}
    if fields.get(JSON_KEY, _json_digest(rest)) != _json_digest(rest):
        raise _damaged(path)
    return rest


def _json_digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _digest(header: Mapping[str, str], content: Iterable[memoryview]) -> str:
    sha = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for part in content:
        sha.update(part)
    return sha.hexdigest()


def _damaged(path: Path) -> HolohistoError:
    return HolohistoError(
        path, "is damaged, or of another version: it does not match its digest", advice=MADE_AGAIN
    )

"""YAML and JSON that a user gives, of which every mistake is one clear line."""

import json
import reprlib
from pathlib import Path
from typing import Any, cast

import yaml

from holohisto.errors import HolohistoError

LARGEST = 16 * 2**20
"""Bytes of a file; a configuration has a few thousand."""
_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, 100, 100


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        HolohistoError: it cannot be read, or is no YAML.
    """
    text = _text(path, "YAML")
    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        raise HolohistoError(path, "is not YAML that can be read: nested too deeply") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise HolohistoError(path, f"is not YAML: {error}") from error  # dates such as 2024-99-99


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file.

    Raises:
        HolohistoError: it cannot be read, or holds no mapping.
    """
    text = _text(path, "JSON")
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise HolohistoError(path, "is not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise HolohistoError(path, f"cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise HolohistoError(path, "must hold a mapping of options", found=type(content).__name__)
    return cast(dict[str, Any], content)


def shown(value: object) -> str:
    """Return a value as short text, however long, deep or odd it is."""
    try:
        return _short.repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4300 digits
        return f"a {type(value).__name__}"


def _text(path: Path, what: str) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise HolohistoError(path, f"is too large for {what}", allowed=f"{LARGEST} bytes")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise HolohistoError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HolohistoError(
            path, f"is not {what} in UTF-8", found=error.reason, advice="save it as UTF-8 text"
        ) from error

"""Read GeoJSON feature by feature: files of any size, plain or gzipped, in bounded memory."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from holohisto.errors import HolohistoError

GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 2**20
"""Characters read at a time."""
LARGEST_FEATURE = 2**28
"""Largest number of characters of a feature: a longer one is damaged, or no GeoJSON."""


def features(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the features of a FeatureCollection, of a list of features, or of a single feature.

    Args:
        path: GeoJSON in UTF-8, or the same gzipped.

    Raises:
        HolohistoError: missing, damaged, or no GeoJSON.
    """
    try:
        with _open(path) as file:
            text = _Text(file)
            items = text.items() if text.peek() == "[" else _of_collection(text)
            for number, feature in enumerate(items, start=1):
                if not isinstance(feature, dict) or feature.get("type") != "Feature":
                    raise ValueError(f"item {number} is no feature")
                yield feature
            if text.peek():
                raise ValueError("there is more after its end")
    except OSError as error:  # gzip's errors included
        reason = error.strerror or str(error)
        raise HolohistoError(path, f"annotation cannot be read: {reason}") from error
    except (ValueError, EOFError, zlib.error, RecursionError) as error:
        raise HolohistoError(path, f"annotation is no whole GeoJSON: {error}") from error


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    opener = gzip.open if packed else open
    return cast(TextIO, opener(path, "rt", encoding="utf-8-sig"))


def _of_collection(text: "_Text") -> Iterator[Any]:
    """Yield the features of the collection, or the feature, that the text holds."""
    members: dict[str, Any] = {}
    text.take("{")
    while text.peek() != "}":
        key = text.value()
        text.take(":")
        if key == "features" and text.peek() == "[":
            yield from text.items()
        else:
            members[str(key)] = text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if members.get("type") == "Feature":
        yield members


class _Text:
    """JSON text, read in chunks and parsed value by value."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._ended = file, "", 0, False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not blank; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Skip the given character, which must be the next one."""
        following = self.peek()
        if following != character:
            raise ValueError(f"{following or 'the end'} where {character} should be")
        self._at += 1

    def value(self) -> Any:
        """Parse the next JSON value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise ValueError(f"it ends early, or {error.msg}") from error
                continue
            if end == len(self._text) and self._more():  # the number may have more digits
                continue
            self._at = end
            return value

    def items(self) -> Iterator[Any]:
        """Parse the values of a list, one by one."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def _more(self) -> bool:
        """Read at least as many characters as are unparsed; returns False at the end of the file.

        Doubling the text keeps the time linear although an unfinished value is parsed again.
        """
        unparsed = self._text[self._at :]
        if len(unparsed) > LARGEST_FEATURE:
            raise ValueError(f"more than {LARGEST_FEATURE} characters without the end of a value")
        chunk = "" if self._ended else self._file.read(max(CHUNK, len(unparsed)))
        self._ended = not chunk
        self._text, self._at = unparsed + chunk, 0
        return bool(chunk)

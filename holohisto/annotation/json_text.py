"""Read JSON value by value: files of any size, plain or gzipped, in bounded memory."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 2**20
"""Characters read at a time."""
BLANKS = re.compile(r"\s*")
LARGEST_VALUE = 2**26
"""Largest number of characters of a value: parsed, it takes up to 30 times as many bytes."""


def open_text(path: Path) -> TextIO:
    """Open a text in UTF-8, with or without a byte order mark, plain or gzipped.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    opener = gzip.open if packed else open
    return cast(TextIO, opener(path, "rt", encoding="utf-8-sig"))


class JsonText:
    """JSON text, read in chunks and parsed value by value.

    Every method raises ValueError where the text is no JSON, or ends early.
    """

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._ended = file, "", 0, False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not blank; "" at the end."""
        while True:
            self._at = BLANKS.match(self._text, self._at).end()  # pyright: ignore
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

    def members(self) -> Iterator[str]:
        """Yield the keys of an object; after each, the caller must parse the value."""
        self.take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise ValueError("a key is no text")
            self.take(":")
            yield key
            if self.peek() != "}":
                self.take(",")
        self.take("}")

    def _more(self) -> bool:
        """Read at least as many characters as are unparsed; returns False at the end of the file.

        Doubling the text keeps the time linear although an unfinished value is parsed again.
        """
        unparsed = self._text[self._at :]
        if len(unparsed) > LARGEST_VALUE:
            raise ValueError(f"more than {LARGEST_VALUE} characters without the end of a value")
        chunk = "" if self._ended else self._file.read(max(CHUNK, len(unparsed)))
        self._ended = not chunk
        self._text, self._at = unparsed + chunk, 0
        return bool(chunk)

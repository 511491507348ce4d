"""Finished steps of a long computation, in a file that survives a kill at any instant."""

import contextlib
import os
import struct
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType

from holohisto.errors import HolohistoError
from holohisto.runtime.atomic import make_folder_of

MAGIC = b"holohisto-journal-1\n"
"""First line of every journal: the version of its format."""
_RECORD = struct.Struct("<QQI")
"""Number, length of the payload and CRC-32 of a record."""


class Journal:
    """Numbered records in a file beside the output, readable only by the same computation.

    A record that a kill cut short, and everything after it, is dropped when the file is opened.
    """

    def __init__(self, path: Path, identity: str) -> None:
        """Open the file; empty it if it is of a computation with another `identity`.

        Raises:
            HolohistoError: it cannot be written, here or in `add`.
        """
        self.path = path
        self._head = MAGIC + identity.encode() + b"\n"
        make_folder_of(path)
        if path.exists() and not path.is_file():  # reading a pipe would wait
            raise HolohistoError(path, "is in the way: no file", advice="remove it")
        with self._written():
            path.touch()
            self._file = path.open("r+b")
            if self._file.read(len(self._head)) != self._head:
                self._file.seek(0)
                self._file.truncate()
                self._file.write(self._head)
                self._sync()

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and payload of each complete record; afterwards records can be added."""
        end = len(self._head)
        self._file.seek(end)
        while len(start := self._file.read(_RECORD.size)) == _RECORD.size:
            number, length, checksum = _RECORD.unpack(start)
            if end + _RECORD.size + length > os.fstat(self._file.fileno()).st_size:
                break
            payload = self._file.read(length)
            if zlib.crc32(payload, number) != checksum:
                break
            end += _RECORD.size + length
            yield number, payload
        self._file.seek(end)
        self._file.truncate()

    def add(self, number: int, payload: bytes) -> None:
        """Append a record; when this returns it is on the disk."""
        checksum = zlib.crc32(payload, number)
        with self._written():
            self._file.seek(0, os.SEEK_END)
            self._file.write(_RECORD.pack(number, len(payload), checksum) + payload)
            self._sync()

    def discard(self) -> None:
        """Remove the file: the computation is complete and its output written."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # bytes that a full disk did not take
            self._file.close()

    @contextlib.contextmanager
    def _written(self) -> Generator[None, None, None]:
        """Report a disk that is full or read-only."""
        try:
            yield
        except OSError as error:
            raise HolohistoError(
                self.path, f"cannot be written: {error.strerror or error}", advice="free some space"
            ) from error

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

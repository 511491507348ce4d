"""Files that stay open while they are in use or were used last, up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol, TypeVar, cast


class Openable(Protocol):
    """An open file that holds memory until it is closed."""

    @property
    def kept_bytes(self) -> int:
        """Bytes that it holds at present."""
        ...

    def close(self) -> None:
        """Close it and free its memory."""
        ...


OpenFile = TypeVar("OpenFile", bound=Openable)


class OpenFiles:
    """Open files, of which those used longest ago are closed; threads may share it.

    A cohort of thousands of images then needs no more memory than one of a few. What is read from a
    file does not depend on how often it was opened.
    """

    def __init__(self, most_bytes: int) -> None:
        """Bound the bytes that files hold between two uses; files in use are never closed."""
        self.most_bytes = most_bytes
        self._entries: OrderedDict[object, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def kept_bytes(self) -> int:
        """Bytes that the open files held after their last use."""
        with self._lock:
            return sum(entry.kept_bytes for entry in self._entries.values())

    @contextmanager
    def use(self, key: object, opener: Callable[[], OpenFile]) -> Generator[OpenFile]:
        """Yield the open file of a key, which is opened by `opener` unless it is open already."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            entry.users += 1
        try:
            yield cast(OpenFile, entry.open(opener))
        finally:
            with self._lock:
                entry.users -= 1
                self._entries.move_to_end(key)
                closed = self._surplus()
            for file in closed:
                file.close()

    def _surplus(self) -> list[Openable]:
        """Remove files that are not in use until the bound holds; returns them, still open."""
        files: list[Openable] = []
        total = 0
        for entry in self._entries.values():
            entry.kept_bytes = entry.file.kept_bytes if entry.file else 0
            total += entry.kept_bytes
        for key, entry in list(self._entries.items()):
            if total <= self.most_bytes:
                break
            if entry.users == 0:
                del self._entries[key]
                total -= entry.kept_bytes
                files += [entry.file] if entry.file else []
        return files


class _Entry:
    """A file that is opened by the first of the threads that want it."""

    def __init__(self) -> None:
        self.file: Openable | None = None
        self.users = self.kept_bytes = 0
        self._lock = threading.Lock()

    def open(self, opener: Callable[[], Openable]) -> Openable:
        with self._lock:
            if self.file is None:
                self.file = opener()
            return self.file

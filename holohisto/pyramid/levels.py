"""Tiles, their LZW codes, and the reduced levels of a mask while it is written."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import imagecodecs
import numpy as np

TILE = 512
THREADS = min(4, len(os.sched_getaffinity(0)))
"""Tiles encoded at a time; the encoder lets other threads run."""


def pyramid_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes of the levels, halved (rounded down) until one tile holds all."""
    sizes = [size]
    while max(sizes[-1]) > TILE:
        width, height = sizes[-1]
        sizes.append((max(1, width // 2), max(1, height // 2)))
    return sizes


class TileEncoder:
    """LZW of tiles, several at a time; constant tiles, most of a mask, are encoded once."""

    def __init__(self) -> None:
        """Start with no tile encoded; leave it as a context manager, which ends its threads."""
        self._constant: dict[int, bytes] = {}
        self._pool = ThreadPoolExecutor(THREADS)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the threads."""
        self._pool.shutdown()

    def tiles(self, rows: np.ndarray) -> Iterator[bytes]:
        """Yield the encoded tiles of one row of tiles (at most TILE rows), padded with 0."""
        parts = [rows[:, x : x + TILE] for x in range(0, rows.shape[1], TILE)]
        return self._pool.map(self._encoded, parts)

    def _encoded(self, part: np.ndarray) -> bytes:
        """LZW of a tile that may be cut off by the right or lower edge."""
        if part.shape == (TILE, TILE):
            tile = np.ascontiguousarray(part)
        else:
            tile = np.zeros((TILE, TILE), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
        value = int(tile[0, 0])
        if (tile != value).any():
            return _lzw(tile)
        if value not in self._constant:
            self._constant[value] = _lzw(tile)
        return self._constant[value]


def _lzw(tile: np.ndarray) -> bytes:
    return bytes(imagecodecs.lzw_encode(tile.tobytes()))


class Level:
    """A reduced level of a mask while it grows: encoded tiles wait in the shared spool."""

    def __init__(self, size: tuple[int, int], spool: Any, encoder: TileEncoder) -> None:
        """Start a level of `size`; encoded tiles go to the binary file `spool`."""
        self.size = size
        self._spool = spool
        self._encoder = encoder
        self._buffer = np.empty((TILE, size[0]), np.uint8)
        self._filled = self._seen = 0
        self._places: list[tuple[int, int]] = []

    def add(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Take rows of the level above (a multiple of TILE above them); yield full tile rows."""
        width, height = self.size
        taken = rows[::2, ::2][: height - self._seen, :width]
        self._buffer[self._filled : self._filled + len(taken)] = taken
        self._filled += len(taken)
        self._seen += len(taken)
        if self._filled and (self._filled == TILE or self._seen == height):
            yield self._flush()

    def _flush(self) -> np.ndarray:
        rows = self._buffer[: self._filled]
        for tile in self._encoder.tiles(rows):
            self._places.append((self._spool.tell(), len(tile)))
            self._spool.write(tile)
        self._filled = 0
        return rows

    def tiles(self) -> Iterator[bytes]:
        """Yield the encoded tiles, in order, once all rows have come."""
        for place, count in self._places:
            self._spool.seek(place)
            yield self._spool.read(count)


def top_tiles(
    bands: Iterator[np.ndarray], levels: list[Level], encoder: TileEncoder
) -> Iterator[bytes]:
    """Yield the encoded tiles of level 0, feeding the levels below on the way."""
    for band in bands:
        _feed(band, levels)
        yield from encoder.tiles(band)


def _feed(rows: np.ndarray, levels: list[Level]) -> None:
    if levels:
        for full in levels[0].add(rows):
            _feed(full, levels[1:])

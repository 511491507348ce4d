"""Encode the tiles of a mask with LZW, and build its reduced levels while it is written."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import imagecodecs
import numpy as np

TILE = 512
THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads that encode tiles; the encoder releases the interpreter's lock."""


def pyramid_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes of all levels, halved (rounded down) until a level fits one tile.

    Args:
        size: Width and height of level 0.
    """
    sizes = [size]
    while max(sizes[-1]) > TILE:
        width, height = sizes[-1]
        sizes.append((max(1, width // 2), max(1, height // 2)))
    return sizes


class TileEncoder:
    """Encodes tiles with LZW in several threads.

    Constant tiles, the majority in a mask, are encoded once. A context manager, which ends the
    threads.
    """

    def __init__(self) -> None:
        """Start the threads."""
        self._constant: dict[int, bytes] = {}
        self._pool = ThreadPoolExecutor(THREADS)

    def __enter__(self) -> Self:
        """Return the encoder."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the threads."""
        self._pool.shutdown()

    def tiles(self, rows: np.ndarray) -> Iterator[bytes]:
        """Yield the encoded tiles of one row of tiles, from left to right, padded with 0.

        Args:
            rows: (at most TILE, width) uint8.
        """
        tiles = [rows[:, x : x + TILE] for x in range(0, rows.shape[1], TILE)]
        return self._pool.map(self._encoded, tiles)

    def _encoded(self, pixels: np.ndarray) -> bytes:
        """LZW of a tile, which is smaller than TILE at the right and lower edge."""
        if pixels.shape == (TILE, TILE):
            tile = np.ascontiguousarray(pixels)
        else:
            tile = np.zeros((TILE, TILE), np.uint8)
            tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        value = int(tile[0, 0])
        if (tile != value).any():
            return _lzw(tile)
        if value not in self._constant:
            self._constant[value] = _lzw(tile)
        return self._constant[value]


def _lzw(tile: np.ndarray) -> bytes:
    return bytes(imagecodecs.lzw_encode(tile.tobytes()))


class Level:
    """A reduced level of a mask while it is written; its encoded tiles are kept in a spool file."""

    def __init__(self, size: tuple[int, int], spool: Any, encoder: TileEncoder) -> None:
        """Start an empty level.

        Args:
            size: Width and height of the level.
            spool: Binary file, open for reading and writing, which several levels may share.
            encoder: Encodes the tiles.
        """
        self.size = size
        self._spool = spool
        self._encoder = encoder
        self._buffer = np.empty((TILE, size[0]), np.uint8)
        self._filled = self._seen = 0
        self._positions: list[tuple[int, int]] = []

    def add(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Append rows of the level above, reduced to every second pixel; yield full rows of tiles.

        Args:
            rows: (rows, width of the level above) uint8, which start at a multiple of TILE.
        """
        width, height = self.size
        reduced = rows[::2, ::2][: height - self._seen, :width]
        self._buffer[self._filled : self._filled + len(reduced)] = reduced
        self._filled += len(reduced)
        self._seen += len(reduced)
        if self._filled and (self._filled == TILE or self._seen == height):
            yield self._flush()

    def _flush(self) -> np.ndarray:
        rows = self._buffer[: self._filled]
        for tile in self._encoder.tiles(rows):
            self._positions.append((self._spool.tell(), len(tile)))
            self._spool.write(tile)
        self._filled = 0
        return rows

    def tiles(self) -> Iterator[bytes]:
        """Yield the encoded tiles in order, after all rows have been added."""
        for position, count in self._positions:
            self._spool.seek(position)
            yield self._spool.read(count)


def top_tiles(
    bands: Iterator[np.ndarray], levels: list[Level], encoder: TileEncoder
) -> Iterator[bytes]:
    """Yield the encoded tiles of level 0, and add its rows to the reduced levels.

    Args:
        bands: Arrays (TILE, width) uint8 from top to bottom; the last may be lower.
        levels: The reduced levels, the largest first.
        encoder: Encodes the tiles.
    """
    for band in bands:
        _feed(band, levels)
        yield from encoder.tiles(band)


def _feed(rows: np.ndarray, levels: list[Level]) -> None:
    """Add rows to the first level, and the rows of tiles that it completes to the next ones."""
    if levels:
        for full in levels[0].add(rows):
            _feed(full, levels[1:])

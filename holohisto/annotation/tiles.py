"""Pixels of a picture without tiles, kept in tiles: constant ones as a value, many ones packed."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from holohisto.runtime.arithmetic import ceil_div

SIDE = 512
"""Width and height of a tile."""
UNPACKED_BYTES = 2**26
"""Bytes of tiles that are kept as they are; further ones are packed."""


@dataclass(frozen=True)
class _Packed:
    """A compressed tile."""

    data: bytes
    shape: tuple[int, ...]
    kind: np.dtype

    def pixels(self) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self.data), self.kind).reshape(self.shape)


class KeptTiles:
    """Tiles of a picture in memory; threads may share them."""

    def __init__(self, bands: Iterable[np.ndarray], size: tuple[int, int]) -> None:
        """Keep the pixels of a picture.

        Args:
            bands: (SIDE, width, samples) from the top; the last may have fewer rows.
            size: Width and height.
        """
        self.size = size
        self._across = ceil_div(size[0], SIDE)
        self._tiles: list[np.ndarray | _Packed] = []
        self._kept = 0
        for band in bands:
            for left in range(0, size[0], SIDE):
                self._tiles.append(self._keep(band[:, left : left + SIDE]))

    @property
    def kept_bytes(self) -> int:
        """Bytes of the tiles that are not constant, packed or not."""
        packed = sum(len(tile.data) for tile in self._tiles if isinstance(tile, _Packed))
        return self._kept + packed

    def _keep(self, tile: np.ndarray) -> np.ndarray | _Packed:
        first = tile[:1, :1].copy()
        if (tile == first).all():
            return np.broadcast_to(first, tile.shape)
        if self._kept + tile.nbytes > UNPACKED_BYTES:
            return _Packed(zlib.compress(tile.tobytes(), 1), tile.shape, tile.dtype)
        self._kept += tile.nbytes
        return tile.copy()

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, samples) of a rectangle that lies inside the picture."""
        first = self._tile(0)
        result = np.empty((height, width, first.shape[2]), first.dtype)
        for row in range(y // SIDE, (y + height - 1) // SIDE + 1):
            for column in range(x // SIDE, (x + width - 1) // SIDE + 1):
                left, top = column * SIDE, row * SIDE
                tile = self._tile(row * self._across + column)
                x0, x1 = max(x, left), min(x + width, left + tile.shape[1])
                y0, y1 = max(y, top), min(y + height, top + tile.shape[0])
                part = tile[y0 - top : y1 - top, x0 - left : x1 - left]
                result[y0 - y : y1 - y, x0 - x : x1 - x] = part
        return result

    def samples(self, spread: int, most: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return some tiles, evenly at random, and some that are not constant."""
        busy = [
            number
            for number, tile in enumerate(self._tiles)
            if isinstance(tile, _Packed) or tile.strides[0]
        ]
        chosen = chosen_evenly(len(self._tiles), spread)
        others = [busy[i] for i in chosen_evenly(len(busy), most)]
        others = [number for number in others if number not in set(chosen)]
        return [self._tile(number) for number in chosen], [self._tile(n) for n in others]

    def _tile(self, number: int) -> np.ndarray:
        tile = self._tiles[number]
        return tile.pixels() if isinstance(tile, _Packed) else tile


def chosen_evenly(total: int, count: int) -> list[int]:
    """Return some numbers below `total`, the same ones every time, ascending."""
    if total <= count:
        return list(range(total))
    return sorted(np.random.default_rng(0).choice(total, count, replace=False).tolist())

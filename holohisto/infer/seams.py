"""How far overlapping tiles disagree, in strips along the borders of tiles."""

from holohisto.infer.arrays import Array, Arrays
from holohisto.infer.job import Job
from holohisto.infer.open_rows import OpenRows
from holohisto.tiles.grid import Tile

STRIP = 16
"""Width of a strip, pixels."""


class Seams:
    """Counts pixels that a tile classifies differently from the tiles blended before it."""

    def __init__(self, job: Job, arrays: Arrays) -> None:
        self._job, self._arrays = job, arrays
        self._columns = [tile.x for tile in job.rows[0]]
        self._tops = [row[0].y for row in job.rows]
        self._counts = arrays.zeros((job.classes, 2), "int64")

    def compare(self, open_rows: OpenRows, tile: Tile, probability: Array) -> None:
        """Count where a tile differs from those before it, and where either has the class.

        Args:
            open_rows: The tiles before it, blended.
            tile: The tile, not yet added.
            probability: (classes, height, width) float32.
        """
        left = [x for x in self._columns if x < tile.x]
        above = [y for y in self._tops if y < tile.y]
        threshold = self._job.threshold
        for rows, columns in strips(tile, left, above, self._job.size):
            across = slice(tile.x + columns.start, tile.x + columns.stop)
            weight = open_rows.weight[rows, across]
            covered = weight > 0
            before = (open_rows.sum[:, rows, across] >= threshold * weight) & covered
            now = (probability[:, rows, columns] >= threshold) & covered
            self._counts[:, 0] += (before ^ now).sum((1, 2))
            self._counts[:, 1] += (before | now).sum((1, 2))

    def take(self) -> Array:
        """Return the counts (classes, 2) int64, differing and either, and start again from 0."""
        counts, self._counts = self._counts, self._arrays.zeros(self._counts.shape, "int64")
        return counts


def disagreement(counts: list[int]) -> dict[str, int | float | None]:
    """Return the counts of one class, differing and either, with their ratio; None for 0 of 0."""
    differing, either = counts
    share = round(differing / either, 6) if either else None
    return {"differing": differing, "either": either, "disagreement": share}


def strips(
    tile: Tile, left: list[int], above: list[int], size: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """Rows and columns, within a tile, along its borders and those of the tiles before it.

    Args:
        tile: The tile.
        left: First columns of the tiles to its left.
        above: First rows of the tiles above it.
        size: Width and height of the slide; what hangs over is left out.
    """
    width, height = min(tile.width, size[0] - tile.x), min(tile.height, size[1] - tile.y)
    across = _strips(tile.x, tile.width, left, width)
    down = _strips(tile.y, tile.height, above, height)
    vertical = [(slice(0, height), columns) for columns in across]
    return vertical + [(rows, slice(0, width)) for rows in down]


def _strips(start: int, side: int, before: list[int], inside: int) -> list[slice]:
    """Strips along one axis: after its own border, and before the borders of earlier tiles."""
    ends = [other + side - start for other in before if other + side > start]
    own = [slice(0, min(STRIP, inside))] if ends else []
    return own + [
        slice(max(0, end - STRIP), min(end, inside)) for end in ends if end - STRIP < inside
    ]

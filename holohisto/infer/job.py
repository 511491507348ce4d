"""What is segmented, and how fast."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from holohisto.tiles.grid import Tile, tile_rows, whole


@dataclass(frozen=True)
class Job:
    """What is segmented and how: all that decides the result beside model and pixels."""

    size: tuple[int, int]
    """Working width and height of the slide."""
    tile: tuple[int, int]
    """Width and height of a tile as configured, working pixels."""
    overlap: float
    """Share of a tile that its neighbour covers too."""
    wanted: Callable[[Tile], bool]
    """Whether a tile holds foreground; the others are skipped."""
    snap: int
    """Tile origins and sides are multiples of it: of the tokens' f and of DIVISOR."""
    classes: int
    """Number of classes."""
    threshold: float = 0.5
    """Probability from which a pixel is the class."""

    @cached_property
    def fitted(self) -> tuple[int, int]:
        """Width and height of every tile, no larger than the slide needs."""
        width, height = (min(t, s) for t, s in zip(self.tile, self.size, strict=True))
        return whole((width, height), self.snap)

    @cached_property
    def rows(self) -> list[list[Tile]]:
        """All tiles, row by row; a band ends where the next row of tiles begins."""
        return tile_rows(self.size, self.fitted, self.overlap, self.snap)

    @cached_property
    def ends(self) -> list[int]:
        """Row after the last of each band."""
        return [*(row[0].y for row in self.rows[1:]), self.size[1]]


@dataclass(frozen=True)
class Speed:
    """Settings that alter the time and the memory of inference, but no result."""

    batch: int = 1
    """Tiles that the model computes at once."""
    readers: int = 2
    """Threads that read tiles."""
    queue: int = 4
    """Batches that are read ahead."""
    parallel_batches: int = 1
    """Batches computed side by side, on a CPU."""


DEFAULT_SPEED = Speed()

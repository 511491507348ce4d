"""Whole-slide inference by row bands: memory O(width x tile height), never O(slide)."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from holohisto.grid import Tile, gaussian_weights, tile_rows, whole
from holohisto.prefetch import prefetch
from holohisto.progress import track
from holohisto.segmenter.inputs import Inputs
from holohisto.segmenter.store import Segmenter

PROBABILITY_DIVISOR = 4  # the probability picture is kept at a quarter of the working resolution
logger = logging.getLogger(__name__)

TileData = tuple[np.ndarray | None, np.ndarray | None]
ReadTile = Callable[[Tile], TileData]
"""Tokens (h, w) int64 and pixels (height, width, 3) uint8 of a tile; None for what is not read."""


@dataclass(frozen=True)
class Job:
    """What is segmented and how."""

    size: tuple[int, int]
    """Working width and height of the slide."""
    tile: tuple[int, int]
    overlap: float
    wanted: Callable[[Tile], bool]
    """Whether a tile holds foreground; the others are skipped."""
    snap: int
    """Tile origins and sides are multiples of it (the tokens' f)."""


def probability_bands(
    model: Segmenter, inputs: Inputs, read: ReadTile, job: Job, classes: int
) -> Iterator[Tensor]:
    """Yield finished rows of class probabilities, from the top, (classes, rows, width) float32.

    Tiles overlap and are blended with Gaussian weights. Only rows that a later tile can still
    touch are kept. Pixels that no tile covers are 0.
    """
    width, height = job.size
    fitted = whole((min(job.tile[0], width), min(job.tile[1], height)), job.snap)
    rows = tile_rows(job.size, fitted, job.overlap, job.snap)
    band = _Band(classes, rows, fitted, next(model.buffers()).device)
    weights = torch.from_numpy(gaussian_weights(*fitted)).to(band.device)
    tiles = [tile for row in rows for tile in row if job.wanted(tile)]
    parts = prefetch(read, tiles, workers=1)
    for tile, (tokens, rgb) in track(zip(tiles, parts, strict=True), len(tiles), "tiles"):
        yield from band.finish_above(tile.y, job.size)
        batch = inputs(
            None if tokens is None else tokens[None],
            None if rgb is None else rgb.transpose(2, 0, 1)[None],
            band.device,
        )
        band.add(tile, predict(model, *batch, tile), weights)
    yield from band.finish_above(height, job.size)


@torch.no_grad()
def predict(model: Segmenter, tokens: Tensor | None, rgb: Tensor | None, tile: Tile) -> Tensor:
    """Return the probabilities of one tile, (classes, height, width) float32.

    Args:
        model: The segmenter.
        tokens: (1, h, w) integers, if it reads them.
        rgb: (1, 3, height, width) uint8, if it reads them.
        tile: The tile.
    """
    device = next(model.buffers()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        logits = model(tokens, rgb, (tile.height, tile.width))  # pyright: ignore
    return logits[0].float().sigmoid()


class _Band:
    """Numerator and denominator of the rows that are still open."""

    def __init__(
        self, classes: int, rows: list[list[Tile]], tile: tuple[int, int], device: torch.device
    ) -> None:
        self.device, self.height = device, tile[1]
        self.top = 0
        right = max(t.x + t.width for t in rows[0])
        self.sum = torch.zeros(classes, tile[1], right, device=device)
        self.weight = torch.zeros(tile[1], right, device=device)

    def add(self, tile: Tile, probability: Tensor, weights: Tensor) -> None:
        """Blend in a tile whose top is the band's top."""
        columns = slice(tile.x, tile.x + tile.width)
        self.sum[:, :, columns].addcmul_(probability, weights)
        self.weight[:, columns].add_(weights)

    def finish_above(self, y: int, size: tuple[int, int]) -> Iterator[Tensor]:
        """Yield the rows from the band's top to `y` and move the band there."""
        while self.top < min(y, size[1]):
            rows = min(self.height, min(y, size[1]) - self.top)
            done = self.sum[:, :rows] / self.weight[:rows].clamp_min(1e-12)
            yield done[:, :, : size[0]]
            self._shift(rows)

    def _shift(self, rows: int) -> None:
        for kept in (self.sum, self.weight):
            remaining = kept[..., rows:, :].clone()
            kept[..., : self.height - rows, :] = remaining
            kept[..., self.height - rows :, :] = 0
        self.top += rows


def label_bands(
    bands: Iterator[Tensor], threshold: float, small: "Quarter"
) -> Iterator[np.ndarray]:
    """Turn probabilities into labels, (rows, width) uint8 with bit i for class i.

    The largest probability over the classes is passed on to `small` on the way.
    """
    for band in bands:
        bits = torch.zeros(band.shape[1:], dtype=torch.uint8, device=band.device)
        for index, probability in enumerate(band):
            bits |= (probability >= threshold).to(torch.uint8) << index
        small.add(band.amax(dim=0).cpu().numpy())
        yield bits.cpu().numpy()


class Quarter:
    """Collects rows and averages blocks of 4 x 4 into a small picture, spooled to disk."""

    def __init__(self, size: tuple[int, int], folder: Path) -> None:
        """`size` is the working width and height; the spool lies, nameless, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        d = PROBABILITY_DIVISOR
        self.size = (-(-size[0] // d), -(-size[1] // d))
        self._open = np.zeros((0, size[0]), np.float32)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by bands()

    def add(self, rows: np.ndarray) -> None:
        """Take the next rows, (rows, width) float32 in 0..1."""
        joined = np.concatenate([self._open, rows])
        whole_rows = len(joined) // PROBABILITY_DIVISOR * PROBABILITY_DIVISOR
        self._open = joined[whole_rows:]
        self._write(joined[:whole_rows])

    def bands(self) -> Iterator[np.ndarray]:
        """Yield the picture from the top in bands, (rows, width) uint8."""
        self._write(self._open)
        self._open = self._open[:0]
        self._file.seek(0)
        width, height = self.size
        for row in range(0, height, 512):
            rows = min(512, height - row)
            yield np.frombuffer(self._file.read(rows * width), np.uint8).reshape(rows, width)
        self._file.close()

    def _write(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        d = PROBABILITY_DIVISOR
        padded = np.pad(rows, [(0, -n % d) for n in rows.shape], mode="edge")
        blocks = padded.reshape(padded.shape[0] // d, d, padded.shape[1] // d, d)
        self._file.write((blocks.mean(axis=(1, 3)) * 255).round().astype(np.uint8).tobytes())

"""Pixels of training tiles: scaled, blurred, recoloured and turned by the training's device.

Readers only read. What `Variant.read` and `orient` do with numpy is done here with torch, the same
on a CPU and a GPU but for rounding: a grey level of one pixel in ten thousand.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from holohisto.tiles.appearance import UNMIXED, Appearance
from holohisto.tiles.colour import lines_of_map
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Neighbours, ReadTile, Resampling, Variant, transposes

STRIP = 2**17
"""Pixels that a CPU computes at a time, so that they stay in its cache."""


@dataclass(frozen=True)
class DrawnPixels:
    """Pixels of a slide, and the variant in which they are shown."""

    rgb: np.ndarray
    """(height, width, 3) uint8, all that the tile's pixels depend on."""
    variant: Variant
    size: tuple[int, int]
    """Width and height of the tile, before it is turned."""
    resampling: Resampling | None
    """How the tile, grown by the reach of the blur, is interpolated; None: not scaled."""

    @classmethod
    def read(cls, read: ReadTile, tile: Tile, variant: Variant) -> "DrawnPixels":
        """Read what a tile of a variant is computed from.

        Args:
            read: Reads the slide's working pixels, (height, width, 3) uint8.
            tile: In coordinates of the variant.
            variant: Scale, appearance and orientation.
        """
        grown = tile.grown(variant.appearance.reach)
        resampling = None if variant.scale == 1 else Resampling.of(grown, variant.scale)
        rgb = read(grown if resampling is None else resampling.source)
        return cls(rgb, variant, (tile.width, tile.height), resampling)

    @torch.no_grad()
    def shown(self, device: torch.device) -> Tensor:
        """Compute the tile's pixels on a device, (3, height, width) uint8, turned."""
        pixels = torch.as_tensor(self.rgb).to(device, non_blocking=True).permute(2, 0, 1)
        if self.resampling is not None or self.variant.appearance.reach or self._recolours:
            pixels = torch.cat([self._strip(pixels, *rows) for rows in self._strips(device)], dim=1)
        return _turned(pixels, self.variant.orientation)

    @property
    def _recolours(self) -> bool:
        return self.variant.appearance.recolours

    def _strips(self, device: torch.device) -> Iterator[tuple[int, int]]:
        """Yield first and last row, exclusive, of strips of the tile; a GPU takes all at once."""
        width, height = self.size
        step = max(1, STRIP // width) if device.type == "cpu" else height
        for top in range(0, height, step):
            yield top, min(top + step, height)

    def _strip(self, source: Tensor, top: int, end: int) -> Tensor:
        """Compute rows of the tile from the source, (3, h, w) uint8."""
        look = self.variant.appearance
        end += 2 * look.reach
        if self.resampling is None:
            pixels = source[:, top:end].to(torch.float32, memory_format=torch.contiguous_format)
        else:
            pixels = _resampled(source, self.resampling, slice(top, end))
        if look.blur:
            pixels = _blurred(pixels, look)
        return (_recoloured(pixels, look) if self._recolours else pixels).to(torch.uint8)


def _resampled(source: Tensor, resampling: Resampling, rows: slice) -> Tensor:
    """Interpolate rows of the scaled tile: (3, h, w) uint8 to whole numbers, float32."""
    before, share = (values[rows] for values in resampling.rows)
    first, end = int(before[0]), int(before[-1]) + 2
    pixels = source[:, first:end].to(torch.float32, memory_format=torch.contiguous_format)
    pixels = _interpolated(pixels, (before - first, share), dim=1)
    return _interpolated(pixels, resampling.columns, dim=2).add_(0.5).floor_()


def _interpolated(pixels: Tensor, neighbours: Neighbours, dim: int) -> Tensor:
    """Interpolate (3, h, w) float32 along a dimension."""
    before, share = (torch.from_numpy(values).to(pixels.device) for values in neighbours)
    low, high = pixels.index_select(dim, before), pixels.index_select(dim, before + 1)
    return high.sub_(low).mul_(share[:, None] if dim == 1 else share).add_(low)


def _blurred(pixels: Tensor, look: Appearance) -> Tensor:
    """Blur (3, h + 2 * reach, w + 2 * reach) float32 to whole numbers, (3, h, w)."""
    reach, weights = look.reach, look.kernel.tolist()
    for dim in (1, 2):
        length = pixels.shape[dim] - 2 * reach
        total = pixels.narrow(dim, reach, length) * weights[reach]
        for n in range(reach):
            for start in (n, 2 * reach - n):
                total.add_(pixels.narrow(dim, start, length), alpha=weights[n])
        pixels = total
    return pixels.add_(0.5).floor_()


def _recoloured(pixels: Tensor, look: Appearance) -> Tensor:
    """Change the optical densities of (3, h, w), whole numbers in float32, which is overwritten.

    Returns:
        (3, h, w) float32 from 0 to 255, to be cut to whole numbers.
    """
    density = pixels.add_(1).div_(256).log_().neg_()
    if look.mixing != UNMIXED:
        density = torch.stack([_mixture(density, shares) for shares in look.mixing])
    for channel, gain, offset, steep in zip(density, *lines_of_map(*look.line), strict=True):
        through_glass = channel * float(steep)
        channel.mul_(float(gain)).add_(float(offset))
        torch.minimum(channel, through_glass, out=channel)
    # One less, as in the density, and 0.5 to round.
    return density.clamp_(min=0).neg_().exp_().mul_(256).sub_(0.5).clamp_(0, 255)


def _mixture(density: Tensor, shares: tuple[float, float, float]) -> Tensor:
    """Mix the densities of three channels (3, h, w): (h, w), 0 or more."""
    mixed = density[0] * shares[0]
    mixed.add_(density[1], alpha=shares[1]).add_(density[2], alpha=shares[2])
    return mixed.clamp_(min=0)


def _turned(pixels: Tensor, orientation: int) -> Tensor:
    """Turn (3, height, width) as `tiles.variants.orient` does."""
    if transposes(orientation):
        pixels = pixels.transpose(1, 2)
    return pixels.flip([dim for dim, bit in ((1, 2), (2, 1)) if orientation & bit])

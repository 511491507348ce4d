"""Slides of any size, written in seconds: one painted piece of tissue, repeated.

Every distinct tile is encoded once; reading and decoding such a slide takes as long as any other's.
Blocks whose middle lies outside an ellipse are glass.
"""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from holohisto.demo.groups import plans
from holohisto.demo.layout import lay_out
from holohisto.demo.paint import annotation, paint
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide import Slide

TILE = 256
PAINTED = "NEP25-3"
"""Slide of the demo cohort that is painted; it has the resolution below."""
MPP = 0.5
GLASS = 240
QUALITY = 85


def paint_block(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Paint a piece of tissue with glass around it.

    Returns:
        Pixels (side, side, 3) uint8 and the annotation of glomeruli (side, side), 0 or 255.
    """
    plan = next(plan for plan in plans(seed=0, scale=1.0) if plan.slide == PAINTED)
    plan = dataclasses.replace(plan, size=(side, side))
    layout = lay_out(plan)
    rgb = np.concatenate(list(paint(plan, layout)))
    return rgb, np.concatenate(list(annotation(plan, layout)))


def tissue_blocks(size: tuple[int, int], side: int) -> np.ndarray:
    """Which blocks of a slide are tissue, (rows, columns) bool.

    Args:
        size: Width and height of the slide.
        side: Of a block.
    """
    columns, rows = (ceil_div(length, side) for length in size)
    y = (np.arange(rows) + 0.5) / rows * 2 - 1
    x = (np.arange(columns) + 0.5) / columns * 2 - 1
    return y[:, None] ** 2 + x[None, :] ** 2 <= 1


def write_slide(path: Path, block: np.ndarray, size: tuple[int, int]) -> None:
    """Write a pyramidal JPEG TIFF of 256-pixel tiles.

    Args:
        path: The file.
        block: Pixels (side, side, 3) uint8; the side is 256 times a power of two.
        size: Width and height of the slide.
    """
    blocks = tissue_blocks(size, len(block))
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        level = 0
        while len(block) > TILE:
            _write_level(writer, _repeated(block, blocks, _reduced(size, level)), size, level)
            block, level = halved(block), level + 1
        whole = np.full((*blocks.shape, TILE, TILE, 3), GLASS, np.uint8)
        whole[blocks] = block
        picture = np.concatenate(np.concatenate(whole, axis=1), axis=1)
        while True:
            width, height = _reduced(size, level)
            _write_level(writer, _tiles(picture[:height, :width]), size, level)
            if max(width, height) <= TILE:
                return
            picture, level = halved(picture), level + 1


def write_annotation(path: Path, mask: np.ndarray, size: tuple[int, int]) -> None:
    """Write the annotation of such a slide, a tiled TIFF of 0 and 255.

    Args:
        path: The file.
        mask: (side, side) uint8, the annotation of a block.
        size: Width and height of the slide.
    """
    blocks = tissue_blocks(size, len(mask))
    whole = np.kron(blocks.astype(np.uint8), mask)[: size[1], : size[0]]
    tifffile.imwrite(path, whole, tile=(TILE, TILE), compression="zlib", photometric="minisblack")


def halved(picture: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels of (height, width, 3) uint8, a last odd row or column left out."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    even = picture[:height, :width].astype(np.uint16)
    sums = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((sums + 2) // 4).astype(np.uint8)


def _reduced(size: tuple[int, int], level: int) -> tuple[int, int]:
    return max(1, size[0] >> level), max(1, size[1] >> level)


def _repeated(block: np.ndarray, blocks: np.ndarray, size: tuple[int, int]) -> Iterator[bytes]:
    """Yield the encoded tiles of a level whose blocks are whole tiles."""
    each = len(block) // TILE
    coded = [
        [_jpeg(block[y : y + TILE, x : x + TILE]) for x in range(0, len(block), TILE)]
        for y in range(0, len(block), TILE)
    ]
    glass = _jpeg(np.full((TILE, TILE, 3), GLASS, np.uint8))
    columns, rows = (ceil_div(side, TILE) for side in size)
    for row in range(rows):
        for column in range(columns):
            tissue = blocks[row // each, column // each]
            yield coded[row % each][column % each] if tissue else glass


def _tiles(picture: np.ndarray) -> Iterator[bytes]:
    """Yield the encoded tiles of a picture, widened with glass to whole tiles."""
    margins = [(0, -side % TILE) for side in picture.shape[:2]]
    padded = np.pad(picture, [*margins, (0, 0)], constant_values=GLASS)
    for y in range(0, len(padded), TILE):
        for x in range(0, padded.shape[1], TILE):
            yield _jpeg(padded[y : y + TILE, x : x + TILE])


def _jpeg(tile: np.ndarray) -> bytes:
    return imagecodecs.jpeg8_encode(
        np.ascontiguousarray(tile),
        level=QUALITY,
        colorspace="RGB",
        outcolorspace="YCBCR",
        subsampling="420",
    )


def _write_level(
    writer: tifffile.TiffWriter, tiles: Iterator[bytes], size: tuple[int, int], level: int
) -> None:
    width, height = _reduced(size, level)
    mpp = MPP * 2**level
    writer.write(
        tiles,
        shape=(height, width, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        compression="jpeg",
        subsampling=(2, 2),
        subfiletype=int(level > 0),
        resolution=(10_000 / mpp, 10_000 / mpp),
        resolutionunit="CENTIMETER",
        software=False,
        metadata=None,
    )


def try_reader(path: Path) -> bool:
    """Write a small slide and read it; whether the reader that is chosen for it sees it right."""
    tissue = np.full((2 * TILE, 2 * TILE, 3), (180, 90, 150), np.uint8)
    write_slide(path, tissue, (3 * TILE, 3 * TILE))
    with Slide(path) as slide:
        seen = slide.read((TILE, TILE), (TILE, TILE)).astype(int)
    path.unlink()
    return bool(np.abs(seen - tissue[:TILE, :TILE]).max() < 8)


if __name__ == "__main__":
    sys.exit(not try_reader(Path(sys.argv[1])))

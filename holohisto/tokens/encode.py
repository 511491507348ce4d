"""Computing the token map of one slide, block by block."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from holohisto.runtime.arithmetic import ceil_div, round_up
from holohisto.runtime.journal import Journal
from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import ReadTile, Variant, orient, restore
from holohisto.tokens.encoders import TokenEncoder

logger = logging.getLogger(__name__)

ORIGINAL = Variant()
"""The slide itself: not turned, not scaled, with its own appearance."""
NUMBERS = 2**32
"""Numbers in the journal for the blocks of one variant."""


@dataclass(frozen=True)
class Encoding:
    """One variant of a slide to encode, with an encoder that is adapted to it."""

    size: tuple[int, int]
    """Width and height of the slide as seen in the variant, not turned, pixels."""
    needed: np.ndarray
    """(ceil(H/f), ceil(W/f)) bool, tokens to compute; the others are background."""
    background: int
    """Token of plain background."""
    variant: Variant = ORIGINAL


@dataclass(frozen=True)
class Encoded:
    """The tokens of one variant, and the time they took."""

    tokens: np.ndarray
    """(ceil(H/f), ceil(W/f)) uint16."""
    seconds: float
    reading_seconds: float
    """Share of `seconds` spent waiting for pixels."""


def encode(
    read: ReadTile,
    encoding: Encoding,
    encoder: TokenEncoder,
    block: int,
    journal: Journal | None = None,
    number: int = 0,
) -> Encoded:
    """Compute the tokens of one slide, seen in one variant.

    The slide is cut into blocks anchored at its origin. Each is read with the context that the
    encoder needs: real pixels, or background outside the slide. Tokens lie where the tissue lies:
    pixels are turned before they are encoded, and their tokens are turned back.

    Args:
        read: Gives the pixels of a tile at working resolution.
        encoding: The variant.
        encoder: From `encoder_for`.
        block: Side of a block, about, pixels.
        journal: Keeps finished blocks; those of an interrupted run are not computed again.
        number: Number of the variant in the journal.
    """
    f, needed, variant = encoder.model.architecture.downscale, encoding.needed, encoding.variant
    tokens = np.full(needed.shape, encoding.background, np.uint16)
    tiles = [t for t in blocks(encoding.size, block, encoder.unit) if _inside(needed, t, f).any()]
    done = set()
    for n, block_tokens in _finished(journal, number, tiles, f):
        _write(tokens, block_tokens, tiles[n], needed, f)
        done.add(n)
    if done:
        logger.info("resuming after block %d of %d", len(done), len(tiles))
    left = [n for n in range(len(tiles)) if n not in done]
    pixels = prefetch(
        lambda n: variant.read(read, tiles[n].grown(encoder.context)), left, workers=1
    )
    start, waited = time.monotonic(), 0.0
    mark = start
    for n, rgb in track(zip(left, pixels, strict=True), len(left), "tokens", "block"):
        waited += time.monotonic() - mark
        turned = np.ascontiguousarray(orient(rgb, variant.orientation))
        wanted = orient(_padded(needed, tiles[n], f), variant.orientation)
        block_tokens = restore(encoder(turned, wanted), variant.orientation)
        _write(tokens, block_tokens, tiles[n], needed, f)
        if journal is not None:
            journal.add(number * NUMBERS + n, block_tokens.tobytes())
        mark = time.monotonic()
    return Encoded(tokens, time.monotonic() - start, waited)


def blocks(size: tuple[int, int], block: int, unit: int) -> list[Tile]:
    """Cut a slide into blocks of one shape, anchored at its origin, in reading order.

    The slide's sides are divided equally, so that no narrow block is left over: a block's sides are
    about `block`, at most a quarter more, rounded up to multiples of `unit`; all in pixels.
    """
    counts = (max(1, math.ceil(side / block - 0.25)) for side in size)
    width, height = (
        round_up(ceil_div(side, count), unit) for side, count in zip(size, counts, strict=True)
    )
    return [
        Tile(y, x, width, height)
        for y in range(0, size[1], height)
        for x in range(0, size[0], width)
    ]


def _finished(
    journal: Journal | None, number: int, tiles: list[Tile], f: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield index and tokens of the blocks of a variant that the journal holds."""
    for entry, payload in journal.entries() if journal is not None else ():
        variant, n = divmod(entry, NUMBERS)
        if variant == number:
            shape = tiles[n].height // f, tiles[n].width // f
            yield n, np.frombuffer(payload, np.uint16).reshape(shape)


def _inside(tokens: np.ndarray, tile: Tile, f: int) -> np.ndarray:
    """Return a view of a block's values in a map; at the slide's border there are fewer."""
    top, left = tile.y // f, tile.x // f
    return tokens[top : top + tile.height // f, left : left + tile.width // f]


def _padded(needed: np.ndarray, tile: Tile, f: int) -> np.ndarray:
    """Return all of a block's values, False outside the slide."""
    inside = _inside(needed, tile, f)
    missing = (tile.height // f - inside.shape[0], tile.width // f - inside.shape[1])
    return np.pad(inside, [(0, missing[0]), (0, missing[1])])


def _write(
    tokens: np.ndarray, block_tokens: np.ndarray, tile: Tile, needed: np.ndarray, f: int
) -> None:
    """Copy the needed tokens of a block into the map."""
    view = _inside(tokens, tile, f)
    inner = block_tokens[: view.shape[0], : view.shape[1]]
    np.copyto(view, inner, where=_inside(needed, tile, f))

"""Computing the token map of one slide, block by block."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from holohisto.runtime.arithmetic import ceil_div, round_up
from holohisto.runtime.journal import Journal
from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import ReadTile, Variant, orient, restore
from holohisto.tokens.encoders import Adapted, TokenEncoder

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
    adapted: Adapted | None = None
    """What the encoder adapts to again before it encodes a block; None: it is adapted already."""


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

    Args:
        read: Gives the pixels of a tile at working resolution.
        encoding: The variant.
        encoder: From `encoder_for`.
        block: Side of a block, about, pixels.
        journal: Keeps finished blocks; those of an interrupted run are not computed again.
        number: Number of the variant in the journal.
    """
    return encode_all(read, {number: encoding}, encoder, block, journal)[0]


def encode_all(
    read: ReadTile,
    encodings: Mapping[int, Encoding],
    encoder: TokenEncoder,
    block: int,
    journal: Journal | None = None,
    readers: int = 1,
) -> list[Encoded]:
    """Compute the tokens of one slide, seen in several variants, region by region.

    The slide is cut into blocks anchored at its origin. Each is read with the context that the
    encoder needs: real pixels, or background outside the slide. Tokens lie where the tissue lies:
    pixels are turned before they are encoded, and their tokens are turned back.

    Args:
        read: Gives the pixels of a tile at working resolution.
        encodings: The variants, by their numbers in the journal.
        encoder: From `encoder_for`.
        block: Side of a block, about, pixels.
        journal: Keeps finished blocks; those of an interrupted run are not computed again.
        readers: Threads that read.
    """
    maps = {number: _Map(seen, encoder, block) for number, seen in encodings.items()}
    done = _finished(journal, maps)
    work = sorted(
        (region, number, n)
        for number, each in maps.items()
        for n, region in each.regions(block)
        if (number, n) not in done
    )
    if done:
        logger.info("resuming after block %d of %d", len(done), len(done) + len(work))
    pixels = prefetch(lambda job: maps[job[1]].read(read, job[2]), work, readers)
    mark = time.monotonic()
    for (_, number, n), rgb in track(zip(work, pixels, strict=True), len(work), "tokens", "block"):
        each, waited = maps[number], time.monotonic() - mark
        block_tokens = each.encode(n, rgb)
        if journal is not None:
            journal.add(number * NUMBERS + n, block_tokens.tobytes())
        each.reading_seconds += waited
        each.seconds += time.monotonic() - mark
        mark = time.monotonic()
    return [Encoded(each.tokens, each.seconds, each.reading_seconds) for each in maps.values()]


class _Map:
    """The tokens of one variant while its blocks are encoded."""

    def __init__(self, encoding: Encoding, encoder: TokenEncoder, block: int) -> None:
        self.seconds = self.reading_seconds = 0.0
        self.tokens = np.full(encoding.needed.shape, encoding.background, np.uint16)
        self._seen, self._encoder = encoding, encoder
        self._f = encoder.model.architecture.downscale
        tiles = blocks(encoding.size, block, encoder.unit)
        self._tiles = [t for t in tiles if _inside(encoding.needed, t, self._f).any()]

    def regions(self, block: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield the number of each block and its place on the slide, in blocks: row and column."""
        scale = self._seen.variant.scale * block
        for n, tile in enumerate(self._tiles):
            y, x = tile.y + tile.height / 2, tile.x + tile.width / 2
            yield n, (int(y / scale), int(x / scale))

    def read(self, read: ReadTile, n: int) -> np.ndarray:
        """Return the pixels of a block with its context, not turned."""
        return self._seen.variant.read(read, self._tiles[n].grown(self._encoder.context))

    def encode(self, n: int, rgb: np.ndarray) -> np.ndarray:
        """Encode a block, keep its tokens, and return them."""
        if self._seen.adapted is not None:
            self._encoder.adapt_again(self._seen.adapted)
        orientation = self._seen.variant.orientation
        wanted = orient(_padded(self._seen.needed, self._tiles[n], self._f), orientation)
        turned = np.ascontiguousarray(orient(rgb, orientation))
        block_tokens = restore(self._encoder(turned, wanted), orientation)
        _write(self.tokens, block_tokens, self._tiles[n], self._seen.needed, self._f)
        return block_tokens

    def keep(self, n: int, payload: bytes) -> None:
        """Take the tokens of a block that was encoded earlier."""
        tile = self._tiles[n]
        shape = tile.height // self._f, tile.width // self._f
        block_tokens = np.frombuffer(payload, np.uint16).reshape(shape)
        _write(self.tokens, block_tokens, tile, self._seen.needed, self._f)


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


def _finished(journal: Journal | None, maps: Mapping[int, _Map]) -> set[tuple[int, int]]:
    """Take the blocks that the journal holds; returns their variants and numbers."""
    done = set()
    for entry, payload in journal.entries() if journal is not None else ():
        number, n = divmod(entry, NUMBERS)
        if number in maps:
            maps[number].keep(n, payload)
            done.add((number, n))
    return done


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

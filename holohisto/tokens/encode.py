"""Computing the token map of one slide, core by core."""

import logging
import math
import time
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

AS_IT_IS = Variant()
CORES = 2**32
"""Numbers in the journal for each variant."""


@dataclass(frozen=True)
class Encoded:
    """What `encode` found and what it took."""

    tokens: np.ndarray
    """(ceil(H/f), ceil(W/f)) uint16."""
    seconds: float
    reading_seconds: float
    """Of these, spent waiting for pixels."""


def encode(
    read: ReadTile,
    size: tuple[int, int],
    needed: np.ndarray,
    encoder: TokenEncoder,
    background: int,
    core: int,
    variant: Variant = AS_IT_IS,
    journal: Journal | None = None,
    number: int = 0,
) -> Encoded:
    """Compute the tokens of one slide, seen in one variant.

    The slide is cut into cores anchored at its origin. Each is read with the context that the
    encoder needs and whose pixels are real, or background outside the slide. The tokens lie where
    the tissue lies: what was turned before it is encoded is turned back.

    Args:
        read: Gives the pixels of a tile at working resolution.
        size: Width and height of the slide as seen in the variant.
        needed: (ceil(H/f), ceil(W/f)) bool, tokens to compute; the others are background.
        encoder: From `encoder_for`.
        background: Token of plain background.
        core: Side of a core, about, pixels.
        variant: How the slide is seen.
        journal: Where finished cores are kept, and those of an earlier try found.
        number: Of the variant in the journal.
    """
    tokens = np.full(needed.shape, background, np.uint16)
    f = encoder.model.architecture.downscale
    tiles = [tile for tile in cores(size, core, encoder.unit) if _part(needed, tile, f).any()]
    done = _take_up(journal, number, tokens, tiles, needed, f)
    places = [n for n in range(len(tiles)) if n not in done]
    pictures = prefetch(
        lambda n: variant.read(read, tiles[n].grown(encoder.context)), places, workers=1
    )
    start, waited = time.monotonic(), 0.0
    mark = start
    for n, rgb in track(zip(places, pictures, strict=True), len(places), "tokens", "core"):
        waited += time.monotonic() - mark
        turned = np.ascontiguousarray(orient(rgb, variant.orientation))
        wanted = orient(_whole_part(needed, tiles[n], f), variant.orientation)
        found = restore(encoder(turned, wanted), variant.orientation)
        _place(tokens, found, tiles[n], needed, f)
        if journal is not None:
            journal.add(number * CORES + n, found.tobytes())
        mark = time.monotonic()
    return Encoded(tokens, time.monotonic() - start, waited)


def cores(size: tuple[int, int], core: int, unit: int) -> list[Tile]:
    """Cut a slide into cores of one shape, anchored at its origin, in reading order.

    Their sides are multiples of `unit`, and equal parts of the slide's: about `core`, at most a
    quarter more, so that no narrow rest is left over.
    """
    parts = (max(1, math.ceil(side / core - 0.25)) for side in size)
    width, height = (
        round_up(ceil_div(side, part), unit) for side, part in zip(size, parts, strict=True)
    )
    return [
        Tile(y, x, width, height)
        for y in range(0, size[1], height)
        for x in range(0, size[0], width)
    ]


def _take_up(
    journal: Journal | None,
    number: int,
    tokens: np.ndarray,
    tiles: list[Tile],
    needed: np.ndarray,
    f: int,
) -> set[int]:
    """Place the cores of a variant that the journal holds; returns which they are."""
    done = set()
    for record, payload in journal.entries() if journal is not None else ():
        of, n = divmod(record, CORES)
        if of != number:
            continue
        found = np.frombuffer(payload, np.uint16).reshape(tiles[n].height // f, tiles[n].width // f)
        _place(tokens, found, tiles[n], needed, f)
        done.add(n)
    if done:
        logger.info("taking up after %d of %d cores", len(done), len(tiles))
    return done


def _part(tokens: np.ndarray, tile: Tile, f: int) -> np.ndarray:
    """View the tokens of a core; at the border there are fewer."""
    top, left = tile.y // f, tile.x // f
    return tokens[top : top + tile.height // f, left : left + tile.width // f]


def _whole_part(needed: np.ndarray, tile: Tile, f: int) -> np.ndarray:
    """The needed tokens of a core, False beyond the slide."""
    part = _part(needed, tile, f)
    missing = (tile.height // f - part.shape[0], tile.width // f - part.shape[1])
    return np.pad(part, [(0, missing[0]), (0, missing[1])])


def _place(tokens: np.ndarray, found: np.ndarray, tile: Tile, needed: np.ndarray, f: int) -> None:
    view = _part(tokens, tile, f)
    inner = found[: view.shape[0], : view.shape[1]]
    np.copyto(view, inner, where=_part(needed, tile, f))

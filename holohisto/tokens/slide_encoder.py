"""Encoding one slide in several variants, at its own statistics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from holohisto.config.training import TokensOptions
from holohisto.foreground.tissue import WHITE, Tissue
from holohisto.runtime.journal import Journal
from holohisto.tiles.appearance import Order
from holohisto.tiles.grid import Tile
from holohisto.tiles.shared_reads import SharedReads
from holohisto.tiles.variants import ReadTile, Variant, orient
from holohisto.tokenizer.colour_order import usual_order
from holohisto.tokenizer.vqgan import RESOLUTION
from holohisto.tokens.encode import ORIGINAL, Encoded, Encoding, encode_all
from holohisto.tokens.encoders import Adapted, TokenEncoder, background_token
from holohisto.tokens.needed import needed_tokens, tissue_squares


@dataclass(frozen=True)
class EncodedVariant:
    """The tokens of one variant of a slide."""

    encoded: Encoded
    needed: np.ndarray
    """(ceil(H/f), ceil(W/f)) bool, tokens on and near tissue; the others are background."""
    background: int
    """Token of the white around the tissue."""


class SlideEncoder:
    """Encodes one slide."""

    def __init__(
        self,
        tissue: Tissue,
        size: tuple[int, int],
        encoder: TokenEncoder,
        options: TokensOptions,
    ) -> None:
        """Set up.

        Args:
            tissue: The slide's pixels.
            size: Working width and height of the slide.
            encoder: From `encoder_for`.
            options: The section `tokens`.
        """
        self.tissue, self.size, self.encoder, self.options = tissue, size, encoder, options
        self._pixels: ReadTile = tissue.read

    def needed(self, variant: Variant = ORIGINAL) -> np.ndarray:
        """Return the tokens to compute, (ceil(H/f), ceil(W/f)) bool."""
        foreground, f = self.tissue.foreground, self.encoder.model.architecture.downscale
        size = variant.size(self.size)
        return needed_tokens(foreground.mask, foreground.cell * variant.scale, size, f)

    def adapt(self, variant: Variant = ORIGINAL, tiles: int | None = None) -> Adapted:
        """Adapt the encoder to the slide as seen in a variant; to white where it has no tissue.

        Args:
            variant: The variant.
            tiles: Tiles of tissue to adapt to; None: `tokens.calibration_tiles`.
        """
        count = self.options.calibration_tiles if tiles is None else tiles
        squares = self._squares(self.needed(variant), count)
        return self.encoder.adapt(
            [
                np.ascontiguousarray(orient(self.read(variant, tile), variant.orientation))
                for tile in squares or [Tile(0, 0, RESOLUTION, RESOLUTION)]
            ]
        )

    def read(self, variant: Variant, tile: Tile) -> np.ndarray:
        """Read a tile in a variant, before it is turned, (height, width, 3) uint8."""
        return self._on_tissue(variant).read(self._pixels, tile)

    def encode(self, variant: Variant = ORIGINAL) -> EncodedVariant:
        """Compute the tokens of one variant."""
        return self.encode_all([variant])[0]

    def encode_all(
        self, variants: Sequence[Variant], journal: Journal | None = None, readers: int = 1
    ) -> list[EncodedVariant]:
        """Compute the tokens of several variants, for all of which the slide is read once.

        Args:
            variants: The variants, whose indices are their numbers in the journal.
            journal: As of `encode_all` of `holohisto.tokens.encode`.
            readers: Threads that read; they alter no token.
        """
        if len(variants) > 1:
            self._pixels = SharedReads(self.tissue.read, self.size, WHITE)
        encodings = {number: self._encoding(variant) for number, variant in enumerate(variants)}
        encoded = encode_all(
            self._pixels, encodings, self.encoder, self.options.block, journal, readers
        )
        return [
            EncodedVariant(tokens, seen.needed, seen.background)
            for tokens, seen in zip(encoded, encodings.values(), strict=True)
        ]

    def _encoding(self, variant: Variant) -> Encoding:
        """Adapt the encoder to a variant; returns what is to be encoded."""
        adapted, needed = self.adapt(variant), self.needed(variant)
        background = background_token(self.encoder, np.array(WHITE, np.uint8))
        seen, size = self._on_tissue(variant), variant.size(self.size)
        return Encoding(size, needed, background, seen, adapted)

    @cached_property
    def order(self) -> Order:
        """Order of the slide's colours in which its codes are the most usual ones."""
        squares = self._squares(self.needed(), self.options.calibration_tiles)
        tiles = [self._pixels(tile) for tile in squares]
        return usual_order(self.encoder.model, tiles, self.tissue.foreground.common_colour)

    def _squares(self, needed: np.ndarray, count: int) -> list[Tile]:
        """Return tiles of tissue at equal intervals."""
        return tissue_squares(needed, self.encoder.model.architecture.downscale, count, RESOLUTION)

    def _on_tissue(self, variant: Variant) -> Variant:
        """Return the variant with an appearance that is standardised for this slide's tissue."""
        look = variant.appearance.of_reordered(self.order)
        return replace(variant, appearance=look.on(self.tissue.foreground.common_colour))

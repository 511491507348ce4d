"""The token map of a slide in all its variants, and the facts that the report shows."""

from dataclasses import asdict
from typing import Any

import numpy as np

from holohisto.config.training import TokensOptions
from holohisto.foreground.map import Foreground
from holohisto.foreground.tissue import WHITE
from holohisto.slide.record import SlideRecord
from holohisto.tiles.variants import variants_of
from holohisto.tokenizer.file import tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encode import Encoded, Encoding
from holohisto.tokens.encoders import TokenEncoder, background_token
from holohisto.tokens.needed import needed_tokens
from holohisto.tokens.quality import TokenQuality
from holohisto.tokens.token_map import TokenMap


def encodings_of(
    record: SlideRecord, foreground: Foreground, encoder: TokenEncoder, options: TokensOptions
) -> list[Encoding]:
    """Return the variants of a slide to encode; the first is the slide itself."""
    f = encoder.model.architecture.downscale
    white = np.array(WHITE, np.uint8)[None, None]
    encodings = []
    for variant in variants_of(options, record.fingerprint):
        size = variant.size(record.working_size)
        needed = needed_tokens(foreground.mask, foreground.cell * variant.scale, size, f)
        background = background_token(encoder, variant.appearance.apply(white))
        encodings.append(Encoding(size, needed, background, variant))
    return encodings


def token_map_of(
    record: SlideRecord,
    model: VQGAN,
    encodings: list[Encoding],
    encoded: list[Encoded],
    options: TokensOptions,
) -> TokenMap:
    """Return the token map of a slide.

    Args:
        record: The slide.
        model: The tokenizer.
        encodings: All variants, in the order of `encodings_of`.
        encoded: Their tokens, in the same order.
        options: The section `tokens`.
    """
    return TokenMap(
        tokens=[variant.tokens for variant in encoded],
        slide=record.slide,
        fingerprint=record.fingerprint,
        tokenizer=tokenizer_digest(model),
        downscale=model.architecture.downscale,
        backgrounds=tuple(encoding.background for encoding in encodings),
        options=options,
    )


def facts_of(
    record: SlideRecord, mode: str, bf16: bool, encoded: list[Encoded], quality: TokenQuality
) -> dict[str, Any]:
    """Return the facts that the report shows of a slide's tokens, for JSON.

    Args:
        record: The slide.
        mode: `frozen` or `window`.
        bf16: Whether the encoder computed in bf16.
        encoded: All variants, the slide itself first.
        quality: Of the slide itself.
    """
    return {
        "slide": record.slide,
        "mode": mode,
        "precision": "bf16" if bf16 else "fp32",
        "variants": len(encoded),
        "size_tokens": list(encoded[0].tokens.shape[::-1]),
        **asdict(quality),
        "seconds": round(sum(variant.seconds for variant in encoded), 3),
        "reading_seconds": round(sum(variant.reading_seconds for variant in encoded), 3),
        "bytes": sum(variant.tokens.nbytes for variant in encoded),
    }

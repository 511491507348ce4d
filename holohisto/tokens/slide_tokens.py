"""The token map of a slide in all its variants, and the facts that the report shows."""

from dataclasses import asdict
from typing import Any

from holohisto.config.training import TokensOptions
from holohisto.slide.record import SlideRecord
from holohisto.tiles.appearance import Order
from holohisto.tokenizer.file import tokenizer_digest
from holohisto.tokens.encoders import TokenEncoder
from holohisto.tokens.quality import TokenQuality
from holohisto.tokens.slide_encoder import EncodedVariant
from holohisto.tokens.token_map import TokenMap


def token_map_of(
    record: SlideRecord,
    encoder: TokenEncoder,
    variants: list[EncodedVariant],
    options: TokensOptions,
) -> TokenMap:
    """Return the token map of a slide.

    Args:
        record: The slide.
        encoder: The encoder of the tokens.
        variants: All variants in the order of `variants_of`.
        options: The section `tokens`.
    """
    return TokenMap(
        tokens=[variant.encoded.tokens for variant in variants],
        slide=record.slide,
        fingerprint=record.fingerprint,
        tokenizer=tokenizer_digest(encoder.model),
        downscale=encoder.model.architecture.downscale,
        backgrounds=tuple(variant.background for variant in variants),
        precision=encoder.precision,
        options=options,
        scale=record.scale,
    )


def facts_of(
    record: SlideRecord,
    token_map: TokenMap,
    variants: list[EncodedVariant],
    quality: TokenQuality,
    order: Order,
) -> dict[str, Any]:
    """Return the facts that the report shows of a slide's tokens, for JSON.

    Args:
        record: The slide.
        token_map: Its token map.
        variants: All variants, the slide itself first.
        quality: Of the slide itself.
        order: Order of the slide's colours in which it was encoded.
    """
    encoded = [variant.encoded for variant in variants]
    return {
        "slide": record.slide,
        "mode": token_map.options.mode,
        "precision": token_map.precision,
        "variants": len(encoded),
        "colour_order": "".join("rgb"[channel] for channel in order),
        "size_tokens": list(encoded[0].tokens.shape[::-1]),
        **asdict(quality),
        "seconds": round(sum(variant.seconds for variant in encoded), 3),
        "reading_seconds": round(sum(variant.reading_seconds for variant in encoded), 3),
        "bytes": sum(variant.tokens.nbytes for variant in encoded),
    }

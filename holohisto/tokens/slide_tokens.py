"""The token map of a slide in all its variants, and the facts that the report shows."""

from dataclasses import asdict
from typing import Any

from holohisto.config.training import TokensOptions
from holohisto.slide.record import SlideRecord
from holohisto.tokenizer.file import tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.quality import TokenQuality
from holohisto.tokens.slide_encoder import EncodedVariant
from holohisto.tokens.token_map import TokenMap


def token_map_of(
    record: SlideRecord, model: VQGAN, variants: list[EncodedVariant], options: TokensOptions
) -> TokenMap:
    """Return the token map of a slide.

    Args:
        record: The slide.
        model: The tokenizer.
        variants: All variants in the order of `variants_of`.
        options: The section `tokens`.
    """
    return TokenMap(
        tokens=[variant.encoded.tokens for variant in variants],
        slide=record.slide,
        fingerprint=record.fingerprint,
        tokenizer=tokenizer_digest(model),
        downscale=model.architecture.downscale,
        backgrounds=tuple(variant.background for variant in variants),
        options=options,
    )


def facts_of(
    record: SlideRecord,
    mode: str,
    bf16: bool,
    variants: list[EncodedVariant],
    quality: TokenQuality,
) -> dict[str, Any]:
    """Return the facts that the report shows of a slide's tokens, for JSON.

    Args:
        record: The slide.
        mode: `frozen` or `window`.
        bf16: Whether the encoder computed in bf16.
        variants: All variants, the slide itself first.
        quality: Of the slide itself.
    """
    encoded = [variant.encoded for variant in variants]
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

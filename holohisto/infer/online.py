"""The tokenizer of a segmenter that encodes its tiles itself, mode `online`; by torch."""

from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.inputs import TileEncoder
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN


def tile_encoder(card: ModelCard, segmenter: Path, tokenizer: Path | None) -> TileEncoder | None:
    """Load the tokenizer of a segmenter trained in mode `online`; None in the other modes.

    Args:
        card: ModelCard of the segmenter.
        segmenter: Its file.
        tokenizer: File of the tokenizer.

    Raises:
        HolohistoError: a tokenizer is needed but not given, or it is not the segmenter's.
    """
    if card.tokenizer is None or card.mode != "online":
        return None
    if tokenizer is None:
        raise HolohistoError(segmenter, "was trained online", advice="give --tokenizer")
    model = load_tokenizer(tokenizer)
    require_own_tokenizer(card, model, tokenizer)
    return encoder_of(card, model)


def encoder_of(card: ModelCard, tokenizer: VQGAN) -> TileEncoder:
    """Return what encodes tiles for a segmenter, in the precision of its training."""
    return TileEncoder(tokenizer, card.precision or "fp32")


def require_own_tokenizer(card: ModelCard, tokenizer: VQGAN, where: object) -> None:
    """Refuse a tokenizer that the segmenter was not trained with.

    Raises:
        HolohistoError: the digests differ.
    """
    digest = tokenizer_digest(tokenizer)
    if digest != card.tokenizer:
        raise HolohistoError(
            where,
            "is not the tokenizer that the segmenter was trained with",
            found=digest[:12],
            allowed=(card.tokenizer or "none")[:12],
        )

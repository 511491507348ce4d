"""What a segmenter has to have in common with the models, slides and tokens it is used for."""

from typing import Any

from holohisto.config.models import HolohistoModel, ModelOptions, reads_tokens
from holohisto.errors import HolohistoError
from holohisto.segmenter.card import ModelCard

MPP_RATIO = 1.05
"""Largest ratio of a slide's working resolution to the segmenter's: both may deviate from the
configured resolution by `check.mpp_tolerance`."""
NETWORK = ("size", "embedding", "attention", "decoder")
"""Keys of `holohisto` that decide the shapes and the meaning of its weights."""


def require_kind(where: object, card: ModelCard, model: ModelOptions) -> None:
    """Refuse a segmenter of another kind, or with another input, than the model's entry.

    Raises:
        HolohistoError: kind or embedding differ.
    """
    if card.options.kind != model.kind:
        advice = "set `kind` to the segmenter's, or name another file"
        raise _differs(where, "kind", card.options.kind, model.kind, advice)
    if reads_tokens(card.options) != reads_tokens(model):
        own, wanted = (getattr(options, "embedding", None) for options in (card.options, model))
        raise _differs(where, "embedding", own, wanted)


def require_network(where: object, card: ModelCard, model: HolohistoModel) -> None:
    """Refuse to start a network from a segmenter of another architecture.

    Raises:
        HolohistoError: kind, size, embedding, attention or decoder differ.
    """
    require_kind(where, card, model)
    for key in NETWORK:
        own, wanted = getattr(card.options, key), getattr(model, key)
        if own != wanted:
            raise _differs(where, key, own, wanted)


def require_classes(where: object, card: ModelCard, classes: tuple[str, ...]) -> None:
    """Refuse a segmenter that finds other classes than the configuration names.

    Raises:
        HolohistoError: names or their order differ.
    """
    if classes != card.classes:
        raise HolohistoError(
            where,
            "segmenter finds other classes than the config names",
            found=", ".join(card.classes),
            allowed=", ".join(classes),
            advice="name the segmenter's in `classes`, or train one",
        )


def require_mpp(where: object, card: ModelCard, mpp: float, of: str = "here") -> None:
    """Refuse a segmenter of another working resolution.

    Args:
        where: What names it.
        card: Its card.
        mpp: Working resolution of the slides, micrometres per pixel.
        of: What has this resolution, for the message.

    Raises:
        HolohistoError: the ratio of the two resolutions exceeds MPP_RATIO.
    """
    ratio = mpp / card.mpp
    if max(ratio, 1 / ratio) > MPP_RATIO:
        raise HolohistoError(
            where,
            "segmenter was trained at another resolution",
            found=f"{card.mpp:g} um/px, {of} {mpp:g} um/px",
            advice="set check.mpp to the segmenter's",
        )


def require_tokenizer(where: object, card: ModelCard, tokenizer: str | None) -> None:
    """Refuse a segmenter that reads the tokens of another tokenizer.

    Args:
        where: What names it.
        card: Its card.
        tokenizer: Digest of the run's tokenizer, or in words why there is none.

    Raises:
        HolohistoError: the digests differ.
    """
    if tokenizer != card.tokenizer:
        raise HolohistoError(
            where,
            "segmenter reads the tokens of another tokenizer",
            found=tokenizer if tokenizer is None or " " in tokenizer else tokenizer[:12],
            allowed=None if card.tokenizer is None else card.tokenizer[:12],
            advice="set tokenizer.checkpoint to its own tokenizer (`starter` for the starter)",
        )


def require_mode(where: object, card: ModelCard, mode: str) -> None:
    """Refuse a segmenter that was trained with another `tokens.mode`.

    Raises:
        HolohistoError: the modes differ.
    """
    if card.mode != mode:
        advice = f"set tokens.mode: {card.mode}"
        raise _differs(where, "tokens.mode", card.mode, mode, advice)


def _differs(
    where: object, key: str, own: Any, wanted: Any, advice: str | None = None
) -> HolohistoError:
    return HolohistoError(
        where,
        f"segmenter was trained with another {key}",
        found=own,
        allowed=wanted,
        advice=advice or f"set the model's `{key}: {own}`, or name another file",
    )

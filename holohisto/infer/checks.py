"""Whether a segmenter suits the slide, the classes and the tokens that it is given."""

from pathlib import Path

from holohisto.config.sections import Classes
from holohisto.errors import HolohistoError
from holohisto.segmenter import requirements
from holohisto.segmenter.card import ModelCard
from holohisto.slide.record import SlideRecord
from holohisto.tokens.token_map import (
    TokenMap,
    load_token_map,
    require_mode,
    require_precision,
    require_scale,
    require_slide,
    require_tokenizer,
)


def require_resolution(card: ModelCard, record: SlideRecord, path: Path) -> None:
    """Refuse the segmenter at `path` for a slide of another working resolution.

    Raises:
        HolohistoError: the ratio of the two resolutions exceeds 1.05.
    """
    of = f"slide {record.slide} at"
    requirements.require_mpp(path, card, record.working_mpp, of)


def require_classes(card: ModelCard, classes: Classes | None, path: Path) -> None:
    """Refuse the segmenter at `path` for a configuration with other classes; None: any will do.

    Raises:
        HolohistoError: names or their order differ.
    """
    if classes is not None:
        requirements.require_classes(path, card, tuple(classes))


def token_map_for(
    card: ModelCard, segmenter: Path, tokens: Path | None, record: SlideRecord
) -> TokenMap | None:
    """Load the token map of a slide; None for a segmenter that reads no token maps.

    Args:
        card: ModelCard of the segmenter.
        segmenter: Its file.
        tokens: File of the token map.
        record: The slide.

    Raises:
        HolohistoError: a token map is needed but not given, or it is of another slide, tokenizer,
            mode or precision.
    """
    if card.tokenizer is None or card.mode == "online":
        return None
    if tokens is None:
        raise HolohistoError(segmenter, "reads tokens", advice="give --tokens")
    token_map = load_token_map(tokens)
    require_tokenizer(token_map, card.tokenizer, tokens)
    require_slide(token_map, record.fingerprint, record.slide, tokens)
    require_scale(token_map, record.scale, tokens)
    require_mode(token_map, card.mode, tokens)
    require_precision(token_map, card.precision, tokens)
    return token_map

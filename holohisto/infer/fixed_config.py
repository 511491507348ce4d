"""The configuration that a segmenter needs."""

from holohisto.config.config import Config
from holohisto.config.sections import ClassOptions
from holohisto.segmenter.card import ModelCard


def config_for(card: ModelCard, config: Config) -> Config:
    """Return the configuration with the segmenter's own classes, resolution and kind of tokens.

    Tokens are computed in the mode and precision of the training, whatever the device.
    """
    classes = {name: config.classes.get(name, ClassOptions()) for name in card.classes}
    check = config.check.model_copy(update={"mpp": card.mpp})
    tokens = config.tokens.model_copy(
        update={"mode": card.mode, "precision": card.precision or config.tokens.precision}
    )
    return config.model_copy(update={"classes": classes, "check": check, "tokens": tokens})

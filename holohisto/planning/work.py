"""Work of the networks: multiply-adds for a working pixel, of a forward pass."""

from collections.abc import Sequence

from holohisto.config.models import HolohistoModel, ModelOptions
from holohisto.config.training import TokenizerOptions

PUBLISHED = (128, (1, 1, 2, 2, 4), 2)
"""Channels, multipliers and residual blocks of most published VQGANs with f = 16."""
HOLOHISTO = {
    ("T", "rgb"): 5_462,
    ("T", "tokens"): 1_451,
    ("S", "rgb"): 18_510,
    ("S", "tokens"): 8_308,
    ("B", "rgb"): 69_371,
    ("B", "tokens"): 52_507,
}
"""By size and decoder, with a tokenizer of f = 16."""
PIXELS = {
    "colour_threshold": 10,
    "unet": 11_657,
    "dynunet": 228_392,
    "unetr": 678_192,
    "swinunetr_v2": 700_000,
    "segformer": 37_549,
    "segformer tiny": 9_310,
    "segformer b1": 74_058,
    "segformer b2": 260_344,
    "segformer b3": 339_124,
    "segformer b4": 422_177,
    "segformer b5": 495_538,
    "deeplabv3plus": 143_444,
    "deeplabv3plus resnet101": 217_428,
    "sam_vit_b": 463_909,
    "sam_vit_h": 2_900_000,
}
"""By kind, and size where it is not the default, on tiles of 1024 px. Counted by torch's
FlopCounterMode but for swinunetr_v2 and sam_vit_h, which are rough."""


def segmenter_work(options: ModelOptions) -> float:
    """Return the multiply-adds of a segmenter for a pixel."""
    if isinstance(options, HolohistoModel):
        return HOLOHISTO[options.size, options.decoder]
    named = f"{options.kind} {getattr(options, 'size', '')}"
    return PIXELS.get(named, PIXELS[options.kind])


def encoder_work(options: TokenizerOptions) -> tuple[float, float]:
    """Return the multiply-adds of the encoder for a pixel: of its first two levels, and others."""
    channels, multipliers, blocks = _encoder(options)
    levels = _levels(channels, multipliers, blocks)
    last = channels * multipliers[-1]
    end = (2 * 18 * last**2 + 9 * last * len(options.levels)) / 4 ** (len(multipliers) - 1)
    return 27 * channels + sum(levels[:2]), sum(levels[2:]) + end


def decoder_work(options: TokenizerOptions) -> float:
    """Return the multiply-adds of the decoder for a pixel: about 2.2 times those of the encoder."""
    return 2.2 * sum(encoder_work(options))


def _encoder(options: TokenizerOptions) -> tuple[int, Sequence[int], int]:
    if options.checkpoint is None:
        return options.channels, options.multipliers, options.residual_blocks
    return PUBLISHED


def _levels(channels: int, multipliers: Sequence[int], blocks: int) -> list[float]:
    """Multiply-adds of each level, its downsampling included."""
    found: list[float] = []
    width = channels
    for level, multiplier in enumerate(multipliers):
        out = channels * multiplier
        first = 9 * width * out + 9 * out**2 + (width * out if width != out else 0)
        down = 9 * out**2 / 4 if level < len(multipliers) - 1 else 0
        found.append((first + (blocks - 1) * 18 * out**2 + down) / 4**level)
        width = out
    return found

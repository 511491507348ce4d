"""Segmenting a picture in memory, as the verbs segment the file of a slide."""

import os
from dataclasses import dataclass

import numpy as np
import torch

from holohisto.config.config import Config
from holohisto.device import device_of, resolve_precision
from holohisto.errors import HolohistoError
from holohisto.foreground.map import find_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.infer.engine import EngineOptions, predictor_of
from holohisto.infer.fixed_config import config_for
from holohisto.infer.job import Job, Speed
from holohisto.infer.online import encoder_of, require_own_tokenizer
from holohisto.infer.segmentation import Segmentation, input_reader, job_for
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import Segmenter
from holohisto.segmenter.inputs import TileEncoder
from holohisto.slide.array import ArraySlide
from holohisto.slide.mpp import MppXY
from holohisto.slide.record import SlideRecord, record_of
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encoders import encoder_for
from holohisto.tokens.slide_encoder import SlideEncoder
from holohisto.tokens.slide_tokens import token_map_of
from holohisto.tokens.token_map import TokenMap

NAME = "array"
"""Id of the picture in messages."""


def segment_array(
    model: Segmenter,
    card: ModelCard,
    rgb: np.ndarray,
    tokenizer: VQGAN | None = None,
    *,
    mpp: float | MppXY | None = None,
    config: Config | None = None,
    speed: Speed | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Segment a picture of any size; the result is that of the verbs on the same pixels.

    Networks are loaded once and used for many pictures, here for one region of a slide::

        model, card, _ = load_segmenter(Path("segmenter.safetensors"))
        tokenizer = load_tokenizer(Path("tokenizer.safetensors"))
        with Slide(Path("slide.svs")) as slide:
            rgb = slide.read((12_000, 8_000), (4_000, 3_000))
        labels, probability = segment_array(model, card, rgb, tokenizer, mpp=slide.mpp)
        glomeruli = labels >> card.classes.index("glomerulus") & 1

    Args:
        model: The segmenter, on the device to compute on.
        card: Its card.
        rgb: (height, width, 3) uint8.
        tokenizer: The segmenter's tokenizer, if it reads tokens; moved to the model's device.
        mpp: Micrometres per pixel of `rgb`, or two values, along x and y; None: the segmenter's,
            `card.mpp`.
        config: Its sections check, foreground, tokens and infer are used; None: the defaults.
        speed: Settings that alter the time and the memory, but no result; None: all cores of a CPU.

    Returns:
        Labels at the segmenter's resolution, (height, width) uint8, bit i for class i, and the
        probability map, (height / 4, width / 4) uint8, rounded up: the mean over 4 x 4 pixels of
        the largest probability of any class, 255 for 1.

    Raises:
        ValueError: `rgb` is no such array.
        HolohistoError: no tissue, an unsuited resolution, or a missing or foreign tokenizer.
    """
    config = config_for(card, config or Config())
    picture = _Picture.of(rgb, card.mpp if mpp is None else mpp, config)
    token_map, encoder = picture.tokens(card, _checked(tokenizer, card, device_of(model)))
    job, precision = picture.job(card), picture.config.infer.precision
    engine = EngineOptions(job.fitted, precision, len(os.sched_getaffinity(0)))
    predictor = predictor_of(model, card, encoder, engine)
    segmentation = Segmentation(predictor, job, speed or Speed(parallel_batches=predictor.parallel))
    with predictor.working():
        labels = list(segmentation.labels(input_reader(predictor, picture.tissue, token_map)))
    return np.concatenate(labels), np.concatenate(list(segmentation.probability()))


def _checked(tokenizer: VQGAN | None, card: ModelCard, device: torch.device) -> VQGAN | None:
    """The tokenizer on the device if the segmenter needs it; it must be the segmenter's own."""
    if card.tokenizer is None:
        return None
    if tokenizer is None:
        raise HolohistoError(NAME, "the segmenter reads tokens", advice="give its tokenizer")
    require_own_tokenizer(card, tokenizer, NAME)
    return tokenizer.to(device)


@dataclass(frozen=True)
class _Picture:
    """The picture with its tissue, found as the verbs check and foreground do."""

    record: SlideRecord
    tissue: Tissue
    config: Config

    @classmethod
    def of(cls, rgb: np.ndarray, mpp: float | MppXY, config: Config) -> "_Picture":
        slide = ArraySlide(rgb, mpp=mpp)
        record = record_of(NAME, slide, mpp, None, config.check)
        foreground = find_foreground(slide, record, config.foreground, None)
        return cls(record, Tissue(slide, record.scale, foreground), config)

    def job(self, card: ModelCard) -> Job:
        foreground, size = self.tissue.foreground, self.record.working_size
        return job_for(card, size, foreground, self.config.infer)

    def tokens(
        self, card: ModelCard, tokenizer: VQGAN | None
    ) -> tuple[TokenMap | None, TileEncoder | None]:
        """Return the token map or, in mode online, what encodes each tile."""
        if tokenizer is None:
            return None, None
        if card.mode == "online":
            return None, encoder_of(card, tokenizer)
        return self.token_map(tokenizer), None

    def token_map(self, tokenizer: VQGAN) -> TokenMap:
        """Compute the tokens as the verb tokens does, in one variant."""
        options, size = self.config.tokens.single_variant, self.record.working_size
        tokenizer = tokenizer.to(memory_format=torch.channels_last)  # pyright: ignore
        precision = resolve_precision(options.precision, device_of(tokenizer))
        encoder = encoder_for(tokenizer, options.mode, precision)
        encoded = SlideEncoder(self.tissue, size, encoder, options).encode()
        return token_map_of(self.record, encoder, [encoded], options)

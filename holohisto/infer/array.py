"""Segmenting a picture in memory, as the verbs segment the file of a slide."""

import numpy as np
import torch

from holohisto.config.config import Config
from holohisto.device import device_of
from holohisto.errors import HolohistoError
from holohisto.foreground.map import Foreground, find_foreground
from holohisto.foreground.tissue import WHITE, Tissue
from holohisto.infer.checks import require_own_tokenizer
from holohisto.infer.job import DEFAULT_SPEED, Speed
from holohisto.infer.predict import Predictor, fixed_threads
from holohisto.infer.segmentation import Segmentation, input_reader, job_for
from holohisto.segmenter.file import Card, Segmenter
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import SlideRecord, record_of
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encode import encode
from holohisto.tokens.encoders import background_token, encoder_for
from holohisto.tokens.needed import needed_tokens
from holohisto.tokens.token_map import TokenMap

NAME = "array"
"""Id of the picture in messages."""


def segment_array(
    model: Segmenter,
    card: Card,
    rgb: np.ndarray,
    tokenizer: VQGAN | None = None,
    *,
    mpp: float | None = None,
    config: Config | None = None,
    speed: Speed = DEFAULT_SPEED,
) -> tuple[np.ndarray, np.ndarray]:
    """Segment a picture of any size; the result is that of the verbs on the same pixels.

    As the verbs do, this finds the tissue, brings its stain to the common one, computes tokens if
    the segmenter reads them, and blends overlapping tiles. A segmenter and its tokenizer are loaded
    once and used for many pictures, here for one region of a slide::

        model, card, _ = load_segmenter(Path("segmenter.safetensors"))
        tokenizer = load_tokenizer(Path("tokenizer.safetensors"))
        with Slide(Path("slide.svs")) as slide:
            rgb = slide.read((12_000, 8_000), (4_000, 3_000))
        labels, probability = segment_array(model, card, rgb, tokenizer, mpp=slide.mpp)
        glomeruli = labels >> card.classes.index("glomerulus") & 1

    Args:
        model: The segmenter of `load_segmenter`, on the device to compute on.
        card: Its card.
        rgb: (height, width, 3) uint8.
        tokenizer: The segmenter's tokenizer, for segmenters that read tokens (`card.tokenizer`
            is not None); it is moved to the segmenter's device.
        mpp: Micrometres per pixel of `rgb`; None: the segmenter's working resolution, `card.mpp`.
        config: The sections `check`, `foreground`, `tokens` and `infer` are used, but for the
            resolution and the mode of the tokens, which are the segmenter's; None: the defaults.
        speed: Settings that alter the time and the memory, but no result.

    Returns:
        Labels at working resolution, (height, width) uint8, bit i where the probability of class i
        reaches `infer.threshold`, and the probability map, (height / 4, width / 4) uint8, rounded
        up: the mean over 4 x 4 pixels of the largest probability of any class, 255 for 1. Both are
        0 in tiles without tissue.

    Raises:
        ValueError: `rgb` is no such array.
        HolohistoError: the picture shows no tissue, its resolution does not lead to the
            segmenter's by a whole factor, or the tokenizer is missing or another one.
    """
    config = config or Config()
    if card.tokenizer is not None:
        if tokenizer is None:
            raise HolohistoError(NAME, "the segmenter reads tokens", advice="give its tokenizer")
        require_own_tokenizer(card, tokenizer, NAME)
        tokenizer = tokenizer.to(device_of(model))
    mpp = card.mpp if mpp is None else mpp
    slide = ArraySlide(rgb, mpp=mpp)
    check = config.check.model_copy(update={"mpp": card.mpp})
    record = record_of(NAME, slide, mpp, None, check)
    foreground = find_foreground(slide, record, config.foreground, None)
    tissue = Tissue(slide, record.factor, foreground)
    online = card.mode == "online"
    token_map = None
    if tokenizer is not None and card.tokenizer is not None and not online:
        token_map = _token_map(tissue, foreground, record, tokenizer, card.mode, config)
    predictor = Predictor(model, tokenizer if online else None)
    job = job_for(card, model.tile, record.working_size, foreground, config.infer)
    segmentation = Segmentation(predictor, job, speed)
    with fixed_threads():
        labels = list(segmentation.labels(input_reader(predictor, tissue, token_map)))
    return np.concatenate(labels), np.concatenate(list(segmentation.probability()))


def _token_map(
    tissue: Tissue,
    foreground: Foreground,
    record: SlideRecord,
    tokenizer: VQGAN,
    mode: str,
    config: Config,
) -> TokenMap:
    """Compute the tokens of the picture, once, seen as it is."""
    options = config.tokens.model_copy(update={"mode": mode}).single_variant
    on_gpu = device_of(tokenizer).type == "cuda"
    bf16 = options.precision == "bf16" or (options.precision == "auto" and on_gpu)
    tokenizer = tokenizer.to(memory_format=torch.channels_last)  # pyright: ignore
    encoder = encoder_for(tokenizer, mode, bf16)
    f = tokenizer.architecture.downscale
    size = record.working_size
    needed = needed_tokens(foreground.mask, foreground.cell, size, f)
    background = background_token(encoder, np.array(WHITE, np.uint8))
    tokens = encode(tissue.read, size, needed, encoder, background, options.block).tokens
    return TokenMap([tokens], NAME, record.fingerprint, "", f, (background,), options)

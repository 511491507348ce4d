"""Short trainings on small generated slides."""

from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric

from holohisto.config.models import HolohistoModel
from holohisto.config.training import TokensOptions, TrainOptions
from holohisto.foreground.map import Foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.start import Cohort, start
from holohisto.slide import Slide
from holohisto.slide.scale import Scale
from holohisto.tokens.token_map import TokenMap
from holohisto.training.sampler import SamplingArea
from holohisto.training.slides import TrainingSlide
from holohisto.training.trainer import Trainer

SIZE = (333, 251)
OPTIONS = TrainOptions(
    tile=(96, 64), steps=36, validate_every=9, batch=2, learning_rate=3e-3, ema=0.9
)
MIXED = OPTIONS.model_copy(update={"cutmix": 1.0})


class Pixels:
    """Stands for a slide of factor 2: bright objects on noise."""

    background = (255, 255, 255)

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        self.bits = np.zeros(SIZE[::-1], np.uint8)
        for _ in range(6):
            y, x = random.integers(0, SIZE[1] - 40), random.integers(0, SIZE[0] - 40)
            self.bits[y : y + 40, x : x + 40] = 1
        noise = random.integers(0, 60, (*SIZE[::-1], 3))
        self.rgb = (noise + 150 * self.bits[..., None]).astype(np.uint8)

    def resampled(self, xy, size, scale):
        assert scale == Scale.whole(2)
        return _padded(self.rgb, *xy, *size)


class Bits:
    """Stands for the annotation of such a slide."""

    def __init__(self, pixels):
        self.pixels = pixels

    def read(self, xy, size):
        return _padded(self.pixels.bits, *xy, *size)


def _padded(array, x, y, width, height):
    out = np.zeros((height, width, *array.shape[2:]), array.dtype)
    inside = array[y : y + height, x : x + width]
    out[: inside.shape[0], : inside.shape[1]] = inside
    return out


def slide(seed, known=(True,)):
    pixels = Pixels(seed)
    shape = (ceil_div(SIZE[1], 16), ceil_div(SIZE[0], 16))
    everywhere = np.ones(shape, bool)
    means = _padded(pixels.rgb, 0, 0, shape[1] * 16, shape[0] * 16).mean(axis=2)
    tokens = means.reshape(shape[0], 16, shape[1], 16).mean(axis=(1, 3)) // 8
    return TrainingSlide(
        name=f"slide{seed}",
        tissue=Tissue(cast(Slide, pixels), Scale.whole(2), Foreground(everywhere, 16, 0.0)),
        annotation=Bits(pixels),
        known=known,
        area=SamplingArea(SIZE, 16, everywhere, everywhere.astype(np.uint8)),
        token_map=TokenMap(
            [tokens.astype(np.uint16)],
            "s",
            "p",
            "t",
            16,
            (0,),
            "fp32",
            TokensOptions(),
            Scale.whole(2),
        ),
    )


def trainer(options=OPTIONS, seed=0, decoder="rgb", **kwargs):
    torch.manual_seed(seed)
    codebook = torch.linspace(-1, 1, 32 * 4).reshape(32, 4)
    options_of_model = HolohistoModel(
        size="T", decoder=decoder, pretrained=kwargs.get("pretrained")
    )
    model = build_segmenter(options_of_model, codebook, 16, 1)
    start(model, options_of_model, Cohort(("a",), 0.5, "t"))
    fabric = kwargs.get("fabric") or Fabric(accelerator="cpu", devices=1)
    slides = kwargs.get("slides", [slide(1), slide(2)])
    return Trainer(model, slides, [slide(3)], options, seed, fabric, kwargs.get("workers", 1))


def numbers(rows):
    return [(r.step, r.loss, r.learning_rate, r.val_dice) for r in rows]


def run(a_trainer, tmp_path, validations=None):
    rows = []
    for rows in a_trainer.run(tmp_path / "checkpoint", "identity"):
        if validations is not None and len(rows) == validations:
            break
    return rows

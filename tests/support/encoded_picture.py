"""A picture that stands for a slide, a small tokenizer, and its tokens of the picture."""

import numpy as np
import torch

from holohisto.config.training import TokensOptions
from holohisto.foreground.colour import colour_of
from holohisto.foreground.map import Foreground
from holohisto.foreground.tissue import Tissue
from holohisto.slide.array import ArraySlide
from holohisto.slide.scale import Scale
from holohisto.tiles.variants import Variant
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens import encode as encoding
from holohisto.tokens.encoders import encoder_for
from holohisto.tokens.slide_encoder import SlideEncoder

SIZE = (651, 395)  # not square, no multiple of 16
EVERYTHING = np.ones((25, 41), bool)


def tokenizer(**facts):
    torch.manual_seed(0)
    options = {
        "channels": 8,
        "multipliers": (1, 2, 2, 2, 2),
        "residual_blocks": 2,
        "codebook": 64,
        "dimension": 4,
    }
    made = VQGAN(Architecture(**(options | facts)))
    return made.eval().requires_grad_(False)


def frozen_tokenizer():
    """Calibrated on the picture, its codes are latents of the picture."""
    made = tokenizer()
    calibrate(made, [picture()[y : y + 160, :192] for y in (0, 110, 220)])
    pixels = torch.from_numpy(picture()[:256, :256]).permute(2, 0, 1)[None]
    latents = made.latents(made.pixels(pixels)).reshape(-1, 4)
    made.quantize.embedding.weight.copy_(latents[::4])
    return made


def slide_encoder(model=None, rgb=None, common_stain=False, **options):
    """Encodes the picture, all of it tissue, as a slide at its own statistics."""
    slide = ArraySlide(picture() if rgb is None else rgb, mpp=0.5, background=(255, 255, 255))
    cells = np.ones((25, 41), bool)
    colour = colour_of(slide, Scale.whole(1), cells, 16, slide.background) if common_stain else None
    tissue = Tissue(slide, Scale.whole(1), Foreground(cells, 16, 0.05, colour))
    model = tokenizer(codebook=64, dimension=3, levels=(4, 4, 4)) if model is None else model
    options = TokensOptions(**({"calibration_tiles": 4, "block": 256} | options))
    return SlideEncoder(tissue, SIZE, encoder_for(model, options.mode), options)


def picture():
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (SIZE[1] // 6 + 1, SIZE[0] // 6 + 1, 3), dtype=np.uint8)
    return np.kron(small, np.ones((6, 6, 1), np.uint8))[: SIZE[1], : SIZE[0]]


def reader(rgb, colour=(240, 240, 240)):
    def read(tile):
        out = np.empty((tile.height, tile.width, 3), np.uint8)
        out[:] = colour
        y0, x0 = max(tile.y, 0), max(tile.x, 0)
        y1, x1 = min(tile.y + tile.height, SIZE[1]), min(tile.x + tile.width, SIZE[0])
        if y1 > y0 and x1 > x0:
            out[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x] = rgb[y0:y1, x0:x1]
        return out

    return read


def encode(encoder, needed=EVERYTHING, block=256, variant=Variant(), **facts):  # noqa: B008
    read = facts.pop("read", reader(picture()))
    seen = encoding.Encoding(variant.size(SIZE), needed, 63, variant)
    return encoding.encode(read, seen, encoder, block, **facts).tokens

"""A training sample from the token map, beside encoding its pixels when it is drawn.

    python benchmarks/token_cache.py

Random 4K tiles of one slide, as training draws them: tokens and annotation. The tokenizer has toy
width (`--channels 128` is the published one). Then a whole training step of the segmenter T without
RGB stem, on the same samples. Targets: the sample is ten times as fast, the step twice.
"""

import tempfile
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import race
import torch
from encoder import CODES, network
from memory import MPP, WIDTH, bands, strip

from holohisto.annotation import Annotation
from holohisto.config.models import HolohistoModel
from holohisto.config.sections import ClassOptions
from holohisto.config.training import TokensOptions
from holohisto.foreground.map import Foreground
from holohisto.foreground.tissue import Tissue
from holohisto.pyramid.write import write_mask_pyramid, write_slide_pyramid
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.inputs import Inputs, TileEncoder
from holohisto.slide import Slide
from holohisto.slide.scale import Scale
from holohisto.tokens.token_map import TokenMap
from holohisto.training.loss import dice_bce
from holohisto.training.sampler import RandomSampler, SamplingArea
from holohisto.training.slides import TrainingSlide, View, stack

TILE, SIZE, CELL = (3840, 2160), (2 * WIDTH, 4003), 16
FASTER = {"sample": 10, "step": 2}


def training_slide(folder: Path) -> TrainingSlide:
    """A slide of 6,002 x 4,003 px, all of it foreground, with a token map of random tokens."""
    rgb, mask = (np.concatenate([part, part], axis=1) for part in strip(folder))
    image, outlines = folder / "slide.tif", folder / "annotation.tif"
    write_slide_pyramid(image, bands(rgb, SIZE[1]), MPP, quality=85)
    write_mask_pyramid(outlines, bands(mask, SIZE[1]), SIZE, MPP, "")
    foreground = np.ones((ceil_div(SIZE[1], CELL), ceil_div(SIZE[0], CELL)), bool)
    random = np.random.default_rng(0)
    shape = (ceil_div(SIZE[1], 16), ceil_div(SIZE[0], 16))
    some = random.integers(0, CODES, shape).astype(np.uint16)
    return TrainingSlide(
        name="slide",
        tissue=Tissue(Slide(image), Scale.whole(1), Foreground(foreground, CELL, 0.0)),
        annotation=Annotation(outlines, {"glomerulus": ClassOptions()}, SIZE, Scale.whole(1), None),
        known=(True,),
        area=SamplingArea(SIZE, CELL, foreground, ~foreground),
        token_map=TokenMap(
            [some], "slide", "", "", 16, (0,), "fp32", TokensOptions(), Scale.whole(1)
        ),
    )


def contenders(channels: int, step: bool, device: str) -> race.Contenders:
    """The next sample's tokens and annotation on the device; with `step`, trained on."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:  # the open files outlive it
        slide = training_slide(Path(name))
    sampler = RandomSampler([slide.area], TILE, 16, seed=0, annotated_share=0.0)
    tokenizer = network(channels, device)
    options = HolohistoModel(size="T", decoder="tokens")
    model = build_segmenter(options, tokenizer.quantize.codes, 16, classes=1).to(device)
    numbers = count()

    def sample(inputs: Inputs) -> float:
        drawn = sampler(next(numbers))
        batch = stack([View(slide, drawn.tile)], inputs.tokens, inputs.pixels)
        tokens, _ = inputs(batch.tokens, batch.rgb, torch.device(device))
        target = torch.from_numpy(batch.target).to(device)
        if not step:
            return 0.0
        known = torch.from_numpy(batch.known).to(device)
        loss = dice_bce(model(tokens, None, target.shape[2:]), target, known)
        loss.backward()
        model.zero_grad()
        return float(loss.detach())

    return {
        "encoded": partial(sample, Inputs(model, TileEncoder(tokenizer, "fp32"))),
        "from the map": partial(sample, Inputs(model, None)),
    }


def main() -> None:
    """Print the table; exit 1 if a target is missed."""
    parser = race.options(__doc__)
    parser.add_argument("--channels", type=int, default=32, help="width of the first level")
    arguments = parser.parse_args()
    races = {name: partial(contenders, arguments.channels, name == "step") for name in FASTER}
    missed = []
    for name, results in race.run(races, arguments).items():
        encoded, cached = results.values()
        if encoded.best < FASTER[name] * cached.best:
            missed.append(f"{name}: {FASTER[name]} times as fast")
    race.verdict(missed)


if __name__ == "__main__":
    main()

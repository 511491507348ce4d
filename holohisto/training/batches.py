"""The tiles of every training step, as a function of seed, step and rank alone.

Reading threads, interruptions and the number of ranks therefore do not change a training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from holohisto.config.training import TrainOptions
from holohisto.segmenter.inputs import Inputs
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.randomness import Purpose, generator
from holohisto.tiles.rectangles import Rectangle, in_pixels, random_rectangle, swap
from holohisto.tiles.variants import Variant
from holohisto.training.cutmix import exchange
from holohisto.training.pixels import DrawnPixels
from holohisto.training.sampler import GridSampler, RandomSampler
from holohisto.training.schedule import StepPlan
from holohisto.training.slides import Batch, TrainingSlide, View, stack

SCALE_POWERS = tuple((2 * n + 1) / 7 - 1 for n in range(7))
"""Powers of 1 + `scale_jitter` that tiles read as pixels are scaled by; 0 is the slide's own size.

Those of a token map with the default number of appearances (`tiles.variants.variants_of`), so that
networks over pixels and over tokens learn from the same range of sizes.
"""


class Exchange(NamedTuple):
    """Two tiles of a batch, by index, and the rows and columns of pixels that they exchange."""

    first: int
    second: int
    rectangle: Rectangle


@dataclass(frozen=True)
class DrawnBatch:
    """A step's tiles of one rank, of which only the pixels are still to be computed."""

    batch: Batch
    """Tokens and annotation; without pixels."""
    pixels: list[DrawnPixels] | None
    """Of its tiles, then of those that these exchange rectangles with; None where none are read."""
    exchanges: list[Exchange]
    """What remains to be done with the pixels alone."""

    def on(self, device: torch.device) -> Batch:
        """Return the batch, with its pixels computed on a device."""
        if self.pixels is None:
            return self.batch
        # Tile by tile: in fp32 with its temporaries, one of 4K takes a gigabyte.
        rgb = torch.stack([pixels.shown(device) for pixels in self.pixels])
        for first, second, rectangle in self.exchanges:
            swap(rgb[..., *rectangle], first, second)
        return replace(self.batch, rgb=rgb[: len(self.batch.names)])


class Batches:
    """Draws and reads one rank's tiles of any step."""

    def __init__(
        self,
        slides: list[TrainingSlide],
        inputs: Inputs,
        plan: StepPlan,
        options: TrainOptions,
        seed: int,
        rank: int = 0,
    ) -> None:
        """Set the sampler up.

        Args:
            slides: The training slides.
            inputs: Whether tokens, pixels or both are read.
            plan: Tile size, and tiles per step and rank.
            options: The training options: sampler, augmentation, dropout of tokens, CutMix.
            seed: Seed of all random choices.
            rank: The rank whose tiles are read.
        """
        self.slides, self.inputs, self.plan = slides, inputs, plan
        self.options, self.seed, self.rank = options, seed, rank
        self.strength = Strength.of(options.augmentation)
        self.variants = drawn_variants(slides, options, inputs.tokens)
        areas = [slide.area for slide in slides]
        if options.sampler == "random":
            self.sampler = RandomSampler(
                areas, plan.fitted_tile, plan.snap, seed, options.annotated_share, self.variants
            )
        else:
            self.sampler = GridSampler(areas, plan.fitted_tile, plan.snap, seed, self.variants)

    def read(self, step: int) -> DrawnBatch:
        """Read this rank's share of a step, counted from 0.

        Samples 2k and 2k + 1 are a pair that may exchange a rectangle. If only one of them belongs
        to this rank and step, the other is read for the exchange and then dropped.
        """
        share = self.plan.share
        first = step * self.plan.batch + self.rank * share
        samples = list(range(first, first + share))
        rectangles = self.rectangles(samples)
        samples += [n for even in rectangles for n in (even, even + 1) if n not in samples]
        views = [self.view(n) for n in samples]
        batch = stack(views, self.inputs.tokens, needs_pixels=False)
        exchanges = []
        for even, rectangle in rectangles.items():
            pair = samples.index(even), samples.index(even + 1)
            batch = exchange(batch, *pair, rectangle, self.plan.snap)
            exchanges.append(Exchange(*pair, in_pixels(rectangle, self.plan.snap)))
        pixels = [view.drawn() for view in views] if self.inputs.pixels else None
        return DrawnBatch(batch.tiles(0, share), pixels, exchanges)

    def rectangles(self, samples: list[int]) -> dict[int, Rectangle]:
        """Draw which pairs of these samples exchange which rectangle: even sample -> rectangle."""
        width, height = (side // self.plan.snap for side in self.plan.tile)
        drawn = {}
        for even in sorted({n - n % 2 for n in samples}):
            random = generator(self.seed, Purpose.CUTMIX, even)
            if random.random() < self.options.cutmix:
                drawn[even] = random_rectangle(height, width, random)
        return drawn

    def view(self, n: int) -> View:
        """Return sample n of the training with its variant, appearance and dropout of tokens."""
        sample = self.sampler(n)
        slide = self.slides[sample.slide]
        look = Appearance.draw(self.strength, generator(self.seed, Purpose.APPEARANCE, n))
        dropout = generator(self.seed, Purpose.DROPOUT, n)
        variants = self.variants
        if self.inputs.tokens:
            assert slide.token_map is not None
            variants = slide.token_map.variants
        variant = variants[sample.variant]
        return View(
            slide=slide,
            tile=sample.tile,
            variant=replace(variant, appearance=look.on(slide.tissue.foreground.common_colour)),
            variant_index=sample.variant,
            token_dropout=self.options.token_dropout,
            random=dropout,
            seed=int(dropout.integers(2**63)),
        )


def drawn_variants(
    slides: Sequence[TrainingSlide], options: TrainOptions, from_token_maps: bool
) -> list[Variant]:
    """Return the variants that samples are drawn from.

    They are the variants that all slides' token maps hold or, where only pixels are read, all
    orientations and scales.
    """
    if from_token_maps:
        maps = [slide.token_map for slide in slides if slide.token_map is not None]
        return min((token_map.variants for token_map in maps), key=len)
    jitter = options.augmentation.scale_jitter
    scales = [(1 + jitter) ** power for power in SCALE_POWERS] if jitter else [1.0]
    return [Variant(turn, scale) for scale in scales for turn in range(options.orientations)]

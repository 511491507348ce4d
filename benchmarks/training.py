"""What a training costs the processor and the memory: a tile, validation, many images.

    python training.py [--images 20 100 300]

Everything is generated. Each part prints, from one run, what is compared: a tile's pixels read
and then computed by the training's device beside both by numpy, open files bounded by `--cache-mb`
beside unbounded ones.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image

from holohisto.annotation import Annotation
from holohisto.annotation.reopened import ReopenedAnnotation
from holohisto.config.models import HolohistoModel
from holohisto.config.sections import ClassOptions
from holohisto.config.training import TrainOptions
from holohisto.foreground.map import Foreground
from holohisto.foreground.tissue import Tissue
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.open_files import OpenFiles
from holohisto.segmenter.file import Network, build_segmenter
from holohisto.slide import Slide
from holohisto.slide.reopened import ReopenedSlide
from holohisto.slide.scale import Scale
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant
from holohisto.training.sampler import SamplingArea
from holohisto.training.schedule import VALIDATION_PART
from holohisto.training.slides import TrainingSlide, View
from holohisto.training.trainer import Trainer

FOUR_K = (3840, 2160)
TILE = (1920, 1080)
"""Tile that is timed; times are of four, the area of a 4K tile."""
SIDE, CELL = 1024, 16
CLASSES = {"a": ClassOptions()}
REPEATS = 3
CPU = torch.device("cpu")
STEPS = 16
CACHE_MB = 2000
"""Default of `train --cache-mb`, of which open files have a half."""


def main() -> None:
    """Run the parts that are asked for, each in its own process where memory is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 100, 300])
    parser.add_argument("--peak", nargs=3, metavar=("FOLDER", "IMAGES", "MB"))
    arguments = parser.parse_args()
    if arguments.peak:
        folder, images, most = arguments.peak
        print(peak_mb(Path(folder), int(images), int(most)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tile_seconds(folder)
        validation_share(folder)
        many_images(folder, arguments.images)


def tile_seconds(folder: Path) -> None:
    """Print the core-seconds of a 4K tile, of its reader and of a CPU as the training's device."""
    width, height = (2 * side + 333 for side in FOUR_K)
    rgb = np.random.default_rng(0).integers(90, 250, (height // 8, width // 8, 3), np.uint8)
    rgb = rgb.repeat(8, axis=0).repeat(8, axis=1)
    write_slide_pyramid(folder / "slide.tif", rgb, 0.25)
    slide = _slide(rgb.shape[1::-1], Slide(folder / "slide.tif", mpp=0.25), Scale.whole(2), None)
    options = TrainOptions().augmentation
    tile, near = Tile(160, 320, *TILE), (1 + options.scale_jitter) ** (4 / 7)
    look = Appearance.draw(Strength.of(options), np.random.default_rng(1))
    sharp = Appearance(look.mixing, look.contrast, look.shift)
    parts = {
        "as it is": Variant(),
        "scaled": Variant(0, near),
        "blurred": Variant(0, 1.0, Appearance(blur=look.blur)),
        "recoloured": Variant(0, 1.0, sharp),
        "all of it, turned": Variant(5, near, look),
    }
    print("core-seconds of the pixels of a 4K tile")
    print(f"  {'':<18} {'reader':>6} {'device':>6}   {'numpy, in the reader':>20}")
    for name, variant in parts.items():
        view = View(slide, tile, variant)
        drawn = view.drawn()
        read, shown, both = (
            4 * _fastest(part)
            for part in (view.drawn, lambda drawn=drawn: drawn.shown(CPU), view.rgb)
        )
        print(f"  {name:<18} {read:6.2f} {shown:6.2f}   {both:20.2f}")


def validation_share(folder: Path) -> None:
    """Print the share of validation in a training's time, from the seconds of its tiles."""
    slide = Slide(folder / "slide.tif", mpp=0.25)
    opened = _slide(slide.size, slide, Scale.whole(2), _Nothing())
    options = TrainOptions(tile=(512, 384), steps=STEPS, validate_every=STEPS, batch=2)
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T", embedding="linear"), None, 16, 1)
    fabric = Fabric(accelerator="cpu", devices=1)
    trainer = Trainer(cast(Network, model), [opened], [opened], options, 0, fabric, 1)
    *_, rows = trainer.run(folder / "checkpoint", "identity")
    training = (rows[0].read_seconds + rows[0].step_seconds) / (STEPS * options.batch)
    validated = rows[0].validation_seconds / len(trainer.validation.tiles)
    share = validated / (VALIDATION_PART * training + validated)
    print(
        f"seconds of a tile of {options.tile}: {training:.3f} to train, {validated:.3f} to validate"
    )
    print(f"share of a validation of one tile for {VALIDATION_PART} trained on: {share:.3f}")


class _Nothing:
    """An annotation without objects."""

    def read(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        return np.zeros(size[::-1], np.uint8)


def many_images(folder: Path, counts: list[int]) -> None:
    """Print the peak memory of opening and reading generated images, bounded and not."""
    random = np.random.default_rng(1)
    for n in range(max(counts)):
        noise = random.integers(60, 250, (SIDE // 4, SIDE // 4, 3), np.uint8)
        rgb = noise.repeat(4, axis=0).repeat(4, axis=1)
        Image.fromarray(rgb).save(folder / f"{n}.png", compress_level=1)
        mask = (rgb[..., :1] > 200).astype(np.uint8).repeat(3, axis=2) * 255
        Image.fromarray(mask).save(folder / f"{n}_mask.png", compress_level=1)
    print(f"peak memory of reading images of {SIDE} x {SIDE} px and masks, MB")
    print(f"  {'images':>6} {'bounded':>8} {'unbounded':>9}")
    for count in counts:
        found = [_in_process(folder, count, most) for most in (CACHE_MB // 2, 10**6)]
        print(f"  {count:>6} {found[0]:>8} {found[1]:>9}")


def peak_mb(folder: Path, images: int, most_mb: int) -> int:
    """Open images as a training does, read a tile of each twice, and return the peak, MB."""
    files = OpenFiles(most_mb * 10**6)
    slides = [
        _slide((SIDE, SIDE), _picture(folder, n, files), Scale.whole(1), _mask(folder, n, files))
        for n in range(images)
    ]
    for slide in 2 * slides:
        View(slide, Tile(96, 32, 320, 240)).rgb()
        View(slide, Tile(96, 32, 320, 240)).target()
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def _in_process(folder: Path, images: int, most_mb: int) -> int:
    words = [sys.executable, __file__, "--peak", str(folder), str(images), str(most_mb)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _picture(folder: Path, n: int, files: OpenFiles) -> ReopenedSlide:
    return ReopenedSlide(files, lambda: Slide(folder / f"{n}.png", mpp=0.5))


def _mask(folder: Path, n: int, files: OpenFiles) -> ReopenedAnnotation:
    path, scale = folder / f"{n}_mask.png", Scale.whole(1)
    return ReopenedAnnotation(files, path, lambda: Annotation(path, CLASSES, (SIDE, SIDE), scale))


def _slide(size: tuple[int, int], pixels: Any, scale: Scale, annotation: Any) -> TrainingSlide:
    working = scale.working_size(size)
    cells = np.ones((ceil_div(working[1], CELL), ceil_div(working[0], CELL)), bool)
    return TrainingSlide(
        name="generated",
        tissue=Tissue(pixels, scale, Foreground(cells, CELL, 0.0)),
        annotation=annotation,
        known=(True,),
        area=SamplingArea(working, CELL, cells, cells.astype(np.uint8)),
        token_map=None,
    )


def _fastest(function: Callable[[], Any]) -> float:
    """Return the processor's seconds of the fastest of some calls."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()

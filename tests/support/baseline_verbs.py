"""Verbs of a run on small slides, for tests of networks over pixels."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from holohisto import cli
from holohisto.config.models import ModelOptions
from holohisto.config.training import TrainOptions
from holohisto.pyramid.write import write_slide_pyramid

SIZE = (413, 331)
TRAIN = TrainOptions(tile=(256, 192), steps=2, batch=1)
CLASSES = json.dumps({"glomerulus": {}})


def write_slide(folder: Path, name: str) -> None:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    rgb = np.full((SIZE[1], SIZE[0], 3), 244, np.uint8)
    rgb[((x - 206) / 190) ** 2 + ((y - 165) / 150) ** 2 < 1] = (214, 140, 190)
    disc = (x - 180) ** 2 + (y - 150) ** 2 < 50**2
    rgb[disc] = (120, 60, 130)
    write_slide_pyramid(folder / f"{name}.tif", rgb, 0.5)
    Image.fromarray(disc.astype(np.uint8) * 255).save(folder / f"{name}.png")


def verb(name: str, *positional: object, **options: object) -> None:
    words = [name, *(str(word) for word in positional)]
    for key, value in options.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    assert cli.main(words) == 0, words


def train(
    folder: Path,
    name: str,
    options: ModelOptions,
    how: TrainOptions = TRAIN,
    classes: str = CLASSES,
) -> Path:
    path = folder / f"{name}.safetensors"
    verb(
        "train",
        model=name,
        sheet=folder / "slides.tsv",
        results=folder,
        model_options=options.model_dump_json(),
        options=how.model_dump_json(),
        classes=classes,
        segmenter=path,
        table=folder / f"{name}.tsv",
    )
    return path

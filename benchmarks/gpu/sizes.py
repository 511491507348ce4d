"""What is measured at which size, on a GPU and in a dry run on a CPU."""

from dataclasses import dataclass
from typing import Any

SECONDS = {"tests": 65.0, "encoder": 25.0, "training": 155.0, "slide": 155.0, "attention": 25.0}


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything that the parts measure; lengths in pixels of 0.5 um."""

    seconds: dict[str, float]
    """Time of each part, in the order in which they run."""
    block: int
    """Side of the painted tissue that generated slides repeat."""
    slide: tuple[int, int]
    """Width and height of the slide that is segmented."""
    training_slide: tuple[int, int]
    training_slides: int
    tile: tuple[int, int]
    """Width and height of the tiles of training and inference."""
    batch: int
    """Tiles a training step."""
    training_steps: int
    warm_up: int
    """First steps of a training that do not count."""
    models: tuple[str, ...]
    """Sizes of the segmenters that are trained; the first one segments the slide."""
    crop: tuple[int, int]
    """Width and height of what the encoder is timed on."""
    matrix: int
    """Side of the matrices whose product gives the peak."""
    repeats: int
    """Turns of each race that count."""
    race: str
    """Beginning of the names of the attention races; empty: all."""
    tokenizer: dict[str, Any]
    """Options of the tokenizer beside the defaults."""


FULL = Sizes(
    seconds=SECONDS,
    block=2048,
    slide=(44_896, 46_410),
    training_slide=(4096, 4096),
    training_slides=2,
    tile=(3840, 2160),
    batch=8,
    training_steps=24,
    warm_up=8,
    models=("S", "B"),
    crop=(3840, 2160),
    matrix=8192,
    repeats=10,
    race="",
    tokenizer={"steps": 60},
)
DRY = Sizes(
    seconds=SECONDS,
    block=512,
    slide=(1501, 1203),
    training_slide=(1024, 1024),
    training_slides=2,
    tile=(256, 192),
    batch=2,
    training_steps=3,
    warm_up=1,
    models=("S", "B"),
    crop=(640, 480),
    matrix=512,
    repeats=1,
    race="68x120 (5,) forward NHWC",
    tokenizer={
        "channels": 8,
        "residual_blocks": 1,
        "levels": [4, 4, 4],
        "tile": 64,
        "batch": 2,
        "steps": 4,
    },
)
"""The whole program at sizes that a CPU computes in a minute or two; its figures mean nothing."""


def sizes(dry: bool) -> Sizes:
    """Return the sizes of a dry run, or of a real one."""
    return DRY if dry else FULL

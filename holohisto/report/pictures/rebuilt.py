"""Pictures of slides beside what can be rebuilt from their tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from holohisto.report.pictures.picture import Picture, picture
from holohisto.report.results import Run, record
from holohisto.report.tables.tokens import Quality, by_likeness

BYTES = 75_000
"""Of one picture; there are two at most."""
NO_GAIN, LITTLE_GAIN = 0.5, 3.0
"""dB below which a picture is called no closer than a mosaic, or closer by little."""


@dataclass(frozen=True)
class Rebuilt:
    """Squares of a slide above, the same squares rebuilt from the slide's tokens below."""

    slide: str
    place: str
    """Its place in the cohort."""
    picture: Picture
    gain: float
    """As gain_over_plain."""

    @property
    def words(self) -> str:
        """What the gain means; empty when it is not known."""
        mosaic = "to the upper than a mosaic with the mean colour of each token's square"
        if math.isnan(self.gain):
            return ""
        if self.gain < NO_GAIN:
            return f"The lower row is no closer {mosaic}: these tokens tell little but colours."
        little = ", which is little: fine structures are blurred" if self.gain < LITTLE_GAIN else ""
        return f"The lower row is {self.gain:.1f} dB closer {mosaic}{little}."


def rebuilt(run: Run, found: Sequence[Quality], side: int) -> list[Rebuilt]:
    """The slide with the lowest likeness and the median one, of those that have a picture."""
    shown = [
        one.slide
        for one in by_likeness(found)
        if not math.isnan(one["psnr"]) and _path(run, one.slide).exists()
    ]
    chosen = [(slide, "lowest likeness") for slide in shown[:1]]
    if len(shown) > 2:
        chosen.append((shown[(len(shown) - 1) // 2], "median likeness"))
    made = []
    for slide, place in chosen:
        drawn = picture(_path(run, slide), 2 * side, BYTES)
        if drawn is not None:
            gain = gain_over_plain(_path(run, slide), _side(run, slide))
            made.append(Rebuilt(slide, place, drawn, gain))
    return made


def _path(run: Run, slide: str) -> Path:
    return run.results / "tokens" / f"{slide}.jpg"


def _side(run: Run, slide: str) -> int:
    """Side of a token, pixels: the power of two that brings the slide to its map; 0: not known."""
    told: Any = record(run.results / "tokens" / f"{slide}.json")
    check: Any = record(run.results / "check" / f"{slide}.json")
    try:
        return 2 ** math.ceil(math.log2(check["working_size"][0] / told["size_tokens"][0]))
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return 0


def gain_over_plain(path: Path, f: int) -> float:
    """By how many dB the lower half is closer to the upper than plain squares of f pixels are.

    Plain squares have the mean colour of the original: what tokens must do better than, whatever
    the contrast of the stain. NaN when f is 0, or a half is equal.
    """
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"), np.float32)
    if f == 0:
        return math.nan
    height, width = pixels.shape[0] // 2 // f * f, pixels.shape[1] // f * f
    original = pixels[:height, :width]
    again = pixels[pixels.shape[0] // 2 :][:height, :width]
    blocks = original.reshape(height // f, f, width // f, f, 3)
    plain = float(np.square(blocks - blocks.mean((1, 3), keepdims=True)).mean())
    error = float(np.square(original - again).mean())
    return 10 * math.log10(plain / error) if plain > 0 and error > 0 else math.nan

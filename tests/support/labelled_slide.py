"""A small slide with labels, probabilities, foreground, annotation and record, as files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from holohisto import cli
from holohisto.config.sections import CheckOptions
from holohisto.pyramid.write import write_rows, write_slide_pyramid
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.mpp import both
from holohisto.slide.record import inspect
from holohisto.slide.scale import Scale


@dataclass
class LabelledSlide:
    folder: Path
    size: tuple[int, int]
    factor: int
    mpp: float | tuple[float, float]
    given: Path | None = None
    working: float | None = None
    """Micrometres per working pixel; None: `factor` times those of the slide."""

    def __post_init__(self):
        if self.given is None:
            rng = np.random.default_rng(self.size[0])
            pixels = rng.integers(180, 256, (self.size[1], self.size[0], 3)).astype(np.uint8)
            write_slide_pyramid(self.image, pixels, self.mpp)
        options = CheckOptions(mpp=self.working or both(self.mpp)[0] * self.factor)
        record = inspect("s1", self.image, None, None, options)
        assert self.working or record.scale == Scale.whole(self.factor)
        self.scale, self.working_size = record.scale, record.working_size
        self.working_mpp = record.working_mpp
        self.check.write_text(record.text())

    @property
    def image(self) -> Path:
        return self.given or self.folder / "slide.tif"

    @property
    def check(self) -> Path:
        return self.folder / "check.json"

    @property
    def labels(self) -> Path:
        return self.folder / "labels.tif"

    @property
    def probability(self) -> Path:
        return self.folder / "probability.tif"

    @property
    def foreground(self) -> Path:
        return self.folder / "foreground.tif"

    @property
    def annotation(self) -> Path:
        return self.folder / "annotation.tif"

    def header(self, classes: Sequence[str]) -> dict:
        return {
            "slide": "s1",
            "size": self.size,
            "mpp": self.mpp,
            "scale": self.scale.texts,
            "classes": list(classes),
            "model": "m1",
            "segmenter": "0",
            "threshold": 0.5,
        }

    def write_labels(self, labels: np.ndarray, classes: Sequence[str], probability=None) -> None:
        mpp, size = self.working_mpp, self.working_size
        assert labels.shape[::-1] == size
        write_rows(self.labels, [labels], size, mpp, self.header(classes))
        small = ceil_div(size[0], 4), ceil_div(size[1], 4)
        if probability is None:
            probability = np.full(small[::-1], 204, np.uint8)
        header = self.header(classes) | {"divisor": 4}
        write_rows(self.probability, [probability], small, mpp * 4, header)

    def write_foreground(self, mask: np.ndarray, cell: int = 16) -> None:
        size = mask.shape[1], mask.shape[0]
        mpp = self.working_mpp * cell
        header = {
            "slide": "s1",
            "cell": cell,
            "scale": self.scale.texts,
            "saturation": 0.1,
        }
        header["colour"] = None
        record = json.loads(self.check.read_text())
        header["fingerprint"] = record["fingerprint"]
        write_rows(self.foreground, [mask.astype(np.uint8) * 255], size, mpp, header)

    def write_annotation(self, working: np.ndarray) -> None:
        size = working.shape[1], working.shape[0]
        write_rows(self.annotation, [working], size, self.working_mpp, {})


def masks_and_scores(
    slide: LabelledSlide, classes: list[str], mask: dict
) -> tuple[np.ndarray, dict]:
    """Write and score the masks; returns the first class's mask and scores."""
    out, named = slide.folder / "out", json.dumps({name: {} for name in classes})
    options = ["--classes", named, "--probability", slide.probability, "--record", slide.check]
    written = ["--geojson", out / "objects.geojson", "--overlay", out / "overlay.jpg"]
    written += ["--masks", out / "{class}.tif", "--options", json.dumps(mask)]
    run("mask", slide.labels, "--image", slide.image, *options, *written)
    compared = ["--annotation", slide.annotation, "--foreground", slide.foreground]
    compared += ["--mask-options", json.dumps(mask), "--output", out / "scores.json"]
    run("metrics", slide.labels, *options, *compared)
    scores = json.loads((out / "scores.json").read_text())["classes"][classes[0]]
    return tifffile.imread(out / f"{classes[0]}.tif") > 0, scores


def run(*words: object) -> None:
    """Run a verb, which must succeed."""
    assert cli.main([str(word) for word in words]) == 0

"""Memory and time that a slide's job requests from a cluster, by the slide's size."""

import math
from dataclasses import dataclass
from pathlib import Path

from holohisto.config.config import Config
from holohisto.errors import HolohistoError
from holohisto.planning.cost import cost_of, estimate
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale

UNSEEN_SIZE = (150_000, 100_000)
"""Width and height assumed for a slide without a record yet, at half the working mpp: a large
slide."""
BASE_MB = {
    "foreground": 2000,
    "tokens": 8000,
    "infer": 12000,
    "adopt": 2000,
    "mask": 2000,
    "metrics": 2000,
}
"""Memory that does not depend on the slide: Snakemake (260 MB), Python, weights, tiles."""
MB_PER_GIGAPIXEL = {
    "foreground": 200,
    "tokens": 200,
    "infer": 200,
    "adopt": 300,
    "mask": 300,
    "metrics": 300,
}
"""Memory for each gigapixel of level 0, as objects and tissue grow with it. On slides of 12, 48 and
192 megapixels `mask` used 185, 173 and 191 MB, `metrics` 133, 185 and 187 MB."""
BAND_BYTES = 8
"""Memory of `infer` for each pixel and class of a row of tiles: a sum and its copy in fp32."""
PIXELS_PER_SECOND = {"adopt": 10e6, "mask": 10e6, "metrics": 10e6}
"""Level-0 pixels processed in a second on one core; measured on 192 megapixels: `mask` 26 million,
`metrics` 30 million."""
LEAST_MINUTES, MARGIN = 15, 4
"""Minutes for start and disk; factor by which a job may be slower than estimated."""
GPU_MARGIN = 8
"""The same factor for jobs on a GPU: estimates are for a large one."""


@dataclass(frozen=True)
class Need:
    """Resources that the first attempt of a job requests."""

    mem_mb: int
    minutes: int


def need_of(rule: str, record: SlideRecord, split: str, settings: Config) -> Need:
    """Return the resources that a job of `rule` on this slide requests.

    Args:
        rule: A rule of one slide that runs after `check`.
        record: The record that `check` wrote, or `unseen()`.
        split: Its split.
        settings: The configuration.
    """
    pixels = math.prod(record.size)
    margin = GPU_MARGIN if rule in ("tokens", "infer") else MARGIN
    memory = BASE_MB[rule] + MB_PER_GIGAPIXEL[rule] * pixels / 1e9
    cost = cost_of(record, split, settings)
    if rule == "foreground":
        seconds = record.estimates["reading_seconds"]
    elif rule == "tokens":
        seconds = cost.encoding.gpu
        memory += 2 * cost.token_bytes / 1e6
    elif rule == "infer":
        seconds = cost.infer.gpu  # of all models: an upper bound of that of each
        layers = len(settings.classes) + 1
        rows = min(settings.infer.tile[1], record.working_size[1])
        memory += BAND_BYTES * layers * rows * record.working_size[0] / 1e6
    else:
        seconds = pixels / PIXELS_PER_SECOND[rule]
    return Need(round(memory), math.ceil(LEAST_MINUTES + margin * seconds / 60))


def read_or_unseen(path: Path) -> SlideRecord:
    """Read the record at `path`; without one yet, return that of a large slide."""
    try:
        return SlideRecord.read(path)
    except HolohistoError:
        return unseen()


def unseen() -> SlideRecord:
    """Return the record of a large slide, for planning before `check` has run."""
    working = UNSEEN_SIZE[0] // 2, UNSEEN_SIZE[1] // 2
    return SlideRecord(
        slide="unseen",
        image="",
        size=UNSEEN_SIZE,
        mpp=0.25,
        mpp_y=0.25,
        mpp_source="sheet",
        reader="",
        compression="",
        levels=[UNSEEN_SIZE],
        background=(255, 255, 255),
        scale=Scale.whole(2),
        working_size=working,
        working_mpp=0.5,
        fingerprint="",
        estimates=estimate(UNSEEN_SIZE, working),
    )

"""Tokens, disk and time of slides under a configuration, estimated before anything runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from holohisto.config.config import Config
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.units import bytes_text, time_text
from holohisto.slide.record import SlideRecord

ESTIMATE_F = 16
"""Downscaling of the tokenizer that estimates assume."""
READ_PIXELS_PER_SECOND = 60e6
"""Level-0 pixels that are read in a second."""
GPU_PIXELS_PER_SECOND, CPU_PIXELS_PER_SECOND = 10e6, 0.1e6
"""Working pixels that the encoder processes in a second."""
INFER_SPEED = 15
"""Speed of the segmenter in encoders: 1.2 million pixels a second against 73 thousand on one core,
both at their default sizes."""
OVERLAY_SIDE = 1200
"""Default of `mask.overlay_side`."""

Checked = tuple[SlideRecord, str]
"""A slide's record and split."""


@dataclass(frozen=True)
class Cost:
    """Rough cost of one or more slides; results and inference count one model and one class."""

    tokens: int = 0
    """Tokens of one variant."""
    token_bytes: int = 0
    """Size of the token map with all variants."""
    result_bytes: int = 0
    """Size of labels, masks, probabilities, outlines and overlay."""
    encoding_seconds: float = 0.0
    """Time to encode all variants on one GPU, reading included."""
    encoding_cpu_seconds: float = 0.0
    """The same without a GPU."""
    infer_seconds: float = 0.0
    """Time of inference on one GPU, reading included."""
    infer_cpu_seconds: float = 0.0
    """The same without a GPU."""

    @property
    def disk_bytes(self) -> int:
        """Size of the token map and the results."""
        return self.token_bytes + self.result_bytes

    @property
    def seconds(self) -> float:
        """Time of encoding and inference on one GPU."""
        return self.encoding_seconds + self.infer_seconds

    @property
    def cpu_seconds(self) -> float:
        """Time of encoding and inference without a GPU."""
        return self.encoding_cpu_seconds + self.infer_cpu_seconds


def cost_of(record: SlideRecord, split: str, settings: Config) -> Cost:
    """Return the cost of one slide.

    An encoded slide is read once for all its variants. A segmented slide is read once more and
    computed as often as its tiles overlap; in mode online these tiles are also encoded.

    Args:
        record: The record that `check` wrote.
        split: Its split.
        settings: The configuration.
    """
    estimates = record.estimates
    encodings = settings.encodings(split)
    segmented = split in settings.infer.splits
    passes = (1 - settings.infer.overlap) ** -2
    encoded_passes = passes if settings.tokens.mode == "online" and settings.over_tokens else 0.0
    read = estimates["reading_seconds"]

    def encoding(variant: float) -> float:
        return read + encodings * variant if encodings else 0.0

    def infer(segmenter: float, encoder: float) -> float:
        return read + passes * segmenter + encoded_passes * encoder if segmented else 0.0

    gpu, cpu = estimates["encoding_seconds"], estimates["encoding_cpu_seconds"]
    return Cost(
        tokens=estimates["tokens"],
        token_bytes=encodings * estimates["token_bytes"],
        result_bytes=estimates["result_bytes"] if segmented else 0,
        encoding_seconds=encoding(gpu),
        encoding_cpu_seconds=encoding(cpu),
        infer_seconds=infer(estimates["infer_seconds"], gpu),
        infer_cpu_seconds=infer(estimates["infer_cpu_seconds"], cpu),
    )


def estimate(size: tuple[int, int], working_size: tuple[int, int]) -> dict[str, Any]:
    """Return rough costs of one slide; `cost_of` multiplies them as the configuration requires.

    `token_bytes`, `encoding_seconds` and `encoding_cpu_seconds` count one variant of the token
    map, `result_bytes`, `infer_seconds` and `infer_cpu_seconds` one model and one class without
    overlap of tiles, `reading_seconds` one pass over all pixels.

    Assumed: f = 16; two bytes a token; 0.015 byte a pixel for LZW labels and masks, 0.5 byte a
    pixel for the quarter-size probabilities, 0.03 byte a working pixel for GeoJSON and 0.25 byte a
    pixel for the JPEG overlay; 60 million level-0 pixels read in a second; 10 million working
    pixels a second encoded on one GPU, 0.1 million on a CPU, 15 times as many segmented, all of it
    tissue.
    """
    pixels, working = size[0] * size[1], working_size[0] * working_size[1]
    width, height = (ceil_div(side, ESTIMATE_F) for side in working_size)
    overlay = pixels * min(1, OVERLAY_SIDE / max(size)) ** 2
    rasters = 0.015 * (pixels + working) + 0.5 * working / 16
    gpu, cpu = working / GPU_PIXELS_PER_SECOND, working / CPU_PIXELS_PER_SECOND
    return {
        "token_map": [width, height],
        "tokens": width * height,
        "token_bytes": 2 * width * height,
        "result_bytes": round(rasters + 0.03 * working + 0.25 * overlay),
        "reading_seconds": round(pixels / READ_PIXELS_PER_SECOND, 3),
        "encoding_seconds": round(gpu, 3),
        "encoding_cpu_seconds": round(cpu, 2),
        "infer_seconds": round(gpu / INFER_SPEED, 3),
        "infer_cpu_seconds": round(cpu / INFER_SPEED, 2),
    }


def summary(slides: Sequence[Checked], settings: Config) -> str:
    """Return a line with the cost of all slides, training excluded."""
    whole = _total(slides, settings)
    return (
        f"{len(slides)} slides to process: {whole.tokens:,} tokens at f = 16,"
        f" about {bytes_text(whole.token_bytes)} of token maps and"
        f" {bytes_text(whole.result_bytes)} of results per model (and its weights),"
        f" about {time_text(whole.seconds)} on one GPU or {time_text(whole.cpu_seconds)} on a CPU"
        " per model, training not counted"
    )


def token_summary(slides: Sequence[Checked], settings: Config) -> str:
    """Return a line with the cost of the token maps and the savings of fewer variants."""
    if not settings.over_tokens:
        return "tokens: none, no model reads them"
    if settings.tokens.mode == "online":
        return (
            "tokens: mode online keeps no token maps, 0 bytes; every training tile is encoded anew"
            " each time it is drawn, and every tile of a slide while it is segmented"
        )
    training = [slide for slide in slides if slide[1] == "train"]
    others = [slide for slide in slides if slide[1] != "train"]
    parts = [
        _maps(training, "training slide", settings),
        _maps(others, "other slide" if training else "slide", settings),
        _saving(training, settings),
    ]
    return "tokens: " + ("; ".join(filter(None, parts)) or "none, no slide needs them")


def _maps(slides: Sequence[Checked], noun: str, settings: Config) -> str:
    """The cost of token maps with the same number of variants; empty without slides."""
    slides = [slide for slide in slides if settings.encodings(slide[1])]
    if not slides:
        return ""
    variants = settings.encodings(slides[0][1])
    whole = _total(slides, settings)
    return (
        f"{_count(len(slides), noun)} x {_count(variants, 'variant')}:"
        f" {bytes_text(whole.token_bytes)}, about {_encoding_text(whole)}"
    )


def _saving(slides: Sequence[Checked], settings: Config) -> str:
    """The savings of one variant a training slide; empty where there is only one."""
    now = settings.tokens
    keys = ["tokens.orientations: 1"] if now.orientations > 1 else []
    keys += ["tokens.appearances: 0"] if now.appearances else []
    lean = now.model_copy(update={"orientations": 1, "appearances": 0})
    long = _total(slides, settings)
    short = _total(slides, settings.model_copy(update={"tokens": lean}))
    if long.token_bytes == short.token_bytes:
        return ""
    saved = Cost(
        token_bytes=long.token_bytes - short.token_bytes,
        encoding_seconds=long.encoding_seconds - short.encoding_seconds,
        encoding_cpu_seconds=long.encoding_cpu_seconds - short.encoding_cpu_seconds,
    )
    return (
        f"{' and '.join(keys)} would save {bytes_text(saved.token_bytes)} and"
        f" {_encoding_text(saved)}"
    )


def _total(slides: Iterable[Checked], settings: Config) -> Cost:
    costs = [cost_of(record, split, settings) for record, split in slides]
    names = [field.name for field in fields(Cost)]
    return Cost(**{name: sum(getattr(cost, name) for cost in costs) for name in names})


def _encoding_text(cost: Cost) -> str:
    gpu, cpu = time_text(cost.encoding_seconds), time_text(cost.encoding_cpu_seconds)
    return f"{gpu} on one GPU ({cpu} on a CPU)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""Tokens, disk and time of slides under a configuration, estimated before anything runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from holohisto.config.config import Config
from holohisto.planning import seconds
from holohisto.planning.seconds import BOTH_NOTHING, Seconds
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.units import bytes_text, time_text
from holohisto.slide.record import SlideRecord

ESTIMATE_F = 16
"""Downscaling of the tokenizer that estimates assume."""
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
    encoding: Seconds = BOTH_NOTHING
    """Time to encode all variants and judge them, reading included."""
    infer: Seconds = BOTH_NOTHING
    """Time of inference with all models, reading included."""

    @property
    def disk_bytes(self) -> int:
        """Size of the token map and the results."""
        return self.token_bytes + self.result_bytes

    @property
    def seconds(self) -> Seconds:
        """Time of encoding and inference."""
        return self.encoding + self.infer


def cost_of(record: SlideRecord, split: str, settings: Config) -> Cost:
    """Return the cost of one slide.

    Args:
        record: The record that `check` wrote.
        split: Its split.
        settings: The configuration.
    """
    estimates = record.estimates
    encodings = settings.encodings(split)
    segmented = split in settings.infer.splits
    models = list(settings.computed.values()) if segmented else []
    tissue = estimates.get("tissue", 1.0)
    return Cost(
        tokens=estimates["tokens"],
        token_bytes=encodings * estimates["token_bytes"],
        result_bytes=estimates["result_bytes"] if segmented else 0,
        encoding=seconds.of_encoding(record.size, record.working_size, encodings, tissue, settings),
        infer=sum(
            (
                seconds.of_inference(record.size, record.working_size, model, tissue, settings)
                for model in models
            ),
            BOTH_NOTHING,
        ),
    )


def estimate(size: tuple[int, int], working_size: tuple[int, int]) -> dict[str, Any]:
    """Return rough sizes of one slide; `cost_of` multiplies them as the configuration requires.

    `token_bytes` counts one variant of the token map, `result_bytes` one model and one class,
    `reading_seconds` one pass over all pixels by one core.

    Assumed: f = 16; two bytes a token; 0.015 byte a pixel for LZW labels and masks, 0.5 byte a
    pixel for the quarter-size probabilities, 0.03 byte a working pixel for GeoJSON and 0.25 byte a
    pixel for the JPEG overlay.
    """
    pixels, working = size[0] * size[1], working_size[0] * working_size[1]
    width, height = (ceil_div(side, ESTIMATE_F) for side in working_size)
    overlay = pixels * min(1, OVERLAY_SIDE / max(size)) ** 2
    rasters = 0.015 * (pixels + working) + 0.5 * working / 16
    return {
        "token_map": [width, height],
        "tokens": width * height,
        "token_bytes": 2 * width * height,
        "result_bytes": round(rasters + 0.03 * working + 0.25 * overlay),
        "reading_seconds": round(pixels / seconds.READ, 3),
    }


def summary(slides: Sequence[Checked], settings: Config) -> str:
    """Return a line with the cost of all slides, training excluded."""
    whole = _total(slides, settings)
    known = all("tissue" in record.estimates for record, _ in slides)
    return (
        f"{len(slides)} slides to process: {whole.tokens:,} tokens at f = 16,"
        f" about {bytes_text(whole.token_bytes)} of token maps and"
        f" {bytes_text(whole.result_bytes)} of results per model (and its weights),"
        f" about {_time_text(whole.seconds)} for {_count(len(settings.computed), 'model')},"
        f" training not counted{'' if known else '; at most, as if all of it were tissue'}"
    )


def training_summary(settings: Config) -> str:
    """Return a line with the time of training the tokenizer and each model."""
    times: dict[str, Seconds] = {}
    if settings.over_tokens and settings.tokenizer.checkpoint is None:
        times["tokenizer"] = seconds.of_tokenizer_training(settings)
    times |= {
        name: seconds.of_training(model, settings)
        for name, model in settings.computed.items()
        if not model.weights and model.kind != "colour_threshold"
    }
    parts = [f"{name} about {_time_text(each)}" for name, each in times.items()]
    return "training: " + ("; ".join(parts) or "none")


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
        f" {bytes_text(whole.token_bytes)}, about {_time_text(whole.encoding)}"
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
    return (
        f"{' and '.join(keys)} would save {bytes_text(long.token_bytes - short.token_bytes)} and"
        f" {_time_text(long.encoding - short.encoding)}"
    )


def _total(slides: Iterable[Checked], settings: Config) -> Cost:
    total = Cost()
    for record, split in slides:
        cost = cost_of(record, split, settings)
        names = [field.name for field in fields(Cost)]
        total = Cost(**{name: getattr(total, name) + getattr(cost, name) for name in names})
    return total


def _time_text(time: Seconds) -> str:
    return f"{time_text(time.gpu)} on one GPU ({time_text(time.cpu)} on one CPU core)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

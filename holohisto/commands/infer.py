"""Segment a whole slide."""

import argparse
import logging
from pathlib import Path

import torch

from holohisto import foreground, infer, pyramid, tokens, vqgan
from holohisto.check import SlideRecord
from holohisto.config import Classes, InferOptions, from_json
from holohisto.errors import HolohistoError
from holohisto.grid import Tile
from holohisto.progress import phase
from holohisto.sampler import holds_foreground
from holohisto.segmenter import store
from holohisto.segmenter.inputs import Inputs

logger = logging.getLogger(__name__)
MPP_RATIO = 1.4  # both sides may be off by check.mpp_tolerance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--check", type=Path, required=True)
    parser.add_argument("--foreground", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, help="needed by segmenters that read tokens")
    parser.add_argument("--tokenizer", type=Path, help="needed by segmenters trained online")
    parser.add_argument("--segmenter", type=Path, required=True)
    parser.add_argument("--options", type=from_json(InferOptions), default=InferOptions())
    parser.add_argument("--classes", type=from_json(Classes), help="the config's classes")
    parser.add_argument("--labels", type=Path, required=True, help="labels to write")
    parser.add_argument("--probability", type=Path, required=True, help="probabilities to write")


def run(arguments: argparse.Namespace) -> None:
    options: InferOptions = arguments.options
    record = SlideRecord.read(arguments.check)
    found = foreground.load(arguments.foreground, record)
    model, card, digest = store.load(arguments.segmenter)
    _require_mpp(record, card, arguments.segmenter)
    _require_classes(arguments.classes, card, arguments.segmenter)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore
    token_map = _token_map(arguments, card, record)
    inputs = Inputs(model, _tokenizer(arguments, card, device))
    job = infer.Job(
        size=record.working_size,
        tile=model.tile or options.tile,
        overlap=options.overlap,
        wanted=lambda tile: holds_foreground(found.mask, found.cell, tile),
        snap=card.downscale if card.tokenizer else 16,
    )
    header = {
        "slide": record.slide, "size": list(record.size), "mpp": record.mpp,
        "factor": record.factor, "classes": list(card.classes), "model": card.name,
        "init": card.summary.get("init", ""), "segmenter": digest, "threshold": options.threshold,
    }  # fmt: skip
    small = infer.Quarter(record.working_size, arguments.probability.parent)
    with record.open(arguments.image) as slide, phase("segmenting"):

        def read(tile: Tile) -> infer.TileData:
            return (
                tokens.tile_tokens(token_map, tile) if token_map else None,
                slide.read(
                    (tile.x * record.factor, tile.y * record.factor),
                    (tile.width, tile.height),
                    record.factor,
                )
                if inputs.pixels
                else None,
            )

        bands = infer.probability_bands(model, inputs, read, job, len(card.classes))
        labels = infer.label_bands(bands, options.threshold, small)
        pyramid.write_rows(arguments.labels, labels, job.size, record.working_mpp, header)
    quarter = infer.PROBABILITY_DIVISOR
    pyramid.write_rows(
        arguments.probability, small.bands(), small.size, record.working_mpp * quarter,
        {**header, "divisor": quarter},
    )  # fmt: skip


def _require_mpp(record: SlideRecord, card: store.Card, path: Path) -> None:
    ratio = record.working_mpp / card.mpp
    if max(ratio, 1 / ratio) > MPP_RATIO:
        raise HolohistoError(
            path, "segmenter was trained at another resolution",
            found=f"{card.mpp:g} um/px, slide {record.slide} at {record.working_mpp:g} um/px",
            advice="set check.mpp to the segmenter's",
        )  # fmt: skip


def _require_classes(classes: Classes | None, card: store.Card, path: Path) -> None:
    if classes is not None and tuple(classes) != card.classes:
        raise HolohistoError(
            path, "segmenter finds other classes than the config names",
            found=", ".join(card.classes), allowed=", ".join(classes),
            advice="name the segmenter's in `classes`, or train one",
        )  # fmt: skip


def _token_map(
    arguments: argparse.Namespace, card: store.Card, record: SlideRecord
) -> tokens.TokenMap | None:
    if card.tokenizer is None or card.mode == "online":
        return None
    if arguments.tokens is None:
        raise HolohistoError(arguments.segmenter, "reads tokens", advice="give --tokens")
    token_map = tokens.load(arguments.tokens)
    tokens.require_tokenizer(token_map, card.tokenizer, arguments.tokens)
    tokens.require_slide(token_map, record.fingerprint, record.slide, arguments.tokens)
    tokens.require_mode(token_map, card.mode, arguments.tokens)
    return token_map


def _tokenizer(
    arguments: argparse.Namespace, card: store.Card, device: torch.device
) -> vqgan.VQGAN | None:
    """The tokenizer, where tiles are encoded when they are used."""
    if card.tokenizer is None or card.mode != "online":
        return None
    if arguments.tokenizer is None:
        raise HolohistoError(arguments.segmenter, "was trained online", advice="give --tokenizer")
    tokenizer = vqgan.load(arguments.tokenizer)
    if vqgan.digest(tokenizer) != card.tokenizer:
        raise HolohistoError(
            arguments.tokenizer, "is not the tokenizer that the segmenter was trained with",
            found=vqgan.digest(tokenizer)[:12], allowed=card.tokenizer[:12],
        )  # fmt: skip
    return tokenizer.to(device)

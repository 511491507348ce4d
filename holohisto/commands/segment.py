"""Segment one image of any size and format, without a workflow."""

import argparse
import contextlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from holohisto.config.config import Config
from holohisto.config.parsing import read_config
from holohisto.config.sections import ClassOptions
from holohisto.config.steps import as_json
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.segmenter.file import Card, load_segmenter

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="slide or ROI image")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="a segmenter")
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="needed by segmenters that read tokens"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the results")
    parser.add_argument("--mpp", type=float, metavar="M", help="um per pixel, over the image's")
    parser.add_argument("--saturation", type=float, help="saturation of tissue, 0 to 1")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="for the options of foreground, tokens, infer and mask; else the defaults",
    )
    parser.add_argument("--keep", action="store_true", help="keep the files in between, in DIR")


def run(arguments: argparse.Namespace) -> None:
    settings = read_config(arguments.config) if arguments.config else Config()
    _, card, _ = load_segmenter(arguments.model)
    if card.tokenizer is not None and arguments.tokenizer is None:
        raise HolohistoError(arguments.model, "reads tokens", advice="give --tokenizer")
    sections = as_json(_of_model(settings, card))
    name = re.sub(r"[^A-Za-z0-9._-]", "_", arguments.image.stem).lstrip("._-") or "image"
    out: Path = arguments.output
    atomic.make_folder_of(out / name)
    with _between(out, name, arguments.keep) as between:
        image, check = str(arguments.image), str(between / "check.json")
        tissue = str(between / "foreground.tif")
        labels, likely = str(between / "labels.tif"), str(between / "probability.tif")
        _step(
            "check",
            image,
            "--slide",
            name,
            "--options",
            sections["check"],
            "--output",
            check,
            *_given("--slide-mpp", arguments.mpp),
        )
        _step(
            "foreground",
            image,
            "--record",
            check,
            "--options",
            sections["foreground"],
            "--foreground",
            tissue,
            "--picture",
            str(between / "foreground.jpg"),
            *_given("--saturation", arguments.saturation),
        )
        tokens = between / "tokens.safetensors"
        if card.tokenizer is not None and card.mode != "online":
            _step(
                "tokens",
                image,
                "--record",
                check,
                "--foreground",
                tissue,
                "--tokenizer",
                str(arguments.tokenizer),
                "--options",
                sections["tokens_single_variant"],
                "--tokens",
                str(tokens),
                "--quality",
                str(between / "tokens.json"),
                "--picture",
                str(between / "tokens.jpg"),
            )
        _step(
            "infer",
            image,
            "--record",
            check,
            "--foreground",
            tissue,
            "--tokens",
            str(tokens),
            *_given("--tokenizer", arguments.tokenizer),
            "--segmenter",
            str(arguments.model),
            "--options",
            sections["infer"],
            "--labels",
            labels,
            "--probability",
            likely,
            "--facts",
            str(out / f"{name}_inference.json"),
        )
        packed = ".gz" if settings.mask.gzip else ""
        _step(
            "mask",
            labels,
            "--image",
            image,
            "--record",
            check,
            "--probability",
            likely,
            "--options",
            sections["mask"],
            "--classes",
            sections["classes"],
            "--masks",
            str(out / f"{name}_{{class}}.tif"),
            "--geojson",
            str(out / f"{name}.geojson{packed}"),
            "--overlay",
            str(out / f"{name}.jpg"),
            "--facts",
            str(out / f"{name}_objects.json"),
        )
    facts = json.loads((out / f"{name}_objects.json").read_text())
    told = ", ".join(f"{one['objects']} of {label}" for label, one in facts.items())
    logger.info("%s: objects found: %s", out / f"{name}.geojson{packed}", told)


def _of_model(settings: Config, card: Card) -> Config:
    """The settings with what the segmenter itself decides: classes, resolution, mode of tokens."""
    known = settings.classes
    classes = {name: known.get(name, ClassOptions()) for name in card.classes}
    return settings.model_copy(
        update={
            "classes": classes,
            "check": settings.check.model_copy(update={"mpp": card.mpp}),
            "tokens": settings.tokens.model_copy(update={"mode": card.mode}),
        }
    )


def _step(verb: str, *words: str) -> None:
    """Run a verb as the workflow's rule does."""
    command = import_module(f"holohisto.commands.{verb}")
    parser = argparse.ArgumentParser(prog=f"holohisto {verb}")
    command.add_arguments(parser)
    command.run(parser.parse_args(words))


def _given(flag: str, value: object) -> list[str]:
    return [] if value is None else [flag, str(value)]


@contextlib.contextmanager
def _between(out: Path, name: str, keep: bool) -> Iterator[Path]:
    """A folder for what is written in between; one that a kill left behind is taken up."""
    folder = out / f"{name}.work"
    folder.mkdir(exist_ok=True)
    yield folder
    if not keep:
        shutil.rmtree(folder)

"""`holohisto segment`: segment one image of any size and format, without a workflow."""

import argparse
import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from holohisto.config.config import Config
from holohisto.config.parsing import read_config
from holohisto.config.steps import as_json
from holohisto.errors import HolohistoError
from holohisto.infer.fixed_config import config_for
from holohisto.runtime import atomic
from holohisto.runtime.paths import require_fit
from holohisto.segmenter.card import load_weights
from holohisto.sheet.cells import LONGEST_ID

logger = logging.getLogger(__name__)

MARK = ".holohisto-work"
"""File that marks a folder of intermediate files, which may be removed."""
STEPS = {
    "check": "{image} --slide {name} --options {sections[check]} --output {work}/check.json",
    "foreground": "{image} --record {work}/check.json --options {sections[foreground]}"
    " --foreground {work}/foreground.tif --picture {work}/foreground.jpg",
    "tokens": "{image} --record {work}/check.json --foreground {work}/foreground.tif"
    " --tokenizer {tokenizer} --options {sections[tokens_single_variant]}"
    " --tokens {work}/tokens.safetensors --quality {work}/tokens.json --picture {work}/tokens.jpg",
    "infer": "{image} --record {work}/check.json --foreground {work}/foreground.tif"
    " --tokens {work}/tokens.safetensors --segmenter {model} --options {sections[infer]}"
    " --labels {work}/labels.tif --probability {work}/probability.tif"
    " --facts {output}/{name}_inference.json",
    "mask": "{work}/labels.tif --image {image} --record {work}/check.json"
    " --probability {work}/probability.tif --options {sections[mask]} --classes {sections[classes]}"
    " --masks {output}/{name}_{{class}}.tif --geojson {geojson} --overlay {output}/{name}.jpg"
    " --facts {output}/{name}_objects.json",
}
"""The command line of each verb, as in the workflow's rules."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", type=Path, metavar="IMAGE", help="slide or image of a region")
    add("--model", type=Path, required=True, metavar="FILE", help="segmenter of `train`")
    tokenizer = "tokenizer, needed by segmenters that read tokens"
    add("--tokenizer", type=Path, metavar="FILE", help=tokenizer)
    add("--output", type=Path, required=True, metavar="DIR", help="folder of the results")
    add("--mpp", type=float, metavar="NUMBER", help="um per pixel, instead of the image's own")
    saturation = "saturation above which a cell is tissue, 0 to 1; empty: foreground.saturation"
    add("--saturation", type=float, metavar="NUMBER", help=saturation)
    config = "its sections foreground, tokens, infer and mask are used; empty: the defaults"
    add("--config", type=Path, metavar="FILE", help=config)
    add("--keep", action="store_true", help="keep the intermediate files, in DIR/NAME.work")


def run(arguments: argparse.Namespace) -> None:
    require_fit(arguments.image, "IMAGE")  # it becomes a word of the verbs' command lines
    config = read_config(arguments.config) if arguments.config else Config()
    _, card, _ = load_weights(arguments.model)
    if card.tokenizer is not None and arguments.tokenizer is None:
        raise HolohistoError(arguments.model, "reads tokens", advice="give --tokenizer")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", arguments.image.stem).lstrip("._-")
    name = name[:LONGEST_ID] or "image"
    output: Path = arguments.output
    atomic.make_folder_of(output / name)
    geojson = output / f"{name}.geojson{'.gz' if config.mask.gzip else ''}"
    more = {
        "check": _given("--slide-mpp", arguments.mpp),
        "foreground": _given("--saturation", arguments.saturation),
        "infer": _given("--tokenizer", arguments.tokenizer),
    }
    facts_file = output / f"{name}_inference.json"
    image = os.path.realpath(arguments.image)
    _require_same_image(facts_file, image)
    with _work_folder(output / f"{name}.work", arguments.keep, image) as work:
        values = {**vars(arguments), "name": name, "work": work, "geojson": geojson}
        values["sections"] = as_json(config_for(card, config))
        for verb, words in STEPS.items():
            if verb != "tokens" or (card.tokenizer is not None and card.mode != "online"):
                filled = [word.format_map(values) for word in words.split()]
                _run_verb(verb, [*filled, *more.get(verb, [])])
    inference = {"image": image, **json.loads(facts_file.read_text())}
    atomic.write_text(facts_file, json.dumps(inference, indent=2) + "\n")
    facts = json.loads((output / f"{name}_objects.json").read_text())
    counts = ", ".join(f"{fact['objects']} of {label}" for label, fact in facts.items())
    logger.info("%s: objects found: %s", geojson, counts)


def _require_same_image(facts: Path, image: str) -> None:
    """Raise if the results of this name in the folder are of another image."""
    if not facts.exists():
        return
    try:
        found = json.loads(facts.read_text())["image"]
    except (OSError, ValueError, LookupError, TypeError):  # of a run that did not end
        return
    if found != image:
        raise _other_image(facts, found)


def _other_image(where: Path, found: object) -> HolohistoError:
    problem = "is of another image of this name"
    return HolohistoError(where, problem, found=found, advice="give another --output")


def _run_verb(verb: str, words: list[str]) -> None:
    command = import_module(f"holohisto.commands.{verb}")
    parser = argparse.ArgumentParser(prog=f"holohisto {verb}")
    command.add_arguments(parser)
    command.run(parser.parse_args(words))


def _given(flag: str, value: object) -> list[str]:
    return [] if value is None else [flag, str(value)]


@contextlib.contextmanager
def _work_folder(folder: Path, keep: bool, image: str) -> Iterator[Path]:
    """Make the folder of the intermediate files, unless a killed run left it; remove it after.

    Raises:
        HolohistoError: there is a folder of that name that no run of this verb made, or a run on
            another image.
    """
    if folder.is_symlink() or (folder.exists() and not (folder / MARK).exists()):
        raise HolohistoError(
            folder, "is there and was not made by this verb", advice="rename it, or use --output"
        )
    folder.mkdir(exist_ok=True)
    mark = folder / MARK
    if mark.exists() and (found := mark.read_text(errors="replace").strip()) not in ("", image):
        raise _other_image(folder, found)
    mark.write_text(image + "\n")
    yield folder
    if not keep:
        shutil.rmtree(folder)

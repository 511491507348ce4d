"""`holohisto segment`: segment images of any size and format, without a workflow."""

import argparse
import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from holohisto.config.config import Config
from holohisto.config.parsing import parse_config, read_config
from holohisto.config.starter import PURPOSE, SETTINGS, STARTER, is_starter, located, starter
from holohisto.config.steps import as_json
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.infer.fixed_config import config_for
from holohisto.masks.summary import ClassSummary, summaries, table
from holohisto.runtime import atomic
from holohisto.runtime.paths import require_fit
from holohisto.runtime.seal import read_sealed_json
from holohisto.runtime.tsv import write_tsv
from holohisto.segmenter.card import ModelCard, load_card
from holohisto.sheet.cells import LONGEST_ID
from holohisto.slide.record import SlideRecord

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


@dataclass(frozen=True)
class Given:
    """What all images of a call are segmented with."""

    model: Path
    tokenizer: Path | None
    config: Config
    """With the segmenter's own classes, resolution and kind of tokens."""
    card: ModelCard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", type=Path, nargs="+", metavar="IMAGE", help="slide or image of a region")
    model = "segmenter of `train`; default: starter, the one that comes with HoloHisto"
    add("--model", type=Path, default=STARTER, metavar="FILE", help=model)
    tokenizer = "tokenizer, needed by segmenters that read tokens, other than the starter"
    add("--tokenizer", type=Path, metavar="FILE", help=tokenizer)
    output = "folder of the results; default: NAME_holohisto here, after each image's name"
    add("--output", type=Path, metavar="DIR", help=output)
    add("--mpp", type=float, metavar="NUMBER", help="um per pixel, instead of the image's own")
    saturation = "saturation above which a cell is tissue, 0 to 1; empty: foreground.saturation"
    add("--saturation", type=float, metavar="NUMBER", help=saturation)
    config = "its sections foreground, tokens, infer and mask are used; default: the defaults, or"
    config += " those of config/starter.yaml for the starter"
    add("--config", type=Path, metavar="FILE", help=config)
    add("--keep", action="store_true", help="keep the intermediate files, in DIR/NAME.work")


def run(arguments: argparse.Namespace) -> None:
    images: list[Path] = arguments.image
    for image in images:
        require_fit(image, "IMAGE")  # it becomes a word of the verbs' command lines
    of_starter = is_starter(arguments.model)
    settings = parse_config(SETTINGS) if of_starter else Config()
    config = read_config(arguments.config) if arguments.config else settings
    model, tokenizer = located(arguments.model, "segmenter"), arguments.tokenizer
    if of_starter and tokenizer is None:
        tokenizer = starter().tokenizer
    card = load_card(model)
    if card.tokenizer is not None and tokenizer is None:
        raise HolohistoError(model, "reads tokens", advice="give --tokenizer")
    given = Given(model, tokenizer, config_for(card, config), card)
    failed = []
    for image in images:
        try:
            _segment(image, given, arguments)
        except HolohistoError as error:
            if len(images) == 1:
                raise
            text = str(error)
            logger.error("%s", text if str(image) in text else f"{image}: {text}")
            failed.append(str(image))
    if of_starter:
        logger.info("%s", PURPOSE)
    if failed:
        problem = f"{len(failed)} of {len(images)} images failed: {', '.join(failed)}"
        raise HolohistoError("segment", problem)


def _segment(image: Path, given: Given, arguments: argparse.Namespace) -> None:
    """Segment one image and print the number and areas of its objects."""
    start = time.monotonic()
    name = re.sub(r"[^A-Za-z0-9._-]", "_", image.stem).lstrip("._-")
    name = name[:LONGEST_ID] or "image"
    output: Path = arguments.output or Path(f"{name}_holohisto")
    with _made_folder(output):
        _segment_into(output, name, image, given, arguments)
    seconds = time.monotonic() - start
    logger.info("%s: in %s, after %.1f s", image.name, output, seconds)


def _segment_into(
    output: Path, name: str, image: Path, given: Given, arguments: argparse.Namespace
) -> None:
    """Segment one image into a folder that exists."""
    config = given.config
    geojson = output / f"{name}.geojson{'.gz' if config.mask.gzip else ''}"
    more = {
        "check": _given("--slide-mpp", arguments.mpp),
        "foreground": _given("--saturation", arguments.saturation),
        "infer": _given("--tokenizer", given.tokenizer),
    }
    facts_file = output / f"{name}_inference.json"
    file = os.path.realpath(image)
    _require_same_image(facts_file, file)
    with _work_folder(output / f"{name}.work", arguments.keep, file) as work:
        values = {**vars(given), "image": image, "output": output, "name": name, "work": work}
        values |= {"geojson": geojson, "sections": as_json(config)}
        for verb, words in STEPS.items():
            if verb != "tokens" or (given.card.tokenizer and given.card.mode != "online"):
                filled = [word.format_map(values) for word in words.split()]
                _run_verb(verb, [*filled, *more.get(verb, [])])
        record = SlideRecord.read(work / "check.json")
        tissue = load_foreground(work / "foreground.tif", record)
        rows = summaries(name, geojson, given.card.classes, tissue, record.working_mpp)
    write_tsv(rows, ClassSummary, output / f"{name}.tsv")
    inference = {"image": file, **read_sealed_json(facts_file)}
    atomic.write_text(facts_file, json.dumps(inference, indent=2) + "\n")
    print(table(rows), flush=True)


def _require_same_image(facts: Path, image: str) -> None:
    """Raise if the results of this name in the folder are of another image."""
    if not facts.is_file():  # reading a pipe would wait
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
def _made_folder(output: Path) -> Iterator[None]:
    """Make the folder of the results; remove it, and those made above it, if it stays empty."""
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    atomic.make_folder_of(output / "results")
    try:
        yield
    except HolohistoError:
        with contextlib.suppress(OSError):  # not empty
            for folder in made:
                folder.rmdir()
        raise


@contextlib.contextmanager
def _work_folder(folder: Path, keep: bool, image: str) -> Iterator[Path]:
    """Make the folder of the intermediate files, unless a killed run left it; remove it after.

    After an error it stays, for the next run, unless the image was refused before any tissue was
    found.

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
    try:
        yield folder
    except HolohistoError:
        if not (folder / "foreground.tif").exists():
            shutil.rmtree(folder)
        raise
    if not keep:
        shutil.rmtree(folder)

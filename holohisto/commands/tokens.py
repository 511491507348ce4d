"""`holohisto tokens`: compute the token map of a slide."""

import argparse
import logging
import os
from dataclasses import asdict
from pathlib import Path

import torch

from holohisto.config.parsing import from_json
from holohisto.config.starter import is_starter
from holohisto.config.training import TokensOptions
from holohisto.device import best_device, resolve_precision
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime import atomic, gpus
from holohisto.runtime.identity import hash_of_inputs
from holohisto.runtime.journal import Journal
from holohisto.runtime.paths import cache_folder
from holohisto.runtime.pictures import write_jpeg
from holohisto.runtime.progress import phase
from holohisto.runtime.seal import sealed_json
from holohisto.slide.record import SlideRecord
from holohisto.slide.scratch import staged
from holohisto.tiles.variants import variants_of
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokens import converted
from holohisto.tokens.encoders import encoder_for
from holohisto.tokens.quality import judge
from holohisto.tokens.slide_encoder import SlideEncoder
from holohisto.tokens.slide_tokens import facts_of, token_map_of
from holohisto.tokens.token_map import save_token_map

logger = logging.getLogger(__name__)
FILES = {
    "--record": "record of `check`, .json",
    "--foreground": "foreground map, .tif",
    "--tokenizer": "tokenizer, .safetensors",
    "--tokens": "token map to write, .safetensors",
    "--quality": "facts about the token map to write, .json",
    "--picture": "picture of tissue and its reconstruction to write, .jpg",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="image file of the slide")
    parser.add_argument(
        "--scratch", metavar="DIR", help="node-local folder that the slide is copied to first"
    )
    for option, text in FILES.items():
        parser.add_argument(option, type=Path, required=True, metavar="FILE", help=text)
    parser.add_argument(
        "--options",
        type=from_json(TokensOptions),
        default=TokensOptions(),
        metavar="JSON",
        help="the configuration's section `tokens`",
    )
    cores = len(os.sched_getaffinity(0))
    threads = "threads that read; affects the time only"
    parser.add_argument("--threads", type=int, default=cores, metavar="N", help=threads)


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    options: TokensOptions = arguments.options
    if options.mode == "online":
        raise HolohistoError(
            "tokens.mode", "makes no token maps", found="online", allowed="frozen, window"
        )
    record = SlideRecord.read(arguments.record)
    foreground = load_foreground(arguments.foreground, record)
    device = best_device()
    model = load_tokenizer(arguments.tokenizer).to(device)
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore
    precision = resolve_precision(options.precision, device)
    digest, variants = tokenizer_digest(model), variants_of(options, record.fingerprint)
    file: Path = arguments.tokenizer
    encoder = encoder_for(model, options.mode, precision, _kept_encoder(file, digest))
    colour = asdict(foreground.colour) if foreground.colour else None
    identity = hash_of_inputs(
        record.text(), digest, precision, options.model_dump_json(), foreground.mask, colour
    )
    journal = Journal(arguments.tokens.with_suffix(".journal"), identity)
    with journal, staged(arguments.image, arguments.scratch) as image, record.open(image) as slide:
        tissue = Tissue(slide, record.scale, foreground)
        slide_encoder = SlideEncoder(tissue, record.working_size, encoder, options)
        with phase("encoding"):
            encoded = slide_encoder.encode_all(variants, journal, max(1, arguments.threads))
        with phase("quality"):
            quality, picture = judge(slide_encoder, encoded[0].encoded.tokens)
    token_map = token_map_of(record, encoder, encoded, options)
    save_token_map(token_map, arguments.tokens)
    write_jpeg(arguments.picture, picture, quality=85)
    facts = facts_of(record, token_map, encoded, quality, slide_encoder.order)
    atomic.write_text(arguments.quality, sealed_json(facts))
    journal.discard()
    counts = quality.tokens, len(encoded), quality.codes_used, quality.codebook
    logger.info("%d tokens in %d variants, %d of %d codes used", *counts)


def _kept_encoder(tokenizer: Path, digest: str) -> Path | None:
    """The file of the converted encoder: of the starter, in the user's cache."""
    name = f"{tokenizer.stem}{converted.SUFFIX}"
    if not is_starter(tokenizer):
        return tokenizer.parent / name
    caches = cache_folder()
    return caches / digest[:16] / name if caches else None

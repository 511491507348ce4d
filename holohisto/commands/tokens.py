"""Compute the token map of a slide."""

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from holohisto.config.parsing import from_json
from holohisto.config.training import TokensOptions
from holohisto.device import best_device
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import WHITE, Tissue
from holohisto.runtime import atomic, gpus
from holohisto.runtime.identity import hash_of_inputs
from holohisto.runtime.journal import Journal
from holohisto.runtime.progress import phase
from holohisto.slide.record import SlideRecord
from holohisto.slide.scratch import staged
from holohisto.tiles.variants import variants_of
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokens.encode import encode
from holohisto.tokens.encoders import background_token, encoder_for
from holohisto.tokens.needed import needed_tokens
from holohisto.tokens.quality import judge
from holohisto.tokens.token_map import TokenMap, save_token_map

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--scratch", help="node-local folder that the slide is copied to first")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--foreground", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--options", type=from_json(TokensOptions), default=TokensOptions())
    parser.add_argument("--tokens", type=Path, required=True, help="the token map to write")
    parser.add_argument("--quality", type=Path, required=True, help="facts about it to write")
    parser.add_argument("--picture", type=Path, required=True, help="reconstructions to write")


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    options: TokensOptions = arguments.options
    if options.mode == "online":
        raise HolohistoError(
            "tokens.mode", "makes no token maps", found="online", allowed="frozen, window"
        )
    record = SlideRecord.read(arguments.record)
    found = load_foreground(arguments.foreground, record)
    model = load_tokenizer(arguments.tokenizer)
    device = best_device()
    model = model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore
    bf16 = options.precision == "bf16" or (options.precision == "auto" and device.type == "cuda")
    encoder = encoder_for(model, options.mode, bf16)
    f = model.architecture.downscale
    variants = variants_of(options, record.fingerprint)
    sizes = [variant.size(record.working_size) for variant in variants]
    needed = [
        needed_tokens(found.mask, found.cell * variant.scale, size, f)
        for variant, size in zip(variants, sizes, strict=True)
    ]
    white = np.array(WHITE, np.uint8)[None, None]
    backgrounds = [
        background_token(encoder, variant.appearance.apply(white)) for variant in variants
    ]
    identity = _identity(arguments, record, tokenizer_digest(model), needed[0], bf16)
    journal = Journal(arguments.tokens.with_suffix(".journal"), identity)
    with journal, staged(arguments.image, arguments.scratch) as image, record.open(image) as slide:
        read = Tissue(slide, record.factor, found).read
        with phase("encoding"):
            encoded = [
                encode(
                    read,
                    sizes[k],
                    needed[k],
                    encoder,
                    backgrounds[k],
                    options.block,
                    variants[k],
                    journal,
                    k,
                )
                for k in range(len(variants))
            ]
        with phase("quality"):
            quality, picture = judge(read, encoded[0].tokens, needed[0], encoder, bf16)
    token_map = TokenMap(
        tokens=[one.tokens for one in encoded],
        slide=record.slide,
        fingerprint=record.fingerprint,
        tokenizer=tokenizer_digest(model),
        downscale=f,
        backgrounds=tuple(backgrounds),
        options=options,
    )
    save_token_map(token_map, arguments.tokens)
    with atomic.replacing(arguments.picture) as temporary:
        Image.fromarray(picture).save(temporary, quality=85)
    facts = {
        "slide": record.slide,
        "mode": options.mode,
        "precision": "bf16" if bf16 else "fp32",
        "variants": len(variants),
        "size_tokens": list(needed[0].shape[::-1]),
        **asdict(quality),
        "seconds": round(sum(one.seconds for one in encoded), 3),
        "reading_seconds": round(sum(one.reading_seconds for one in encoded), 3),
        "bytes": sum(one.tokens.nbytes for one in encoded),
    }
    atomic.write_text(arguments.quality, json.dumps(facts, indent=2) + "\n")
    journal.discard()
    logger.info(
        "%d tokens in %d variants, %d of %d codes used",
        quality.tokens,
        len(variants),
        quality.codes_used,
        quality.codebook,
    )


def _identity(
    arguments: argparse.Namespace, record: SlideRecord, digest: str, needed: np.ndarray, bf16: bool
) -> str:
    """Hash of every input that affects the tokens; only a run with the same one is resumed."""
    options = arguments.options.model_dump_json()
    return hash_of_inputs(record.text(), digest, bf16, options, needed)

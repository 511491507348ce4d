"""Compute the token map of a slide."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch

from holohisto import foreground, tokens, vqgan
from holohisto.check import SlideRecord
from holohisto.config import TokensOptions, from_json
from holohisto.grid import Tile
from holohisto.progress import phase

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--check", type=Path, required=True)
    parser.add_argument("--foreground", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--options", type=from_json(TokensOptions), default=TokensOptions())
    parser.add_argument("--tokens", type=Path, required=True, help="the token map to write")


def run(arguments: argparse.Namespace) -> None:
    record = SlideRecord.read(arguments.check)
    found = foreground.load(arguments.foreground, record)
    model = vqgan.load(arguments.tokenizer)
    tokens.require_halo(model.architecture, arguments.options)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore
    f, d = model.architecture.downscale, record.factor
    size = record.working_size
    needed = tokens.needed_tokens(found.mask, found.cell, size, f)
    background = tokens.background_token(model, record.background, arguments.options.halo)
    with record.open(arguments.image) as slide, phase("encoding"):

        def read(tile: Tile) -> np.ndarray:
            return slide.read((tile.x * d, tile.y * d), (tile.width, tile.height), d)

        found_tokens = tokens.encode(read, size, needed, model, background, arguments.options)
    used, perplexity = tokens.usage(found_tokens[needed], model.architecture.codebook)
    logger.info("%d tokens, %d codes used, perplexity %.0f", needed.sum(), used, perplexity)
    token_map = tokens.TokenMap(
        tokens=found_tokens[None],
        slide=record.slide,
        fingerprint=record.fingerprint,
        tokenizer=vqgan.digest(model),
        downscale=f,
        background=background,
    )
    tokens.save(token_map, arguments.tokens, arguments.options)

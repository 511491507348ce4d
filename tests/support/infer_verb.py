"""A slide with everything that the verb `infer` reads, and its command line."""

import json
from pathlib import Path

import numpy as np
import torch
from labelled_slide import run

from holohisto.config.models import HolohistoModel, UnetModel
from holohisto.config.training import TokensOptions
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale
from holohisto.tokens.token_map import TokenMap, save_token_map

SIZE = (611, 907)
OPTIONS = {"tile": [192, 160], "overlap": 0.25}


def prepared(folder: Path) -> Path:
    """Write it all into a folder; the segmenter is untrained, but not indifferent."""
    random = np.random.default_rng(0)
    write_slide(folder / "slide.tif", random)
    slide, record = folder / "slide.tif", folder / "check.json"
    run("check", slide, "--slide", "s1", "--output", record)
    written = ["--foreground", folder / "foreground.tif", "--picture", folder / "foreground.jpg"]
    run("foreground", slide, "--record", record, *written)
    write_segmenter(folder / "segmenter.safetensors")
    shape = (ceil_div(SIZE[1], 16), ceil_div(SIZE[0], 16))
    tokens = [random.integers(0, 64, shape).astype(np.uint16)]
    fingerprint = SlideRecord.read(record).fingerprint
    token_map = TokenMap(
        tokens, "s1", fingerprint, "0" * 64, 16, (0,), "fp32", TokensOptions(), Scale.whole(1)
    )
    save_token_map(token_map, folder / "tokens.safetensors")
    return folder


def write_slide(path: Path, random: np.random.Generator) -> None:
    """Blocks of colour with glass around them."""
    rgb = np.full((SIZE[1], SIZE[0], 3), 244, np.uint8)
    blocks = random.integers(90, 220, (SIZE[1] // 9, SIZE[0] // 9, 3)).astype(np.uint8)
    inside = np.kron(blocks, np.ones((10, 10, 1), np.uint8))
    rgb[20:-40, 20:-20] = inside[: SIZE[1] - 60, : SIZE[0] - 40]
    write_slide_pyramid(path, rgb, 0.5)


def write_segmenter(path: Path) -> None:
    torch.manual_seed(0)
    options, classes = HolohistoModel(size="T"), ("tuft", "capsule")
    model = build_segmenter(options, torch.randn(64, 8), 16, 2).eval()
    divided(model)
    card = ModelCard("m1", options, classes, 0.5, (192, 160), "0" * 64, 16, "frozen", "fp32", {})
    save_segmenter(model.state_dict(), card, path)


def write_unet(path: Path) -> None:
    torch.manual_seed(0)
    options = UnetModel(channels=(4, 8), tile=(192, 160))
    model = build_segmenter(options, None, 1, 2).eval()
    card = ModelCard(
        "m2", options, ("tuft", "capsule"), 0.5, (192, 160), None, 1, "frozen", None, {}
    )
    save_segmenter(model.state_dict(), card, path)


@torch.no_grad()
def divided(model) -> None:
    """Let an untrained network say yes about as often as no."""
    last = [layer for layer in model.decoder.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    tokens, pixels = torch.randint(0, 64, (1, 10, 12)), torch.randint(90, 220, (1, 3, 160, 192))
    last.bias -= model(tokens, pixels.to(torch.uint8), (160, 192)).mean(dim=(0, 2, 3))


def command(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        "infer",
        str(folder / "slide.tif"),
        "--record",
        str(folder / "check.json"),
        "--foreground",
        str(folder / "foreground.tif"),
        "--tokens",
        str(folder / "tokens.safetensors"),
        "--segmenter",
        str(folder / "segmenter.safetensors"),
        "--options",
        json.dumps(OPTIONS),
        "--labels",
        str(out / "labels.tif"),
        "--probability",
        str(out / "probability.tif"),
        "--facts",
        str(out / "facts.json"),
        *more,
    ]

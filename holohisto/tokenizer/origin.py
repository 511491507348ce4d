"""Where the tokenizer of a cohort comes from: a checkpoint, or training on the cohort's tissue."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from holohisto.config.training import TokenizerOptions
from holohisto.device import device_of
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.pictures import write_jpeg
from holohisto.runtime.progress import phase, track
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.colour_order import code_usage, most_usual
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.published import load
from holohisto.tokenizer.tissue_tiles import TissueTiles
from holohisto.tokenizer.training import ROWS, TrainingRow, train_tokenizer
from holohisto.tokenizer.vqgan import RESOLUTION, VQGAN

logger = logging.getLogger(__name__)

USAGE_BATCHES, USAGE_TILES = 16, 16
"""Batches of tissue by which the usage of the codes is counted, and tiles of one slide in each."""
ORDER_SLIDES = 8
"""Training slides, at equal intervals of the sheet, on which the orders of the colours are
compared."""


@dataclass(frozen=True)
class Origin:
    """A tokenizer in evaluation state, and its provenance."""

    model: VQGAN
    rows: list[TrainingRow]
    """The training table; empty for a checkpoint."""
    summary: dict[str, Any]
    """Provenance, for the header of the tokenizer file."""


def from_checkpoint(path: Path, options: TokenizerOptions, device: torch.device) -> Origin:
    """Read a checkpoint.

    Args:
        path: File or folder of the checkpoint.
        options: Pixel range.
        device: Device of the model.

    Raises:
        HolohistoError: the checkpoint cannot be read.
    """
    model = load.read(path, options.pixel_range).to(device)
    return Origin(model, [], {"origin": f"checkpoint {path.name}"})


def from_tissue(
    source: TissueTiles, options: TokenizerOptions, seed: int, device: torch.device
) -> Origin:
    """Train a tokenizer on the tissue of at least one slide.

    Args:
        source: Training tissue.
        options: The section `tokenizer`.
        seed: Seed of tiles and weights.
        device: Device to train on.

    Raises:
        HolohistoError: the loss is not finite.
    """
    rows = []
    steps = train_tokenizer(lambda step: source.step(step, options, seed), options, seed, device)
    total = ceil_div(options.steps, max(1, options.steps // ROWS))
    model = None
    with phase("training"):
        for model, row in track(steps, total, "tokenizer", unit="row"):  # noqa: B007
            rows.append(row)
            logger.info(
                "step %d/%d: loss %.3f, PSNR %.1f dB, %d codes, effective rank %.2f of %d, %.0f %%"
                " of tokens kept in another stain",
                row.step,
                options.steps,
                row.loss,
                row.psnr,
                row.codes_used,
                row.effective_rank,
                len(options.levels),
                100 * row.kept,
            )
    assert model is not None
    summary = {"origin": "trained on the cohort", "steps": options.steps, **asdict(rows[-1])}
    model.eval().requires_grad_(False)
    with phase("usage of the codes"):
        count_usage(model, source)
    model.use(Statistics.NATIVE)
    return Origin(model, rows, summary)


def count_usage(model: VQGAN, source: TissueTiles) -> None:
    """Count in training tissue how often the codes are used, in place.

    Args:
        model: In evaluation state; its statistics are of no use afterwards.
        source: Training tissue.
    """
    batches = (source.example(n, USAGE_TILES, RESOLUTION) for n in range(USAGE_BATCHES))
    usage = code_usage(model, batches)
    compared = np.linspace(0, len(source.slides) - 1, ORDER_SLIDES).round().astype(int)
    found = [
        most_usual(
            model,
            usage,
            source.tiles_of(index, USAGE_TILES, RESOLUTION),
            source.slides[index].tissue.foreground.common_colour,
        )
        for index in sorted(set(compared.tolist()))
    ]
    model.usage, model.order_z = usage, torch.tensor(max(each.z for each in found))


@torch.no_grad()
def write_picture(model: VQGAN, examples: list[list[np.ndarray]], path: Path) -> None:
    """Write a JPEG of tiles above and their reconstructions below; white without examples.

    Args:
        model: In evaluation state.
        examples: Tiles of one slide each, (height, width, 3) uint8 of equal sizes. The first is
            shown; a local tokenizer normalises it by the statistics of all of them.
        path: File to write, atomically.
    """
    if not examples:
        write_jpeg(path, Image.new("RGB", (64, 64), "white"))
        return
    device = device_of(model)
    shown, rebuilt = [tiles[0] for tiles in examples], []
    for tiles in examples:
        if model.architecture.local:
            calibrate(model, tiles)
        rgb = torch.from_numpy(tiles[0]).permute(2, 0, 1)[None].to(device)
        rebuilt.append(model.reconstruct(rgb)[0].permute(1, 2, 0).cpu().numpy())
    model.use(Statistics.NATIVE)
    picture = np.concatenate([np.concatenate(shown, 1), np.concatenate(rebuilt, 1)])
    write_jpeg(path, picture, quality=85)

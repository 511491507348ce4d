"""Train the VQGAN on the cohort's tissue, or take a checkpoint."""

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from holohisto.config.parsing import from_json
from holohisto.config.training import TokenizerOptions
from holohisto.device import best_device, device_of
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime import atomic, gpus
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.progress import phase, track
from holohisto.runtime.results import Results
from holohisto.runtime.tsv import write_tsv
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.randomness import generator
from holohisto.tokenizer.calibration import agreement, calibrate
from holohisto.tokenizer.file import save_tokenizer
from holohisto.tokenizer.published import load
from holohisto.tokenizer.training import ROWS, TrainingRow, train_tokenizer
from holohisto.tokenizer.vqgan import VQGAN

AS_IT_IS = Strength(stain=0.0, brightness=0.0, blur=0.0)
logger = logging.getLogger(__name__)
PICTURE_TILES, PICTURE_SIDE = 4, 384


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument("--options", type=from_json(TokenizerOptions), default=TokenizerOptions())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the tokenizer to write")
    parser.add_argument("--table", type=Path, required=True, help="training table to write")
    parser.add_argument("--picture", type=Path, required=True, help="reconstructions to write")


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    options: TokenizerOptions = arguments.options
    device = best_device()
    source = TissueTiles(arguments)
    if not source.slides and options.checkpoint is None:
        raise HolohistoError(
            arguments.sheet,
            "no slide has the split train",
            advice="give at least one, or set tokenizer.checkpoint",
        )
    if options.checkpoint is not None:
        model = _take(source, options, arguments.seed, device)
        rows: list[TrainingRow] = []
        summary: dict[str, Any] = {"origin": f"checkpoint {options.checkpoint.name}"}
    else:
        with phase("training"):
            model, rows = _train(source, options, arguments.seed, device)
        summary = {"origin": "trained on the cohort", "steps": options.steps, **asdict(rows[-1])}
    shown = range(PICTURE_TILES if source.slides else 0)
    tiles = [source.example(n, PICTURE_SIDE) for n in shown]
    if tiles and model.calibrated:
        summary["frozen_native_agreement"] = agreement(model, tiles)
    write_tsv(rows, TrainingRow, arguments.table)
    _write_picture(model, tiles, arguments.picture)
    save_tokenizer(model, arguments.tokenizer, summary)


def _take(
    source: "TissueTiles", options: TokenizerOptions, seed: int, device: torch.device
) -> VQGAN:
    """Read the checkpoint; freeze its statistics at those of training tissue where that is of use.

    With attention a token depends on the whole input all the same, and without training slides
    there is no tissue to take statistics of: then it stays native.
    """
    assert options.checkpoint is not None
    model = load.read(options.checkpoint, options.pixel_range).to(device)
    if model.calibrated or not model.architecture.local or not source.slides:
        return model
    tiles = [source.tile(n, options.tile, seed) for n in range(options.calibration_tiles)]
    with phase("calibration"):
        sweeps = calibrate(model, tiles, options.calibration_tolerance)
    logger.info("statistics frozen at those of %d tiles after %d sweeps", len(tiles), sweeps)
    return model


def _train(
    source: "TissueTiles", options: TokenizerOptions, seed: int, device: torch.device
) -> tuple[VQGAN, list[TrainingRow]]:
    rows = []
    looks = Strength.of(options.augmentation)
    steps = train_tokenizer(
        lambda n: source.tile(n, options.tile, seed, looks), options, seed, device
    )
    total = ceil_div(options.steps, max(1, options.steps // ROWS))
    model = None
    for model, row in track(steps, total, "tokenizer", unit="row"):  # noqa: B007
        rows.append(row)
        logger.info(
            "step %d/%d: L1 %.4f, PSNR %.1f dB, %d codes used, perplexity %.0f",
            row.step,
            options.steps,
            row.reconstruction,
            row.psnr,
            row.codes_used,
            row.perplexity,
        )
    assert model is not None
    return model.eval().requires_grad_(False), rows


class TissueTiles:
    """Tiles of the training slides' foreground, tile n a function of (seed, n)."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Open every training slide."""
        rows = [r for r in read_sheet(arguments.sheet).values() if not r.exclude]
        self.slides: list[tuple[Tissue, np.ndarray]] = []
        for row in rows:
            if row.split != "train":
                continue
            record = SlideRecord.read(arguments.results.record(row.slide))
            found = load_foreground(arguments.results.foreground(row.slide), record)
            tissue = Tissue(record.open(row.image), record.factor, found)
            self.slides.append((tissue, np.argwhere(found.mask)))
        areas = [len(cells) * tissue.foreground.cell**2 for tissue, cells in self.slides]
        self.ends = np.cumsum(areas)

    def tile(self, n: int, side: int, seed: int, looks: Strength = AS_IT_IS) -> np.ndarray:
        """Return training tile n, (side, side, 3) uint8: turned, flipped and stained at random."""
        random = generator(seed, 0, n)
        turned = np.rot90(self._read(side, random), int(random.integers(4)))
        turned = turned[:, :: 1 if random.random() < 0.5 else -1]
        return Appearance.draw(looks, random).apply(np.ascontiguousarray(turned))

    def example(self, n: int, side: int) -> np.ndarray:
        """Return tile n of those shown in the report, (side, side, 3) uint8."""
        return self._read(side, generator(0, 1, n))

    def _read(self, side: int, random: np.random.Generator) -> np.ndarray:
        """Read a square that a random point of the tissue lies in."""
        place = int(np.searchsorted(self.ends, random.integers(self.ends[-1]), side="right"))
        tissue, cells = self.slides[place]
        cell, d = tissue.foreground.cell, tissue.factor
        row, column = cells[random.integers(len(cells))] * cell
        y, x = (
            int(corner + random.integers(cell) - random.integers(side)) for corner in (row, column)
        )
        width, height = (ceil_div(length, d) for length in tissue.slide.size)
        x, y = min(max(x, 0), max(0, width - side)), min(max(y, 0), max(0, height - side))
        return tissue.read(Tile(y, x, side, side))


def _write_picture(model: VQGAN, tiles: list[np.ndarray], path: Path) -> None:
    """Originals above, their reconstruction below; white when there is no training slide."""
    if not tiles:
        with atomic.replacing(path) as temporary:
            Image.new("RGB", (64, 64), "white").save(temporary)
        return
    device = device_of(model)
    with torch.no_grad():
        again = [
            model.reconstruct(torch.from_numpy(t).permute(2, 0, 1)[None].to(device))[0]
            .permute(1, 2, 0)
            .cpu()
            .numpy()
            for t in tiles
        ]
    picture = np.concatenate([np.concatenate(tiles, 1), np.concatenate(again, 1)])
    with atomic.replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=85)

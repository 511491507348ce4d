"""Training on from a segmenter, beside training from scratch, with few annotated fields.

    python benchmarks/fine_tuning.py FOLDER

FOLDER is one of real_slides.py, after `--seeds 0 --models T`. Its segmenter was trained on two PAS
mosaics; here it goes on with 1, 2, 4 and 8 fields of another laboratory (capsules in four stains)
and is tested on the others. Training from scratch has the same tokenizer, fields, steps and seeds.
The fields are drawn once for each seed; fewer fields are a part of more. No option is chosen here.
"""

import argparse
import csv
import itertools
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from holohisto.config.models import HolohistoModel
from holohisto.config.sections import ClassOptions
from holohisto.config.training import TokensOptions, TrainOptions
from holohisto.runtime.open_files import OpenFiles
from holohisto.runtime.results import Results
from holohisto.segmenter.file import Network, load_segmenter
from holohisto.segmenter.inputs import Inputs
from holohisto.sheet.rows import read_sheet
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.training.fit import Machine, fit_segmenter
from holohisto.training.job import TrainingJob
from holohisto.training.opening import open_slide
from holohisto.training.ranks import make_fabric
from holohisto.training.scoring import Reads, slide_dice
from holohisto.training.slides import Batch
from holohisto.training.validation import confusion

TILE = (256, 192)
GROUPS = ("capsule", "stains")
CLASSES = {"glomerulus": ClassOptions()}
# Test slides have one variant in their token map.
TOKENS = TokensOptions(orientations=1, appearances=0)


def options_of(steps: int) -> TrainOptions:
    """Return the options of real_slides.yaml for few steps."""
    return TrainOptions(
        tile=TILE,
        steps=steps,
        batch=8,
        cutmix=1.0,
        learning_rate=0.001,
        ema=0.98,
        validate_every=steps,
    )


def sheet_of(rows: list[dict[str, str]], trained: set[str], path: Path) -> Path:
    """Write the sheet in which the named fields are trained on and all others tested."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "split": "train" if row["slide"] in trained else "test"})
    return path


def score(model: Network, job: TrainingJob, tokenizer: VQGAN) -> float:
    """Return the mean over the tested fields of Dice over tiles."""
    inputs, fabric = Inputs(model, None), make_fabric(1, 1)
    reads = Reads(inputs.tokens, inputs.pixels)

    def count(batch: Batch) -> np.ndarray:
        return confusion(model, inputs, batch, fabric)

    digest, snap = tokenizer_digest(tokenizer), tokenizer.architecture.downscale
    values = []
    for row in read_sheet(job.sheet, tuple(CLASSES)).values():
        if row.split == "test":
            slide = open_slide(job, row, digest, OpenFiles(10**9))
            values.append(slide_dice(count, reads, slide, TILE, snap)[0])
    return float(np.mean(values))


def compare(results: Results, sheet: Path, steps: int, seed: int, folder: Path) -> dict[str, float]:
    """Return the scores of a training from the run's segmenter and of one from scratch."""
    fabric = make_fabric(1, 1)
    fabric.launch()
    tokenizer = load_tokenizer(results.tokenizer)
    scores = {}
    for start, pretrained in (("segmenter", results.segmenter("T")), ("scratch", None)):
        model = HolohistoModel(kind="holohisto", size="T", pretrained=pretrained)
        job = TrainingJob("T", model, options_of(steps), TOKENS, CLASSES, seed, sheet, results)
        file = folder / f"{start}.safetensors"
        fit_segmenter(job, Machine(fabric, 1, False), file, file.with_suffix(".tsv"))
        scores[start] = score(load_segmenter(file)[0], job, tokenizer)
    return scores


def main() -> None:
    """Train and test all combinations; print a line for each and a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fields", type=int, nargs="+", default=(1, 2, 4, 8))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    with (options.folder / "slides.tsv").open() as file:
        rows = [r for r in csv.DictReader(file, delimiter="\t") if r["group"] in GROUPS]
    results = Results(options.folder.resolve() / "test-0" / "results")
    table: dict[tuple[str, int], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for seed, fields in itertools.product(options.seeds, options.fields):
            order = np.random.default_rng(seed).permutation([row["slide"] for row in rows])
            trained, tested = set(order[:fields]), set(order[max(options.fields) :])
            kept = [row for row in rows if row["slide"] in trained | tested]
            sheet = sheet_of(kept, trained, Path(name) / "slides.tsv")
            for start, dice in compare(results, sheet, options.steps, seed, Path(name)).items():
                table[start, fields].append(dice)
                print(f"seed {seed}, {fields} fields, from {start}: {dice:.3f}", flush=True)
    for (start, fields), scores in table.items():
        print(f"{start:<10}{fields:>3}  {np.mean(scores):.3f}  {np.round(scores, 3).tolist()}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

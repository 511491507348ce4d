"""Train the tokenizer and the segmenter of `resources/starter`, and test them on mouse tissue.

    python benchmarks/starter.py DATA --work FOLDER --output resources/starter

Trains on all PAS fields of the section in the three mosaics and on capsules of another laboratory
in four stains, none of which is left for a test: how well the recipe does elsewhere is measured by
`real_slides.py`. Tissue of mice (`mouse`) is of a third laboratory and is only tested on.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from real_slides_data import (
    COLUMNS,
    STAINS,
    capsule_lines,
    line_of,
    mouse_dice,
    mouse_labels,
    mouse_lines,
)

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "benchmarks" / "starter.yaml"
MODEL = "starter"


def write_sheet(data: Path, folder: Path) -> Path:
    """Write the enlarged images, where missing, and the sheet; returns its path."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    lines = [COLUMNS]
    for letter in "abc":
        source = data / "slides" / f"mosaic_{letter}.tif"
        mask = source.with_name(f"mosaic_{letter}_mask.tif")
        lines.append(line_of(f"mosaic-{letter}", source, mask, "mosaic", "train"))
    for stain in ("pas", *STAINS):
        lines += capsule_lines(data, images, stain, stain, "train")
    lines += mouse_lines(data, images)
    sheet = folder / "slides.tsv"
    sheet.write_text("\n".join(lines) + "\n")
    return sheet


def run(folder: Path, sheet: Path, seed: int) -> Path:
    """Run the workflow; returns the folder of its results."""
    config = yaml.safe_load(RECIPE.read_text()) | {"slides": str(sheet), "seed": seed}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow" / "Snakefile"),
        *("--configfile", path, "--directory", folder, "--cores", "2", "--quiet", "rules"),
        *("--set-resources", "train:gpu=0", "--set-threads", "train=1", "tokenizer=1"),
    ]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run(command, env=environment, check=True)
    return folder / "results"


def main() -> None:
    """Train, copy the two files, print Dice on mouse tissue."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, data = options.work.resolve(), options.data.resolve()
    results = run(folder, write_sheet(data, folder), options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    shutil.copy(results / "tokenizer" / "tokenizer.safetensors", options.output)
    model = results / "models" / MODEL
    shutil.copy(model / "segmenter.safetensors", options.output)
    values = mouse_dice(data, model / "masks")
    for labels, value in zip(mouse_labels(data), values, strict=True):
        print(f"{labels.name.removesuffix('-labels.png'):<24}{value:.3f}")
    print(f"{'mean':<24}{np.mean(values):.3f}")


if __name__ == "__main__":
    main()

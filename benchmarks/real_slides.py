"""Segmenters on real PAS slides: seen laboratory, another species, another laboratory.

    python benchmarks/real_slides.py DATA --work FOLDER --seeds 0 1 2

Trains on two mosaics, tests on the third (`mosaic`, chosen by `--test`), on mouse tissue of another
laboratory (`mouse`: the labelled middle of each image, glomerulus and tuft together, brought to our
size) and on PAS capsules of a third one (`capsule`: enlarged four times to 0.5 um/px). The latter
two are never trained on. Every model sees the same pixels, steps and augmentation; a seed is of
tokenizer and models both. What is done stays in FOLDER and is not done again. `--without` trains
once more with a part of the augmentation switched off, on the tokenizers of the first run.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MOSAICS = "abc"
MOUSE_BORDER = 62
"""Pixels around the labelled middle of an image of mouse tissue; segmenters see them."""
MOUSE_CLASSES = (2, 3)
"""Glomerulus, tuft."""
MOUSE_SCALE = 0.8
"""Scanned at 0.34 um/px and then shown as 1 um/px: a mouse's glomeruli, about 85 um wide, look as
large as those that were learnt, about 200 um."""
CAPSULE_SCALE = 4
"""From 2 um/px to 0.5."""
OFF: dict[str, dict[str, dict[str, Any]]] = {
    **{
        name: {part: {"augmentation": {name: 0.0}} for part in ("tokens", "train")}
        for name in ("stain_jitter", "brightness_jitter", "blur_sigma", "scale_jitter")
    },
    "orientations": {"tokens": {"orientations": 1}, "train": {"orientations": 1}},
    "cutmix": {"train": {"cutmix": 0.0}},
    "token_dropout": {"train": {"token_dropout": 0.0}},
    "channel_dropout": {"train": {"channel_dropout": 0.0}},
}
"""What to switch off for `--without`."""
SCORES = {"Dice": "dice_everywhere", "boundary F1": "boundary_f1", "object F1": "object_f1"}


def write_slides(data: Path, folder: Path, tested: str) -> None:
    """Write the images that have to be scaled, where missing, and the sheet of all."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = ["slide\timage\tannotation\tgroup\tsplit\tmpp"]
    for letter in MOSAICS:
        split = "test" if letter == tested else "train"
        path = data / "slides" / f"mosaic_{letter}"
        lines.append(f"mosaic-{letter}\t{path}.tif\t{path}_mask.tif\tmosaic\t{split}\t")
    for labels in mouse_labels(data):
        name = labels.name.removesuffix("-labels.png")
        path = folder / "images" / f"mouse-{name}.png"
        whole = Image.open(labels.with_name(f"{name}.png")).convert("RGB")
        _write_scaled(path, whole, MOUSE_SCALE, Image.Resampling.BICUBIC)
        lines.append(f"mouse-{name}\t{path}\t\tmouse\tpredict\t1.0")
    for mask in sorted((data / "structures" / "2_0_capsule" / "pas").glob("*_mask_capsule.png")):
        name = mask.name.removesuffix("_mask_capsule.png")
        image = Image.open(mask.with_name(f"{name}.png")).convert("RGB")
        truth = Image.open(mask).convert("L")
        path = folder / "images" / f"capsule-{name}.png"
        drawn = path.with_name(f"capsule-{name}_mask.png")
        _write_scaled(path, image, CAPSULE_SCALE, Image.Resampling.BICUBIC)
        _write_scaled(drawn, truth, CAPSULE_SCALE, Image.Resampling.NEAREST)
        lines.append(f"capsule-{name}\t{path}\t{drawn}\tcapsule\ttest\t0.5")
    (folder / sheet(tested)).write_text("\n".join(lines) + "\n")


def sheet(tested: str) -> str:
    """Name of the sheet with this mosaic to test on."""
    return f"slides-{tested}.tsv"


def mouse_labels(data: Path) -> list[Path]:
    """The annotations of mouse tissue, of the middle of each image only."""
    return sorted((data / "mouse-pas").glob("*-labels.png"))


def _write_scaled(path: Path, image: Image.Image, scale: float, how: Image.Resampling) -> None:
    """Write a resized image, unless it exists: a newer file would rerun everything."""
    if not path.exists():
        size = round(scale * image.width), round(scale * image.height)
        image.resize(size, how).save(path)


def mouse_dice(data: Path, masks: Path) -> list[float]:
    """Dice over the labelled middle of each image; 1 where both are empty."""
    values = []
    for labels in mouse_labels(data):
        truth = np.isin(np.asarray(Image.open(labels)), MOUSE_CLASSES)
        name = labels.name.removesuffix("-labels.png")
        side = 2 * MOUSE_BORDER + len(truth)
        mask = Image.fromarray(tifffile.imread(masks / f"mouse-{name}_glomerulus.tif"))
        predicted = np.asarray(mask.resize((side, side), Image.Resampling.NEAREST)) > 0
        predicted = predicted[MOUSE_BORDER:-MOUSE_BORDER, MOUSE_BORDER:-MOUSE_BORDER]
        both = int(truth.sum() + predicted.sum())
        values.append(2 * int((truth & predicted).sum()) / both if both else 1.0)
    return values


def directory_of(folder: Path, tested: str, seed: int, without: str | None) -> Path:
    """Folder of one run of the workflow."""
    return folder / f"{tested}-{'without-' + without if without else 'seed'}-{seed}"


def run(folder: Path, tested: str, seed: int, without: str | None, models: list[str]) -> Path:
    """Run the workflow for one seed; returns its folder."""
    config = yaml.safe_load((ROOT / "benchmarks" / "real_slides.yaml").read_text())
    config |= {"slides": str(folder / sheet(tested)), "seed": seed}
    config["models"] = {name: config["models"][name] for name in models}
    if without:
        first = directory_of(folder, tested, seed, None)
        trained = first / "results" / "tokenizer" / "tokenizer.safetensors"
        tiles = config["tokenizer"]["calibration_tiles"]
        config["tokenizer"] = {"checkpoint": str(trained), "calibration_tiles": tiles}
        for section, keys in OFF[without].items():
            config.setdefault(section, {}).update(keys)
    directory = directory_of(folder, tested, seed, without)
    directory.mkdir(exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "workflow" / "Snakefile",
        "--configfile",
        directory / "config.yaml",
        "--directory",
        directory,
        "--cores",
        "2",
        "--set-threads",
        "train=1",
        "tokenizer=1",
        "tokens=1",
        "--set-resources",
        "train:gpu=0",
        "--quiet",
        "rules",
    ]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run(command, env=environment, check=True)
    return directory


def scores(data: Path, directory: Path) -> dict[tuple[str, str, str], float]:
    """Mean over a group's slides, by model, group and score."""
    with (directory / "results" / "cohort" / "slides.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    means = {}
    for model, group in sorted({(row["model"], row["group"]) for row in rows}):
        chosen = [row for row in rows if (row["model"], row["group"]) == (model, group)]
        for name, column in SCORES.items():
            values = [float(row[column]) for row in chosen if row[column]]
            means[model, group, name] = float(np.mean(values)) if values else float("nan")
    for model in sorted({model for model, _, _ in means}):
        values = mouse_dice(data, directory / "results" / "models" / model / "masks")
        means[model, "mouse", "Dice"] = float(np.mean(values))
    return means


def main() -> None:
    """Run all seeds, print a table, keep it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--test", choices=MOSAICS, default="c", help="the mosaic to test on")
    parser.add_argument("--models", nargs="+", default=["T", "S", "unet"])
    parser.add_argument("--without", choices=OFF)
    arguments = parser.parse_args()
    folder = arguments.work.resolve()
    write_slides(arguments.data.resolve(), folder, arguments.test)
    directories = [
        run(folder, arguments.test, seed, arguments.without, arguments.models)
        for seed in arguments.seeds
    ]
    by_seed = [scores(arguments.data, directory) for directory in directories]
    print(f"{'model':<10}{'group':<10}{'score':<14}{'mean':>7}  by seed")
    for key in by_seed[0]:
        values = [means[key] for means in by_seed]
        line = f"{key[0]:<10}{key[1]:<10}{key[2]:<14}{np.mean(values):>7.3f}  "
        print(line + " ".join(f"{value:.3f}" for value in values))
    kept = {"/".join(key): [means[key] for means in by_seed] for key in by_seed[0]}
    what = f"without-{arguments.without}" if arguments.without else "scores"
    name = f"{arguments.test}-{what}.json"
    (folder / name).write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

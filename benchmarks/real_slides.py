"""Segmenters on real slides: another part of the section, other colours, stains and laboratories.

    python benchmarks/real_slides.py DATA --work FOLDER --seeds 0 1 2

Trains on two PAS mosaics and tests on a third one of the same section (`mosaic`), on it in other
colours (`recoloured`), on capsules of another laboratory in PAS (`capsule`) and in three other
stains (`stains`), and on mouse tissue of a third laboratory (`mouse`: the labelled middle of each
image, glomerulus and tuft together, brought to our size). No tile of the training mosaics touches
one of the tested mosaic. Every model sees the same tiles, pixels, steps and augmentation; a seed is
of tokenizer and models both. What is done stays in FOLDER and is not done again.

Choices are made with `--choose`: trained on the first mosaic, tested on the second one, on it in
other colours and on capsules in the three other stains. `--without` trains once more with a part of
the augmentation switched off, on the tokenizers of the first run.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from real_slides_data import mouse_dice, mouse_labels, mouse_objects, write_slides

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "benchmarks" / "real_slides.yaml"
PARTS = (
    "channel_mixing",
    "greyscale_share",
    "permutation_share",
    "stain_jitter",
    "brightness_jitter",
    "blur_sigma",
    "scale_jitter",
)
"""Keys of the configuration's sections `augmentation`."""
OFF: dict[str, dict[str, dict[str, Any]]] = {
    **{
        name: {section: {"augmentation": {name: 0.0}} for section in ("tokens", "train")}
        for name in PARTS
    },
    "orientations": {"tokens": {"orientations": 1}, "train": {"orientations": 1}},
    "cutmix": {"train": {"cutmix": 0.0}},
    "token_dropout": {"train": {"token_dropout": 0.0}},
    "channel_dropout": {"train": {"channel_dropout": 0.0}},
}
"""What to switch off for `--without`."""
SCORES = {"Dice": "dice_everywhere", "boundary F1": "boundary_f1", "object F1": "object_f1"}
GROUPS = ("mosaic", "recoloured", "capsule", "stains", "mouse")
Scores = dict[tuple[str, str, str], float]
"""Mean over a group's slides, by model, group and score."""


@dataclass(frozen=True)
class Study:
    """What is trained and where."""

    data: Path
    folder: Path
    choose: bool
    without: str | None
    models: list[str]

    @property
    def name(self) -> str:
        """The study's name, in the names of its folders and of its file of scores."""
        parts = ["choose"] * self.choose + [f"without-{self.without}"] * bool(self.without)
        return "-".join(parts or ["test"])

    def directory(self, seed: int) -> Path:
        """Folder of one run of the workflow."""
        return self.folder / f"{self.name}-{seed}"

    def tokenizer(self, seed: int) -> Path:
        """The tokenizer trained with the whole augmentation."""
        first = Study(self.data, self.folder, self.choose, None, self.models).directory(seed)
        return first / "results" / "tokenizer" / "tokenizer.safetensors"


def run(study: Study, sheet: Path, seed: int) -> Path:
    """Run the workflow for one seed; returns its folder."""
    config = yaml.safe_load(RECIPE.read_text())
    config |= {"slides": str(sheet), "seed": seed}
    config["models"] = {name: config["models"][name] for name in study.models}
    if study.choose:
        config["infer"]["splits"] = ["test"]
    if study.without:
        config["tokenizer"] = {"checkpoint": str(study.tokenizer(seed))}
        for section, keys in OFF[study.without].items():
            config.setdefault(section, {}).update(keys)
    directory = study.directory(seed)
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


def scores(study: Study, directory: Path) -> Scores:
    """Scores of one run, those with tokens left out or shuffled included where they were made."""
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    groups = {}
    for row in _rows(directory / "results" / "cohort" / "slides.tsv"):
        groups[row["slide"]] = row["group"]
        for name, column in SCORES.items():
            if row[column]:
                values[row["model"], row["group"], name].append(float(row[column]))
    for model in study.models:
        results = directory / "results" / "models" / model
        if not study.choose:
            values[model, "mouse", "Dice"] = mouse_dice(study.data, results / "masks")
        for row in _rows(results / "token_value.tsv"):
            if row["dice mean"]:
                score = f"Dice, tokens {row['condition']}"
                values[model, groups[row["slide"]], score].append(float(row["dice mean"]))
    return {key: float(np.mean(values[key])) for key in sorted(values, key=_place(study.models))}


def counts(study: Study, directory: Path) -> dict[str, tuple[int, int]]:
    """Tested slides and annotated objects by group."""
    found: dict[str, tuple[int, int]] = {}
    for row in _rows(directory / "results" / "cohort" / "slides.tsv"):
        if row["model"] == study.models[0] and row["annotated"] == "yes":
            slides, objects = found.get(row["group"], (0, 0))
            found[row["group"]] = slides + 1, objects + int(row["objects_annotated"])
    if not study.choose:
        found["mouse"] = len(mouse_labels(study.data)), mouse_objects(study.data)
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table; none where it does not exist."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _place(models: list[str]):
    """Order of the table: models as given, groups from near to far, scores."""

    def place(key: tuple[str, str, str]) -> tuple[int, int, int, str]:
        model, group, score = key
        listed = list(SCORES).index(score) if score in SCORES else len(SCORES)
        return models.index(model), GROUPS.index(group), listed, score

    return place


def print_table(by_seed: list[Scores], numbers: dict[str, tuple[int, int]], seeds: int) -> None:
    """Print what was tested on, then a line for each model, group and score."""
    tested = numbers["mosaic"][1]
    print(f"Trained and tested on one section: {tested} objects in the test mosaic, {seeds} seeds.")
    head = f"{'model':<16}{'group':<12}{'slides':>6}{'objects':>9}  {'score':<28}{'mean':>6}"
    print(head + "  by seed")
    for model, group, score in by_seed[0]:
        values = [means.get((model, group, score), float("nan")) for means in by_seed]
        slides, objects = numbers[group]
        line = f"{model:<16}{group:<12}{slides:>6}{objects:>9}  {score:<28}{np.mean(values):>6.3f}"
        print(line + "  " + " ".join(f"{value:.3f}" for value in values))


def main() -> None:
    """Run all seeds, print a table, keep it as JSON."""
    known = list(yaml.safe_load(RECIPE.read_text())["models"])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--choose", action="store_true", help="the inner split, for choices")
    parser.add_argument("--models", nargs="+", default=known, choices=known)
    parser.add_argument("--without", choices=OFF)
    options = parser.parse_args()
    folder = options.work.resolve()
    study = Study(options.data.resolve(), folder, options.choose, options.without, options.models)
    sheet = write_slides(study.data, folder, study.choose)
    directories = [run(study, sheet, seed) for seed in options.seeds]
    by_seed = [scores(study, directory) for directory in directories]
    print_table(by_seed, counts(study, directories[0]), len(options.seeds))
    kept = {"/".join(key): [means.get(key) for means in by_seed] for key in by_seed[0]}
    (folder / f"{study.name}.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

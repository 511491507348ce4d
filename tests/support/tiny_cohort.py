"""A cohort of tiny slides in a folder of its own, and the workflow run on it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from holohisto.pyramid.write import write_slide_pyramid

ROOT = Path(__file__).parents[2]
SIZE = (700, 530)
MODELS = ("holohisto", "threshold")
HEADER = "slide\timage\tannotation\tgroup\tsubject\tsplit\tmpp\tsaturation\tnote\n"
SPLITS = {"t1": "train", "v1": "val", "e1": "test", "e2": "test", "p1": "predict"}
CONFIG = {
    "classes": {"glomerulus": {"colour": "#00c853"}},
    "models": {
        "holohisto": {"kind": "holohisto", "size": "T"},
        "threshold": {"kind": "colour_threshold"},
    },
    "tokenizer": {
        "channels": 8,
        "multipliers": [1, 1, 1, 1, 1],
        "residual_blocks": 1,
        "levels": [4, 4],
        "tile": 64,
        "batch": 2,
        "steps": 5,
    },
    "train": {"tile": [256, 192], "steps": 6, "validate_every": 3, "batch": 2},
    "infer": {"splits": ["test", "predict"], "tile": [256, 192]},
    "metrics": {"tile": [256, 192]},
}


def paint(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A white slide with a pink piece of tissue and three dark discs, which are the class."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    rgb = np.full((SIZE[1], SIZE[0], 3), 244, np.uint8)
    tissue = ((x - 350) / 300) ** 2 + ((y - 265) / 230) ** 2 < 1
    discs = np.zeros_like(tissue)
    for cx, cy in ((200, 260), (360, 180), (500, 300)):
        cx, cy = cx + random.integers(-20, 20), cy + random.integers(-20, 20)
        discs |= (x - cx) ** 2 + (y - cy) ** 2 < random.integers(35, 50) ** 2
    rgb[tissue] = (214, 150, 190)
    rgb[discs] = (128, 60, 130)
    noise = random.integers(-12, 12, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8), discs


def write_slide(folder: Path, slide: str, seed: int) -> None:
    from PIL import Image

    rgb, discs = paint(seed)
    (folder / "slides").mkdir(exist_ok=True)
    write_slide_pyramid(folder / "slides" / f"{slide}.tif", rgb, 0.5)
    if not slide.startswith("p"):
        Image.fromarray(discs.astype(np.uint8) * 255).save(folder / "slides" / f"{slide}.png")


def row(slide: str, split: str, **cells: str) -> dict[str, str]:
    annotation = "" if split == "predict" else f"slides/{slide}.png"
    usual = {
        "slide": slide,
        "image": f"slides/{slide}.tif",
        "annotation": annotation,
        "group": "gA" if slide < "e2" else "gB",
        "subject": f"s-{slide}",
        "split": split,
    }
    return usual | cells


def write_sheet(folder: Path, rows: list[dict[str, str]]) -> None:
    columns = HEADER.split()
    lines = ["\t".join(cells.get(column, "") for column in columns) + "\n" for cells in rows]
    (folder / "config" / "slides.tsv").write_text(HEADER + "".join(lines))


def write_config(folder: Path, **sections: dict) -> None:
    merged = {name: {**CONFIG.get(name, {}), **section} for name, section in sections.items()}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **merged}))


def make_folder(folder: Path) -> Path:
    (folder / "config").mkdir(parents=True)
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    write_config(folder)
    write_sheet(folder, [row(slide, split) for slide, split in SPLITS.items()])
    return folder


def snakemake(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run the repository's Snakefile in `folder`, as a user would without activating anything."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            ROOT / "workflow" / "Snakefile",
            "--directory",
            folder,
            *arguments,
        ],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout[-6000:]
    return done

"""Fabricate a `results/` and `logs/` tree as the workflow leaves it, failures included.

Also a script, for looking: python tests/support/report_fixture.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from report_cohort import (
    CLASSES,
    COMPARED,
    GROUPS,
    INITS,
    MODELS,
    MPP,
    OFF_STAIN,
    OUT_OF_MEMORY,
    PARAMETERS,
    SCRIPT,
)
from report_files import save, write, write_benchmark, write_log
from report_pictures import pictures, rebuilt
from report_records import inference, metrics, token_quality, token_value
from safetensors.numpy import save_file

from holohisto import cli
from holohisto.runtime.seal import sealed_header, sealed_json


def build(
    folder: Path, slides: int = 16, side: int = 1200, seed: int = 3, models: dict = MODELS
) -> Path:
    """A cohort of `slides` slides in four groups, of which some failed; returns `folder`.

    The first test slide fails in `infer` of holohisto, the second in `check`; the last slide is
    excluded. All others are whole.
    """
    random = np.random.default_rng(seed)
    rows = [_row(i, slides) for i in range(slides)]
    header = "slide\timage\tannotation\tgroup\tsubject\tsplit\texclude\tnote"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [header, *("\t".join(row.values()) for row in rows)]
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n")
    failing = [row["slide"] for row in rows if row["split"] == "test"][:2]
    for row in rows:
        if not row["exclude"]:
            _slide(folder, row, failing, side, random, models)
    _tokenizer(folder, random)
    for model in models:
        _model(folder, model, random)
    whole = [row["slide"] for row in rows if row["split"] == "test" and not row["exclude"]]
    measured = token_value([slide for slide in whole if slide not in failing])
    write(folder / "results/models/holohisto/token_value.tsv", measured)
    _gallery(folder, [row for row in rows if row["split"] == "test"], failing, models, random)
    return folder


def arguments(folder: Path, models: dict = MODELS) -> dict[str, list[str]]:
    """Command lines of `cohort` and `report` over the fabricated tree."""
    sheet = ["--sheet", str(folder / "slides.tsv"), "--classes", json.dumps(CLASSES)]
    parameters = {
        "infer": {"tile": [3840, 2160], "overlap": 0.25},
        "seed": 0,
        "cohort": {"alpha": 0.05},
    }
    return {
        "cohort": [
            "cohort",
            *sheet,
            "--results",
            str(folder / "results"),
            "--models",
            ",".join(models),
            "--reference",
            "holohisto",
            "--splits",
            "test",
            "--options",
            '{"alpha": 0.05}',
            "--output",
            str(folder / "results/cohort"),
        ],
        "report": [
            "report",
            *sheet,
            "--results",
            str(folder / "results"),
            "--logs",
            str(folder / "logs"),
            "--models",
            json.dumps(models),
            "--options",
            "{}",
            "--parameters",
            json.dumps(parameters),
            "--tables",
            str(folder / "results/tables"),
            "--output",
            str(folder / "report.html"),
        ],
    }


def _row(i: int, slides: int) -> dict[str, str]:
    split = "train" if i % 16 < 5 else "val" if i % 16 == 5 else "test"
    return {
        "slide": f"{GROUPS[i % 4]}_{i:02d}",
        "image": f"slides/{i:02d}.tiff",
        "annotation": f"slides/{i:02d}_mask.tiff",
        "group": GROUPS[i % 4],
        "subject": f"{split}{i // 2}",
        "split": split,
        "exclude": "yes" if i == slides - 1 else "",
        "note": SCRIPT if i == slides - 1 else "",
    }


def _slide(
    folder: Path, row: dict[str, str], failing: list[str], side: int, random, models: dict
) -> None:
    slide, results = row["slide"], folder / "results"
    if slide in failing[1:]:
        return write_log(
            folder, f"check/{slide}", f"slides/{slide}.tiff: no resolution in the header"
        )
    check = {
        "size": [44896, 46410],
        "working_size": [22448, 23205],
        "mpp": MPP,
        "warnings": [],
    }
    write(results / f"check/{slide}.json", sealed_json(check))
    write(results / f"foreground/{slide}.tif", "")
    write(results / f"tokens/{slide}.safetensors", "")
    tissue, picture = pictures(side, random)
    save(tissue, results / f"foreground/{slide}.jpg")
    write(results / f"tokens/{slide}.json", sealed_json(token_quality(row)))
    save(rebuilt(tissue, 9 if slide == OFF_STAIN else 4), results / f"tokens/{slide}.jpg")
    for stage, seconds in (("check", 2), ("foreground", 9), ("tokens", 240)):
        write_benchmark(folder, f"{stage}/{slide}", seconds * random.uniform(0.7, 1.4), 900)
        write_log(folder, f"{stage}/{slide}")
    if row["split"] == "train":
        return None
    for model in models:
        if slide == failing[0] and model == "holohisto":
            write_log(folder, f"infer/{model}/{slide}", OUT_OF_MEMORY)
            continue
        own = results / "models" / model
        for name in (
            f"labels/{slide}.tif",
            f"masks/{slide}_glomerulus.tif",
            f"geojson/{slide}.geojson",
        ):
            write(own / name, "")
        save(picture, own / f"overlays/{slide}.jpg")
        write(own / f"labels/{slide}.json", sealed_json(inference(slide, model)))
        objects = {"glomerulus": {"objects": 40, "at_borders": 10}}
        write(own / f"masks/{slide}.json", sealed_json(objects))
        write(own / f"metrics/{slide}.json", sealed_json(metrics(slide, model, random)))
        for stage, seconds in (("infer", 95), ("mask", 60), ("metrics", 14)):
            factor = random.uniform(0.6, 1.6) * (0.2 if model == "floor" else 1)
            write_benchmark(folder, f"{stage}/{model}/{slide}", seconds * factor, 3400)
            write_log(folder, f"{stage}/{model}/{slide}")
    return None


def _tokenizer(folder: Path, random) -> None:
    results = folder / "results/tokenizer"
    write(results / "tokenizer.safetensors", "")
    lines = ["step\tloss\treconstruction\tperplexity\tcodes_used\tpsnr\tseconds"]
    for step in range(0, 20_001, 50):
        loss = 0.3 * np.exp(-step / 4000) + 0.06 + random.normal(0, 0.004)
        codes, psnr = 1000 * (1 - np.exp(-step / 2500)), 31 - 13 * np.exp(-step / 5000)
        lines.append(f"{step}\t{loss:.4f}\t{loss:.4f}\t{codes / 2:.1f}\t{codes:.0f}\t{psnr:.2f}\t1")
    write(results / "training.tsv", "\n".join(lines))
    save(pictures(900, random)[0].resize((1200, 400)), results / "reconstruction.jpg")
    write_benchmark(folder, "tokenizer/tokenizer", 5400, 5200)


def _model(folder: Path, model: str, random) -> None:
    own = folder / "results/models" / model
    summary = {"pretrained": INITS.get(model, "scratch"), "parameters": PARAMETERS.get(model)}
    if model != "floor":
        summary |= {
            "steps": 12_000,
            "tile": [3840, 2160],
            "tiles": 96_000,
            "pixels": 96_000 * 3840 * 2160,
            "variants": 8,
            "seconds": 33_000.0,
        }
    own.mkdir(parents=True, exist_ok=True)
    save_file({}, own / "segmenter.safetensors", sealed_header({"summary": json.dumps(summary)}))
    write_benchmark(folder, f"train/{model}", 30_000 if model == "holohisto" else 40, 21_000)
    if model != "holohisto":
        return
    columns = "step loss learning_rate val_dice read_seconds step_seconds validation_seconds"
    lines = ["\t".join([*columns.split(), "memory_mb"])]
    for number in range(1, 201):
        loss = 0.9 * np.exp(-number / 40) + 0.08 + random.normal(0, 0.01)
        dice = f"{0.94 - 0.6 * np.exp(-number / 25):.4f}" if number % 2 else ""
        lines.append(f"{number * 60}\t{loss:.4f}\t1e-4\t{dice}\t1\t3\t1\t17000")
    write(own / "training.tsv", "\n".join(lines))


def _gallery(folder: Path, rows: list, failing: list[str], models: dict, random) -> None:
    """Typical fields of every group and errors of three slides, as `gallery` writes them."""
    own = folder / "results/gallery"
    whole = [row for row in rows if row["slide"] not in failing and not row["exclude"]]
    index: dict[str, list] = {"fields": [], "failures": []}
    for row in {row["group"]: row for row in whole}.values():
        kinds = [("input", ""), ("annotation", ""), *(("model", m) for m in models)]
        entries = []
        for i, (what, model) in enumerate([*kinds, ("whole slide", "holohisto")]):
            save(
                pictures(230, random)[i > 0].crop((0, 0, 160, 160)), own / f"{row['slide']}.{i}.jpg"
            )
            entries.append({"what": what, "model": model, "file": f"{row['slide']}.{i}.jpg"})
        index["fields"].append(
            {key: row[key] for key in ("slide", "group")} | {"pictures": entries}
        )
    for row in whole[:3]:
        entry = {key: row[key] for key in ("slide", "group")}
        for kind in ("extra", "missed"):
            entry[kind] = []
            for i in range(3 if kind == "extra" else row is whole[0]):
                file = f"{row['slide']}.{kind}-{i}.jpg"
                save(pictures(230, random)[1].crop((0, 0, 160, 160)), own / file)
                entry[kind].append(
                    {
                        "file": file,
                        "class": "glomerulus",
                        "area_um2": 17_000 / (i + 1),
                        "iou": 0.31 * i,
                        "reduced": 1.0 + 1.3 * (i == 2),
                        "x": 1.0,
                        "y": 2.0,
                    }
                )
        index["failures"].append(entry)
    write(own / "gallery.json", sealed_json(index))


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    target = build(Path(sys.argv[1]), slides=number, models=COMPARED)
    for line in arguments(target, COMPARED).values():
        assert cli.main(line) == 0

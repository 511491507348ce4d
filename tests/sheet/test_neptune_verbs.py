"""Real images of the NEPTUNE structures through all verbs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from public_datasets import NEPTUNE, init

from holohisto import cli
from holohisto.runtime.results import Results
from holohisto.slide.record import SlideRecord

CLASSES = json.dumps({name: {} for name in NEPTUNE.classes})


def run(verb, *positional, **options):
    """Run a verb; an option's name has _ for -."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    assert cli.main([verb, *map(str, positional), *words]) == 0


def check(results, row):
    """Write the record of an image and the map of its tissue."""
    record = results.record(row.slide)
    run(
        "check",
        row.image,
        slide=row.slide,
        annotation=row.annotation,
        annotated=row.annotated[0],
        slide_mpp=row.mpp,
        options='{"mpp": 2.0}',
        classes=CLASSES,
        output=record,
    )
    assert SlideRecord.read(record).warnings == []
    run(
        "foreground",
        row.image,
        record=record,
        foreground=results.foreground(row.slide),
        options=NEPTUNE.foreground.model_dump_json(),
        picture=results.foreground(row.slide).with_suffix(".jpg"),
    )


def train(folder: Path, segmenter: Path):
    """Fit the colour threshold of every class to the training images of the sheet."""
    run(
        "train",
        model="floor",
        sheet=folder / "s.tsv",
        results=folder,
        model_options='{"kind": "colour_threshold"}',
        options='{"tile": [256, 256]}',
        classes=CLASSES,
        segmenter=segmenter,
        table=folder / "t.tsv",
    )


def score(results, row, segmenter):
    """Segment an image and return its scores by class."""
    labels = results.labels("floor", row.slide)
    files = {
        "record": results.record(row.slide),
        "foreground": results.foreground(row.slide),
        "probability": labels.with_suffix(".probability.tif"),
        "classes": CLASSES,
    }
    run("infer", row.image, segmenter=segmenter, labels=labels, **files)
    run(
        "metrics",
        labels,
        annotation=row.annotation,
        annotated=row.annotated[0],
        mask_options="{}",
        output=results.metrics("floor", row.slide),
        **files,
    )
    return json.loads(results.metrics("floor", row.slide).read_text())["classes"]


@pytest.mark.data
def test_the_real_neptune_structures_are_learned_and_scored_one_class_each(data, tmp_path):
    """Of six classes each image teaches, and is scored on, the one annotated on it."""
    rows = init("neptune", data / "structures", tmp_path / "s.tsv")
    kept = [row for row in rows.values() if row.annotated[0] in ("CAP", "TUFT")]
    lines = (tmp_path / "s.tsv").read_text().splitlines()
    names = {row.slide for row in kept}
    chosen = [line for line in lines if line.split("\t")[0] in names | {"slide"}]
    (tmp_path / "s.tsv").write_text("\n".join(chosen) + "\n")
    results, segmenter = Results(tmp_path), tmp_path / "threshold.safetensors"
    for row in kept:
        check(results, row)
    train(tmp_path, segmenter)
    tested = [row for row in kept if row.split == "test"]
    for row in tested:
        scores = score(results, row, segmenter)
        assert [name for name in scores if scores[name]["annotated"]] == [row.annotated[0]]
        mask = np.asarray(Image.open(row.annotation).convert("L")) > 127
        own = scores[row.annotated[0]]
        assert own["everywhere"]["tp"] + own["everywhere"]["fn"] == mask.sum()
        assert own["area_annotated_um2"] == pytest.approx(4 * mask.sum())
        assert own["outside_foreground"] == 0
    assert len(tested) > 4

"""Baselines from the command line: what their training writes reaches labels, scores and tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_verbs import CLASSES, SIZE, TRAIN, train, verb, write_slide

from holohisto.config.models import (
    ColourThresholdModel,
    DeeplabModel,
    SamBaseModel,
    UnetModel,
)
from holohisto.config.parsing import read_config
from holohisto.demo import cohort
from holohisto.infer.openvino_engine import OpenvinoPredictor
from holohisto.pyramid.raster import Raster
from holohisto.runtime.results import Results
from holohisto.segmenter.file import build_segmenter, load_segmenter
from holohisto.sheet.rows import read_sheet
from holohisto.statistics.files import read_table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two checked slides, one to train on and one to segment, and a pretrained backbone."""
    folder = tmp_path_factory.mktemp("baselines")
    lines = ["slide\timage\tannotation\tsplit"]
    for name, split in (("t1", "train"), ("e1", "test")):
        write_slide(folder, name)
        lines.append(f"{name}\t{folder / name}.tif\t{folder / name}.png\t{split}")
        verb("check", folder / f"{name}.tif", slide=name, output=Results(folder).record(name))
        verb(
            "foreground",
            folder / f"{name}.tif",
            record=Results(folder).record(name),
            foreground=Results(folder).foreground(name),
            picture=folder / f"{name}.jpg",
        )
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n")
    torch.manual_seed(5)
    network = build_segmenter(DeeplabModel(size="toy"), None, 1, 1).network
    torch.save(network.backbone.state_dict(), folder / "resnet.pth")
    return folder


def test_start_tile_and_pixels_are_reported_from_training_to_the_table(folder):
    start = folder / "resnet.pth"
    options = DeeplabModel(size="toy", tile=(96, 80), pretrained=start, micro_batch=2)
    segmenter = train(folder, "deeplab", options)
    start.rename(folder / "gone.pth")  # it is not needed any more
    card = load_segmenter(segmenter)[1]
    summary = card.summary
    assert card.tile == (96, 80)
    assert summary["pretrained"] == "pretrained: resnet.pth"
    assert (summary["tile"], summary["tiles_a_step"]) == ([96, 80], 6)  # 256 * 192 = 6.4 tiles
    assert summary["tiles"] == 6 * summary["steps"]
    assert summary["pixels"] == 96 * 80 * summary["tiles"]
    assert summary["variants"] == 56  # eight orientations at seven sizes
    labels, probability = folder / "labels.tif", folder / "probability.tif"
    results = Results(folder)
    common = {"record": results.record("e1"), "foreground": results.foreground("e1")}
    verb(
        "infer",
        folder / "e1.tif",
        **common,
        segmenter=segmenter,
        classes=CLASSES,
        labels=labels,
        probability=probability,
    )
    with Raster(labels) as raster:
        assert raster.size == SIZE
        assert raster.header["pretrained"] == "pretrained: resnet.pth"
    verb(
        "metrics",
        labels,
        **common,
        annotation=folder / "e1.png",
        probability=probability,
        mask_options="{}",
        classes=CLASSES,
        output=results.metrics("deeplab", "e1"),
    )
    verb(
        "cohort",
        sheet=folder / "slides.tsv",
        results=folder,
        models="deeplab",
        classes=CLASSES,
        output=folder / "cohort",
    )
    for name in ("slides", "groups"):
        assert set(read_table(folder / "cohort" / f"{name}.tsv")["pretrained"]) == {
            "pretrained: resnet.pth"
        }


def test_models_without_a_pretrained_start_say_scratch(folder):
    for name, options in (
        ("unet", UnetModel(channels=(4, 8), tile=(96, 80))),
        ("floor", ColourThresholdModel()),
    ):
        _, card, _ = load_segmenter(train(folder, name, options))
        assert card.summary["pretrained"] == "scratch"


def test_tiles_of_a_baseline_are_its_own_when_it_segments(folder, monkeypatch):
    """A fixed network could not take those of `infer.tile`."""
    segmenter = train(folder, "sam", SamBaseModel(size="toy", tile=(128, 96)))
    seen = []
    whole = OpenvinoPredictor.__call__
    monkeypatch.setattr(
        OpenvinoPredictor,
        "__call__",
        lambda self, batch, size: seen.append(size) or whole(self, batch, size),
    )
    verb(
        "infer",
        folder / "e1.tif",
        record=Results(folder).record("e1"),
        foreground=Results(folder).foreground("e1"),
        segmenter=segmenter,
        classes=CLASSES,
        labels=folder / "sam.tif",
        probability=folder / "sam_probability.tif",
    )
    assert set(seen) == {(96, 128)}
    assert len(seen) > 4


TOY = {
    name: model
    for name, model in read_config(ROOT / "config" / "table1.yaml").computed.items()
    if name != "holohisto"
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo cohort, small: its sheet's training and test slides, checked."""
    folder = tmp_path_factory.mktemp("demo")
    cohort.write_cohort(folder, scale=0.14, slides=4)
    rows = read_sheet(folder / "slides.tsv")
    for name, row in rows.items():
        verb("check", row.image, slide=name, output=Results(folder).record(name))
        verb(
            "foreground",
            row.image,
            record=Results(folder).record(name),
            foreground=Results(folder).foreground(name),
            picture=folder / f"{name}.jpg",
        )
    return folder, next(row for row in rows.values() if row.split == "test")


@pytest.mark.parametrize("name", TOY)
def test_every_network_of_table_1_learns_and_segments_the_demo_cohort(demo, name):
    folder, slide = demo
    options = TOY[name].model_copy(update={"tile": (96, 64)})
    how = TRAIN.model_copy(
        update={"steps": 4, "validate_every": 2, "ema": 0.0, "learning_rate": 2e-3}
    )
    segmenter = train(folder, name, options, how)
    _, card, _ = load_segmenter(segmenter)
    seen = card.summary
    assert seen["pretrained"] == "scratch"
    assert seen["pixels"] == 96 * 64 * seen["tiles_a_step"] * seen["steps"]
    assert seen["tiles_a_step"] == 8  # one tile of 256 x 192 a step
    losses = read_table(folder / f"{name}.tsv")["loss"]
    assert len(losses) == 2
    assert losses.between(0, 5).all()
    labels = folder / f"{name}_labels.tif"
    verb(
        "infer",
        slide.image,
        record=Results(folder).record(slide.slide),
        foreground=Results(folder).foreground(slide.slide),
        segmenter=segmenter,
        classes=CLASSES,
        labels=labels,
        probability=folder / f"{name}_probability.tif",
    )
    record = json.loads(Results(folder).record(slide.slide).read_text())
    with Raster(labels) as raster, Raster(folder / f"{name}_probability.tif") as probability:
        assert list(raster.size) == record["working_size"]
        assert raster.header["model"] == name
        values = np.concatenate([band.ravel() for band in probability.rows()])
    assert len(np.unique(values[values > 0])) > 1

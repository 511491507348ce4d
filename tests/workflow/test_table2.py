"""Table 2's networks from the command line: several magnifications, and one network a structure."""

import json
from pathlib import Path

import numpy as np
import pytest
from baseline_verbs import SIZE, train, verb, write_slide

from holohisto.config.models import DeeplabModel, PixelModel, SamBaseModel, UnetModel
from holohisto.config.parsing import read_config
from holohisto.config.training import TrainOptions
from holohisto.pyramid.raster import Raster
from holohisto.runtime.results import Results
from holohisto.segmenter.file import load_segmenter
from holohisto.statistics.files import read_table

ROOT = Path(__file__).parents[2]
ROWS = {
    name: options
    for name, options in read_config(ROOT / "config/neptune.yaml").computed.items()
    if isinstance(options, PixelModel)
}
CLASSES = json.dumps({"TUFT": {}, "CAP": {}})
TRAIN = TrainOptions(
    tile=(384, 320), steps=6, validate_every=3, batch=1, ema=0.0, learning_rate=2e-3
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images to train on, each annotated for one structure, and two to segment."""
    folder = tmp_path_factory.mktemp("structures")
    lines = ["slide\timage\tannotation\tsplit\tannotated"]
    for name, split, annotated in (
        ("t1", "train", "TUFT"),
        ("t2", "train", "CAP"),
        ("e1", "test", "TUFT"),
        ("e2", "test", "CAP"),
    ):
        write_slide(folder, name)
        lines.append(f"{name}\t{folder / name}.tif\t{folder / name}.png\t{split}\t{annotated}")
        verb("check", folder / f"{name}.tif", slide=name, output=Results(folder).record(name))
        verb(
            "foreground",
            folder / f"{name}.tif",
            record=Results(folder).record(name),
            foreground=Results(folder).foreground(name),
            picture=folder / f"{name}.jpg",
        )
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_the_papers_rows_are_there_at_their_size():
    """U-Net, DeepLabV3+ and SAM at 40x, 20x and 10x, and SAM with a network for each structure."""
    seen = {}
    for name, options in ROWS.items():
        sides = {-(-side // options.reduction) for side in options.tile}
        assert sides <= {1024, 752}, name  # 752: a quarter of the whole image
        seen.setdefault(options.kind, set()).add((options.reduction, options.per_class))
        assert getattr(options, "size", "") != "toy"
    scales = {(1, False), (2, False), (4, False)}
    assert seen["unet"] == seen["deeplabv3plus"] == scales
    assert seen["sam_vit_b"] == {*scales, (1, True)}
    assert {"unetr", "swinunetr_v2", "segformer"} <= set(seen)


SMALL = {
    "unet_20x": UnetModel(channels=(4, 8, 16), tile=(192, 128), reduction=2),
    "deeplabv3plus_10x": DeeplabModel(size="toy", tile=(256, 192), reduction=4),
    "sam_vit_b_binary": SamBaseModel(size="toy", tile=(96, 64), per_class=True),
}


@pytest.mark.parametrize("name", SMALL)
def test_each_trains_segments_and_is_scored_by_structure(folder, name):
    options = SMALL[name]
    assert (options.reduction, options.per_class) == (ROWS[name].reduction, ROWS[name].per_class)
    segmenter = train(folder, name, options, TRAIN, CLASSES)
    model, card, _ = load_segmenter(segmenter)
    assert card.options == options
    assert len(model.networks) == (2 if options.per_class else 1)
    assert np.isfinite(read_table(folder / f"{name}.tsv")["loss"]).all()
    results = Results(folder)
    for slide, annotated in (("e1", "TUFT"), ("e2", "CAP")):
        common = {"record": results.record(slide), "foreground": results.foreground(slide)}
        labels, probability = folder / f"{name}_{slide}.tif", folder / f"{name}_{slide}_p.tif"
        verb(
            "infer",
            folder / f"{slide}.tif",
            **common,
            segmenter=segmenter,
            classes=CLASSES,
            labels=labels,
            probability=probability,
        )
        with Raster(labels) as raster:
            assert raster.size == SIZE
        verb(
            "metrics",
            labels,
            **common,
            annotation=folder / f"{slide}.png",
            annotated=annotated,
            probability=probability,
            mask_options="{}",
            classes=CLASSES,
            output=results.metrics(name, slide),
        )
    verb(
        "cohort",
        sheet=folder / "slides.tsv",
        results=folder,
        models=name,
        classes=CLASSES,
        output=folder / f"cohort_{name}",
    )
    groups = read_table(folder / f"cohort_{name}/groups.tsv")
    assert set(groups["class"]) == {"TUFT", "CAP"}
    assert set(groups["slides"]) == set(groups["slides_showing"]) == {1}
    assert groups["dice_mean"].between(0, 1).all()

"""A cohort of five resolutions, from the sheet to the report: the same objects everywhere."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_cohort import make_folder, row, snakemake, write_config, write_sheet

from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.slide.record import SlideRecord

pytestmark = pytest.mark.workflow

FIELD = (351.3, 264.7)
"""Width and height of every slide, micrometres."""
DISCS = ((100.0, 130.0, 22.0), (181.0, 90.0, 18.0), (252.0, 151.0, 24.0))
"""Centre and radius, micrometres: the class."""
AREA = np.pi * sum(radius**2 for _, _, radius in DISCS)
MPP = {"t1": (0.5, 0.5), "v1": (0.25, 0.25), "e1": (0.325, 0.325), "e2": (0.44, 0.44)}
MPP["e3"] = (0.5, 0.25)
SPLITS = {"t1": "train", "v1": "val", "e1": "test", "e2": "test", "e3": "test"}
SCALES = {"t1": ["1", "1"], "v1": ["2", "2"], "e1": ["20/13", "20/13"], "e2": ["25/22", "25/22"]}
SCALES["e3"] = ["1", "2"]
MODELS = ("holohisto", "threshold", "winner")


def painted(mpp):
    """The slide at a resolution: (height, width, 3) uint8, and the discs, (height, width) bool."""
    columns, rows = (round(side / own) for side, own in zip(FIELD, mpp, strict=True))
    y, x = (np.arange(rows) + 0.5)[:, None] * mpp[1], (np.arange(columns) + 0.5) * mpp[0]
    rgb = np.full((rows, columns, 3), 244, np.int64)
    rgb[((x - 175) / 150) ** 2 + ((y - 132) / 115) ** 2 < 1] = (214, 150, 190)
    discs = np.zeros((rows, columns), bool)
    for left, top, radius in DISCS:
        discs |= (x - left) ** 2 + (y - top) ** 2 < radius**2
    rgb[discs] = (128, 60, 130)
    noise = np.random.default_rng(rows).integers(-12, 12, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8), discs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a whole run; the model `winner` stands for the drawn discs."""
    folder = make_folder(tmp_path_factory.mktemp("mixed") / "run")
    (folder / "slides").mkdir()
    for slide, mpp in MPP.items():
        rgb, discs = painted(mpp)
        write_slide_pyramid(folder / "slides" / f"{slide}.tif", rgb, mpp)
        Image.fromarray(discs.astype(np.uint8) * 255).save(folder / "slides" / f"{slide}.png")
    write_config(
        folder,
        models={"winner": {"kind": "masks", "masks": "slides/{slide}.png"}},
        mask={"min_object_um2": 100, "simplify_um": 0},
        infer={"splits": ["test"]},
        train={"steps": 3},
    )
    write_sheet(folder, [row(slide, split) for slide, split in SPLITS.items()])
    snakemake(folder, "--cores", "2")
    return folder


def scores_of(run, model, slide):
    path = run / f"results/models/{model}/metrics/{slide}.json"
    return json.loads(path.read_text())["classes"]["glomerulus"]


def test_every_slide_is_brought_to_one_working_resolution(run):
    tissue = {}
    for slide, scale in SCALES.items():
        record = SlideRecord.read(run / f"results/check/{slide}.json")
        assert (record.scale.texts, record.mpp_xy) == (scale, pytest.approx(MPP[slide], rel=1e-5))
        assert record.working_mpp == pytest.approx(0.5, rel=1e-5)
        width, height = record.working_size
        assert (width, height) == pytest.approx([side / 0.5 for side in FIELD], abs=1.5)
        with Raster(run / f"results/foreground/{slide}.tif") as foreground:
            cells = foreground.read((0, 0), foreground.size) > 0
        tissue[slide] = cells.sum() * 64  # square micrometres: cells of 8 um
    assert max(tissue.values()) < 1.02 * min(tissue.values())
    assert min(tissue.values()) > np.pi * 150 * 115


def test_areas_are_those_of_the_drawn_discs_in_micrometres(run):
    for slide in ("e1", "e2", "e3"):
        for model in ("winner", "threshold"):
            scores = scores_of(run, model, slide)
            assert scores["area_annotated_um2"] == pytest.approx(AREA, rel=0.01)
            assert scores["area_found_um2"] == pytest.approx(AREA, rel=0.02)
            found = sorted(entry["area_um2"] for entry in scores["object_table"])
            expected = sorted(np.pi * radius**2 for _, _, radius in DISCS)
            assert found == pytest.approx(expected, rel=0.04)
        objects = sorted(scores_of(run, "winner", slide)["object_table"], key=lambda e: e["x"])
        for entry, (x, y, _) in zip(objects, DISCS, strict=True):
            own_x, own_y = MPP[slide]
            assert (entry["x"] * own_x, entry["y"] * own_y) == pytest.approx((x, y), abs=0.5)


def test_known_masks_agree_and_the_threshold_finds_the_discs(run):
    for slide in ("e1", "e2", "e3"):
        assert scores_of(run, "winner", slide)["everywhere"]["dice"] == 1.0
        scores = scores_of(run, "threshold", slide)
        assert scores["everywhere"]["dice"] > 0.97
        assert scores["objects"]["tp"] == 3
        assert scores_of(run, "holohisto", slide)["annotated"]


def test_masks_and_outlines_lie_on_the_slide_at_level_0(run):
    for slide in ("e1", "e2", "e3"):
        discs = painted(MPP[slide])[1]
        size = discs.shape[::-1]
        folder = run / "results/models/winner"
        with Raster(folder / f"masks/{slide}_glomerulus.tif") as mask:
            assert mask.size == size
            assert (mask.mpp, mask.mpp_y) == pytest.approx(MPP[slide], rel=1e-4)
            delivered = mask.read((0, 0), size) > 0
        (path,) = folder.glob(f"geojson/{slide}.geojson*")
        with Annotation(path, {"glomerulus": ClassOptions()}, size, 1) as outlines:
            drawn = outlines.read((0, 0), size) > 0
        for found in (delivered, drawn):
            assert 2 * (found & discs).sum() / (found.sum() + discs.sum()) > 0.985


def test_the_report_shows_both_sides_of_oblong_pixels(run):
    page = (run / "results/report.html").read_text()
    assert "0.5 x 0.25 µm per pixel" in page
    assert "0.325 µm per pixel" in page

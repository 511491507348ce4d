"""The whole pipeline on real PAS slides and ROI images (tests/real/)."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2hed

pytestmark = [pytest.mark.data, pytest.mark.workflow]
ROOT = Path(__file__).parents[2]
MASKS = "results/models/holohisto/masks"


FOLDER = ROOT / "tests" / "real"
MOSAICS = ("mosaic-a", "mosaic-b", "mosaic-c")


def run(folder: Path, data: Path, configs: tuple[str, ...], targets: tuple[str, ...]) -> Path:
    """Run the workflow on the real slides in a folder, which is returned."""
    shutil.copy(FOLDER / "slides.tsv", folder)
    (folder / "data").symlink_to(data, target_is_directory=True)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            ROOT / "workflow" / "Snakefile",
            "--directory",
            folder,
            "--cores",
            "2",
            "--quiet",
            "all",
            "--configfile",
            *(FOLDER / config for config in configs),
            "--",
            *targets,
        ],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The folder of a finished run."""
    return run(tmp_path_factory.mktemp("real"), data, ("config.yaml",), ("all",))


@pytest.fixture(scope="module")
def encoded(data, tmp_path_factory):
    """The folder of a run to the token maps, by a tokenizer that is to keep what it sees."""
    maps = tuple(f"results/tokens/{slide}.json" for slide in MOSAICS)
    return run(tmp_path_factory.mktemp("codes"), data, ("config.yaml", "nuclei.yaml"), maps)


def dices(folder):
    """Slide Dice by model and slide."""
    with (folder / "results" / "cohort" / "slides.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {(row["model"], row["slide"]): float(row["dice_everywhere"]) for row in rows}


def test_it_beats_the_colour_threshold_by_far_on_an_unseen_slide(finished):
    found = dices(finished)
    print({key: round(value, 3) for key, value in found.items()})
    assert found["holohisto", "mosaic-c"] > found["threshold", "mosaic-c"] + 0.2


def test_dice_of_the_report_is_that_of_the_delivered_mask(finished, data):
    mask = tifffile.imread(finished / MASKS / "mosaic-c_glomerulus.tif", key=0) > 127
    truth = tifffile.imread(data / "slides" / "mosaic_c_mask.tif", key=0) > 127
    mask = mask[::2, ::2]  # at 1 um/px, as it was scored
    truth = np.pad(truth, [(0, side % 2) for side in truth.shape])  # 4519 x 2693: both are odd
    truth = truth.reshape(mask.shape[0], 2, mask.shape[1], 2).sum(axis=(1, 3)) >= 2
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dices(finished)["holohisto", "mosaic-c"] == pytest.approx(dice, abs=1e-6)


def test_masks_are_as_large_and_fine_as_their_slides(finished):
    for slide, size in (("mosaic-c", (4519, 2693)), ("tile-10179", (1024, 1024))):
        with openslide.OpenSlide(finished / MASKS / f"{slide}_glomerulus.tif") as mask:
            assert mask.dimensions == size
            assert float(mask.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)


def test_outlines_cover_the_mask(finished):
    mask = tifffile.imread(finished / MASKS / "mosaic-c_glomerulus.tif", key=0) > 127
    path = finished / "results/models/holohisto/geojson/mosaic-c.geojson"
    features = json.loads(path.read_text())["features"]
    area = sum(f["properties"]["measurements"]["Area µm^2"] for f in features)
    assert area == pytest.approx(mask.sum() * 0.25, rel=1e-4)


def test_pictures_of_the_report_show_tissue(finished):
    for name in ("models/holohisto/overlays/mosaic-c.jpg", "tokenizer/reconstruction.jpg"):
        picture = np.asarray(Image.open(finished / "results" / name).convert("RGB"), float)
        assert picture.std() > 15
    text = (finished / "results" / "report.html").read_text()
    assert "mosaic-c" in text
    assert "tile-10224" in text


def nuclei_kept(picture, um):
    """Contrast of nuclei to what surrounds them in haematoxylin, rebuilt by original.

    `picture` has originals above and what is rebuilt from their tokens below, at `um` a pixel.
    Nuclei are the small dark places of the originals, 12 to 80 um2.
    """
    rgb = np.asarray(Image.open(picture).convert("RGB"))
    dyes = [ndimage.gaussian_filter(rgb2hed(part)[..., 0], 1 / um) for part in np.split(rgb, 2)]
    darker = dyes[0] - ndimage.gaussian_filter(dyes[0], 8 / um)
    places, count = ndimage.label(darker > np.percentile(darker, 94))
    area = ndimage.sum_labels(places > 0, places, range(1, count + 1)) * um**2
    nuclei = np.isin(places, 1 + np.flatnonzero((area > 12) & (area < 80)))
    assert ndimage.label(nuclei)[1] > 300
    near, far = (ndimage.binary_dilation(nuclei, iterations=round(by / um)) for by in (1, 4))
    around = far & ~near & (darker < np.percentile(darker, 80))
    original, rebuilt = (float(dye[nuclei].mean() - dye[around].mean()) for dye in dyes)
    return rebuilt / original


def test_tokens_use_the_codebook_and_keep_nuclei(encoded):
    """With tokens of 16 um the contrast kept is 0.05."""
    for slide in MOSAICS:
        path = encoded / "results" / "tokens" / f"{slide}.json"
        facts = json.loads(path.read_text())
        kept = nuclei_kept(path.with_suffix(".jpg"), um=1.0)
        print(slide, facts["codes_used"], facts["psnr"], kept)
        assert facts["codebook"] == 32768
        assert facts["codes_used"] >= 512
        assert kept > 0.2


def test_the_starter_segments_a_slide_without_options(data, tmp_path):
    """It has learned from this slide: the files work, which says nothing of other slides."""
    slide = data / "slides" / "mosaic_c.tif"
    command = [Path(sys.executable).with_name("holohisto"), "segment", slide]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = tifffile.imread(tmp_path / "mosaic_c_holohisto" / "mosaic_c_glomerulus.tif", key=0) > 0
    drawn = tifffile.imread(data / "slides" / "mosaic_c_mask.tif", key=0) > 0
    assert found.shape == drawn.shape
    assert 2 * (found & drawn).sum() / (found.sum() + drawn.sum()) > 0.75
    assert "first draft" in done.stdout + done.stderr

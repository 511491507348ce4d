"""Delivered masks in readers of other viewers: Bio-Formats, which QuPath uses, and a browser's.

`make test-viewers` fetches both and sets HOLOHISTO_BIOFORMATS, the jar of Bio-Formats, and
HOLOHISTO_GEOTIFF, a folder in which npm has installed geotiff.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from holohisto.pyramid.levels import pyramid_sizes
from holohisto.pyramid.write import write_mask_pyramid, write_ome_mask

SIZE, MPP = (1343, 1107), (0.23, 0.25)
PROGRAMS = Path(__file__).parents[1] / "support" / "viewers"
JAR, MODULES = (os.environ.get(f"HOLOHISTO_{name}") for name in ("BIOFORMATS", "GEOTIFF"))
bioformats = pytest.mark.skipif(
    not JAR or shutil.which("java") is None, reason="needs HOLOHISTO_BIOFORMATS and java"
)
browser = pytest.mark.skipif(
    not MODULES or shutil.which("node") is None, reason="needs HOLOHISTO_GEOTIFF and node"
)
pytestmark = pytest.mark.viewers


def mask():
    squares = np.random.default_rng(2).random((101, 123)) < 0.3
    return np.kron(squares, np.ones((11, 11), bool))[: SIZE[1], : SIZE[0]]


def levels(pixels):
    """Width, height and digest of each level: every second pixel of the one before."""
    found = []
    for depth, (width, height) in enumerate(pyramid_sizes(SIZE)):
        reduced = pixels[:: 2**depth, :: 2**depth][:height, :width].astype(np.uint8) * 255
        found.append([width, height, hashlib.sha256(reduced.tobytes()).hexdigest()])
    return found


def read(*words):
    done = subprocess.run([*map(str, words)], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@bioformats
def test_bio_formats_reads_every_level_of_an_ome_mask_and_level_0_of_a_mask(tmp_path):
    pixels = mask()
    write_ome_mask(tmp_path / "m.ome.tif", [pixels], SIZE, MPP, "glomerulus")
    write_mask_pyramid(tmp_path / "m.tif", [pixels], SIZE, MPP, "glomerulus")
    program = ["java", "-cp", JAR, PROGRAMS / "Levels.java"]
    found = read(*program, tmp_path / "m.ome.tif")
    assert found["images"] == 1
    assert found["levels"] == levels(pixels)
    assert found["mpp"] == pytest.approx(MPP)
    plain = read(*program, tmp_path / "m.tif")
    assert plain["images"] == 1
    assert plain["levels"] == levels(pixels)[:1]
    assert plain["mpp"] == pytest.approx(MPP, rel=1e-4)


@browser
def test_a_browser_reads_every_level_of_a_mask(tmp_path):
    pixels = mask()
    write_mask_pyramid(tmp_path / "m.tif", [pixels], SIZE, MPP, "glomerulus")
    found = read("node", PROGRAMS / "levels.mjs", tmp_path / "m.tif", MODULES)
    assert found["levels"] == levels(pixels)
    assert found["mpp"] == pytest.approx(MPP, rel=1e-4)

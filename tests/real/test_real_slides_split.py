"""No tile that the benchmark of real slides trains on continues one that it tests on."""

import csv

import numpy as np
import pytest
import real_slides_data
import tifffile

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def sheets(data, tmp_path_factory):
    """Rows of the sheet for choices (True) and of that for the test (False)."""
    folder = tmp_path_factory.mktemp("split")
    found = {}
    for choose in (True, False):
        with real_slides_data.write_slides(data, folder, choose).open() as file:
            found[choose] = list(csv.DictReader(file, delimiter="\t"))
    return found


def tiles(rows, split):
    """Tiles of the mosaics of a split, by mosaic and number."""
    return {
        (row["slide"], number): tile
        for row in rows
        if row["group"] == "mosaic" and row["split"] == split
        for number, tile in real_slides_data.tiles_of(row["image"]).items()
    }


def test_tiles_that_touch_are_found(data):
    b, c = (real_slides_data.tiles_of(data / "slides" / f"mosaic_{letter}.tif") for letter in "bc")
    assert len(b) == len(c) == 8
    assert real_slides_data.neighbours(b, c) == [("7", "0"), ("7", "2")]
    assert real_slides_data.neighbours(c, b) == [("0", "7"), ("2", "7")]


@pytest.mark.parametrize(("choose", "trained", "tested"), [(True, 8, 7), (False, 15, 8)])
def test_no_training_tile_touches_a_test_tile(sheets, choose, trained, tested):
    train, test = (tiles(sheets[choose], split) for split in ("train", "test"))
    assert (len(train), len(test)) == (trained, tested)
    assert real_slides_data.neighbours(train, test) == []


def test_choices_see_none_of_the_test_slides(sheets):
    """Capsules in other stains serve for choices and are shown in the test as well."""
    tested = {row["image"] for row in sheets[False] if row["split"] != "train"}
    common = tested & {row["image"] for row in sheets[True]}
    stains = {row["image"] for row in sheets[True] if row["group"] == "stains"}
    assert common == stains
    assert len(stains) == 15
    groups = {row["group"] for row in sheets[False]}
    assert groups == {"mosaic", "recoloured", "stains", "capsule", "mouse"}


def test_only_the_withheld_tile_differs_from_the_data(sheets, data):
    row = next(row for row in sheets[False] if row["slide"] == "mosaic-b")
    for written, name in ((row["image"], "mosaic_b.tif"), (row["annotation"], "mosaic_b_mask.tif")):
        new, old = tifffile.imread(written, key=0), tifffile.imread(data / "slides" / name, key=0)
        top, left = real_slides_data.CORNERS[7]
        place = np.s_[top - 16 : top + 1040, left - 16 : left + 1040]
        painted = new[place].copy()
        assert painted.max() == 0 if new.ndim == 2 else painted.min() > 230
        new[place] = old[place]
        assert np.array_equal(new, old)


def test_recolouring_is_strong_and_keeps_white(sheets):
    rows = [row for row in sheets[False] if row["group"] == "recoloured"]
    pictures = [tifffile.imread(row["image"], key=3).astype(float) for row in rows]
    pictures.append(tifffile.imread(sheets[False][2]["image"], key=3).astype(float))
    for k, one in enumerate(pictures):
        for other in pictures[:k]:
            assert np.abs(one - other).mean() > 8
    white = np.full((2, 2, 3), 255, np.uint8)
    assert np.array_equal(real_slides_data.recoloured(white, seed=3), white)

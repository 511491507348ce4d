import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from slide_files import noise, tissue, write_levels

from holohisto.cli import main
from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.errors import HolohistoError
from holohisto.foreground import map
from holohisto.foreground.detect import HIGHEST, LOWEST, detect
from holohisto.foreground.map import (
    Foreground,
    find_foreground,
    load_foreground,
    read_cells,
    save_foreground,
)
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.record import inspect
from holohisto.slide.scale import Scale

CELLS = (90, 61)
BOX = (20, 15, 70, 45)
CELL_UM = 8.0
BARE = ForegroundOptions(margin=0, min_piece_mm2=0, max_hole_mm2=0)
HALF = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
PINK, PALE, WHITE, GREY_GLASS = (200, 120, 170), (236, 222, 232), (255, 255, 255), (243, 243, 243)


def boxed(box=BOX, size=CELLS, margin=0):
    mask = np.zeros((size[1], size[0]), bool)
    left, top, right, bottom = box
    mask[top - margin : bottom + margin, left - margin : right + margin] = True
    return mask


def picture(colour=PINK, around=WHITE, spread=2, size=CELLS, box=BOX, seed=0):
    """Cells of tissue in a box; `spread` is the noise of the cell means."""
    rng = np.random.default_rng(seed)
    cells = np.where(boxed(box, size)[..., None], colour, around).astype(int)
    return (cells + rng.integers(-spread, spread + 1, cells.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "stain", [(0.78, 0.47, 0.67), (0.96, 0.9, 0.94), (0.5, 0.3, 0.2)], ids=["pas", "pale", "silver"]
)
@pytest.mark.parametrize(
    "around",
    [WHITE, GREY_GLASS, (229, 224, 230), (0, 0, 0), (9, 3, 12)],
    ids=["white", "grey glass", "tinted glass", "black", "black with JPEG noise"],
)
def test_tissue_is_separated_from_white_and_black(stain, around):
    light = around if max(around) > 100 else WHITE
    colour = [round(share * level) for share, level in zip(stain, light, strict=True)]
    mask, saturation = detect(picture(colour, around), BARE, CELL_UM, None, around)
    np.testing.assert_array_equal(mask, boxed())
    assert LOWEST <= saturation <= HIGHEST


def test_black_around_white_around_tissue():
    cells = picture(around=GREY_GLASS)
    cells[:8] = cells[-8:] = cells[:, :9] = 0
    mask, _ = detect(cells, BARE, CELL_UM, None, (0, 0, 0))
    np.testing.assert_array_equal(mask, boxed())


def test_tissue_everywhere_is_not_split():
    """Half pink, half pale: plain Otsu would take one of them for glass."""
    rng = np.random.default_rng(1)
    cells = np.empty((40, 53, 3), int)
    cells[:, :30] = (214, 150, 190)
    cells[:, 30:] = (226, 203, 217)
    cells = (cells + rng.integers(-6, 7, cells.shape)).astype(np.uint8)
    mask, saturation = detect(cells, BARE, CELL_UM)
    assert mask.all()
    assert saturation <= HIGHEST


def test_white_lumina_in_tissue_everywhere_are_filled():
    cells = np.full((40, 53, 3), PINK, np.uint8)
    cells[10:13, 20:24] = 250
    mask, _ = detect(cells, ForegroundOptions(), CELL_UM)
    assert mask.all()


def test_glass_alone_has_no_tissue():
    mask, _ = detect(picture(GREY_GLASS, GREY_GLASS), ForegroundOptions(), CELL_UM)
    assert not mask.any()


def test_holes_pieces_and_margin_are_areas_in_mm2():
    cells = picture()
    cells[20:25, 30:34] = 255  # 20 cells of 64 um2 = 0.00128 mm2
    cells[30:34, 40:50] = 255  # 40 cells
    cells[3:5, 3:8] = PINK  # 10 cells = 0.00064 mm2
    cells[50:55, 80:86] = PINK  # 30 cells
    options = {"margin": 0, "max_hole_mm2": 30 * 64e-6, "min_piece_mm2": 20 * 64e-6}
    mask, _ = detect(cells, ForegroundOptions(**options), CELL_UM)
    expected = boxed() | boxed((80, 50, 86, 55))
    expected[30:34, 40:50] = False
    np.testing.assert_array_equal(mask, expected)
    mask, _ = detect(cells, ForegroundOptions(**options), CELL_UM / 2)
    assert mask[30:34, 40:50].all()  # a quarter of the area: now small enough to fill
    assert not mask[50:55, 80:86].any()  # and this one small enough to drop
    plain = ForegroundOptions(margin=2, min_piece_mm2=0.002)
    mask, _ = detect(picture(), plain, CELL_UM)
    np.testing.assert_array_equal(mask, boxed(margin=2))


def test_a_picture_smaller_than_the_smallest_piece_may_be_tissue():
    mask, _ = detect(np.full((3, 4, 3), PINK, np.uint8), ForegroundOptions(), CELL_UM)
    assert mask.all()


def test_the_saturation_of_a_slide_wins_over_that_of_the_options():
    cells = picture(PALE)  # saturation 0.06
    options = ForegroundOptions(margin=0, saturation=0.5)
    mask, saturation = detect(cells, options, CELL_UM)
    assert (mask.any(), saturation) == (False, 0.5)
    mask, saturation = detect(cells, options, CELL_UM, 0.04)
    assert saturation == 0.04
    np.testing.assert_array_equal(mask, boxed())


@pytest.fixture
def slide(tmp_path):
    """1437x971 pixels with tissue at (400, 200)..(1000, 700)."""
    path = tmp_path / "slide.tif"
    pixels = tissue((1437, 971), (400, 200, 1000, 700), colour=PINK, around=GREY_GLASS)
    write_slide_pyramid(path, pixels, 0.25, 70)
    return path


def expected_cells(step, size=(1437, 971), box=(400, 200, 1000, 700)):
    """Cells with more than half of their area in the box."""
    (width, height), (left, top, right, bottom) = size, box
    x = np.arange(ceil_div(width, step)) * step + step / 2
    y = np.arange(ceil_div(height, step)) * step + step / 2
    return np.outer((y > top) & (y < bottom), (x > left) & (x < right))


@pytest.mark.parametrize(("mpp", "factor"), [(0.25, 1), (0.5, 2)])
def test_a_slide_is_found_in_cells_of_working_pixels(slide, tmp_path, mpp, factor):
    record = inspect("s", slide, None, None, CheckOptions(mpp=mpp))
    with record.open(slide) as opened:
        found = find_foreground(opened, record, ForegroundOptions(margin=0), None)
    expected = expected_cells(16 * factor)
    assert found.mask.shape == expected.shape
    wrong = found.mask != expected
    square = np.ones((3, 3))
    edge = ndimage.binary_dilation(expected, square) ^ ndimage.binary_erosion(expected, square)
    assert not (wrong & ~edge).any()  # a cell that the edge cuts may go either way
    save_foreground(tmp_path / "f.tif", found, record)
    with Raster(tmp_path / "f.tif") as raster:
        assert raster.size == expected.shape[::-1]
        assert raster.mpp == pytest.approx(mpp * 16)
        assert raster.header == {
            "slide": "s",
            "cell": 16,
            "scale": [str(factor)] * 2,
            "saturation": found.saturation,
            "fingerprint": record.fingerprint,
            "ink": 0.0,
            "colour": {
                "mean": list(found.colour.mean),
                "covariance": [list(row) for row in found.colour.covariance],
            },
        }
        assert set(np.unique(raster.read((0, 0), raster.size))) == {0, 255}
    loaded = load_foreground(tmp_path / "f.tif", record)
    np.testing.assert_array_equal(loaded.mask, found.mask)
    assert (loaded.cell, loaded.saturation) == (16, found.saturation)
    assert loaded.colour == found.colour


def test_a_black_surrounded_slide(tmp_path):
    pixels = tissue((1437, 971), (400, 200, 1000, 700), colour=PINK, around=GREY_GLASS)
    y, x = np.mgrid[:971, :1437]
    pixels[((x - 700) / 500) ** 2 + ((y - 450) / 400) ** 2 > 1] = 0
    write_slide_pyramid(tmp_path / "a.tif", pixels, 0.5, 75)
    record = inspect("s", tmp_path / "a.tif", None, None, CheckOptions())
    assert max(record.background) < 5
    with record.open(tmp_path / "a.tif") as opened:
        found = find_foreground(opened, record, ForegroundOptions(margin=0), None)
    assert not found.mask[:, :12].any()
    assert not found.mask[:, 76:].any()
    assert found.mask[20:36, 30:56].all()
    assert not found.mask[45:].any()


def test_no_tissue_advises_on_the_sheet(tmp_path):
    write_levels(tmp_path / "a.tif", [tissue((300, 211), (0, 0, 0, 0))], **HALF)
    record = inspect("s7", tmp_path / "a.tif", None, None, CheckOptions())
    with (
        record.open(tmp_path / "a.tif") as opened,
        pytest.raises(HolohistoError, match=r"slide s7: no tissue.*column `saturation`"),
    ):
        find_foreground(opened, record, ForegroundOptions(), None)


def test_cells_read_in_parts_are_means_of_16_pixels(tmp_path, monkeypatch):
    pixels = noise((333, 211))
    write_levels(tmp_path / "a.tif", [pixels], **HALF)
    monkeypatch.setattr(map, "READ_SIDE", 24)
    record = inspect("s", tmp_path / "a.tif", None, None, CheckOptions())
    with record.open(tmp_path / "a.tif") as opened:
        cells = read_cells(opened, Scale.whole(1), 16)
    assert cells.shape == (14, 21, 3)
    blocks = pixels[:208, :320].reshape(13, 16, 20, 16, 3).mean(axis=(1, 3))
    assert np.abs(cells[:13, :20] - blocks).max() <= 1  # rounded twice


def test_rectangles_of_working_pixels():
    mask = np.zeros((4, 6), bool)
    mask[1, 2] = True
    found = Foreground(mask, 16, 0.05)
    pixels = found.pixels((-5, 10), (60, 30))
    assert pixels.shape == (30, 60)
    expected = np.zeros((30, 60), bool)
    expected[6:22, 37:53] = True
    np.testing.assert_array_equal(pixels, expected)


def run_check(slide, tmp_path):
    record = str(tmp_path / "s.json")
    assert (
        main(["check", str(slide), "--slide", "s", "--slide-mpp", "0.5", "--output", record]) == 0
    )
    return record


def test_the_verb_writes_map_and_picture_with_outline(slide, tmp_path):
    outputs = ["--foreground", str(tmp_path / "f.tif"), "--picture", str(tmp_path / "f.jpg")]
    check = run_check(slide, tmp_path)
    assert main(["foreground", str(slide), "--record", check, *outputs]) == 0
    found = load_foreground(tmp_path / "f.tif")
    assert found.share == pytest.approx(600 * 500 / (1437 * 971), abs=0.05)
    shown = np.asarray(Image.open(tmp_path / "f.jpg")).astype(int)
    assert shown.shape == (486, 719, 3)
    green = (shown[..., 1] > shown[..., 0] + 40) & (shown[..., 1] > shown[..., 2] + 20)
    rows, columns = np.nonzero(green)
    # The tissue, widened by the margin of one cell, in picture pixels of 2 level-0 pixels.
    assert (rows.min(), rows.max()) == (pytest.approx(92, abs=8), pytest.approx(358, abs=8))
    assert (columns.min(), columns.max()) == (pytest.approx(192, abs=8), pytest.approx(508, abs=8))
    assert not green[120:330, 220:480].any()


def test_the_verb_refuses_another_image_and_takes_a_saturation(slide, tmp_path, capsys):
    outputs = ["--foreground", str(tmp_path / "f.tif"), "--picture", str(tmp_path / "f.jpg")]
    check = run_check(slide, tmp_path)
    arguments = ["foreground", str(slide), "--record", check, *outputs]
    assert main([*arguments, "--saturation", "0.2"]) == 0
    assert load_foreground(tmp_path / "f.tif").saturation == 0.2
    assert main([*arguments, "--saturation", "0.9"]) == 2
    assert "no tissue found at saturation 0.900" in capsys.readouterr().err
    write_levels(slide, [noise()])
    assert main(arguments) == 2
    assert "has changed since it was checked as slide s" in capsys.readouterr().err


def test_a_map_of_another_image_is_refused(slide, tmp_path):
    record = inspect("s", slide, None, 0.5, CheckOptions())
    found = Foreground(np.ones((5, 7), bool), 16, 0.1)
    save_foreground(tmp_path / "f.tif", found, record)
    other = record.model_copy(update={"fingerprint": "0" * 64})
    with pytest.raises(HolohistoError, match="made from another image"):
        load_foreground(tmp_path / "f.tif", other)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "mpp", "low", "high"),
    [
        ("slides/mosaic_a.tif", None, 0.40, 0.55),
        ("slides/cmu-1-small-region.svs", None, 0.35, 0.50),
        ("slides/tcga-cr-7395-01a-01-ts1.svs", 0.5, 0.55, 0.75),
        ("slides/he_ome.tif", None, 0.70, 0.82),
        ("mouse-pas/Healthy.png", 0.5, 0.99, 1.0),
        ("mouse-pas/Alport.png", 0.5, 0.97, 1.0),
    ],
)
def test_real_slides_have_the_share_of_tissue_seen_by_eye(data, name, mpp, low, high):
    record = inspect("s", data / name, None, mpp, CheckOptions())
    with record.open(data / name) as slide:
        found = find_foreground(slide, record, ForegroundOptions(), None)
    assert low <= found.share <= high

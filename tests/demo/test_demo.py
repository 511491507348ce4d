"""The demo cohort: valid, seeded, plausible, and not solved by colour."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from scipy import ndimage

from holohisto import cli
from holohisto.config.parsing import read_config
from holohisto.demo import cohort, groups, layout, noise, nuclei, paint, tubules
from holohisto.sheet.cells import Row
from holohisto.sheet.rows import read_sheet
from holohisto.statistics.paired import pairs_needed

SCALE = 0.15


def picture(plan: groups.SlidePlan) -> tuple[np.ndarray, np.ndarray]:
    drawn = layout.lay_out(plan)
    rgb = np.concatenate(list(paint.paint(plan, drawn)))
    return rgb, np.concatenate(list(paint.annotation(plan, drawn)))


def full_plan(slide: str, scale: float = 1.0) -> groups.SlidePlan:
    return next(plan for plan in groups.plans(0, scale) if plan.slide == slide)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    assert cli.main(["demo", "--output", str(folder), "--scale", str(SCALE), "--workers", "2"]) == 0
    return folder


def test_sheet_is_valid_and_balanced(small: Path) -> None:
    rows = read_sheet(small / "slides.tsv", classes=("glomerulus",))
    assert len(rows) == 16
    by_split: dict[str, list[Row]] = {"train": [], "val": [], "test": []}
    for row in rows.values():
        by_split[row.split].append(row)
        assert row.image.is_file()
        assert row.annotation is not None
        assert row.annotation.is_file()
        assert row.slide == row.image.stem
    assert {split: len(found) for split, found in by_split.items()} == {
        "train": 6,
        "val": 2,
        "test": 8,
    }
    for group in ("56Nx", "DN", "NEP25", "normal"):
        assert sum(row.group == group for row in rows.values()) == 4
        assert sum(row.group == group for row in by_split["test"]) == 2
    subjects = {split: {row.subject for row in found} for split, found in by_split.items()}
    assert not subjects["train"] & subjects["test"]
    assert not subjects["val"] & (subjects["test"] | subjects["train"])
    assert rows["56Nx-1"].subject == "56Nx-mouse1"


def test_the_demo_s_tests_can_reach_their_level(small: Path) -> None:
    settings = read_config(Path(__file__).parents[2] / "config" / "demo.yaml")
    needed = pairs_needed(settings.cohort.alpha, len(settings.models) - 1)
    tested = [row for row in read_sheet(small / "slides.tsv").values() if row.split == "test"]
    assert (len(tested), len({row.subject for row in tested})) == (8, 7)
    assert needed == 7
    assert pairs_needed(0.01, 3) == 10


def test_files_sizes_and_mpp(small: Path) -> None:
    seen = set()
    for row in read_sheet(small / "slides.tsv").values():
        expected = 0.5 if row.group == "NEP25" else 0.25
        with openslide.OpenSlide(str(row.image)) as slide:
            width, height = size = slide.dimensions
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(expected, 1e-4)
            assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(expected, 1e-4)
        assert width != height
        assert width % 16
        assert height % 16
        with tifffile.TiffFile(row.image) as tiff:
            page = tiff.pages[0]
            assert (page.tilewidth, page.compression.name, page.samplesperpixel) == (256, "JPEG", 3)
            assert len(tiff.pages) > 1
            numerator, denominator = page.tags["XResolution"].value
            assert page.tags["ResolutionUnit"].value.name == "CENTIMETER"
            assert 1e4 * denominator / numerator == pytest.approx(expected, 1e-4)
        with tifffile.TiffFile(row.annotation) as tiff:
            mask = tiff.pages[0].asarray()
            assert tiff.pages[0].compression.name == "LZW"
        assert mask.shape == (height, width)
        assert set(np.unique(mask)) == {0, 255}
        seen.add(size)
    assert len(seen) > 12


@lru_cache
def laid_out(slide: str) -> layout.SlideLayout:
    return layout.lay_out(full_plan(slide))


@pytest.mark.parametrize(("slide", "most"), [("56Nx-3", 25), ("normal-3", 25), ("NEP25-3", 40)])
def test_number_of_glomeruli(slide: str, most: int) -> None:
    """Counted as separate objects of the annotation; some are cut by the edge."""
    drawn = laid_out(slide)
    inside = np.minimum(drawn.glomerulus + 0.5, drawn.tissue) > 0
    labels, count = ndimage.label(inside)
    assert count == len(drawn.glomeruli)
    assert 10 <= count <= most
    areas = np.bincount(labels.ravel())[1:]
    assert areas.min() > 500
    assert 55 < np.median(2 * np.sqrt(areas / np.pi)) < 115
    assert areas.max() > 1.5 * areas.min()
    assert 0.05 < inside.mean() < 0.25
    cut = [b for b in drawn.glomeruli if drawn.tissue[int(b.y), int(b.x)] < 0.6 * b.radius]
    assert 1 <= len(cut) <= 4


def test_groups_differ() -> None:
    """Pathology is in the layout: larger glomeruli in 56Nx, scars and casts in NEP25."""
    nephrectomy, scarred, normal = (laid_out(s) for s in ("56Nx-3", "NEP25-3", "normal-3"))
    radius = [np.mean([b.radius for b in d.glomeruli]) for d in (nephrectomy, normal)]
    assert radius[0] > 1.05 * radius[1]
    assert normal.scar.max() == 0
    assert scarred.scar.max() > 0.9
    casts = [np.mean(found.tubules.kind == tubules.CAST) for found in (scarred, normal)]
    assert casts[0] > 4 * casts[1] > 0


def test_same_seed_same_bytes_other_seed_other_picture() -> None:
    plan = full_plan("DN-1", 0.12)
    first, first_mask = picture(plan)
    again, again_mask = picture(plan)
    assert np.array_equal(first, again)
    assert np.array_equal(first_mask, again_mask)
    other, _ = picture(replace(plan, seed=1))
    assert (first != other).mean() > 0.5
    assert first.shape == (*plan.size[::-1], 3)
    assert first.dtype == first_mask.dtype == np.uint8


def test_bands_do_not_show() -> None:
    """Rows painted in one band equal the same rows painted in two."""
    plan = full_plan("normal-1", 0.12)
    drawn = layout.lay_out(plan)
    painter = paint._Painter(plan, drawn)
    whole = painter.band(np.arange(100, 160))
    upper = painter.band(np.arange(100, 130 + paint.HALO))
    assert np.array_equal(whole[:30], upper[:30])


def test_files_do_not_depend_on_workers(small: Path, tmp_path: Path) -> None:
    cohort.write_cohort(tmp_path, scale=SCALE, slides=2, workers=1)
    for name in ("56Nx-1", "DN-2"):
        for kind in ("slides", "annotations"):
            new, old = (tifffile.imread(f / kind / f"{name}.tif") for f in (tmp_path, small))
            assert np.array_equal(new, old)


def test_few_slides_hold_every_split(tmp_path: Path) -> None:
    assert {plan.split for plan in groups.plans(0, 1.0, 3)} == {"train", "val", "test"}
    assert {plan.group for plan in groups.plans(0, 1.0, 4)} == set(groups.GROUPS)
    four = {plan.slide: plan for plan in groups.plans(0, 1.0, 4)}
    whole = {plan.slide: plan for plan in groups.plans(0, 1.0)}
    assert all(whole[slide] == plan for slide, plan in four.items())


def test_black_surroundings(small: Path) -> None:
    rows = read_sheet(small / "slides.tsv")
    black = [slide for slide, row in rows.items() if row.note]
    assert black == ["DN-3", "NEP25-1"]
    for slide, row in rows.items():
        plan = full_plan(slide, SCALE)
        rgb = tifffile.imread(row.image)
        tissue = layout.lay_out(plan).tissue
        far = noise.Enlarger(tissue.shape, 1 / plan.mpp, plan.size[0]).smooth(
            tissue, np.arange(plan.size[1])
        )
        outside = rgb[far < -20]  # further out than the blocks of the JPEG on the rim
        assert len(outside) > 500
        if slide in black:
            assert outside.max() <= 2
        else:
            assert outside.mean() > 215
            assert np.ptp(outside.mean(axis=0)) < 16


def best_dice(values: np.ndarray, truth: np.ndarray) -> float:
    """Dice of the best threshold, either side of it."""
    truth = truth.ravel()[np.argsort(values.ravel())]
    below, total = np.cumsum(truth), truth.sum()
    number = np.arange(1, len(truth) + 1)
    low = 2 * below / (number + total)
    high = 2 * (total - below) / (len(truth) - number + total)
    return float(max(low.max(), high.max()))


def test_colour_alone_does_not_solve_it() -> None:
    """No threshold on a colour, sharp or blurred, comes near, be it fitted to one slide."""
    plan = full_plan("DN-1", 0.7)
    rgb, mask = picture(plan)
    rows, columns = (side // 4 * 4 for side in mask.shape)
    cells = rgb[:rows, :columns].reshape(rows // 4, 4, columns // 4, 4, 3).mean((1, 3))
    truth = mask[2:rows:4, 2:columns:4] > 0
    density = -np.log(np.maximum(cells, 3) / 240)
    low, high = cells.min(axis=2), cells.max(axis=2)
    channels = {
        "red": cells[..., 0],
        "green": cells[..., 1],
        "blue": cells[..., 2],
        "density": density.sum(axis=2),
        "magenta": density[..., 1] - density[..., 0],
        "saturation": 1 - low / np.maximum(high, 1),
        "violet": cells[..., 2] - cells[..., 1],
    }
    dice = {
        (name, blur): best_dice(ndimage.gaussian_filter(channel, blur), truth)
        for name, channel in channels.items()
        for blur in (0.0, 3.0, 10.0)
    }
    assert max(dice.values()) < 0.5, dice
    assert max(dice.values()) > 1.1 * best_dice(np.zeros_like(low), truth)


def test_colours_are_those_of_pas() -> None:
    """Tissue is pink to purple, nuclei bluer than membranes, lumina nearly white."""
    plan = full_plan("normal-1", 0.3)
    drawn = layout.lay_out(plan)
    rgb = np.concatenate(list(paint.paint(plan, drawn))).astype(float)
    enlarger = noise.Enlarger(drawn.shape, 1 / plan.mpp, plan.size[0])
    rows = np.arange(plan.size[1])
    tissue = enlarger.smooth(drawn.tissue, rows) > 10
    red, green, blue = rgb[tissue].mean(axis=0)
    assert green < red < blue
    assert 110 < green < 190
    plane = nuclei.stain(plan, drawn)
    dark = rgb[(plane > 150) & tissue].mean(axis=0)
    rim = np.abs(enlarger.smooth(drawn.tubules.depth, rows)) < 0.3
    membrane = rgb[rim & tissue & (plane == 0)].mean(axis=0)
    assert dark[0] < membrane[0] - 25
    assert membrane[0] - membrane[1] > dark[0] - dark[1] + 20


@pytest.mark.parametrize("option", [["--scale", "0.01"], ["--slides", "0"], ["--seed", "-1"]])
def test_silly_options_are_refused(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["demo", "--output", str(tmp_path / "x"), *option]) == 2
    assert f"{option[0]}: is out of range (found {option[1]};" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_unwritable_output_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    output = str(tmp_path / "file")
    arguments = ["demo", "--output", output, "--scale", "0.1", "--slides", "1"]
    assert cli.main(arguments) == 2
    assert "cannot be written" in capsys.readouterr().err

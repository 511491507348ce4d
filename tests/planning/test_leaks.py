"""The same picture in several splits, under other names."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image
from slide_files import tissue, write_levels

from holohisto.cli import main
from holohisto.errors import SeveralErrors
from holohisto.planning.leaks import same_files, same_pictures, same_views
from holohisto.planning.workflow import Plan
from holohisto.sheet.rows import read_sheet

SIZE = (717, 523)
TAGS = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


def picture(seed):
    """Tissue with a pattern of its own."""
    pixels = tissue(SIZE, (100, 80, 500, 400)).astype(np.int16)
    coarse = np.random.default_rng(seed).integers(-60, 40, (9, 12, 1))
    pattern = np.kron(coarse, np.ones((60, 60, 1), int))[: SIZE[1], : SIZE[0]]
    return (pixels + pattern).clip(0, 255).astype(np.uint8)


@pytest.fixture
def cohort(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        pixels = picture(seed)
        write_levels(tmp_path / f"{name}.tif", [pixels, pixels[::2, ::2]], **TAGS)
        (tmp_path / f"{name}.png").touch()
    return tmp_path


def rows_of(folder, image, split="test"):
    (folder / "sheet.tsv").write_text(
        "slide\timage\tsplit\tannotation\n"
        f"a\t{folder}/a.tif\ttrain\t{folder}/a.png\n"
        f"b\t{folder}/b.tif\tval\t{folder}/b.png\n"
        f"c\t{folder}/{image}\t{split}\t\n"
    )
    return folder / "sheet.tsv", list(read_sheet(folder / "sheet.tsv").values())


def copy(source, target):
    shutil.copy(source, target)


@pytest.mark.parametrize("make", [copy, os.link])
def test_equal_files_in_two_splits_are_a_mistake(cohort, make):
    make(cohort / "a.tif", cohort / "renamed.svs")
    sheet, rows = rows_of(cohort, "renamed.svs")
    line = (
        f"{sheet}: column image: a (train, line 2) and c (test, line 4) show the same picture;"
        " keep it in one split"
    )
    assert same_files(sheet, rows) == [line]
    assert same_files(*rows_of(cohort, "renamed.svs", "predict")) == []
    rows_of(cohort, "renamed.svs")
    plan = Plan.read({"slides": str(sheet)})
    with pytest.raises(SeveralErrors, match="show the same picture"):
        plan.require_files()


def test_other_files_of_the_same_length_are_none(cohort):
    data = bytearray((cohort / "a.tif").read_bytes())
    data[len(data) // 2] ^= 1
    (cohort / "c.tif").write_bytes(data)
    assert same_files(*rows_of(cohort, "c.tif")) == []


def test_a_level_and_another_format_are_the_same_picture(cohort):
    pixels = picture(1)
    write_levels(cohort / "level.tif", [pixels[::2, ::2]], **TAGS)
    write_levels(cohort / "jpeg.tif", [pixels], compression="jpeg", **TAGS)
    for image in ("level.tif", "jpeg.tif"):
        sheet, rows = rows_of(cohort, image)
        assert same_files(sheet, rows) == []
        (line,) = same_pictures(sheet, rows)
        assert "a (train, line 2) and c (test, line 4) show the same picture" in line
    write_levels(cohort / "other.tif", [picture(3)], **TAGS)
    assert same_pictures(*rows_of(cohort, "other.tif")) == []


def test_pictures_of_the_slides_show_a_level_in_another_split(cohort):
    _, rows = rows_of(cohort, "c.tif")
    for slide, pixels in (("a", picture(1)), ("b", picture(2)), ("c", picture(1)[::2, ::2])):
        Image.fromarray(pixels).save(cohort / f"{slide}.jpg", quality=85)
    found = same_views(rows, lambda slide: cohort / f"{slide}.jpg")
    assert found["a"].startswith("shows the same picture as c (test), in another split")
    assert found["c"].startswith("shows the same picture as a (train), in another split")
    assert set(found) == {"a", "c"}
    (cohort / "c.jpg").write_bytes(b"no picture")
    assert same_views(rows, lambda slide: cohort / f"{slide}.jpg") == {}


def test_check_of_a_sheet_reports_them(cohort, capsys):
    copy(cohort / "b.tif", cohort / "c.tif")
    drawn = np.pad(np.full((200, 300), 255, np.uint8), ((100, 223), (100, 317)))
    for name in "ab":
        Image.fromarray(drawn).save(cohort / f"{name}.png")
    sheet, _ = rows_of(cohort, "c.tif")
    (cohort / "c.yaml").write_text("classes: {glomerulus: {}}\n")
    assert main(["check", "--sheet", str(sheet), "--config", str(cohort / "c.yaml")]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    assert "b (val, line 3) and c (test, line 4) show the same picture" in line

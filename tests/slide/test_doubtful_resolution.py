"""A resolution that cannot be, or that the file contradicts, is warned of or refused."""

import pytest
from PIL import Image
from slide_files import SIZE, tissue, write_levels

from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.slide import Slide
from holohisto.slide.record import inspect

PIXELS = tissue(SIZE, (100, 80, 500, 400))


def write(path, tags=None, **header):
    options = {}
    if header:
        text = "|".join(f"{key} = {value}" for key, value in header.items())
        options["description"] = f"Aperio Image Library v12\r\n717x523 |{text}"
    if tags:
        x, y = tags if isinstance(tags, tuple) else (tags, tags)
        options |= {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}
    write_levels(path, [PIXELS], **options)
    return path


@pytest.mark.parametrize(
    ("value", "mpp"), [("0,2505", 0.2505), ("2.5e-1", 0.25), (".5", 0.5), ("0.5|", 0.5), ("1.", 1)]
)
def test_decimal_commas_and_exponents_are_read(tmp_path, value, mpp):
    with Slide(write(tmp_path / "a.tif", MPP=value)) as slide:
        assert (slide.mpp, slide.mpp_source) == (pytest.approx(mpp), "header")


def test_an_mpp_of_0_is_none(tmp_path):
    with Slide(write(tmp_path / "a.tif", MPP=0, AppMag=20)) as slide:
        assert slide.mpp is None


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"tags": 0.025}, "states 0.025 um per pixel, finer than any slide scanner"),
        ({"tags": 0.25 / 2.54}, "finer than any slide scanner"),
        ({"MPP": 1}, "states exactly 1 um per pixel, as programs write for an unknown value"),
        ({"tags": 1}, "states exactly 1 um per pixel"),
        ({"tags": (0.5, 0.05)}, "states 0.05 um per pixel, finer than any slide scanner"),
        ({"MPP": 0.25, "tags": 0.5}, "states 0.25 um per pixel, its resolution tags 0.5"),
        ({"MPP": "0,2505", "tags": 0.5}, "its resolution tags 0.5"),
    ],
)
def test_a_factor_of_2_in_doubt_is_refused_unless_given(tmp_path, file, words):
    path = write(tmp_path / "a.tif", **file)
    with pytest.raises(HolohistoError, match=rf"slide s1: .*in doubt.*{words}.*column `mpp`"):
        inspect("s1", path, None, None, CheckOptions())
    record = inspect("s1", path, None, 0.5, CheckOptions())
    assert (record.mpp, record.mpp_source) == (0.5, "sheet")
    assert not any("check the resolution" in warning for warning in record.warnings)


@pytest.mark.parametrize(("kind", "words"), [("png", "0.05 um"), ("jpg", "exactly 1 um")])
def test_pictures_are_held_to_the_same(tmp_path, kind, words):
    mpp = 0.05 if kind == "png" else 1
    path = tmp_path / f"a.{kind}"
    Image.fromarray(PIXELS).save(path, dpi=(25_400 / mpp, 25_400 / mpp))
    with pytest.raises(HolohistoError, match=rf"in doubt: it states {words}"):
        inspect("s1", path, None, None, CheckOptions())


def test_1_along_one_side_alone_is_a_value(tmp_path):
    with Slide(write(tmp_path / "a.tif", tags=(1, 0.5))) as slide:
        assert slide.doubts == ()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"MPP": 0.25, "AppMag": 20}, "states 0.25 um per pixel, but 20x"),
        ({"MPP": 0.5, "tags": 0.4}, "its resolution tags 0.4"),
    ],
)
def test_smaller_contradictions_are_warned_of(tmp_path, file, words):
    record = inspect("s1", write(tmp_path / "a.tif", **file), None, None, CheckOptions())
    assert len(record.warnings) == 1
    assert record.warnings[0].startswith("check the resolution: ")
    assert words in record.warnings[0]


@pytest.mark.parametrize(
    "file",
    [
        {"MPP": 0.2527, "AppMag": 40},
        {"MPP": 0.499, "AppMag": 20, "tags": 0.5},
        {"MPP": 0.5, "tags": 352.8},
        {"tags": 0.23},
    ],
)
def test_usual_files_have_no_doubt(tmp_path, file):
    with Slide(write(tmp_path / "a.tif", **file)) as slide:
        assert slide.doubts == ()

import json

import numpy as np
import pytest
import tifffile
from slide_files import SIZE, noise, tissue, write_levels, write_ome, write_svs

from holohisto.cli import main
from holohisto.commands.check import _colour
from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.planning.cost import estimate
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.slide.record import SlideRecord, inspect, working_factor

PIXELS = tissue(SIZE, (100, 80, 500, 400))
HALF = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slide.tif"
    write_levels(path, [PIXELS, PIXELS[::2, ::2][:261, :358]], **HALF)
    return path


def test_a_record_holds_what_later_verbs_need(slide, tmp_path):
    record = inspect("s1", slide, None, None, CheckOptions(mpp=1.0))
    assert record.size == SIZE
    assert (record.mpp, record.mpp_source) == (pytest.approx(0.5), "tags")
    assert (record.reader, record.compression) == ("cucim", "lzw")
    assert record.levels == [SIZE, (358, 261)]
    assert (record.factor, record.working_size) == (2, (359, 262))
    assert record.working_mpp == pytest.approx(1.0)
    assert record.background == (243, 243, 243)
    assert (record.annotation, record.warnings) == (None, [])
    (tmp_path / "r.json").write_text(record.text())
    assert SlideRecord.read(tmp_path / "r.json") == record
    with record.open(slide) as opened:
        assert (opened.mpp, opened.background) == (record.mpp, (243, 243, 243))


def test_the_background_of_the_record_is_used_without_looking_again(slide):
    record = inspect("s1", slide, None, None, CheckOptions()).model_copy(
        update={"background": (9, 8, 7)}
    )
    with record.open(slide) as opened:
        assert opened.read((-4, 0), (3, 2)).reshape(-1, 3).tolist() == [[9, 8, 7]] * 6


def test_a_changed_image_is_not_opened(slide):
    record = inspect("s1", slide, None, None, CheckOptions())
    write_levels(slide, [noise()], **HALF)
    with pytest.raises(HolohistoError, match="has changed since"):
        record.open(slide)


def test_no_mpp_names_the_column(tmp_path):
    write_levels(tmp_path / "a.tif", [PIXELS])
    with pytest.raises(HolohistoError, match=r"slide s1: .*set the column `mpp` of the sheet"):
        inspect("s1", tmp_path / "a.tif", None, None, CheckOptions())
    record = inspect("s1", tmp_path / "a.tif", None, 0.25, CheckOptions())
    assert (record.mpp, record.mpp_source, record.factor) == (0.25, "sheet", 2)


@pytest.mark.parametrize(
    ("mpp", "factor"), [(0.5, 1), (0.499, 1), (0.25, 2), (0.2275, 2), (0.17, 3), (0.05, 10)]
)
def test_the_factor_is_the_nearest_whole_number(mpp, factor):
    assert working_factor("x", mpp, CheckOptions()) == factor


@pytest.mark.parametrize(("mpp", "nearest"), [(0.3, "0.6"), (1.0, "1"), (0.35, "0.35")])
def test_an_mpp_without_whole_factor_is_told_with_the_nearest(mpp, nearest):
    with pytest.raises(HolohistoError, match=rf"`check.mpp: {nearest}`.*column `mpp`"):
        working_factor("x", mpp, CheckOptions())


@pytest.mark.parametrize(
    ("shape", "fits"), [((523, 717), "level 0"), ((262, 359), "working"), ((523, 716), None)]
)
def test_an_annotation_fits_level_0_or_working_size(slide, tmp_path, shape, fits):
    path = tmp_path / "annotation.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), metadata=None)
    options = CheckOptions(mpp=1.0)
    if fits is None:
        with pytest.raises(HolohistoError, match=r"found 716x523; allowed 717x523 .* 359x262"):
            inspect("s1", slide, path, None, options)
    else:
        record = inspect("s1", slide, path, None, options)
        assert record.annotation == {"size": [shape[1], shape[0]], "fits": fits}


def test_warnings(tmp_path):
    write_ome(tmp_path / "a.ome.tif", [PIXELS], mpp=0.46)
    record = inspect("s1", tmp_path / "a.ome.tif", None, 0.48, CheckOptions())
    assert record.warnings == [
        "the sheet's mpp 0.48 replaces 0.46 of the file",
        "works at 0.48 um per pixel instead of 0.5",
    ]
    flat = np.full((700, 9001, 3), 240, np.uint8)
    write_levels(tmp_path / "flat.tif", [flat], **HALF)
    record = inspect("s2", tmp_path / "flat.tif", None, None, CheckOptions())
    assert len(record.warnings) == 1
    assert record.warnings[0].startswith("no pyramid")


def test_a_damaged_tile_in_the_middle_is_found(tmp_path):
    path = tmp_path / "a.tif"
    write_levels(path, [PIXELS], compression="jpeg", **HALF)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[7]
    data = bytearray(path.read_bytes())
    data[offset : offset + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(HolohistoError, match=r"tile 7 .*incomplete"):
        inspect("s1", path, None, None, CheckOptions())


def test_cut_tiles_of_a_lower_level_are_found(tmp_path):
    """The pipeline reads the level of the working resolution, not only the first."""
    path = tmp_path / "a.tif"
    write_slide_pyramid(path, tissue((1437, 1301), (100, 80, 1300, 1200)), 0.25)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        tiles = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    assert len(tiles) == 9
    inspect("s1", path, None, None, CheckOptions())
    whole = path.read_bytes()
    for cut in (tiles, tiles[4:5]):
        data = bytearray(whole)
        for offset, count in cut:
            data[offset + count // 3 : offset + count] = bytes(count - count // 3)
        path.write_bytes(data)
        with pytest.raises(HolohistoError, match=r"of the level 718x650 is incomplete"):
            inspect("s1", path, None, None, CheckOptions())


def test_an_annotation_cut_short_is_told_in_plain_words(slide, tmp_path):
    path = tmp_path / "annotation.tif"
    tifffile.imwrite(path, np.zeros((523, 717), np.uint8), metadata=None)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HolohistoError, match=r"annotation.tif: .*it was cut off.*found 100"):
        inspect("s1", slide, path, None, CheckOptions())


def test_estimates_are_of_one_encoding_and_one_inference():
    """33,000 x 16,001 pixels at level 0, 16,500 x 8,001 = 132,016,500 at working resolution."""
    numbers = estimate((33_000, 16_001), (16_500, 8_001))
    assert 1e7 < numbers.pop("result_bytes") < 3e7
    assert numbers == {
        "token_map": [1032, 501],
        "tokens": 517_032,
        "token_bytes": 1_034_064,
        "reading_seconds": 8.801,  # 528,033,000 / 60e6
        "encoding_seconds": 13.202,  # at 10e6 a second
        "encoding_cpu_seconds": 1320.16,  # at 0.1e6
        "infer_seconds": 0.88,  # 15 times as fast
        "infer_cpu_seconds": 88.01,
    }


def test_the_disk_of_a_small_slide_is_near_the_measured():
    """Of 4519x2693 pixels, 0.83 to 1.2 MB were measured: the overlay 0.2, GeoJSON 0.1 to 0.35."""
    numbers = estimate((4519, 2693), (4519, 2693))
    assert 0.8e6 < numbers["token_bytes"] + numbers["result_bytes"] < 1.8e6


def test_the_verb_writes_the_record_and_warns_of_an_empty_annotation(slide, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((523, 717), np.uint8), metadata=None)
    output = tmp_path / "new" / "s1.json"
    code = main(
        [
            "check",
            str(slide),
            "--slide",
            "s1",
            "--annotation",
            str(tmp_path / "a.tif"),
            "--slide-mpp",
            "0.25",
            "--options",
            '{"mpp": 0.5}',
            "--classes",
            '{"glomerulus": {"values": [3]}}',
            "--output",
            str(output),
        ]
    )
    assert code == 0
    record = json.loads(output.read_text())
    assert (record["slide"], record["factor"], record["mpp_source"]) == ("s1", 2, "sheet")
    assert any("shows none of the classes" in text for text in record["warnings"])


@pytest.mark.parametrize(
    "words", [["IMAGE", "--sheet", "x.tsv"], ["IMAGE", "--slide", "a"], ["IMAGE"], []]
)
def test_the_verb_needs_one_slide_or_a_sheet(words):
    assert main(["check", *words]) == 2


@pytest.mark.parametrize("slide_id", ["../../x", "a/b", "", "a\n", ".hidden", "cohort", "a b"])
def test_the_id_is_held_to_the_rules_of_the_sheet(slide, tmp_path, caplog, slide_id):
    output = tmp_path / "o.json"
    assert main(["check", str(slide), "--slide", slide_id, "--output", str(output)]) == 2
    assert not output.exists()


@pytest.mark.parametrize("mpp", ["0", "nan", "-1", "inf", "0.009", "100.1"])
def test_the_mpp_is_held_to_the_rules_of_the_sheet(slide, tmp_path, capsys, mpp):
    arguments = ["--slide", "a", f"--slide-mpp={mpp}", "--output", str(tmp_path / "o.json")]
    assert main(["check", str(slide), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "allowed a number from 0.01 to 100" in line


@pytest.mark.parametrize(
    ("image", "words"),
    [("a\0b", "is no path of an image"), (".", "Is a directory"), ("gone.tif", "No such file")],
)
def test_what_is_no_file_is_told_in_one_line(tmp_path, capsys, image, words):
    arguments = ["--slide", "a", "--output", str(tmp_path / "o.json")]
    assert main(["check", image, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_config_that_was_named_must_be_there(slide, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(f"slide\timage\tsplit\none\t{slide}\ttest\n")
    assert main(["check", "--sheet", str(sheet), "--config", "nope.yaml"]) == 2
    assert "nope.yaml: cannot be read: No such file" in capsys.readouterr().err
    assert main(["check", "--sheet", str(sheet)]) == 0
    assert "checking with the defaults" in capsys.readouterr().err
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("check: [wrong]\n")
    assert main(["check", "--sheet", str(sheet)]) == 2


@pytest.mark.parametrize(
    ("rgb", "text"),
    [((255, 255, 255), "white"), ((0, 0, 0), "black"), ((243, 16, 0), "#f31000")],
)
def test_colours_of_the_table(rgb, text):
    assert _colour(rgb) == text


def test_the_cohort_table_has_a_row_for_every_slide(slide, tmp_path, capsys):
    write_svs(tmp_path / "b.svs", [noise()], "MPP = 0.25")
    (tmp_path / "broken.svs").write_bytes(b"IJrE")
    tifffile.imwrite(tmp_path / "a.tif", np.ones((523, 717), np.uint8), metadata=None)
    (tmp_path / "sheet.tsv").write_text(
        "slide\timage\tsplit\tgroup\texclude\tnote\tannotation\n"
        f"one\t{slide}\ttest\tDN\t\t\t{tmp_path}/a.tif\n"
        f"twin\t{slide}\ttest\tDN\t\t\t\n"
        f"b\t{tmp_path}/b.svs\tpredict\t\t\t\t\n"
        f"bad\t{tmp_path}/broken.svs\ttest\tDN\t\t\t\n"
        f"out\t{tmp_path}/nothing.tif\ttest\tDN\tyes\tblurred\t\n"
    )
    (tmp_path / "c.yaml").write_text("classes: {glomerulus: {}}\n")
    arguments = ["--sheet", str(tmp_path / "sheet.tsv"), "--config", str(tmp_path / "c.yaml")]
    assert main(["check", *arguments]) == 2
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    table = {line.split()[0]: line for line in lines}
    assert lines[0].split() == [
        "slide",
        "split",
        "group",
        "reader",
        "compression",
        "levels",
        "size",
        "mpp",
        "factor",
        "background",
        "annotation",
        "tokens",
        "variants",
        "map",
        "disk",
        "gpu",
        "cpu",
        "status",
    ]
    assert table["one"].split()[1:] == [
        "test",
        "DN",
        "cucim",
        "lzw",
        "2",
        "717x523",
        "0.5",
        "(tags)",
        "1",
        "#f3f3f3",
        "level",
        "0",
        "1,485",
        "1",
        "3.0",
        "kB",
        "0.1",
        "MB",
        "0.1",
        "s",
        "4.2",
        "s",
        "ok;",
        "same",
        "image",
        "as",
        "twin",
    ]
    assert table["b"].split()[2:] == [
        "-",
        "cucim",
        "lzw",
        "1",
        "717x523",
        "0.25",
        "(header)",
        "2",
        "white",
        "-",
        "391",
        "1",
        "0.8",
        "kB",
        "0.1",
        "MB",
        "0.1",
        "s",
        "1.1",
        "s",
        "ok",
    ]
    assert "ERROR" in table["bad"]
    assert "is not an image that can be read" in table["bad"]
    assert table["out"].endswith("excluded: blurred")
    statuses = {line.index(word) for line, word in ((lines[0], "status"), (table["bad"], "ERROR"))}
    assert len(statuses) == 1
    assert lines[-2:] == [
        "3 slides to process: 3,361 tokens at f = 16, about 6.7 kB of token maps and 0.4 MB of"
        " results per model (and its weights), about 0.1 s on one GPU or 9.5 s on a CPU per model,"
        " training not counted",
        "tokens: 3 slides x 1 variant: 6.7 kB, about 0.1 s on one GPU (8.5 s on a CPU)",
    ]
    assert "1 of 5 slides cannot be processed: bad" in shown.err


@pytest.mark.data
def test_real_slides(data):
    folder = data / "slides"
    record = inspect(
        "a", folder / "mosaic_a.tif", folder / "mosaic_a_mask.tif", None, CheckOptions()
    )
    assert (record.size, record.factor, record.mpp) == ((4519, 2693), 1, pytest.approx(0.5))
    assert record.annotation == {"size": [4519, 2693], "fits": "level 0"}
    assert estimate(record.size, record.working_size)["token_map"] == [283, 169]
    with pytest.raises(HolohistoError, match="column `mpp`"):
        inspect("t", folder / "tcga-cr-7395-01a-01-ts1.svs", None, None, CheckOptions())
    record = inspect("c", folder / "cmu-1-small-region.svs", None, None, CheckOptions())
    assert (record.mpp, record.mpp_source, record.levels) == (0.499, "header", [(2220, 2967)])

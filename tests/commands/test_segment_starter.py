"""The verb segment without any option: the starter, and several images in one call."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from starter_files import write_starter

from holohisto import cli
from holohisto.config.starter import PURPOSE
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.tokens import openvino_encoder

SIZE = (517, 389)
AREA = 517 * 389 * 0.25
"""um2 of the whole image, which the segmenter of these tests finds as one object."""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The starter in a folder of its own, a cache, and the present folder."""
    monkeypatch.setenv("HOLOHISTO_STARTER", str(write_starter(tmp_path / "starter", bias=50)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def tissue(seed=0):
    """Pink tissue up to the borders."""
    rgb = np.full((*SIZE[::-1], 3), (190, 110, 170), np.int16)
    rgb[100:250, 200:380] = (120, 50, 130)
    rgb += np.random.default_rng(seed).integers(-8, 9, rgb.shape, dtype=np.int16)
    return rgb.clip(0, 255).astype(np.uint8)


def write_slide(path, seed=0):
    path.parent.mkdir(exist_ok=True)
    write_slide_pyramid(path, tissue(seed), 0.5)
    return str(path)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_slide_alone_is_enough(files, capsys):
    image = write_slide(files / "slides" / "my slide.tif")
    assert cli.main(["segment", image]) == 0
    shown = capsys.readouterr()
    folder = files / "here" / "my_slide_holohisto"
    assert {path.name for path in folder.iterdir()} == {
        "my_slide.geojson",
        "my_slide.jpg",
        "my_slide.tsv",
        "my_slide_glomerulus.tif",
        "my_slide_inference.json",
        "my_slide_objects.json",
    }
    (row,) = rows_of(folder / "my_slide.tsv")
    assert (row["slide"], row["label"], row["objects"]) == ("my_slide", "glomerulus", "1")
    areas = [float(row[key]) for key in ("area_um2", "mean_um2", "median_um2")]
    assert areas == pytest.approx([AREA] * 3, rel=1e-4)
    assert float(row["share_of_tissue"]) == pytest.approx(1, abs=0.1)
    heading, line = shown.out.splitlines()
    assert heading.split() == list(row)
    assert line.split() == list(row.values())
    assert shown.err.count(PURPOSE) == 1
    assert "my slide.tif: in my_slide_holohisto, after " in shown.err


def test_converted_networks_are_kept_in_the_cache_and_not_in_the_package(
    files, capsys, monkeypatch
):
    monkeypatch.setattr(openvino_encoder, "SMALL", 0)  # else torch encodes so small a slide
    image = write_slide(files / "s.tif")
    before = {path.name for path in (files / "starter").iterdir()}
    assert cli.main(["segment", image]) == 0
    assert "converting segmenter.safetensors for OpenVINO, once" in capsys.readouterr().err
    for name in ("segmenter.openvino", "tokenizer.openvino"):
        assert len(list((files / "cache" / "holohisto").glob(f"*/{name}"))) == 1
    assert cli.main(["segment", image, "--model", "starter"]) == 0
    assert "converting" not in capsys.readouterr().err
    assert {path.name for path in (files / "starter").iterdir()} == before


def test_without_any_cache_it_works_as_well(files, monkeypatch):
    (files / "cache").write_text("no folder")
    assert cli.main(["segment", write_slide(files / "s.tif"), "--output", "out"]) == 0
    assert rows_of(files / "here" / "out" / "s.tsv")[0]["objects"] == "1"


def test_of_several_images_a_bad_one_fails_alone(files, capsys):
    (files / "bad.tif").write_bytes(b"II*\0nothing")
    first, last = (write_slide(files / f"{name}.tif", n) for n, name in enumerate(("a", "z")))
    assert cli.main(["segment", first, str(files / "bad.tif"), last]) == 2
    shown = capsys.readouterr()
    errors = [line for line in shown.err.splitlines() if "ERROR" in line]
    assert len(errors) == 2
    assert f"{files}/bad.tif: " in errors[0]
    assert f"segment: 1 of 3 images failed: {files}/bad.tif" in errors[1]
    found = {path.parent.name: path for path in (files / "here").glob("*/*.tsv")}
    assert set(found) == {"a_holohisto", "z_holohisto"}
    assert [rows_of(path)[0]["slide"] for path in sorted(found.values())] == ["a", "z"]
    assert len(shown.out.splitlines()) == 4


def test_an_image_without_resolution_is_refused_in_one_line_that_names_the_option(files, capsys):
    Image.fromarray(tissue()).save(files / "roi.png")
    assert cli.main(["segment", str(files / "roi.png")]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    assert "--mpp" in error
    assert cli.main(["segment", str(files / "roi.png"), "--mpp", "0.5"]) == 0


def test_its_settings_are_those_of_the_starter_unless_others_are_given(files):
    image = write_slide(files / "s.tif")
    assert cli.main(["segment", image, "--keep"]) == 0
    folder = files / "here" / "s_holohisto"
    facts = json.loads((folder / "s_inference.json").read_text())
    assert facts["all_tiles"] == 1
    (files / "c.yaml").write_text("infer: {tile: [256, 192]}\nmask: {min_object_um2: 90000}\n")
    words = ["segment", image, "--config", str(files / "c.yaml"), "--output", "small"]
    assert cli.main(words) == 0
    small = files / "here" / "small"
    assert json.loads((small / "s_inference.json").read_text())["all_tiles"] > 4
    assert rows_of(small / "s.tsv")[0]["objects"] == "0"
    assert rows_of(small / "s.tsv")[0]["mean_um2"] == "nan"


def test_without_the_starter_one_line_says_so(files, monkeypatch, capsys):
    monkeypatch.setenv("HOLOHISTO_STARTER", str(files / "nowhere"))
    assert cli.main(["segment", write_slide(files / "s.tif")]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    assert "the starter weights are not installed" in error

"""The verb segment: one image of any format and size, without a workflow."""

import json

import numpy as np
import openslide
import pytest
import shapely
import torch
from PIL import Image

from holohisto import cli
from holohisto.config.models import ColourThresholdModel, HolohistoModel
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.file import save_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN


def tissue(size, seed=0):
    """Pink tissue up to the borders, and a dark disc that is the object."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    rgb = np.full((height, width, 3), (214, 150, 190), np.int16)
    radius = min(size) / 4
    rgb[(x - 0.4 * width) ** 2 + (y - 0.5 * height) ** 2 < radius**2] = (120, 50, 130)
    rgb += np.random.default_rng(seed).integers(-8, 9, rgb.shape, dtype=np.int16)
    return rgb.clip(0, 255).astype(np.uint8), np.pi * radius**2


@pytest.fixture(scope="module")
def floor(tmp_path_factory):
    """A threshold on red: dark is the class."""
    return write_threshold(tmp_path_factory.mktemp("floor"), 0.65)


def write_threshold(folder, red):
    """A segmenter that finds what is darker in red."""
    path = folder / "segmenter.safetensors"
    model = build_segmenter(ColourThresholdModel(), None, 1, 1)
    model.threshold[:], model.sign[:] = red, -1
    card = ModelCard(
        "floor",
        ColourThresholdModel(),
        ("glomerulus",),
        0.5,
        (256, 192),
        None,
        1,
        "frozen",
        None,
        {},
    )
    save_segmenter(model.state_dict(), card, path)
    return path


def segment(folder, image, model, *more):
    out = folder / "out"
    words = ["segment", image, "--model", model, "--output", out, *more]
    return cli.main([str(word) for word in words])


def results(folder, name):
    out = folder / "out"
    return {path.name for path in out.iterdir()}, [
        shapely.from_geojson(json.dumps(feature["geometry"]))
        for feature in json.loads((out / f"{name}.geojson").read_text())["features"]
    ]


FILES = (
    "{}_glomerulus.tif",
    "{}.geojson",
    "{}.jpg",
    "{}.tsv",
    "{}_inference.json",
    "{}_objects.json",
)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("png", (256, 256)), ("png", (997, 643)), ("jpg", (1203, 811)), ("jpg", (2987, 3011))],
)
def test_an_roi_image_goes_the_way_of_a_slide(tmp_path, floor, kind, size):
    rgb, area = tissue(size)
    image = tmp_path / f"a b.{kind}"
    Image.fromarray(rgb).save(image, quality=95)
    assert segment(tmp_path, image, floor, "--mpp", 0.5) == 0
    made, (disc,) = results(tmp_path, "a_b")
    assert made == {name.format("a_b") for name in FILES}
    assert disc.area == pytest.approx(area, rel=0.03)
    assert disc.centroid.x == pytest.approx(0.4 * size[0], abs=2)
    assert disc.centroid.y == pytest.approx(0.5 * size[1], abs=2)
    with openslide.OpenSlide(tmp_path / "out" / "a_b_glomerulus.tif") as mask:
        assert mask.dimensions == size
        x, y = int(0.4 * size[0]), int(0.5 * size[1])
        assert mask.read_region((x, y), 0, (1, 1)).getpixel((0, 0))[0] == 255
    with Image.open(tmp_path / "out" / "a_b.jpg") as overlay:
        assert overlay.width >= min(size[0], 1000)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparent_and_indexed_images_are_laid_over_white(tmp_path, floor, mode):
    rgb, area = tissue((403, 301))
    image = Image.fromarray(rgb)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.full((301, 403), 255, np.uint8)))
    image.convert(mode).save(tmp_path / "roi.png")
    assert segment(tmp_path, tmp_path / "roi.png", floor, "--mpp", 0.5) == 0
    (disc,) = results(tmp_path, "roi")[1]
    assert disc.area == pytest.approx(area, rel=0.05)


@pytest.mark.parametrize("size", [(300, 1), (1, 200), (16, 16), (2000, 4)])
def test_an_image_of_few_pixels_is_segmented_whole(tmp_path, size):
    floor = write_threshold(tmp_path, 0.9)  # all tissue: one colour is brought to the common stain
    dark = np.full((size[1], size[0], 3), (120, 50, 130), np.uint8)
    Image.fromarray(dark).save(tmp_path / "roi.png")
    options = {"foreground": {"min_piece_mm2": 0}, "mask": {"min_object_um2": 0}}
    (tmp_path / "all.yaml").write_text(json.dumps(options))
    words = (tmp_path / "roi.png", floor, "--mpp", 0.5, "--config", tmp_path / "all.yaml")
    assert segment(tmp_path, *words) == 0
    (object_,) = results(tmp_path, "roi")[1]
    assert object_.equals(shapely.box(0, 0, *size))


def refused(capsys, code):
    """The only line with an error, of a command that ended with exit code 2."""
    assert code == 2
    output = capsys.readouterr().err
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if "ERROR" in line]
    return line


def write_16_bit(path):
    Image.fromarray(tissue((301, 203))[0][..., 0].astype(np.uint16) * 257).save(path)


def write_one_row(path):
    Image.fromarray(tissue((301, 203))[0][:1]).save(path)


def write_cut(path):
    Image.fromarray(tissue((301, 203))[0]).save(path)
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (write_16_bit, "is not a brightfield slide (found ushort grey16; allowed one picture, 8"),
        (write_one_row, "no tissue found at saturation 0.020; look at the slide"),
        (write_cut, "the file is damaged; copy it again"),
        (lambda path: path.write_text("hello"), "is not an image that can be read"),
        (lambda path: path.mkdir(), "image cannot be read: Is a directory"),
        (lambda path: None, "image cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_segmented_is_refused_in_one_line(tmp_path, floor, capsys, write, words):
    write(tmp_path / "roi.png")
    code = segment(tmp_path, tmp_path / "roi.png", floor, "--mpp", 0.5)
    assert words in refused(capsys, code)
    assert not (tmp_path / "out").exists()


def test_a_refused_image_among_others_leaves_nothing(tmp_path, floor, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(tissue((403, 301))[0]).save("good.png")
    write_16_bit(tmp_path / "bad.png")
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    code = cli.main(["segment", "bad.png", "good.png", "--model", str(floor), "--mpp", "0.5"])
    assert code == 2
    assert "bad.png: is not a brightfield slide" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {
        "bad.png",
        "good.png",
        "good_holohisto",
        "mine",
    }
    for output in ("mine/empty", "mine/new/deeper"):
        words = ["segment", "bad.png", "--model", str(floor), "--mpp", "0.5", "--output", output]
        assert cli.main(words) == 2
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["empty"]


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan"])
def test_a_threshold_is_a_saturation(tmp_path, floor, capsys, value):
    Image.fromarray(tissue((301, 203))[0]).save(tmp_path / "roi.png")
    words = (tmp_path / "roi.png", floor, "--mpp", 0.5, f"--saturation={value}")
    code = segment(tmp_path, *words)
    assert "--saturation: is no saturation (found" in refused(capsys, code)


def test_a_slide_of_another_resolution_in_level_0_pixels(tmp_path, floor):
    rgb, area = tissue((1403, 1110))
    write_slide_pyramid(tmp_path / "s.tif", rgb, 0.25)
    assert segment(tmp_path, tmp_path / "s.tif", floor, "--keep") == 0
    made, (disc,) = results(tmp_path, "s")
    assert disc.area == pytest.approx(area, rel=0.03)
    assert made == {name.format("s") for name in FILES} | {"s.work"}
    assert json.loads((tmp_path / "out/s.work/check.json").read_text())["scale"] == ["2", "2"]


def test_tokens_are_computed_on_the_way(tmp_path):
    torch.manual_seed(0)
    architecture = Architecture(
        channels=8,
        multipliers=(1, 1, 1, 1, 1),
        residual_blocks=1,
        codebook=16,
        dimension=2,
        levels=(4, 4),
    )
    tokenizer = VQGAN(architecture).eval().requires_grad_(False)
    rgb, _ = tissue((517, 389))
    save_tokenizer(tokenizer, tmp_path / "tokenizer.safetensors", {})
    options = HolohistoModel(size="T")
    model = build_segmenter(options, torch.randn(16, 2), 16, 1)
    card = ModelCard(
        "m",
        options,
        ("glomerulus",),
        0.5,
        (256, 192),
        tokenizer_digest(tokenizer),
        16,
        "frozen",
        "fp32",
        {},
    )
    save_segmenter(model.state_dict(), card, tmp_path / "segmenter.safetensors")
    Image.fromarray(rgb).save(tmp_path / "roi.png")
    words = (tmp_path / "roi.png", tmp_path / "segmenter.safetensors", "--mpp", 0.5)
    assert segment(tmp_path, *words) == 2  # no tokenizer
    assert segment(tmp_path, *words, "--tokenizer", tmp_path / "tokenizer.safetensors") == 0
    made, _ = results(tmp_path, "roi")
    assert made == {name.format("roi") for name in FILES}


def test_an_image_without_resolution_is_refused_in_one_line(tmp_path, floor, capsys):
    Image.fromarray(tissue((301, 203))[0]).save(tmp_path / "roi.png")
    assert "--mpp" in refused(capsys, segment(tmp_path, tmp_path / "roi.png", floor))


def test_results_of_another_image_of_the_same_name_are_not_overwritten(tmp_path, floor, capsys):
    for folder, kind, seed in (("a", "png", 0), ("b", "png", 1), ("a", "jpg", 2)):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(tissue((403, 301), seed)[0]).save(tmp_path / folder / f"roi.{kind}")
    first = tmp_path / "a" / "roi.png"
    assert segment(tmp_path, first, floor, "--mpp", 0.5) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for other in ("b/roi.png", "a/roi.jpg"):
        code = segment(tmp_path, tmp_path / other, floor, "--mpp", 0.5)
        line = refused(capsys, code)
        assert "roi_inference.json: is of another image of this name" in line
        assert f"found {first}); give another --output" in line
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert segment(tmp_path, first, floor, "--mpp", 0.5) == 0
    assert segment(tmp_path, tmp_path / "b" / "roi.png", floor, "--mpp", 0.5, "--keep") == 2


def test_intermediate_files_of_another_image_are_not_used(tmp_path, floor, capsys):
    Image.fromarray(tissue((403, 301))[0]).save(tmp_path / "roi.png")
    work = tmp_path / "out" / "roi.work"
    work.mkdir(parents=True)
    (work / ".holohisto-work").write_text("/elsewhere/roi.png\n")
    code = segment(tmp_path, tmp_path / "roi.png", floor, "--mpp", 0.5)
    assert "roi.work: is of another image of this name" in refused(capsys, code)
    assert work.exists()

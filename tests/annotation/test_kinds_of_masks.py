"""Masks as tools write them: understood with the right pixels, or refused."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions
from holohisto.errors import HolohistoError
from holohisto.slide.scale import Scale

SIZE = (341, 267)
ONE = {"glomerulus": ClassOptions()}
Y, X = np.mgrid[: SIZE[1], : SIZE[0]]
DISCS = sum((X - x) ** 2 + (Y - y) ** 2 < 25**2 for x, y in ((90, 80), (200, 150))) > 0
MASK = DISCS.astype(np.uint8)


def numbered(kind, side=20):
    """Squares of 12 pixels that have a number each, from 1."""
    columns, rows = X // side, Y // side
    inside = (X % side < 12) & (Y % side < 12) & (columns < 16) & (rows < 13)
    return np.where(inside, rows * 16 + columns + 1, 0).astype(kind)


def read(path, classes=ONE, size=SIZE, factor=1, annotated=None):
    with Annotation(path, classes, size, Scale.whole(factor), annotated) as annotation:
        working = tuple(-(-side // factor) for side in size)
        return annotation.read((0, 0), working)


def write(path, pixels, **options):
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels, metadata=None, **{"tile": (64, 64), **options})
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.float32])
@pytest.mark.parametrize("compression", ["zlib", None])
def test_numbered_objects_count_whole(tmp_path, kind, compression):
    """208 objects, 81 of them with numbers above 127."""
    path = write(tmp_path / "a.tif", numbered(kind), compression=compression)
    np.testing.assert_array_equal(read(path), numbered(int) > 0)


def test_numbers_above_16_bits(tmp_path):
    numbers = numbered(np.uint32)
    numbers[numbers > 0] += 70_000
    path = write(tmp_path / "a.tif", numbers)
    np.testing.assert_array_equal(read(path), numbers > 0)
    declared = {"glomerulus": ClassOptions(values=(65535,))}
    assert not read(path, declared).any()


@pytest.mark.parametrize("numbers", [(1,), (1, 2), (3, 17), tuple(range(1, 6))])
@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_few_numbered_objects(tmp_path, numbers, name):
    pixels = np.where(np.isin(numbered(int), numbers), numbered(int), 0).astype(np.uint8)
    np.testing.assert_array_equal(read(write(tmp_path / name, pixels)), pixels > 0)


@pytest.mark.parametrize("value", [1, 2, 100, 127, 128, 200, 255, 256, 32768, 65535])
def test_any_single_value_is_the_class(tmp_path, value):
    kind = np.uint8 if value < 256 else np.uint16
    path = write(tmp_path / "a.tif", (MASK * np.uint32(value)).astype(kind))
    np.testing.assert_array_equal(read(path), MASK)


@pytest.mark.parametrize("value", [100, 255, 65535])
def test_blurred_outlines_are_cut_at_half(tmp_path, value):
    enlarged = np.kron(DISCS, np.ones((4, 4)))
    soft = enlarged[2:, 2:][: 4 * 266, : 4 * 340].reshape(266, 4, 340, 4).mean(axis=(1, 3))
    soft = np.pad(soft, ((0, 1), (0, 1)))
    path = write(tmp_path / "a.tif", (soft * value).astype(np.uint16 if value > 255 else np.uint8))
    np.testing.assert_array_equal(read(path), (soft * value).astype(int) >= (value + 1) // 2)


def flat_picture(rgb_in, rgb_out):
    return np.where(DISCS[..., None], rgb_in, rgb_out).astype(np.uint8)


UNDERSTOOD = {
    "red on black": flat_picture((200, 0, 0), (0, 0, 0)),
    "dark red on black": flat_picture((90, 0, 0), (0, 0, 0)),
    "red on white": flat_picture((200, 0, 0), (255, 255, 255)),
    "green on white": flat_picture((0, 255, 0), (255, 255, 255)),
    "white on black": flat_picture((255, 255, 255), (0, 0, 0)),
    "in the alpha channel": flat_picture((0, 0, 0, 255), (0, 0, 0, 0)),
    "white, alpha": flat_picture((255, 255, 255, 255), (255, 255, 255, 0)),
    "red, half transparent": flat_picture((255, 0, 0, 128), (0, 0, 0, 0)),
    "red, opaque alpha": flat_picture((255, 0, 0, 255), (0, 0, 0, 255)),
    "grey and alpha": flat_picture((0, 255), (0, 0)),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_coloured_and_transparent_masks_of_one_class(tmp_path, name):
    pixels = UNDERSTOOD[name]
    options = {"photometric": "rgb"} if pixels.shape[2] > 2 else {"photometric": "minisblack"}
    if pixels.shape[2] in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        found = read(write(path, pixels, **(options if path.suffix == ".tif" else {})))
        np.testing.assert_array_equal(found, MASK, str(path))


def test_instances_in_random_colours_on_black_count_whole(tmp_path):
    colours = np.random.default_rng(3).integers(128, 256, (300, 3), np.uint8)
    colours[0] = 0
    found = read(write(tmp_path / "a.png", colours[numbered(int)]))
    np.testing.assert_array_equal(found, numbered(int) > 0)


def test_palettes_whose_background_is_white(tmp_path):
    picture = Image.fromarray(MASK, "P")
    picture.putpalette([255, 255, 255, 255, 0, 0])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), MASK)
    red = {"glomerulus": ClassOptions(values=("#ff0000",))}
    np.testing.assert_array_equal(read(tmp_path / "a.png", red), MASK)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.uint16])
def test_0_is_white(tmp_path, kind):
    """White is the class, as in any viewer, although it is stored as 0."""
    high = {bool: True, np.uint8: 255, np.uint16: 65535}[kind]
    stored = np.where(DISCS, 0, high).astype(kind)
    options = {"tile": None} if kind is bool else {}
    path = write(tmp_path / "a.tif", stored, photometric="miniswhite", **options)
    np.testing.assert_array_equal(read(path), MASK)


noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
tissue = np.where((X - 170) ** 2 + (Y - 130) ** 2 < 100**2, 1, 0)
REFUSED = {
    "inverted": (255 - 255 * MASK, "shows glomerulus on 9.% of the picture and along its border"),
    "inverted 0/1": (1 - MASK, "may be inverted"),
    "all of it": (np.full_like(MASK, 255), "on 100% of the picture"),
    "tissue 1, glomerulus 2": (1 + MASK, "may be inverted, or show something else"),
    "black on white": (flat_picture((0, 0, 0), (255, 255, 255)), "may be inverted"),
    "transparent objects": (flat_picture((0, 0, 0, 0), (0, 0, 0, 255)), "may be inverted"),
    "grey levels": (
        (128 * tissue + 127 * MASK).astype(np.uint8),
        "has several grey values, and which is glomerulus is not declared (found 0, 127, 128, 255)",
    ),
    "two colours": (
        np.where(tissue[..., None] > 0, flat_picture((255, 0, 0), (0, 255, 0)), 0).astype(np.uint8),
        "has several colours, and which is glomerulus is not declared (found #000000, #00ff00",
    ),
    "grey photograph": (noise[..., 0], "is a picture with shades rather than a mask"),
    "photograph": (noise, "is coloured, and mostly neither black nor white"),
    "photograph on black": (np.where(DISCS[..., None], noise, 0).astype(np.uint8), "shades"),
    "photograph on white": (np.where(DISCS[..., None], noise, 255).astype(np.uint8), "shades"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_masks_that_need_declared_values_are_refused(tmp_path, name):
    pixels, words = REFUSED[name]
    path = write(tmp_path / "a.png", pixels)
    with pytest.raises(HolohistoError) as caught:
        read(path)
    line = str(caught.value)
    assert words.split("9.%")[-1] in line
    assert "set `classes.glomerulus.values`" in line
    assert len(line.removeprefix(str(path))) < 300


def test_declared_values_settle_every_doubt(tmp_path):
    inverted = write(tmp_path / "a.png", 255 - 255 * MASK)
    for values, expected in (((0,), MASK), ((255,), 1 - MASK)):
        classes = {"glomerulus": ClassOptions(values=values)}
        np.testing.assert_array_equal(read(inverted, classes), expected)
    both = write(tmp_path / "b.png", 1 + MASK)
    classes = {"glomerulus": ClassOptions(values=(2,))}
    np.testing.assert_array_equal(read(both, classes), MASK)


def test_large_objects_are_no_inversion(tmp_path):
    """Half of a region and most of its border, or most of it without its border."""
    left = (X < 165).astype(np.uint8)
    centre = ((X > 9) & (X < 330) & (Y > 9) & (Y < 255)).astype(np.uint8)
    for pixels in (left, centre):
        np.testing.assert_array_equal(read(write(tmp_path / "a.png", pixels)), pixels)


def test_several_classes_in_colours_must_be_declared(tmp_path):
    two = {"a": ClassOptions(), "b": ClassOptions()}
    path = write(tmp_path / "a.png", UNDERSTOOD["red on white"])
    with pytest.raises(HolohistoError, match="has colours, and which is <name> is not declared"):
        read(path, two)


def test_an_unknown_value_anywhere_is_an_error(tmp_path):
    """Also one that the tiles that are looked at first do not have."""
    rng = np.random.default_rng(1)
    pixels = np.zeros((1024, 2048), np.uint8)
    pixels[:, ::2] = rng.integers(0, 3, (1024, 1024))
    places = [(x, y) for y in range(32, 1024, 64) for x in range(32, 2048, 64)]
    path, two = tmp_path / "a.tif", {"a": ClassOptions(), "b": ClassOptions()}
    write(path, pixels)
    assert read(path, two, (2048, 1024)).max() == 2
    for x, y in places:
        pixels[y, x] = 7
    write(path, pixels)
    with (
        Annotation(path, two, (2048, 1024), Scale.whole(1)) as annotation,
        pytest.raises(HolohistoError, match=r"mean no class \(found 7\)"),
    ):
        annotation.read((64, 64), (64, 64))
    pixels[pixels == 7] = 0
    pixels[32, 32] = 7
    write(path, pixels)
    with pytest.raises(HolohistoError, match=r"mean no class \(found 7\)"):
        read(path, two, (2048, 1024))


def test_several_pictures_in_a_file_are_refused(tmp_path):
    pages = np.stack([MASK, MASK[::-1]])
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "imagej.tif", pages, imagej=True)
    tifffile.imwrite(tmp_path / "ome.ome.tif", pages, metadata={"axes": "ZYX"})
    with tifffile.TiffWriter(tmp_path / "kinds.tif") as file:
        file.write(MASK, metadata=None)
        file.write(MASK.astype(np.uint16), metadata=None)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(HolohistoError, match="several pictures of the slide's size"):
            read(path)


def test_masks_that_are_to_be_turned_are_refused(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    for name in ("a.png", "a.jpg"):
        Image.fromarray(MASK * 255).save(tmp_path / name, exif=exif)
    write(tmp_path / "a.tif", MASK, extratags=[(274, "H", 1, 3, True)])
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(HolohistoError, match=r"turned or mirrored.*upright"):
            read(path)
    write(tmp_path / "a.tif", MASK, extratags=[(274, "H", 1, 1, True)])
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), MASK)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_working_size_that_rounds_down_is_accepted(tmp_path, factor):
    size = (SIZE[0] * factor + 1, SIZE[1] * factor + factor - 1)
    found = read(write(tmp_path / "a.png", MASK), ONE, size, factor)
    assert found.shape == (SIZE[1] + 1, SIZE[0] + 1)
    np.testing.assert_array_equal(found, np.pad(MASK, ((0, 1), (0, 1))))
    with pytest.raises(HolohistoError, match="has not the slide's size"):
        read(tmp_path / "a.png", ONE, (SIZE[0] + 1, SIZE[1] + 1), 1)
    with pytest.raises(HolohistoError, match="has not the slide's size"):
        read(tmp_path / "a.png", ONE, (size[0] + factor, size[1]), factor)

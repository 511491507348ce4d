import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import noise

from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions
from holohisto.errors import HolohistoError
from holohisto.pyramid.write import write_mask_pyramid
from holohisto.runtime.arithmetic import ceil_div, round_up
from holohisto.slide.scale import Scale

SIZE = (341, 267)
ONE = {"glomerulus": ClassOptions()}


def drawn(value=255, seed=0):
    """Random blocks of 3 pixels, so that some working pixels are cut by outlines."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((ceil_div(SIZE[1], 3), ceil_div(SIZE[0], 3))) < 0.4
    return np.kron(coarse, np.ones((3, 3), bool))[: SIZE[1], : SIZE[0]] * np.uint8(value)


def write(path, pixels, **options):
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        options = {"tile": (128, 128), "compression": "lzw", "metadata": None, **options}
        tifffile.imwrite(path, pixels, **options)


def read_all(path, classes=ONE, size=SIZE, factor=1):
    with Annotation(path, classes, size, Scale.whole(factor)) as annotation:
        return annotation.read((0, 0), (ceil_div(size[0], factor), ceil_div(size[1], factor)))


def brute_majority(mask, factor):
    height, width = (round_up(side, factor) for side in mask.shape)
    padded = np.zeros((height, width))
    padded[: mask.shape[0], : mask.shape[1]] = mask > 0
    blocks = padded.reshape(height // factor, factor, width // factor, factor)
    return (blocks.mean(axis=(1, 3)) >= 0.5).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_a_working_pixel_has_the_class_of_half_its_block(tmp_path, name, factor):
    mask = drawn()
    write(tmp_path / name, mask)
    expected = brute_majority(mask, factor)
    np.testing.assert_array_equal(read_all(tmp_path / name, factor=factor), expected)
    with Annotation(tmp_path / name, ONE, SIZE, Scale.whole(factor)) as annotation:
        read = annotation.read((-2, 30), (50, 90))
    assert (read[:, :2] == 0).all()
    below = expected[30:120, :48]
    np.testing.assert_array_equal(read[: len(below), 2:], below)
    assert (read[len(below) :] == 0).all()


def test_an_annotation_of_working_size_is_taken_as_it_is(tmp_path):
    mask = drawn()
    write(tmp_path / "a.tif", mask)
    slide = (SIZE[0] * 4 - 3, SIZE[1] * 4)
    np.testing.assert_array_equal(read_all(tmp_path / "a.tif", size=slide, factor=4), mask // 255)
    with Annotation(tmp_path / "a.tif", ONE, slide, Scale.whole(4)) as annotation:
        np.testing.assert_array_equal(
            annotation.read((10, 20), (33, 21)), mask[20:41, 10:43] // 255
        )


def test_another_size_is_refused_with_both_allowed(tmp_path):
    write(tmp_path / "a.png", drawn())
    with pytest.raises(HolohistoError, match=r"341x267.*342x267 \(level 0\) or 171x134"):
        Annotation(tmp_path / "a.png", ONE, (342, 267), Scale.whole(2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 255], [0, 1]), ([0, 1], [0, 1]), ([0, 1, 100, 128, 255], [0, 0, 0, 1, 1])],
    ids=["0/255", "0/1", "a resized mask: 1 is noise"],
)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_one_class_without_values_is_what_is_bright(tmp_path, name, values, expected):
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    pixels[200, : len(values)] = values
    write(tmp_path / name, pixels)
    assert read_all(tmp_path / name)[200, : len(values)].tolist() == expected


def test_several_classes_without_values_count_from_1(tmp_path):
    classes = {name: ClassOptions() for name in "abc"}
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    pixels[0, :4] = [0, 1, 2, 3]
    write(tmp_path / "a.tif", pixels)
    assert read_all(tmp_path / "a.tif", classes)[0, :5].tolist() == [0, 1, 2, 4, 0]
    pixels[0, 4] = 4
    write(tmp_path / "a.tif", pixels)
    with pytest.raises(HolohistoError, match=r"values that mean no class \(found 4\)"):
        read_all(tmp_path / "a.tif", classes)


def test_a_value_may_belong_to_several_classes(tmp_path):
    classes = {"capsule": ClassOptions(values=(2, 3)), "tuft": ClassOptions(values=(3,))}
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint16)
    pixels[0, :4] = [1, 2, 3, 300]
    write(tmp_path / "a.tif", pixels)
    assert read_all(tmp_path / "a.tif", classes)[0, :4].tolist() == [0, 1, 3, 0]


def paletted(path):
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    pixels[0, :3] = [1, 2, 3]
    palette = [0, 0, 0, 255, 0, 0, 0, 200, 0, 0, 0, 255]
    if path.suffix == ".png":
        picture = Image.fromarray(pixels, "P")
        picture.putpalette(palette)
        picture.save(path)
    else:
        colormap = np.zeros((3, 256), np.uint16)
        colormap[:, :4] = np.array(palette).reshape(4, 3).T * 257
        write(path, pixels, photometric="palette", colormap=colormap)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_palette_is_read_by_place_or_by_colour(tmp_path, name):
    paletted(tmp_path / name)
    by_place = {"a": ClassOptions(values=(1,)), "b": ClassOptions(values=(3,))}
    by_colour = {"a": ClassOptions(values=("#FF0000",)), "b": ClassOptions(values=("#0000ff",))}
    for classes in (by_place, by_colour):
        assert read_all(tmp_path / name, classes)[0, :4].tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_colours_of_rgb_pictures(tmp_path, name):
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    pixels[0, :3] = [(255, 0, 0), (0, 128, 64), (255, 0, 1)]
    write(tmp_path / name, pixels, photometric="rgb")
    classes = {"a": ClassOptions(values=("#ff0000",)), "b": ClassOptions(values=("#008040",))}
    assert read_all(tmp_path / name, classes)[0, :3].tolist() == [1, 2, 0]
    assert read_all(tmp_path / name)[0, :4].tolist() == [1, 1, 1, 0]  # brightest channel > 127


def test_alpha_is_not_a_colour(tmp_path):
    pixels = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, :3] = 255
    write(tmp_path / "a.png", pixels)
    assert read_all(tmp_path / "a.png").sum() == 1


def test_our_own_masks_and_flat_tiffs_are_annotations(tmp_path):
    mask = drawn()
    write_mask_pyramid(tmp_path / "m.tif", [mask], SIZE, 0.5, "glomerulus")
    np.testing.assert_array_equal(read_all(tmp_path / "m.tif"), mask // 255)
    tall = np.repeat(mask, 8, axis=0)
    write(tmp_path / "strip.tif", tall, tile=None, rowsperstrip=len(tall))
    read = read_all(tmp_path / "strip.tif", size=(SIZE[0], len(tall)))
    np.testing.assert_array_equal(read, tall // 255)


def test_one_bit_masks(tmp_path):
    mask = drawn() > 0
    write(tmp_path / "a.tif", mask, tile=None, compression=None, photometric="minisblack")
    Image.fromarray(mask).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        np.testing.assert_array_equal(read_all(tmp_path / name), mask)


def test_the_one_annotated_class_is_what_is_bright(tmp_path):
    """Masks of single structures are 0 and 255, whatever the class's place."""
    classes = {name: ClassOptions() for name in ("DT", "PT", "TUFT")}
    pixels = drawn(0)
    pixels[0, :4] = [0, 1, 127, 255]
    write(tmp_path / "a.png", pixels)
    with Annotation(tmp_path / "a.png", classes, SIZE, Scale.whole(1), ("TUFT",)) as annotation:
        assert annotation.read((0, 0), (4, 1)).tolist() == [[0, 0, 0, 4]]
    with (
        Annotation(tmp_path / "a.png", classes, SIZE, Scale.whole(1)) as annotation,
        pytest.raises(HolohistoError, match=r"values that mean no class \(found 127, 255\)"),
    ):
        annotation.read((0, 0), (4, 1))


def test_classes_that_are_not_annotated_are_in_no_pixel(tmp_path):
    classes = {
        "a": ClassOptions(values=(7,)),
        "b": ClassOptions(values=(7, 8)),
        "c": ClassOptions(),
    }
    pixels = drawn(0)
    pixels[0, :3] = [7, 8, 3]
    write(tmp_path / "a.tif", pixels)
    with Annotation(tmp_path / "a.tif", classes, SIZE, Scale.whole(1), ("a", "c")) as annotation:
        assert annotation.read((0, 0), (3, 1)).tolist() == [[1, 0, 4]]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_lossy_masks_are_cut_at_half(tmp_path, name):
    mask = np.kron(drawn(seed=3)[:54, :69], np.ones((5, 5), np.uint8))[: SIZE[1], : SIZE[0]]
    noise_of_jpeg = np.ones((SIZE[1], SIZE[0]), np.uint8)
    for pixels, expected in ((mask, mask // 255), (noise_of_jpeg, mask & 0)):
        if name.endswith("jpg"):
            Image.fromarray(pixels).save(tmp_path / name, quality=90)
            values = np.asarray(Image.open(tmp_path / name))
        else:
            write(tmp_path / name, pixels, compression="jpeg", tile=(128, 128))
            values = tifffile.imread(tmp_path / name)
        assert len(np.unique(values)) > 2 or values.max() == 1
        np.testing.assert_array_equal(read_all(tmp_path / name), expected)


@pytest.mark.parametrize("value", [40, 100])
def test_a_dim_lossy_mask_is_refused_and_not_taken_for_empty(tmp_path, value):
    dim = (drawn(seed=3) // 255 * value).astype(np.uint8)
    Image.fromarray(dim).save(tmp_path / "a.jpg", quality=95)
    with pytest.raises(HolohistoError, match=r"compressed with loss and nowhere bright.*`classes"):
        read_all(tmp_path / "a.jpg")


def test_emptiness(tmp_path):
    write(tmp_path / "none.tif", drawn(0))
    pixels = drawn(0)
    pixels[-1, -1] = 255
    write(tmp_path / "one.tif", pixels)
    with Annotation(tmp_path / "none.tif", ONE, SIZE, Scale.whole(1)) as none:
        assert none.is_empty()
    with Annotation(tmp_path / "one.tif", ONE, SIZE, Scale.whole(1)) as one:
        assert not one.is_empty()


def write_cut_png(path):
    write(path, noise(SIZE, 1)[..., 0])
    path.write_bytes(path.read_bytes()[:20_000])


BAD = {
    "missing.png": (lambda p: None, "No such file"),
    "text.png": (lambda p: p.write_text("hello"), "identify"),
    "cut.png": (write_cut_png, "damaged"),
    "shares.tif": (lambda p: write(p, drawn(1) * np.float32(0.5)), "no whole numbers"),
    "nan.tif": (lambda p: write(p, drawn() * np.float32("nan")), "no whole numbers"),
    "negative.tif": (lambda p: write(p, -drawn(1).astype(np.int16)), "are negative"),
    "complex.tif": (lambda p: write(p, drawn().astype(np.complex64)), "pixel type"),
    "bitmap.png": (lambda p: Image.fromarray(drawn()).save(p, "BMP"), "allowed TIFF, PNG, JPEG"),
    "script.png": (lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"), "allowed TIFF, PNG, JPEG"),
    "header.tif": (lambda p: p.write_bytes(b"II*\0\x08\0\0\0"), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_line(tmp_path, name):
    make, words = BAD[name]
    make(tmp_path / name)
    with pytest.raises(HolohistoError, match=words) as caught:
        read_all(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.data
def test_real_annotations(data):
    mask = data / "slides" / "mosaic_a_mask.tif"
    expected = (tifffile.imread(mask, key=0) > 127).astype(np.uint8)
    np.testing.assert_array_equal(read_all(mask, size=(4519, 2693)), expected)
    red = sorted((data / "pas-tiles" / "masks").iterdir())[0]
    expected = (np.asarray(Image.open(red).convert("RGB")) == (255, 0, 0)).all(axis=2)
    by_colour = {"glomerulus": ClassOptions(values=("#ff0000",))}
    np.testing.assert_array_equal(read_all(red, by_colour, (1024, 1024)), expected)
    labels = data / "mouse-pas" / "Adenine-labels.png"
    expected = np.isin(np.asarray(Image.open(labels)), (2, 3))
    both = {"glomerulus": ClassOptions(values=(2, 3))}
    np.testing.assert_array_equal(read_all(labels, both, (516, 516)), expected)

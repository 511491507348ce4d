import tracemalloc

import numpy as np
import openslide
import pytest
import tifffile
from slide_files import noise, tissue

from holohisto.errors import HolohistoError
from holohisto.pyramid.levels import pyramid_sizes
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.verify import verified_mask
from holohisto.pyramid.write import write_mask_pyramid, write_rows, write_slide_pyramid

SIZE = (1343, 1107)


def blobs(size=SIZE, seed=0):
    """A mask with discs, some of them over borders of tiles and of the picture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[1], : size[0]]
    mask = np.zeros((size[1], size[0]), bool)
    for cx, cy, r in rng.integers((0, 0, 10), (*size, 150), (12, 3)):
        mask |= (x - cx) ** 2 + (y - cy) ** 2 < r * r
    return mask.astype(np.uint8) * 255


def in_bands(rows, heights=(1, 700, 13, 200)):
    """Bands of odd heights."""
    start = turn = 0
    while start < len(rows):
        height = heights[turn % len(heights)]
        yield rows[start : start + height]
        start, turn = start + height, turn + 1


def test_rows_round_trip_with_header_and_mpp(tmp_path):
    labels = noise(SIZE, channels=1)[..., 0]
    header = {"slide": "é", "size": [5, 7], "classes": ["a", "b"], "threshold": None}
    write_rows(tmp_path / "a.tif", in_bands(labels), SIZE, 0.499, header)
    with Raster(tmp_path / "a.tif") as raster:
        assert raster.size == SIZE
        assert raster.header == header
        assert raster.mpp == pytest.approx(0.499, rel=1e-6)
        np.testing.assert_array_equal(raster.read((0, 0), SIZE), labels)
        np.testing.assert_array_equal(np.concatenate(list(raster.rows(300))), labels)
        np.testing.assert_array_equal(raster.read((510, 505), (7, 12)), labels[505:517, 510:517])
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        assert (tiff.is_bigtiff, page.tile, int(page.compression)) == (True, (512, 512), 5)
        np.testing.assert_array_equal(page.asarray(), labels)


def test_outside_a_raster_is_0(tmp_path):
    rows = np.full((90, 70), 9, np.uint8)
    write_rows(tmp_path / "a.tif", [rows], (70, 90), 1.0, {})
    with Raster(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(
            raster.read((-3, -2), (80, 100)), np.pad(rows, ((2, 8), (3, 7)))
        )
        assert raster.read((500, 0), (4, 3)).tolist() == [[0] * 4] * 3


@pytest.mark.parametrize("shapes", [[(1107, 1000)], [(1106, 1343)], [(1107, 1343), (1, 1343)]])
def test_rows_that_do_not_add_up_leave_no_file(tmp_path, shapes):
    bands = [np.zeros(shape, np.uint8) for shape in shapes]
    with pytest.raises(HolohistoError, match=r"fit|missing"):
        write_rows(tmp_path / "a.tif", bands, SIZE, 0.5, {})
    with pytest.raises(HolohistoError, match=r"fit|missing"):
        write_mask_pyramid(tmp_path / "a.tif", bands, SIZE, 0.5, "")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_producer_leaves_the_old_file(tmp_path):
    def failing():
        yield np.zeros((600, SIZE[0]), np.uint8)
        raise RuntimeError("the producer broke")

    (tmp_path / "a.tif").write_text("old")
    for write in (
        lambda: write_rows(tmp_path / "a.tif", failing(), SIZE, 0.5, {}),
        lambda: write_mask_pyramid(tmp_path / "a.tif", failing(), SIZE, 0.5, ""),
    ):
        with pytest.raises(RuntimeError, match="the producer broke"):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert (tmp_path / "a.tif").read_text() == "old"


@pytest.mark.parametrize("size", [SIZE, (511, 30), (513, 2), (1, 1500), (1024, 1025)])
def test_mask_levels_are_every_second_pixel_of_the_level_before(tmp_path, size):
    mask = blobs(size)
    write_mask_pyramid(tmp_path / "m.tif", in_bands(mask), size, 0.25, "glomerulus")
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        pages = list(tiff.pages)
        assert tiff.is_bigtiff
        assert pages[0].description == "glomerulus"
        assert [(p.imagewidth, p.imagelength) for p in pages] == pyramid_sizes(size)
        for depth, page in enumerate(pages):
            strided = mask[:: 2**depth, :: 2**depth]
            np.testing.assert_array_equal(
                page.asarray(), strided[: page.imagelength, : page.imagewidth]
            )
            assert (page.tile, int(page.compression), page.predictor) == ((512, 512), 5, 1)
            assert int(page.subfiletype) == int(depth > 0)


def test_a_mask_opens_in_openslide_with_size_mpp_and_pixels(tmp_path):
    mask = blobs()
    write_mask_pyramid(tmp_path / "m.tif", [mask > 0], SIZE, 0.23, "glomerulus")
    with openslide.OpenSlide(tmp_path / "m.tif") as slide:
        assert slide.level_dimensions == (SIZE, (671, 553), (335, 276))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.23, rel=1e-4)
        read = np.asarray(slide.read_region((0, 0), 0, SIZE).convert("L"))
    np.testing.assert_array_equal(read, mask)
    verify(tmp_path / "m.tif", SIZE, 0.23)


def write_grey(path, pixels, **options):
    options = {"tile": (512, 512), "photometric": "minisblack", **options}
    resolution = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        for depth in range(3):
            height, width = (max(1, side >> depth) for side in pixels.shape)
            level = pixels[:: 2**depth, :: 2**depth][:height, :width]
            writer.write(level, subfiletype=int(depth > 0), metadata=None, **resolution, **options)


def verify(path, size, mpp):
    """Open the mask with both readers and compare them."""
    assert len(list(verified_mask(path, size, mpp))) == 2


def test_verification_refuses_wrong_masks(tmp_path):
    path = tmp_path / "m.tif"
    write_grey(path, blobs(), compression="lzw")
    verify(path, SIZE, 0.25)
    with pytest.raises(HolohistoError, match="size"):
        verify(path, (1344, 1107), 0.25)
    with pytest.raises(HolohistoError, match="mpp"):
        verify(path, SIZE, 0.26)
    write_grey(path, blobs() // 255, compression="lzw")
    with pytest.raises(HolohistoError, match=r"other values.*\[0, 1\]"):
        verify(path, SIZE, 0.25)
    tifffile.imwrite(
        path,
        blobs(),
        tile=(512, 512),
        resolution=(40_000, 40_000),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    with pytest.raises(HolohistoError, match="levels"):
        verify(path, SIZE, 0.25)
    path.write_bytes(b"II*\0")
    with pytest.raises(HolohistoError, match="OpenSlide refuses"):
        verify(path, SIZE, 0.25)


def test_writing_needs_memory_for_a_row_of_tiles_not_for_the_slide(tmp_path):
    size = (12_000, 9_001)
    band = np.zeros((1000, size[0]), np.uint8)
    band[100:700, 3000:5000] = 255
    bands = (band[: min(1000, size[1] - y)] for y in range(0, size[1], 1000))
    tracemalloc.start()
    write_mask_pyramid(tmp_path / "m.tif", bands, size, 0.25, "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20  # the mask has 103 MiB
    verify(tmp_path / "m.tif", size, 0.25)


@pytest.mark.parametrize(
    "make", [lambda p: p, lambda p: (p[y : y + 100] for y in range(0, 503, 100))]
)
def test_slide_pyramids_open_with_mpp_and_nearly_the_pixels(tmp_path, make):
    pixels = tissue((717, 503), (100, 80, 600, 400))
    write_slide_pyramid(tmp_path / "s.tif", make(pixels), 0.5, 95)
    with openslide.OpenSlide(tmp_path / "s.tif") as slide:
        assert slide.level_dimensions == ((717, 503), (358, 251), (179, 125))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        read = np.asarray(slide.read_region((0, 0), 0, (717, 503)).convert("RGB"))
    assert np.abs(read.astype(int) - pixels).mean() < 6


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"text", "not a whole TIFF"), (b"II*\0\x08\0\0\0", "TIFF")],
)
def test_a_raster_that_cannot_be_read_is_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(HolohistoError, match=words):
        Raster(tmp_path / "a.tif")


def test_a_cut_raster_is_refused(tmp_path):
    write_rows(tmp_path / "a.tif", [noise(SIZE, 1)[..., 0]], SIZE, 0.5, {})
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(HolohistoError, match=r"cut off|whole TIFF"):
        Raster(tmp_path / "a.tif")

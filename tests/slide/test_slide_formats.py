"""Every format of a slide is read exactly, by the reader that suits it."""

import threading

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import SIZE, noise, write_levels, write_ome, write_png, write_svs

from holohisto.slide import Slide

WIDTH, HEIGHT = SIZE
PLACES = [((0, 0), SIZE), ((129, 250), (260, 77)), ((WIDTH - 5, HEIGHT - 7), (5, 7))]


def tiled(compression, **options):
    def write(path, pixels):
        write_levels(path, [pixels], compression=compression, **options)

    return write


def strips(compression):
    def write(path, pixels):
        tifffile.imwrite(
            path, pixels, rowsperstrip=40, compression=compression, photometric="rgb", metadata=None
        )

    return write


def planar(path, pixels):
    tifffile.imwrite(
        path,
        np.moveaxis(pixels, 2, 0),
        tile=(128, 128),
        compression="lzw",
        photometric="rgb",
        planarconfig="separate",
        metadata=None,
    )


EXACT = {
    "none": (tiled(None), "cucim"),
    "lzw": (tiled("lzw"), "cucim"),
    "lzw with predictor": (tiled("lzw", predictor=True), "cucim"),
    "deflate": (tiled("zlib"), "cucim"),
    "deflate with predictor": (tiled("zlib", predictor=True), "tifffile"),
    "zstd": (tiled("zstd"), "tifffile"),
    "planar": (planar, "tifffile"),
    "plain strips": (strips(None), "libvips"),
    "deflate strips": (strips("zlib"), "libvips"),
    "OME with sub-IFDs": (lambda p, a: write_ome(p, [a, a[::2, ::2]]), "tifffile"),
    "SVS": (lambda p, a: write_svs(p, [a], "MPP = 0.25"), "cucim"),
    "png": (write_png, "libvips"),
}


@pytest.mark.parametrize("flavour", EXACT)
def test_every_lossless_flavour_reads_exactly_through_its_reader(tmp_path, flavour):
    write, reader = EXACT[flavour]
    pixels = noise()
    path = tmp_path / ("slide.png" if flavour == "png" else "slide.tif")
    write(path, pixels)
    with Slide(path) as slide:
        assert (slide.reader, slide.size) == (reader, SIZE)
        for (x, y), (w, h) in PLACES:
            np.testing.assert_array_equal(slide.read((x, y), (w, h)), pixels[y : y + h, x : x + w])


@pytest.mark.parametrize(
    ("options", "reader"),
    [({"tile": (128, 128)}, "cucim"), ({"rowsperstrip": 64}, "libvips")],
)
def test_jpeg_tiff_equals_tifffile(tmp_path, options, reader):
    path = tmp_path / "slide.tif"
    smooth = np.asarray(Image.fromarray(noise((50, 40))).resize(SIZE))
    tifffile.imwrite(path, smooth, compression="jpeg", photometric="rgb", metadata=None, **options)
    with Slide(path) as slide:
        assert (slide.reader, slide.compression) == (reader, "jpeg")
        np.testing.assert_array_equal(slide.read((0, 0), SIZE), tifffile.imread(path))


def test_jpeg_file_equals_pillow(tmp_path):
    path = tmp_path / "roi.jpg"
    smooth = Image.fromarray(noise((50, 40))).resize(SIZE)
    smooth.save(path, quality=90, subsampling=0)
    with Slide(path) as slide:
        ours = slide.read((0, 0), SIZE).astype(int)
    assert np.abs(ours - np.asarray(Image.open(path))).max() <= 1


def test_grey_is_repeated_in_three_channels(tmp_path):
    grey = noise(channels=1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", grey, tile=(128, 128), compression="lzw", metadata=None)
    write_png(tmp_path / "a.png", grey)
    for name in ("a.tif", "a.png"):
        with Slide(tmp_path / name) as slide:
            np.testing.assert_array_equal(slide.read((0, 0), SIZE), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_alpha_is_laid_over_the_background(tmp_path, name):
    pixels = noise(channels=4)
    pixels[..., 3] = 255
    pixels[:100, :50, 3] = 0
    pixels[200, 300] = (100, 100, 100, 51)
    if name == "a.png":
        write_png(tmp_path / name, pixels)
    else:
        write_levels(tmp_path / name, [pixels], compression="zlib", extrasamples=["unassalpha"])
    with Slide(tmp_path / name, background=(10, 20, 30)) as slide:
        read = slide.read((0, 0), SIZE)
    assert (read[:100, :50] == (10, 20, 30)).all()
    assert read[200, 300].tolist() == [28, 36, 44]
    np.testing.assert_array_equal(read[201:], pixels[201:, :, :3])


def test_one_level_that_would_crash_cucim_keeps_it_away(tmp_path):
    levels = [noise(), noise((358, 261), seed=1)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        options = {"tile": (128, 128), "photometric": "rgb", "metadata": None}
        writer.write(levels[0], compression="lzw", **options)
        writer.write(levels[1], compression="zlib", predictor=True, subfiletype=1, **options)
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.reader == "tifffile"
        np.testing.assert_array_equal(slide.read((0, 0), (358, 261), 2), levels[1])


def test_label_macro_and_thumbnail_are_no_levels(tmp_path):
    levels = [noise(), noise((179, 130), seed=1)]
    write_svs(tmp_path / "a.svs", levels, "AppMag = 40|MPP = 0.2500|Left = 1")
    with Slide(tmp_path / "a.svs") as slide:
        assert slide.levels == [SIZE, (179, 130)]
        assert (slide.mpp, slide.mpp_source) == (0.25, "header")
        np.testing.assert_array_equal(slide.read((0, 0), (179, 130), 4), levels[1])


def test_threads_share_a_slide(tmp_path):
    pixels = noise()
    for name, write in (("a.tif", tiled("lzw")), ("b.tif", tiled("zstd")), ("c.png", write_png)):
        write(tmp_path / name, pixels)
        wrong = []

        def work(slide, seed, wrong=wrong):
            rng = np.random.default_rng(seed)
            for _ in range(15):
                x, y = int(rng.integers(0, WIDTH - 60)), int(rng.integers(0, HEIGHT - 50))
                if not (slide.read((x, y), (60, 50)) == pixels[y : y + 50, x : x + 60]).all():
                    wrong.append((x, y))

        with Slide(tmp_path / name) as slide:
            threads = [threading.Thread(target=work, args=(slide, seed)) for seed in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert wrong == []

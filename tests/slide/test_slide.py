import io
import shutil
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import SIZE, noise, write_levels, write_ome, write_png, write_svs

from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide import Slide
from holohisto.slide.slide import block_means

WIDTH, HEIGHT = SIZE
PLACES = [((0, 0), SIZE), ((129, 250), (260, 77)), ((WIDTH - 5, HEIGHT - 7), (5, 7))]
JPEG2000_ROUNDING = 1


def brute_mean(pixels, factor):
    """Block means, rounded half up, of whole blocks, in the plainest way."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    blocks = pixels[: height * factor, : width * factor].astype(float)
    blocks = blocks.reshape(height, factor, width, factor, -1)
    return np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)


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


def test_outside_is_the_background_on_every_side(tmp_path):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels])
    with Slide(tmp_path / "a.tif", background=(1, 2, 3)) as slide:
        read = slide.read((-30, -20), (WIDTH + 70, HEIGHT + 50))
        nothing = slide.read((WIDTH + 500, 0), (9, 4))
    expected = np.full((HEIGHT + 50, WIDTH + 70, 3), (1, 2, 3), np.uint8)
    expected[20 : 20 + HEIGHT, 30 : 30 + WIDTH] = pixels
    np.testing.assert_array_equal(read, expected)
    assert (nothing == (1, 2, 3)).all()
    assert nothing.shape == (4, 9, 3)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_reduction_from_level_0_is_the_mean_over_padded_background(tmp_path, factor):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels])
    width, height = ceil_div(WIDTH, factor), ceil_div(HEIGHT, factor)
    padded = np.full((height * factor, width * factor, 3), (250, 240, 230), np.uint8)
    padded[:HEIGHT, :WIDTH] = pixels
    with Slide(tmp_path / "a.tif", background=(250, 240, 230)) as slide:
        whole = slide.read((0, 0), (width, height), factor)
        part = slide.read((20 * factor, 11 * factor), (33, 21), factor)
    np.testing.assert_array_equal(whole, brute_mean(padded, factor))
    np.testing.assert_array_equal(part, whole[11:32, 20:53])


def test_large_reductions_read_in_parts_are_the_same(tmp_path, monkeypatch):
    write_levels(tmp_path / "a.tif", [noise()])
    with Slide(tmp_path / "a.tif") as slide:
        whole = slide.read((0, 0), (180, 131), 4)
        monkeypatch.setattr("holohisto.slide.slide.SOURCE_SIDE", 60)
        np.testing.assert_array_equal(slide.read((0, 0), (180, 131), 4), whole)


def test_means_are_rounded_half_up():
    pixels = np.array([[0, 1], [0, 1]], np.uint8)[..., None]
    assert block_means(pixels, 2).item() == 1  # 0.5
    white = np.full((100, 50, 3), 255, np.uint8)
    assert (block_means(white, 50) == 255).all()  # sums beyond 16 bits


@pytest.mark.parametrize("write", [write_levels, write_ome])
def test_the_largest_level_that_divides_the_factor_is_read(tmp_path, write):
    levels = [noise(), noise((358, 261), seed=1), noise((89, 65), seed=2)]
    write(tmp_path / "a.tif", levels)
    with Slide(tmp_path / "a.tif", background=(0, 0, 0)) as slide:
        assert slide.levels == [SIZE, (358, 261), (89, 65)]
        np.testing.assert_array_equal(slide.read((40, 60), (90, 70), 2), levels[1][30:100, 20:110])
        np.testing.assert_array_equal(
            slide.read((40, 60), (50, 40), 4), brute_mean(levels[1][30:110, 20:120], 2)
        )
        np.testing.assert_array_equal(slide.read((40, 64), (7, 9), 8), levels[2][8:17, 5:12])
        np.testing.assert_array_equal(
            slide.read((30, 60), (20, 10), 3), brute_mean(levels[0][60:90, 30:90], 3)
        )


def test_a_level_of_uneven_downsample_is_read_at_the_right_pixel_everywhere(tmp_path):
    size = (2897, 2311)  # 724 and 577 at a quarter: cuCIM's downsample is 4.0033
    level = noise((724, 577), seed=3)
    write_levels(tmp_path / "a.tif", [np.zeros((size[1], size[0], 3), np.uint8), level])
    rng = np.random.default_rng(0)
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.reader == "cucim"
        for x, y in zip(rng.integers(0, 700, 60), rng.integers(0, 560, 60), strict=True):
            read = slide.read((4 * int(x), 4 * int(y)), (20, 15), 4)
            np.testing.assert_array_equal(read, level[y : y + 15, x : x + 20])


def test_a_level_that_is_no_whole_reduction_is_left_alone(tmp_path):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels, noise((340, 250), seed=1)])
    with Slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(
            slide.read((0, 0), (300, 200), 2), brute_mean(pixels[:400, :600], 2)
        )


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


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((20000, 20000), "CENTIMETER", 0.5),
        ((101600, 101600), "INCH", 0.25),
        ((72, 72), "INCH", None),
        ((28.35, 28.35), "CENTIMETER", None),
        ((20000, 20000), "NONE", None),
        ((1, 1), "INCH", None),
    ],
)
def test_mpp_from_tags_and_nonsense_is_absent(tmp_path, resolution, unit, mpp):
    write_levels(tmp_path / "a.tif", [noise()], resolution=resolution, resolutionunit=unit)
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == (mpp if mpp is None else pytest.approx(mpp))
        assert slide.mpp_source == ("tags" if mpp else None)


def test_mpp_given_wins_over_the_header(tmp_path):
    write_ome(tmp_path / "a.ome.tif", [noise()], mpp=0.37)
    with Slide(tmp_path / "a.ome.tif") as slide:
        assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.37), "header")
    with Slide(tmp_path / "a.ome.tif", mpp=0.4) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.4, "sheet")
        assert slide.header_mpp == pytest.approx(0.37)


def bordered(colour):
    pixels = noise(top=150)
    pixels[..., 0] += 60
    for edge in (np.s_[:60], np.s_[-60:], np.s_[:, :60], np.s_[:, -60:]):
        pixels[edge] = colour
    return pixels


@pytest.mark.parametrize(
    ("pixels", "colour"),
    [
        (bordered((243, 241, 244)), (243, 241, 244)),
        (bordered((0, 0, 0)), (0, 0, 0)),
        (bordered((180, 90, 140)), (255, 255, 255)),
    ],
    ids=["glass", "blacked out", "tissue to the edge"],
)
def test_background_is_estimated_from_the_borders(tmp_path, pixels, colour):
    write_levels(tmp_path / "a.tif", [pixels])
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.background == colour


def test_overview_fits_and_tells_its_scale(tmp_path):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels])
    with Slide(tmp_path / "a.tif", background=(0, 0, 0)) as slide:
        picture, scale = slide.overview(100)
        assert (picture.shape, scale) == ((66, 90, 3), 8.0)
        np.testing.assert_array_equal(picture[:65, :89], brute_mean(pixels, 8))


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


def test_fingerprint_is_of_the_content(tmp_path):
    path, copy = tmp_path / "a.tif", tmp_path / "elsewhere.tif"
    write_levels(path, [noise()])
    shutil.copy(path, copy)
    write_levels(tmp_path / "b.tif", [noise(seed=9)])
    with Slide(path) as a, Slide(copy) as same, Slide(tmp_path / "b.tif") as other:
        assert a.fingerprint == same.fingerprint != other.fingerprint


def write_16_bit(path):
    tifffile.imwrite(path, noise().astype(np.uint16), tile=(128, 128), photometric="rgb")


def write_16_bit_png(path):
    Image.fromarray(noise()[..., 0].astype(np.uint16)).save(path, "PNG")


def write_stack(path):
    tifffile.imwrite(path, np.stack([noise()] * 3), tile=(128, 128), photometric="rgb")


def write_fluorescence(path):
    tifffile.imwrite(path, np.moveaxis(noise(), 2, 0), photometric="minisblack")


def write_palette(path):
    tifffile.imwrite(
        path,
        noise(channels=1)[..., 0],
        photometric="palette",
        colormap=np.zeros((3, 256), np.uint16),
    )


def write_cut_tiff(path):
    with tifffile.TiffWriter(path) as writer:
        writer.write(noise(), tile=(128, 128), photometric="rgb", metadata=None)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


def write_cut_png(path):
    file = io.BytesIO()
    Image.fromarray(noise()).save(file, "PNG")
    path.write_bytes(file.getvalue()[:400_000])


def write_bad_tile(path):
    write_levels(path, [noise()], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[offset : offset + 300] = bytes(300)
    path.write_bytes(data)


def write_bad_middle(path):
    write_levels(path, [noise()], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 30] = bytes(28)
    path.write_bytes(data)


REFUSED = {
    "missing": (lambda p: None, "No such file"),
    "folder": (lambda p: p.mkdir(), "Is a directory"),
    "empty": (lambda p: p.write_bytes(b""), "is not an image"),
    "text": (lambda p: p.write_text("slide\timage\n"), "is not an image"),
    "16 bit": (write_16_bit, "16-bit"),
    "16-bit png": (
        lambda p: Image.fromarray(noise()[..., 0].astype("u2")).save(p, "PNG"),
        "ushort",
    ),
    "cmyk": (lambda p: Image.new("CMYK", SIZE).save(p, "JPEG"), "cmyk"),
    "stack": (write_stack, "3 pages"),
    "fluorescence": (write_fluorescence, "3 pages"),
    "palette": (write_palette, "palette"),
    "cut tiff": (write_cut_tiff, "cut off"),
    "cut png": (write_cut_png, "damaged"),
    "bad tile": (write_bad_tile, "incomplete: its first or last bytes"),
    "bad middle of a tile": (write_bad_middle, "cannot be decoded"),
    "tiff header alone": (
        lambda p: p.write_bytes(b"II*\0\x08\0\0\0"),
        "cut off.*found 8 bytes; allowed 10",
    ),
    "tiff without picture": (lambda p: p.write_bytes(b"II*\0\0\0\0\0"), "lists no picture"),
    "null byte": (None, "null byte"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, case):
    write, words = REFUSED[case]
    path = tmp_path / ("slide.img" if write else "null\0byte")
    if write:
        write(path)
    with pytest.raises(HolohistoError, match=words) as caught, Slide(path) as slide:
        slide.read((0, 0), (10, 10))
    assert repr(str(path))[1:-1] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_every_truncation_of_a_tiff_is_told_in_plain_words(tmp_path, bigtiff):
    """Cut anywhere, in the tags or in the tiles, of any level: refused, and told as such."""
    whole = tmp_path / "whole.tif"
    with tifffile.TiffWriter(whole, bigtiff=bigtiff) as writer:
        for depth, level in enumerate([noise((150, 90)), noise((75, 45))]):
            writer.write(
                level,
                tile=(64, 64),
                compression="jpeg",
                photometric="rgb",
                metadata=None,
                subfiletype=depth,
            )
    data = whole.read_bytes()
    path = tmp_path / "cut.tif"
    for length in [*range(4, 300, 5), *range(300, len(data) - 8, 211), len(data) - 8]:
        path.write_bytes(data[:length])
        with pytest.raises(HolohistoError) as caught:
            Slide(path)
        text = str(caught.value)
        assert f"cut off: its tags point beyond its end (found {length}" in text
        assert "bytes at least); copy the file again from its source" in text


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "zlib"])
def test_a_gap_in_a_tile_of_any_level_is_found(tmp_path, compression):
    path = tmp_path / "a.tif"
    write_levels(path, [noise(), noise((358, 261))], compression=compression)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        offset, count = page.dataoffsets[4], page.databytecounts[4]
    data = bytearray(path.read_bytes())
    data[offset + count // 3 : offset + count] = bytes(count - count // 3)
    path.write_bytes(data)
    with pytest.raises(HolohistoError, match="tile 4 of the level 358x261 is incomplete"):
        Slide(path)


@pytest.mark.parametrize(("padding", "fine"), [(0, True), (4, True), (5, False)])
def test_a_few_bytes_after_the_end_of_a_jpeg_are_padding(tmp_path, padding, fine):
    encoded = io.BytesIO()
    Image.fromarray(noise((128, 112))).save(encoded, "JPEG", subsampling=0)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(
            iter([encoded.getvalue() + bytes(padding)]),
            shape=(112, 128, 3),
            dtype=np.uint8,
            tile=(112, 128),
            compression="jpeg",
            photometric="ycbcr",
            metadata=None,
        )
    if fine:
        with Slide(tmp_path / "a.tif") as slide:
            assert slide.size == (128, 112)
    else:
        with pytest.raises(HolohistoError, match="incomplete"):
            Slide(tmp_path / "a.tif")


SIZES = {
    "boxes.tiff": (300, 250),
    "boxes_0.dcm": (16, 16),
    "boxes_1.dcm": (16, 16),
    "cmu-1-small-region.svs": (2220, 2967),
    "he_ome.tif": (1380, 1484),
    "mosaic_a.tif": (4519, 2693),
    "mosaic_a_mask.tif": (4519, 2693),
    "mosaic_b.tif": (4519, 2693),
    "mosaic_b_mask.tif": (4519, 2693),
    "mosaic_c.tif": (4519, 2693),
    "mosaic_c_mask.tif": (4519, 2693),
    "opm_label_map.tiff": (15360, 23552),
    "small.svs": (16, 16),
    "tcga-cr-7395-01a-01-ts1.svs": (4443, 3567),
}


REFUSED_FILES = {
    "broken.svs": "is not an image that can be read",
    "small_dicom.dcm": "OpenSlide cannot open the slide: .*Couldn't get image flavor",
    "small_vectra.qptiff": "is not a brightfield slide .found 3 pages, axes CYX",
    "unopenable.tiff": "cannot be decoded: 52479 is not a known COMPRESSION",
    "unreadable.svs": "tile 0 of the level 16x16 cannot be decoded: Bogus marker length",
}


@pytest.mark.data
def test_real_slides_read_exactly_or_are_refused(data, subtests):
    """Every file against a reader that shares no code with the one that reads it."""
    for path in sorted((data / "slides").iterdir()):
        with subtests.test(path.name):
            if path.name in REFUSED_FILES:
                with pytest.raises(HolohistoError, match=REFUSED_FILES[path.name]):
                    Slide(path)
            else:
                check_real_slide(path)


def check_real_slide(path):
    with Slide(path, background=(17, 130, 240)) as slide:
        assert slide.size == SIZES[path.name]
        other = Independent(path, slide)
        tolerance = JPEG2000_ROUNDING if "jp2000" in slide.compression else 0
        for factor in (1, 2):
            for place in real_places(slide.size, factor):
                size = 155, 123
                ours = slide.read(place, size, factor).astype(int)
                theirs = other.read(place, size, factor)
                assert np.abs(ours - theirs).max() <= tolerance, (place, factor)


def real_places(size, factor):
    """Level-0 corners: random ones, and pictures partly outside at all sides and corners."""
    rng = np.random.default_rng(5)
    width, height = size
    inside = [(int(rng.integers(0, width)), int(rng.integers(0, height))) for _ in range(6)]
    edges = [(x, y) for x in (-40, width // 2, width - 61) for y in (-30, height // 2, height - 47)]
    return [(x // factor * factor, y // factor * factor) for x, y in inside + edges]


class Independent:
    """A slide by other code: libvips (libtiff) for what cuCIM and tifffile read, tifffile for
    JPEG 2000, Pillow on the frame cut out of a DICOM file."""

    def __init__(self, path, slide):
        self.fill, self.sizes = slide.background, slide.levels
        if path.suffix == ".dcm":
            # boxes_1 is the thumbnail of the series whose only level is boxes_0.
            data = path.with_name("boxes_0.dcm").read_bytes()
            frame = data[data.index(b"\xff\xd8\xff") : data.rindex(b"\xff\xd9") + 2]
            picture = np.asarray(Image.open(io.BytesIO(frame)).convert("RGB"))
            self.pages = {slide.size: picture[: slide.size[1], : slide.size[0]]}
        elif slide.compression == "aperio_jp2000_rgb":
            assert slide.reader == "cucim"
            with tifffile.TiffFile(path) as tiff:
                tiled = [page for page in tiff.pages if page.is_tiled]
                self.pages = {(page.imagewidth, page.imagelength): page.asarray() for page in tiled}
        else:
            assert slide.reader in ("cucim", "tifffile")
            self.pages = vips_pages(path)

    def read(self, xy, size, factor):
        downs = [round(self.sizes[0][0] / level[0]) for level in self.sizes]
        level = downs.index(factor) if factor in downs else 0
        if downs[level] == factor:
            return self.crop(level, xy[0] // factor, xy[1] // factor, *size)
        padded = self.crop(level, *xy, size[0] * factor, size[1] * factor)
        return brute_mean(padded, factor)

    def crop(self, level, x, y, width, height):
        page = self.pages[self.sizes[level]]
        right, bottom = self.sizes[level]
        result = np.full((height, width, 3), self.fill, np.uint8)
        x0, x1, y0, y1 = max(x, 0), min(x + width, right), max(y, 0), min(y + height, bottom)
        if x0 < x1 and y0 < y1:
            if isinstance(page, np.ndarray):
                part = page[y0:y1, x0:x1]
            else:
                part = page.crop(x0, y0, x1 - x0, y1 - y0).numpy()
            result[y0 - y : y1 - y, x0 - x : x1 - x] = part.reshape(y1 - y0, x1 - x0, -1)
        return result


def vips_pages(path):
    import pyvips

    count = pyvips.Image.tiffload(str(path)).get("n-pages")
    pages = [pyvips.Image.tiffload(str(path), page=index) for index in range(count)]
    return {(page.width, page.height): page for page in reversed(pages)}

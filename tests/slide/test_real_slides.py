"""Real slides against readers that share no code with ours."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import brute_mean

from holohisto.errors import HolohistoError
from holohisto.slide import Slide

JPEG2000_ROUNDING = 1
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
    "small_vectra.qptiff": "several pictures of one size: .* .found 3 pages, axes CYX",
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

"""Ten thousand objects: cleaning, tracing across bands, GeoJSON for QuPath.

A label map of 22,448 x 23,205 with 10,000 discs of about 100 pixels across. Prints the seconds of
each step; no other tool does the same work.
"""

import time

import numpy as np

from holohisto.config.sections import MaskOptions
from holohisto.masks import cleaning, geojson, outlines
from holohisto.masks.cleaning import BAND, Bands
from holohisto.masks.frame import Frame
from holohisto.slide.scale import Scale

SIZE, SIDE = (22_448, 23_205), 100


def bands() -> Bands:
    """Discs on a lattice of 100 x 100, so that many cross a border of bands."""
    width, height = SIZE
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = (x**2 + y**2 < (SIDE / 2) ** 2).astype(np.uint8)
    columns = np.linspace(0, width - SIDE, 100).astype(int)
    rows = np.linspace(0, height - SIDE, 100).astype(int)
    labels = np.zeros((height, width), np.uint8)
    for top in rows:
        for left in columns:
            labels[top : top + SIDE, left : left + SIDE] |= disc
    return Bands(SIZE, lambda: (labels[top : top + BAND] for top in range(0, height, BAND)))


def main() -> None:
    """Run once and print."""
    labels = bands()
    frame = Frame("s", "m", (SIZE[0] * 2, SIZE[1] * 2), (0.25, 0.25), Scale.whole(2))
    start = time.perf_counter()
    objects = cleaning.find(labels, [0], frame.pixel_um2, MaskOptions())
    cleaned = time.perf_counter()
    cleaning.find(labels, [0], frame.pixel_um2, MaskOptions(), names=["glomerulus"])
    searched = time.perf_counter()
    count = characters = 0
    for _, numbers, polygons in outlines.polygons_of(labels, objects):
        exact = outlines.scaled(polygons, frame.scale, frame.size)
        areas = np.array([polygon.area for polygon in exact])
        thinned = outlines.thin(exact, 1.0)
        for text in geojson.features(
            thinned, numbers, areas, objects[0].table, frame, "glomerulus", "#00c853"
        ):
            count, characters = count + 1, characters + len(text)
    end = time.perf_counter()
    print(f"{count} objects, {characters / 2**20:.1f} MB of GeoJSON")
    print(f"cleaning {cleaned - start:.2f} s, with a search for necks {searched - cleaned:.2f} s")
    print(f"outlines and GeoJSON {end - searched:.2f} s")
    assert count == 10_000


if __name__ == "__main__":
    main()

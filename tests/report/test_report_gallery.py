"""The gallery of the report."""

import re

from report_page import Page, run_of

from holohisto.report.pictures import gallery


def test_pictures_stand_beside_each_other(html):
    """A field of every group by every model; false positives and negatives of failures."""
    part = html[html.index('id="gallery"') : html.index('id="slides"')]
    titles = re.findall(r"<figcaption>([^<]+)", part)
    row = ["input", "annotation", "holohisto", "floor", "whole slide"]
    assert titles[: 4 * len(row)] == 4 * row
    text = Page(f"<section {part.rsplit('<section', 1)[0]}").text
    assert "glomerulus, 17 000 µm² no overlap" in text
    assert "overlap 31 %" in text
    assert "overlap 62 %, reduced 2.3 times" in text
    assert text.count("no overlap") == 3 + 1
    assert text.count("nothing") == 2  # nothing missed
    for alt in ("input, slide DN_13", "False negatives: glomerulus"):
        assert f'alt="{alt}' in part


def test_the_gallery_leaves_room_for_the_slides(folder):
    run = run_of(folder, models={"holohisto": {}}, reference="holohisto")
    sizes = {
        room: sum(
            len(one.picture.data)
            for strip in (*fields, *failures)
            for one in (*strip.pictures, *strip.missed)
        )
        for room in (0, 150_000, 10**7)
        for fields, failures, _ in [gallery.strips(run, room)]
    }
    number = 4 * 5 + 3 * 3 + 1
    assert 0 < sizes[0] <= number * (gallery.SMALLEST * 4 / 3 + 30)
    assert sizes[0] < sizes[150_000] <= 155_000 < sizes[10**7]
    assert sizes[10**7] <= number * (gallery.LARGEST * 4 / 3 + 30)

"""Opening the slides that train the tokenizer."""

import numpy as np
from disc_slides import SIZE, drawn
from PIL import Image

from holohisto.config.augmentation import Augmentation
from holohisto.config.sections import CheckOptions, ClassOptions, ForegroundOptions
from holohisto.config.training import TokenizerOptions
from holohisto.foreground.map import find_foreground, save_foreground
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.open_files import OpenFiles
from holohisto.runtime.results import Results
from holohisto.slide.record import inspect
from holohisto.tiles.grid import Tile
from holohisto.tokenizer.tissue_tiles import TissueTiles, training_tissue

OPTIONS = TokenizerOptions(tile=64, multipliers=(1, 1, 1), augmentation=Augmentation())


def cohort_of(folder, names):
    """Slides with records, foregrounds and masks of `tuft`; returns the sheet and the results."""
    results, rows = Results(folder), []
    for seed, name in enumerate(names):
        rgb, disc = drawn(seed, 220)
        image, mask = folder / f"{name}.tif", folder / f"{name}.png"
        write_slide_pyramid(image, rgb, 0.5)
        Image.fromarray(disc.astype(np.uint8) * 255).save(mask)
        record = inspect(name, image, None, None, CheckOptions())
        for path in (results.record(name), results.foreground(name)):
            path.parent.mkdir(parents=True, exist_ok=True)
        results.record(name).write_text(record.text())
        with record.open(image) as slide:
            found = find_foreground(slide, record, ForegroundOptions(), 0.05)
        save_foreground(results.foreground(name), found, record)
        rows.append((name, str(image), str(mask), "tuft", "train"))
    sheet = folder / "slides.tsv"
    header = ("slide", "image", "annotation", "annotated", "split")
    sheet.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)))
    return sheet, results


CLASSES = {"tuft": ClassOptions(), "tubule": ClassOptions()}


def test_annotations_are_opened_for_classes_only(tmp_path):
    sheet, results = cohort_of(tmp_path, ["a"])
    everywhere = Tile(0, 0, *SIZE)
    (slide,) = training_tissue(sheet, results, CLASSES, OpenFiles(10**9))
    assert slide.known == (True, False)
    np.testing.assert_array_equal(slide.annotated(everywhere)[..., 0], drawn(0, 220)[1])
    assert not slide.annotated(everywhere)[..., 1].any()
    assert slide.size == SIZE
    (slide,) = training_tissue(sheet, results, {}, OpenFiles(10**9))
    assert (slide.annotation, slide.known) == (None, ())


def test_slides_and_masks_that_were_closed_are_read_alike(tmp_path):
    """The bytes of open files are bounded, whatever the number of slides."""
    sheet, results = cohort_of(tmp_path, ["a", "b", "c", "d"])
    steps = []
    for most in (0, 10**9):
        files = OpenFiles(most)
        source = TissueTiles(training_tissue(sheet, results, CLASSES, files))
        steps.append([source.batch(n, 3, OPTIONS, 0) for n in range(6)])
        kept = files.kept_bytes
        assert kept <= most
        assert (kept > 4 * SIZE[0] * SIZE[1]) == (most > 0)
    for closed, opened in zip(*steps, strict=True):
        assert np.array_equal(closed.seen, opened.seen)
        assert np.array_equal(closed.annotated, opened.annotated)
    assert any(batch.annotated.any() for batch in steps[0])

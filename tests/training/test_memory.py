"""Memory of a training: bounded by bytes, not by the number of images, with the same result."""

import numpy as np
import pytest
from lightning_fabric import Fabric
from PIL import Image
from training_runs import OPTIONS, SIZE, Pixels, numbers, run, slide, trainer

from holohisto.annotation import Annotation
from holohisto.annotation.reopened import ReopenedAnnotation
from holohisto.config.sections import ClassOptions
from holohisto.foreground.tissue import Tissue
from holohisto.runtime.open_files import OpenFiles
from holohisto.segmenter.inputs import Inputs
from holohisto.slide import Slide
from holohisto.slide.reopened import ReopenedSlide
from holohisto.slide.scale import Scale
from holohisto.training.slides import TrainingSlide
from holohisto.training.validation import Validation

PICTURE_BYTES = 3 * SIZE[0] * SIZE[1]
ONE = Scale.whole(1)


def pictures(folder, count):
    """PNG images and masks."""
    for n in range(count):
        pixels = Pixels(n)
        Image.fromarray(pixels.rgb).save(folder / f"{n}.png")
        Image.fromarray(pixels.bits * 255).save(folder / f"{n}_mask.png")


def opened(folder, n, files):
    """A training slide of the files with number n."""
    path, classes = folder / f"{n}_mask.png", {"a": ClassOptions()}
    usual = slide(n)
    pixels = ReopenedSlide(files, lambda: Slide(folder / f"{n}.png", mpp=0.5))
    return TrainingSlide(
        name=usual.name,
        tissue=Tissue(pixels, ONE, usual.tissue.foreground),
        annotation=ReopenedAnnotation(files, path, lambda: Annotation(path, classes, SIZE, ONE)),
        known=(True,),
        area=usual.area,
        token_map=usual.token_map,
    )


def test_files_that_were_closed_are_read_alike(tmp_path):
    pictures(tmp_path, 1)
    found = []
    for most in (0, 10**9):
        files = OpenFiles(most)
        a_slide = opened(tmp_path, 0, files)
        tile = next(iter(Validation([a_slide], _inputs(), (96, 64), 16, _fabric(), 1).tiles))[1]
        found.append((a_slide.rgb(tile), *a_slide.target(tile), a_slide.tissue.slide.fingerprint))
        assert (files.kept_bytes == 0) == (most == 0)
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)
    assert found[0][1].any()


def test_many_images_are_kept_in_the_bytes_of_a_few(tmp_path):
    pictures(tmp_path, 12)
    files = OpenFiles(4 * PICTURE_BYTES)
    slides = [opened(tmp_path, n, files) for n in range(12)]
    most = 0
    batches = trainer(OPTIONS, slides=slides).batches
    for step in range(12):
        batches.read(step)
        most = max(most, files.kept_bytes)
    assert 3 * PICTURE_BYTES < most <= 4 * PICTURE_BYTES
    everything = OpenFiles(10**9)
    for a_slide in (opened(tmp_path, n, everything) for n in range(12)):
        a_slide.annotation.read((0, 0), SIZE)
    assert everything.kept_bytes > 12 * PICTURE_BYTES


@pytest.mark.parametrize("workers", [0, 2])
def test_a_tiny_bound_does_not_change_the_training(workers, tmp_path):
    pictures(tmp_path, 3)
    options, results = OPTIONS.model_copy(update={"steps": 4, "validate_every": 2}), []
    for name, most in (("a", 0), ("b", 10**9)):
        files = OpenFiles(most)
        slides = [opened(tmp_path, n, files) for n in range(3)]
        a_trainer = trainer(options, decoder="tokens", slides=slides, workers=workers)
        (tmp_path / name).mkdir()
        results.append(numbers(run(a_trainer, tmp_path / name)))
    assert results[0] == results[1]


def test_validation_keeps_tiles_up_to_a_bound_and_scores_alike():
    slides = [slide(3), slide(4)]
    model = trainer(decoder="tokens").average.model
    usual = Validation(slides, Inputs(model, None), (96, 64), 16, _fabric(), 1)
    tile_bytes = usual._read(0).nbytes
    assert usual._kept == {}
    bounded = Validation(
        slides, Inputs(model, None), (96, 64), 16, _fabric(), 2, kept_bytes=5 * tile_bytes + 1
    )
    first, second = bounded.dice(model), bounded.dice(model)
    assert first == second == usual.dice(model)
    assert sum(batch.nbytes for batch in bounded._kept.values()) == 5 * tile_bytes


def _fabric():
    return Fabric(accelerator="cpu", devices=1)


def _inputs():
    return Inputs(trainer().raw_model, None)

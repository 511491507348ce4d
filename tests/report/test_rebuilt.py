"""Pictures of tissue beside its reconstruction from tokens."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_pictures import pictures
from token_records import run_with

from holohisto.report.pictures.embedded import EmbeddedPicture
from holohisto.report.pictures.rebuilt import Rebuilt, gain_over_plain, rebuilt
from holohisto.report.tables.tokens import qualities


def squares(path: Path, original: np.ndarray, again: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([original, again])).save(path, "PNG")


def test_the_gain_is_over_a_mosaic_of_mean_colours(tmp_path):
    """Stripes of 100 and 140: the mosaic is 120 everywhere and errs by 20, the rebuilt by 2."""
    original = np.full((52, 70, 3), 100, np.uint8)
    original[:, ::2] = 140
    squares(tmp_path / "a.png", original, original + np.uint8(2))
    assert gain_over_plain(tmp_path / "a.png", 16) == pytest.approx(20.0)
    squares(tmp_path / "b.png", original, np.full_like(original, 120))
    assert gain_over_plain(tmp_path / "b.png", 16) == pytest.approx(0.0)
    assert math.isnan(gain_over_plain(tmp_path / "a.png", 0))
    squares(tmp_path / "c.png", original, original)
    assert math.isnan(gain_over_plain(tmp_path / "c.png", 16))


def test_pictures_are_of_the_lowest_and_the_median_likeness(tmp_path):
    run = run_with(tmp_path, *({"psnr": float(value)} for value in (24, 20, 23, 22, 21, 26)))
    original, _ = pictures(340, np.random.default_rng(0))
    pixels = np.asarray(original)[:200, :300]
    for slide in ("s0", "s2", "s3", "s4", "s5"):  # the lowest, s1, has no picture
        squares(run.results.folder / f"tokens/{slide}.jpg", pixels, pixels // 2)
    made = rebuilt(run, qualities(run), 100)
    assert [(pair.slide, pair.rank) for pair in made] == [
        ("s4", "lowest PSNR"),
        ("s2", "median PSNR"),
    ]
    assert (made[0].picture.width, made[0].picture.height) == (150, 200)
    assert [(math.isnan(pair.gain), pair.words) for pair in made] == [(True, "")] * 2  # no check/
    (run.results.folder / "check").mkdir()
    (run.results.folder / "check/s4.json").write_text(
        '{"working_size": [717, 489]}'
    )  # 717 / 45 = 15.9
    (first, _) = rebuilt(run, qualities(run), 100)
    assert first.gain == pytest.approx(gain_over_plain(run.results.folder / "tokens/s4.jpg", 16))
    assert first.words == (
        "The lower row is no closer to the upper row than a mosaic with the mean colour of each"
        " token's square: the tokens hold little more than colours."
    )
    squares(run.results.folder / "tokens/s4.jpg", pixels, np.clip(pixels, 1, 254) + np.uint8(1))
    (first, _) = rebuilt(run, qualities(run), 100)
    assert first.gain > 10
    assert f"is {first.gain:.1f} dB closer to the upper row than a mosaic" in first.words


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (
            -2.0,
            "no closer to the upper row than a mosaic with the mean colour of each token's square:"
            " the tokens hold little more than colours.",
        ),
        (
            0.49,
            "no closer to the upper row than a mosaic with the mean colour of each token's square:"
            " the tokens hold little more than colours.",
        ),
        (
            0.5,
            "0.5 dB closer to the upper row than a mosaic with the mean colour of each token's"
            " square, a small gain: fine structures are blurred.",
        ),
        (
            3.0,
            "3.0 dB closer to the upper row than a mosaic with the mean colour of each token's"
            " square.",
        ),
    ],
)
def test_the_gain_in_words(gain, words):
    pair = Rebuilt("s", "", EmbeddedPicture("", 1, 1), gain)
    assert pair.words == f"The lower row is {words}"


def test_one_or_two_slides_give_one_picture(tmp_path):
    pixels = np.full((20, 34, 3), 9, np.uint8)
    for slides in ([{}], [{}, {"psnr": 20.0}]):
        run = run_with(tmp_path, *slides)
        squares(run.results.folder / f"tokens/s{len(slides) - 1}.jpg", pixels, pixels)
        (pair,) = rebuilt(run, qualities(run), 100)
        assert pair.slide == f"s{len(slides) - 1}"
    (run.results.folder / "tokens/s1.jpg").write_text("no picture")
    (run.results.folder / "tokens/s0.jpg").unlink()
    assert rebuilt(run, qualities(run), 100) == []

"""What slides cost under a configuration: exact sums, and the words of `check`."""

import re

import numpy as np
import pytest
from PIL import Image
from slide_files import tissue, write_levels

from holohisto.cli import main
from holohisto.config.config import Config
from holohisto.config.parsing import parse_config
from holohisto.planning import seconds
from holohisto.planning.cost import (
    cost_of,
    estimate,
    summary,
    token_summary,
    training_summary,
)
from holohisto.planning.seconds import Seconds
from holohisto.runtime.units import bytes_text, time_text
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale

SIZE = (33_000, 16_001)
"""At level 0; twice the working resolution: 517,032 tokens."""
WORKING = (16_500, 8_001)


def settings(**tokens) -> Config:
    return parse_config({"tokens": tokens, "infer": {"overlap": 0.5}})


@pytest.fixture
def record() -> SlideRecord:
    return SlideRecord(
        slide="a",
        image="a.tif",
        size=SIZE,
        mpp=0.25,
        mpp_y=0.25,
        mpp_source="header",
        reader="cucim",
        compression="jpeg",
        levels=[SIZE],
        background=(255, 255, 255),
        scale=Scale.whole(2),
        working_size=WORKING,
        working_mpp=0.5,
        fingerprint="0",
        estimates=estimate(SIZE, WORKING),
    )


def test_a_training_slide_is_encoded_in_every_variant_and_not_segmented(record):
    cost = cost_of(record, "train", settings())
    assert (cost.tokens, cost.token_bytes, cost.result_bytes) == (517_032, 8 * 1_034_064, 0)
    assert cost.encoding == seconds.of_encoding(SIZE, WORKING, 8, 1.0, settings())
    assert cost.infer == Seconds(0, 0)
    assert (cost.disk_bytes, cost.seconds) == (cost.token_bytes, cost.encoding)


def test_a_test_slide_is_encoded_once_and_segmented_by_every_model(record):
    models = {"t": {"kind": "holohisto", "size": "T"}, "floor": {"kind": "colour_threshold"}}
    both = parse_config({"models": models, "infer": {"overlap": 0.5}})
    cost = cost_of(record, "test", both)
    assert cost.token_bytes == 1_034_064
    assert cost.result_bytes == record.estimates["result_bytes"] > 10_000_000
    assert cost.disk_bytes == cost.token_bytes + cost.result_bytes
    assert cost.encoding == seconds.of_encoding(SIZE, WORKING, 1, 1.0, both)
    t, floor = (
        seconds.of_inference(SIZE, WORKING, both.models[name], 1.0, both) for name in models
    )
    assert (cost.infer, cost.seconds) == (t + floor, cost.encoding + t + floor)
    assert t.cpu > 2 * floor.cpu > 0


def test_only_tissue_is_computed_where_its_share_is_known(record):
    half = record.model_copy(update={"estimates": {**record.estimates, "tissue": 0.5}})
    whole, less = cost_of(record, "test", settings()), cost_of(half, "test", settings())
    assert less.encoding == seconds.of_encoding(SIZE, WORKING, 1, 0.5, settings())
    assert less.infer.cpu - 3 == pytest.approx((whole.infer.cpu - 3) / 2)
    assert "as if all of it were tissue" in summary([(record, "test")], settings())
    assert "as if all of it were tissue" not in summary([(half, "test")], settings())


def test_online_keeps_no_map_and_encodes_what_it_segments(record):
    online = settings(mode="online")
    taught, tested = cost_of(record, "train", online), cost_of(record, "test", online)
    assert (taught.disk_bytes, taught.seconds) == (0, Seconds(0, 0))
    assert (tested.token_bytes, tested.encoding) == (0, Seconds(0, 0))
    assert tested.infer.cpu > 5 * cost_of(record, "test", settings()).infer.cpu


@pytest.mark.parametrize(
    ("tokens", "variants"),
    [
        ({}, 8),
        ({"orientations": 1}, 8),
        ({"appearances": 0}, 8),
        ({"orientations": 1, "appearances": 0}, 1),
        ({"orientations": 1, "appearances": 2}, 3),
        ({"appearances": 11}, 12),
    ],
)
def test_variants_are_the_larger_of_orientations_and_looks(record, tokens, variants):
    assert settings(**tokens).tokens.variants == variants
    assert cost_of(record, "train", settings(**tokens)).token_bytes == variants * 1_034_064
    assert cost_of(record, "val", settings(**tokens)).token_bytes == 1_034_064


@pytest.mark.parametrize(
    ("models", "infer", "encodings"),
    [
        ({"m": {"kind": "holohisto"}}, ["test"], {"train": 8, "val": 1, "test": 1, "predict": 0}),
        (
            {"m": {"kind": "holohisto", "weights": "m"}},
            ["test", "predict"],
            {"train": 0, "val": 0, "test": 1, "predict": 1},
        ),
        (
            {"m": {"kind": "holohisto", "weights": "m"}},
            ["train"],
            {"train": 8, "val": 0, "test": 0, "predict": 0},
        ),
        (
            {"m": {"kind": "colour_threshold"}},
            ["test"],
            {"train": 0, "val": 0, "test": 0, "predict": 0},
        ),
        (
            {"m": {"kind": "colour_threshold"}, "n": {"kind": "holohisto"}},
            ["val"],
            {"train": 8, "val": 1, "test": 0, "predict": 0},
        ),
    ],
)
def test_only_slides_whose_tokens_are_read_are_encoded(models, infer, encodings):
    parsed = parse_config({"models": models, "infer": {"splits": infer}})
    assert {split: parsed.encodings(split) for split in encodings} == encodings
    online = parse_config(
        {"models": models, "infer": {"splits": infer}, "tokens": {"mode": "online"}}
    )
    assert [online.encodings(split) for split in encodings] == [0, 0, 0, 0]


def test_the_summaries_of_a_cohort(record):
    slides = [(record, split) for split in ["train"] * 12 + ["val"] * 2 + ["test"] * 28]
    many, one, none = (seconds.of_encoding(SIZE, WORKING, n, 1.0, settings()) for n in (8, 1, 0))
    assert none == Seconds(0, 0)

    def text(count: int, each: Seconds) -> str:
        gpu, cpu = time_text(count * each.gpu), time_text(count * each.cpu)
        return f"{gpu} on one GPU ({cpu} on one CPU core)"

    assert token_summary(slides, settings()) == (
        f"tokens: 12 training slides x 8 variants: 99.3 MB, about {text(12, many)};"
        f" 30 other slides x 1 variant: 31.0 MB, about {text(30, one)};"
        " tokens.orientations: 1 and tokens.appearances: 0 would save 86.9 MB and"
        f" {text(12, many - one)}"
    )
    # val is segmented too: 30 slides have results
    each = record.estimates["result_bytes"]
    assert summary(slides, settings()).startswith(
        "42 slides to process: 21,715,344 tokens at f = 16, about 130.3 MB of token maps and"
        f" {bytes_text(30 * each)} of results per model"
    )
    assert "on one CPU core) for 1 model, training not counted" in summary(slides, settings())


@pytest.mark.parametrize(
    ("tokens", "advice"),
    [
        ({"orientations": 1}, "tokens.appearances: 0 would save 7.2 MB and "),
        ({"appearances": 0}, "tokens.orientations: 1 would save 7.2 MB and "),
        ({"orientations": 1, "appearances": 0}, None),
    ],
)
def test_only_what_helps_is_advised(record, tokens, advice):
    text = token_summary([(record, "train")], settings(**tokens))
    assert "tokens: 1 training slide x " in text
    if advice is None:
        assert text.startswith("tokens: 1 training slide x 1 variant: 1.0 MB, about ")
        assert "would save" not in text
    else:
        assert advice in text


def test_the_time_of_training_is_that_of_each_model_that_is_trained():
    models = {
        "t": {"kind": "holohisto", "size": "T"},
        "given": {"kind": "holohisto", "weights": "w"},
        "floor": {"kind": "colour_threshold"},
        "unet": {"kind": "unet"},
    }
    text = training_summary(parse_config({"models": models}))
    assert re.findall(r"(?:: |; )(\w+) about", text) == ["tokenizer", "t", "unet"]
    checkpoint = {"models": {"floor": models["floor"]}, "tokenizer": {"checkpoint": "c"}}
    assert training_summary(parse_config(checkpoint)) == "training: none"


def test_cohorts_without_token_maps_say_so(record):
    slides = [(record, "train"), (record, "test")]
    assert token_summary(slides, settings(mode="online")) == (
        "tokens: mode online keeps no token maps, 0 bytes; every training tile is encoded anew"
        " each time it is drawn, and every tile of a slide while it is segmented"
    )
    assert "about 0 bytes of token maps" in summary(slides, settings(mode="online"))
    floor = parse_config({"models": {"floor": {"kind": "colour_threshold"}}})
    assert token_summary(slides, floor) == "tokens: none, no model reads them"
    unseen = parse_config({"infer": {"splits": ["test"]}})
    assert token_summary([(record, "predict")], unseen) == "tokens: none, no slide needs them"


def test_the_verb_prints_variants_of_training_slides_before_anything_runs(tmp_path, capsys):
    write_levels(
        tmp_path / "a.tif",
        [tissue((717, 523), (100, 80, 500, 400))],
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    drawn = np.pad(np.full((200, 300), 255, np.uint8), ((100, 223), (100, 317)))
    Image.fromarray(drawn).save(tmp_path / "m.png")
    (tmp_path / "sheet.tsv").write_text(
        f"slide\timage\tsplit\tannotation\none\t{tmp_path}/a.tif\ttrain\t{tmp_path}/m.png\n"
    )

    def shown(text: str) -> list[str]:
        (tmp_path / "c.yaml").write_text(text)
        sheet, given = str(tmp_path / "sheet.tsv"), str(tmp_path / "c.yaml")
        assert main(["check", "--sheet", sheet, "--config", given]) == 0
        return capsys.readouterr().out.splitlines()

    lines = shown("tokens: {appearances: 9}")
    words = lines[1].split()
    words = words[words.index("1,485") :]
    assert words[:6] == ["1,485", "10", "29.7", "kB", "29.7", "kB"]
    assert words[-1] == "ok"
    assert lines[-2].startswith("tokens: 1 training slide x 10 variants: 29.7 kB, about ")
    assert "tokens.orientations: 1 and tokens.appearances: 0 would save 26.7 kB and" in lines[-2]
    assert lines[-1].startswith("training: tokenizer about ")
    lines = shown("tokens: {mode: online}")
    words = lines[1].split()
    assert words[words.index("1,485") :] == ["1,485", "-", "-", "-", "-", "-", "ok"]
    assert "keeps no token maps" in lines[-2]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (bytes_text(0), "0 bytes"),
        (bytes_text(3), "0.1 kB"),
        (bytes_text(61_900), "61.9 kB"),
        (bytes_text(1_420_000), "1.4 MB"),
        (bytes_text(2.3e9), "2.3 GB"),
        (time_text(0), "0.1 s"),
        (time_text(1.63), "1.6 s"),
        (time_text(42.4), "42 s"),
        (time_text(1340), "22 min"),
        (time_text(9000), "2.5 h"),
    ],
)
def test_numbers_are_short_and_zero_only_where_nothing_is(shown, text):
    assert shown == text


def test_estimates_are_of_one_encoding_and_one_pass():
    """33,000 x 16,001 pixels at level 0, 16,500 x 8,001 = 132,016,500 at working resolution."""
    numbers = estimate(SIZE, WORKING)
    assert 1e7 < numbers.pop("result_bytes") < 3e7
    assert numbers == {
        "token_map": [1032, 501],
        "tokens": 517_032,
        "token_bytes": 1_034_064,
        "reading_seconds": 8.801,  # 528,033,000 / 60e6
    }


def test_the_disk_of_a_small_slide_is_near_the_measured():
    """Of 4519x2693 pixels, 0.83 to 1.2 MB were measured: the overlay 0.2, GeoJSON 0.1 to 0.35."""
    numbers = estimate((4519, 2693), (4519, 2693))
    assert 0.8e6 < numbers["token_bytes"] + numbers["result_bytes"] < 1.8e6

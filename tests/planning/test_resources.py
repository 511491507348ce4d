"""Memory and time that a slide's job requests from a cluster."""

import pytest

from holohisto.config.parsing import parse_config
from holohisto.planning.cost import estimate
from holohisto.planning.resources import Need, need_of, read_or_unseen, unseen
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import Scale


def record(width: int, height: int, factor: int = 2) -> SlideRecord:
    working = ceil_div(width, factor), ceil_div(height, factor)
    return unseen().model_copy(
        update={
            "size": (width, height),
            "working_size": working,
            "scale": Scale.whole(factor),
            "estimates": estimate((width, height), working),
        }
    )


@pytest.mark.parametrize(
    ("rule", "split", "expected"),
    [
        ("foreground", "test", Need(2000 + 2 * 200, 15 + 3)),  # 2 gigapixels, 33 s to read
        # encoded in 14 s, 8 times in 73 s when trained with; two bytes for 16 x 16, twice
        ("tokens", "test", Need(8000 + 2 * 200 + 8, 15 + 2)),
        ("tokens", "train", Need(8000 + 2 * 200 + 63, 15 + 10)),
        # a row of tiles 25,000 x 2,160, for the class and the weights, 8 bytes a pixel
        ("infer", "test", Need(12000 + 2 * 200 + 864, 15 + 4)),
        ("mask", "test", Need(2000 + 2 * 300, 15 + 14)),
        ("metrics", "test", Need(2000 + 2 * 300, 15 + 14)),
    ],
)
def test_memory_and_time_follow_the_size(rule, split, expected):
    assert need_of(rule, record(50_001, 39_999), split, parse_config({})) == expected


def test_classes_and_the_tile_count_for_inference():
    settings = parse_config(
        {
            "classes": {"tuft": {"values": [1]}, "capsule": {"values": [2]}},
            "infer": {"tile": [2048, 1080]},
        }
    )
    need = need_of("infer", record(50_001, 39_999), "test", settings)
    assert need.mem_mb == 12000 + 400 + round(3 * 1080 * 25_001 * 8 / 1e6)


def test_a_slide_that_was_not_checked_yet_is_taken_for_a_large_one(tmp_path):
    path = tmp_path / "s1.json"
    assert read_or_unseen(path).size == (150_000, 100_000)
    path.write_text("{")
    assert read_or_unseen(path).size == (150_000, 100_000)
    path.write_text(record(717, 523).text())
    assert read_or_unseen(path).size == (717, 523)

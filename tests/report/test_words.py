"""Numbers as text."""

import math

from holohisto.report import words


def test_words_of_numbers():
    assert words.duration(3.24) == "3.2 s"
    assert words.duration(61) == "61 s"
    assert words.duration(245.4) == "4 min 05 s"
    assert words.duration(30_000) == "8 h 20 min"
    assert words.memory(900) == "900 MB"
    assert words.memory(21_040) == "21.0 GB"
    assert words.memory(9.94) == "9.9 MB"
    assert words.memory(0.042) == "0.042 MB"
    assert words.count(1_234_567) == "1\u202f234\u202f567"
    assert words.memory(math.nan) == "–"
    assert words.percent(0.93785) == "93.78"
    assert words.probability(0.00003) == "< 0.0001"
    assert words.probability(0.01562) == "0.016"

"""Scores of a made-up slide from the command line, and Dice by brute force."""

import json

from labelled_slide import LabelledSlide

from holohisto import cli

CLASSES = {"tuft": {"values": [1, 3]}, "capsule": {"values": [2, 3]}}


def run_metrics(slide: LabelledSlide, *more: str, mask: dict | None = None) -> dict:
    output = slide.folder / "{model}" / "{slide}.json"
    code = cli.main(
        [
            "metrics",
            str(slide.labels),
            "--record",
            str(slide.check),
            "--annotation",
            str(slide.annotation),
            "--foreground",
            str(slide.foreground),
            "--probability",
            str(slide.probability),
            "--options",
            '{"tile": [200, 300]}',
            "--mask-options",
            json.dumps(mask or {}),
            "--classes",
            json.dumps(CLASSES),
            "--output",
            str(output),
            *more,
        ]
    )
    assert code == 0
    return json.loads((slide.folder / "m1" / "s1.json").read_text())


def slow_dice(predicted, annotated) -> float:
    total = predicted.sum() + annotated.sum()
    return 2 * (predicted & annotated).sum() / total if total else 1.0

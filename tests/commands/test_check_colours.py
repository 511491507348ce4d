"""Slides coloured unlike training, in the table of `check --sheet`."""

import json
from pathlib import Path

import numpy as np
from pen_pictures import PENS, drawn, with_pen
from PIL import Image
from slide_files import tissue, write_levels

from holohisto.cli import main
from holohisto.foreground.map import Foreground, save_foreground
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import COMMON, Colour

BLUE = Colour.of((0.48, 0.30, 0.21), COMMON.covariance)
HALF = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


class Record:
    slide, scale, fingerprint, working_mpp = "s", Scale.whole(1), "p", 0.5


def statuses(capsys):
    assert main(["check", "--sheet", "sheet.tsv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line.split(" s  ")[-1] for line in lines[1:3]}


def test_unlike_slides_are_marked_where_foreground_maps_exist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, slide in enumerate(("t", "e")):
        rgb = tissue((320, 256), (40, 40, 200, 160 + number))
        write_levels(Path(f"{slide}.tif"), [rgb], **HALF)
    Image.fromarray(np.where(rgb[..., 0] < 225, np.uint8(255), np.uint8(0))).save("t.png")
    Path("sheet.tsv").write_text(
        "slide\timage\tannotation\tsplit\nt\tt.tif\tt.png\ttrain\ne\te.tif\t\tpredict\n"
    )
    assert not any("colours" in status for status in statuses(capsys).values())
    Path("results/foreground").mkdir(parents=True)
    for slide, colour in (("t", COMMON), ("e", BLUE)):
        foreground = Foreground(np.ones((4, 5), bool), 16, 0.05, colour)
        save_foreground(Path(f"results/foreground/{slide}.tif"), foreground, Record())
    found = statuses(capsys)
    assert "colours" not in found["t"]
    assert "; colours unlike every training slide: distance 7.2 from" in found["e"]
    assert found["e"].endswith("results on it are less certain")


def test_ink_is_a_warning_of_the_overview_and_then_of_the_foreground_map(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_levels(Path("t.tif"), [with_pen(drawn()[0], PENS["blue"]).astype(np.uint8)], **HALF)
    write_levels(Path("e.tif"), [drawn()[0].astype(np.uint8)], **HALF)
    Path("sheet.tsv").write_text("slide\timage\tsplit\nt\tt.tif\tpredict\ne\te.tif\tpredict\n")
    before = statuses(capsys)
    assert "; ink of a pen or a dark edge on " in before["t"]
    assert before["e"] == "ok"
    Path("results/foreground").mkdir(parents=True)
    foreground = Foreground(np.ones((4, 5), bool), 16, 0.05, COMMON, ink=0.1234)
    save_foreground(Path("results/foreground/t.tif"), foreground, Record())
    after = statuses(capsys)["t"]
    assert after.count("ink of a pen") == 1
    assert "ink of a pen or a dark edge on 12.3 % of what is stained: it does not count" in after
    assert main(["check", "t.tif", "--slide", "t", "--output", "t.json"]) == 0
    (warning,) = json.loads(Path("t.json").read_text())["warnings"]
    assert warning.startswith("ink of a pen or a dark edge on ")

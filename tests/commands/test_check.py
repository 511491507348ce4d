"""The verb `check`: one slide, or the table of a sheet."""

import json

import numpy as np
import pytest
import tifffile
from slide_files import SIZE, noise, tissue, write_levels, write_svs

from holohisto.cli import main

PIXELS = tissue(SIZE, (100, 80, 500, 400))
HALF = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slide.tif"
    write_levels(path, [PIXELS, PIXELS[::2, ::2][:261, :358]], **HALF)
    return path


def test_the_verb_writes_the_record_and_warns_of_an_empty_annotation(slide, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((523, 717), np.uint8), metadata=None)
    output = tmp_path / "new" / "s1.json"
    code = main(
        [
            "check",
            str(slide),
            "--slide",
            "s1",
            "--annotation",
            str(tmp_path / "a.tif"),
            "--slide-mpp",
            "0.25",
            "--options",
            '{"mpp": 0.5}',
            "--classes",
            '{"glomerulus": {"values": [3]}}',
            "--output",
            str(output),
        ]
    )
    assert code == 0
    record = json.loads(output.read_text())
    assert (record["slide"], record["scale"], record["mpp_source"]) == ("s1", ["2", "2"], "sheet")
    assert any("shows none of the classes" in text for text in record["warnings"])


@pytest.mark.parametrize(
    "words", [["IMAGE", "--sheet", "x.tsv"], ["IMAGE", "--slide", "a"], ["IMAGE"], []]
)
def test_the_verb_needs_one_slide_or_a_sheet(words):
    assert main(["check", *words]) == 2


@pytest.mark.parametrize("slide_id", ["../../x", "a/b", "", "a\n", ".hidden", "cohort", "a b"])
def test_the_id_is_held_to_the_rules_of_the_sheet(slide, tmp_path, caplog, slide_id):
    output = tmp_path / "o.json"
    assert main(["check", str(slide), "--slide", slide_id, "--output", str(output)]) == 2
    assert not output.exists()


@pytest.mark.parametrize("mpp", ["0", "nan", "-1", "inf", "0.009", "100.1"])
def test_the_mpp_is_held_to_the_rules_of_the_sheet(slide, tmp_path, capsys, mpp):
    arguments = ["--slide", "a", f"--slide-mpp={mpp}", "--output", str(tmp_path / "o.json")]
    assert main(["check", str(slide), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "allowed a number from 0.01 to 100" in line


@pytest.mark.parametrize(
    ("image", "words"),
    [("a\0b", "is no path of an image"), (".", "Is a directory"), ("gone.tif", "No such file")],
)
def test_what_is_no_file_is_reported_in_one_line(tmp_path, capsys, image, words):
    arguments = ["--slide", "a", "--output", str(tmp_path / "o.json")]
    assert main(["check", image, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_config_that_was_named_must_be_there(slide, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(f"slide\timage\tsplit\none\t{slide}\ttest\n")
    assert main(["check", "--sheet", str(sheet), "--config", "nope.yaml"]) == 2
    assert "nope.yaml: cannot be read: No such file" in capsys.readouterr().err
    assert main(["check", "--sheet", str(sheet)]) == 0
    assert "checking with the defaults" in capsys.readouterr().err
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("check: [wrong]\n")
    assert main(["check", "--sheet", str(sheet)]) == 2


HEADINGS = (
    "slide split group reader compression levels size mpp scale background annotation tokens "
    "variants map disk gpu cpu status"
)
ONE = (
    "test DN cucim lzw 2 717x523 0.5 (tags) 1 #f3f3f3 level 0 1,485 1 3.0 kB 0.1 MB 6.0 s 41 s "
    "ok; same image as twin"
)
B = "- cucim lzw 1 717x523 0.25 (header) 2 white - 391 1 0.8 kB 0.1 MB 6.0 s 36 s ok"


def test_the_cohort_table_has_a_row_for_every_slide(slide, tmp_path, capsys):
    write_svs(tmp_path / "b.svs", [noise()], "MPP = 0.25")
    (tmp_path / "broken.svs").write_bytes(b"IJrE")
    drawn = np.pad(np.ones((200, 300), np.uint8), ((100, 223), (100, 317)))
    tifffile.imwrite(tmp_path / "a.tif", drawn, metadata=None)
    (tmp_path / "sheet.tsv").write_text(
        "slide\timage\tsplit\tgroup\texclude\tnote\tannotation\n"
        f"one\t{slide}\ttest\tDN\t\t\t{tmp_path}/a.tif\n"
        f"twin\t{slide}\ttest\tDN\t\t\t\n"
        f"b\t{tmp_path}/b.svs\tpredict\t\t\t\t\n"
        f"bad\t{tmp_path}/broken.svs\ttest\tDN\t\t\t\n"
        f"out\t{tmp_path}/nothing.tif\ttest\tDN\tyes\tblurred\t\n"
    )
    (tmp_path / "c.yaml").write_text("classes: {glomerulus: {}}\n")
    arguments = ["--sheet", str(tmp_path / "sheet.tsv"), "--config", str(tmp_path / "c.yaml")]
    assert main(["check", *arguments]) == 2
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    table = {line.split()[0]: line for line in lines}
    assert " ".join(lines[0].split()) == HEADINGS
    assert " ".join(table["one"].split()[1:]) == ONE
    assert " ".join(table["b"].split()[2:]) == B
    assert "ERROR" in table["bad"]
    assert "is not an image that can be read" in table["bad"]
    assert table["out"].endswith("excluded: blurred")
    statuses = {line.index(word) for line, word in ((lines[0], "status"), (table["bad"], "ERROR"))}
    assert len(statuses) == 1
    assert lines[-3:] == [
        "3 slides to process: 3,361 tokens at f = 16, about 6.7 kB of token maps and 0.4 MB of"
        " results per model (and its weights), about 18 s on one GPU (2 min on one CPU core) for 1"
        " model, training not counted; at most, as if all of it were tissue",
        "tokens: 3 slides x 1 variant: 6.7 kB, about 9.1 s on one GPU (2 min on one CPU core)",
        "training: tokenizer about 29 min on one GPU (143.7 h on one CPU core);"
        " holohisto about 82 min on one GPU (1137.3 h on one CPU core)",
    ]
    assert "1 of 5 slides cannot be processed: bad" in shown.err

"""The command line: quick to start, one clear line and exit code 2 for each mistake."""

import argparse
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holohisto import cli
from holohisto.pyramid.write import write_slide_pyramid

HEADER = "slide\timage\tsplit\tannotation\n"
HEAVY = ("pandas", "numpy", "torch", "pydantic", "tifffile", "pyvips", "openslide", "matplotlib")


def run(capsys, *arguments: object) -> tuple[int, list[str]]:
    """Exit code and error lines, without their time and level."""
    code = cli.main([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.splitlines()
    return code, [line.split(" ERROR ", 1)[1] for line in lines if " ERROR " in line]


def mistake(capsys, *arguments: object) -> str:
    code, lines = run(capsys, *arguments)
    assert code == 2
    assert len(lines) == 1
    return lines[0]


def rgb(width: int = 700, height: int = 530) -> np.ndarray:
    """A pink ellipse on white."""
    y, x = np.mgrid[:height, :width]
    tissue = ((x - width / 2) / (0.4 * width)) ** 2 + ((y - height / 2) / (0.4 * height)) ** 2 < 1
    pixels = np.full((height, width, 3), 244, np.uint8)
    pixels[tissue] = (214, 140, 190)
    return pixels


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slide.tif"
    write_slide_pyramid(path, rgb(), 0.5)
    return path


def check(capsys, image: Path, *more: object) -> str:
    return mistake(
        capsys,
        "check",
        image,
        "--slide",
        "a",
        *more,
        "--classes",
        '{"glomerulus": {}}',
        "--output",
        image.parent / "a.json",
    )


def test_help_loads_no_heavy_module():
    code = (
        "import sys\nfrom holohisto import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_a_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    assert f"holohisto {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_option_of_every_verb_has_help(verb):
    parser = argparse.ArgumentParser()
    import_module(f"holohisto.commands.{verb}").add_arguments(parser)
    parsers = [parser]
    for each in parsers:  # it grows: the layouts of `init` are parsers of their own
        assert [action.dest for action in each._actions if not action.help] == []
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()


def test_an_unknown_verb_is_refused_with_the_list(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["segmentate"])
    assert ended.value.code == 2
    assert "foreground" in capsys.readouterr().err


def test_a_bug_is_told_as_one_with_a_traceback(capsys, monkeypatch):
    def fail(arguments):
        raise ZeroDivisionError("here")

    monkeypatch.setattr("holohisto.commands.init.run", fail)
    code, lines = run(capsys, "init", "folder", ".", "--output", "x.tsv")
    assert code == 1
    assert "bug in holohisto" in lines[0]


def test_the_log_holds_what_the_terminal_shows(capsys, tmp_path):
    log = tmp_path / "logs" / "a.log"
    missing = tmp_path / "none.tif"
    line = mistake(
        capsys, "--log", log, "check", missing, "--slide", "a", "--output", tmp_path / "a.json"
    )
    assert log.read_text().rstrip().endswith(f"ERROR {line}")


def test_a_log_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").touch()
    code = cli.main(["--log", str(tmp_path / "file" / "a.log"), "check", "x.tif"])
    assert code == 2
    assert "is a file, not a folder" in capsys.readouterr().err


def cohort(capsys, tmp_path, *lines: str, config: str = "", header: str = HEADER):
    sheet = tmp_path / "slides.tsv"
    sheet.write_text(header + "".join(line + "\n" for line in lines))
    path = tmp_path / "config.yaml"
    path.write_text(config or f"slides: {sheet}\n")
    return run(capsys, "check", "--sheet", sheet, "--config", path)


def test_a_wrong_column(capsys, tmp_path):
    code, lines = cohort(capsys, tmp_path, "a\ta.tif\ttest", header="slide\timage\tsplit\tmask\n")
    assert code == 2
    assert "line 1, column mask: unknown column; allowed slide, image" in lines[0]


def test_a_duplicate_id(capsys, tmp_path):
    code, lines = cohort(capsys, tmp_path, "a\ta.tif\ttest\t", "a\tb.tif\ttest\t")
    assert code == 2
    assert "line 3, column slide: id 'a' is already on line 2" in lines[0]


def test_an_unknown_key(capsys, tmp_path, slide):
    row = f"a\t{slide}\ttest\t"
    code, lines = cohort(capsys, tmp_path, row, config="infer:\n  ovrlap: 0.5\n")
    assert code == 2
    assert "infer.ovrlap: unknown key" in lines[0]


def test_one_bad_slide_of_a_sheet_is_told_and_the_others_are_checked(capsys, tmp_path, slide):
    code = cli.main(
        [
            "check",
            "--sheet",
            str(
                write_rows(tmp_path, f"good\t{slide}\ttest\t", f"bad\t{tmp_path}/none.tif\ttest\t")
            ),
            "--config",
            str(write_config(tmp_path)),
        ]
    )
    shown = capsys.readouterr()
    assert code == 2
    table = (shown.out + shown.err).splitlines()
    assert any("good" in line and "700" in line for line in table)
    assert any("bad" in line and "none.tif" in line for line in table)


def write_rows(folder: Path, *lines: str) -> Path:
    path = folder / "slides.tsv"
    path.write_text(HEADER + "".join(line + "\n" for line in lines))
    return path


def write_config(folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"slides: {folder}/slides.tsv\n")
    return path


def test_a_missing_slide(capsys, tmp_path):
    assert "none.tif" in check(capsys, tmp_path / "none.tif")


def test_a_truncated_slide(capsys, slide):
    slide.write_bytes(slide.read_bytes()[:2000])
    line = check(capsys, slide)
    assert str(slide) in line


def test_a_text_file_as_slide(capsys, tmp_path):
    path = tmp_path / "slide.svs"
    path.write_text("not a slide\n" * 200)
    assert str(path) in check(capsys, path)


def test_a_slide_without_mpp_names_the_fix(capsys, tmp_path):
    path = tmp_path / "roi.png"
    Image.fromarray(rgb()).save(path)
    line = check(capsys, path)
    assert "mpp" in line
    assert "sheet" in line


def test_an_annotation_of_another_size(capsys, tmp_path, slide):
    path = tmp_path / "annotation.png"
    Image.fromarray(np.zeros((300, 200), np.uint8)).save(path)
    line = check(capsys, slide, "--annotation", path)
    assert str(path) in line
    assert "200" in line
    assert "700" in line


def test_a_slide_without_tissue(capsys, tmp_path):
    path = tmp_path / "blank.tif"
    write_slide_pyramid(path, np.full((530, 700, 3), 244, np.uint8), 0.5)
    record = tmp_path / "a.json"
    assert run(capsys, "check", path, "--slide", "a", "--output", record) == (0, [])
    line = mistake(
        capsys,
        "foreground",
        path,
        "--record",
        record,
        "--foreground",
        tmp_path / "f.tif",
        "--picture",
        tmp_path / "f.jpg",
    )
    assert "saturation" in line
    assert not (tmp_path / "f.tif").exists()


def test_a_folder_that_cannot_be_written(capsys, tmp_path, slide):
    (tmp_path / "file").touch()
    line = mistake(capsys, "check", slide, "--slide", "a", "--output", tmp_path / "file" / "a.json")
    assert "is a file, not a folder" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [("{mpp", "Invalid JSON"), ('{"mppp": 1}', "mppp: unknown key"), ('{"mpp": -1}', "mpp: ")],
)
def test_options_that_are_no_json_or_hold_mistakes(capsys, tmp_path, slide, options, words):
    output = tmp_path / "a.json"
    line = mistake(capsys, "check", slide, "--slide", "a", "--options", options, "--output", output)
    assert words in line
    assert not output.exists()


def test_a_flag_is_not_abbreviated(capsys):
    """A former `--tokens` would be read as `--tokens-options`."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["segment", "a.png", "--out", "found"])
    assert ended.value.code == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x" * 300 + ".tif", "a.tif/b.tif", "loop.tif"])
def test_a_path_that_leads_to_no_file_is_one_line(tmp_path, capsys, name):
    (tmp_path / "a.tif").touch()
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    words = ["check", str(tmp_path / name), "--slide", "x", "--output", str(tmp_path / "o.json")]
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be read" in line


@pytest.mark.parametrize(
    "classes",
    ['{"../x": {}}', '{"a\\n": {}}', '{"=1": {}}', json.dumps({f"c{n}": {} for n in range(9)})],
)
def test_classes_of_the_command_line_have_the_bounds_of_the_configuration(capsys, classes):
    assert cli.main(["check", "a.tif", "--slide", "x", "--classes", classes]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "ERROR options: " in line

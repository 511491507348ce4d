"""Text of a sheet, a file or a log reaches tables, reports and terminals as text alone."""

import logging

import pandas as pd
import pytest

from holohisto import cli
from holohisto.config.parsing import parse_config
from holohisto.config.steps import as_json
from holohisto.errors import LONGEST, MOST_LINES, HolohistoError, SeveralErrors, one_line
from holohisto.planning.workflow import Plan
from holohisto.report.failures import reason_in
from holohisto.runtime.tsv import guarded, unguarded
from holohisto.sheet.rows import read_sheet
from holohisto.statistics.files import read_table, write_table

SCRIPT = "</script><script>alert(1)</script>"
FORMULAS = ("=HYPERLINK(1)", "@SUM(1)", "+/+", "-/-", "-2+3+cmd|' /C calc'!A0", "=1")
PLAIN = ("-", "-0.25", "+3", "1e-5", "CKD 3a", "a=b", "-inf", "12 (-3)", "")


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_compute_is_guarded(cell):
    assert guarded(cell) == f"'{cell}"
    assert unguarded(guarded(cell)) == cell


@pytest.mark.parametrize("cell", [*PLAIN, "'quoted", "'-3"])
def test_numbers_and_other_cells_stay_as_they_are(cell):
    assert guarded(cell) == cell
    assert unguarded(cell) == cell


def test_groups_like_formulas_come_back_from_a_table(tmp_path):
    table = pd.DataFrame({"group": list(FORMULAS), "dice": [-0.5] * len(FORMULAS)})
    write_table(table, tmp_path / "t.tsv")
    lines = (tmp_path / "t.tsv").read_text().splitlines()
    assert lines[1] == "'=HYPERLINK(1)\t-0.5"
    assert all(line[0] == "'" for line in lines[1:])
    assert read_table(tmp_path / "t.tsv").equals(table)


def test_a_sheet_may_hold_guarded_cells(tmp_path):
    path = tmp_path / "slides.tsv"
    path.write_text("slide\timage\tsplit\tgroup\na\ta.tif\ttest\t'+/+\n")
    assert read_sheet(path)["a"].group == "+/+"


@pytest.mark.parametrize("cell", ["a\x1b[31mred", "a\x9b", "a\u2028b"])
def test_a_cell_with_control_characters_is_refused(tmp_path, cell):
    path = tmp_path / "slides.tsv"
    path.write_text(f"slide\timage\tsplit\tgroup\na\ta.tif\ttest\t{cell}\n")
    with pytest.raises(HolohistoError, match=r"column group: .* has .* in it") as caught:
        read_sheet(path)
    assert str(caught.value).isprintable()


def test_parameters_cannot_end_the_script_of_snakemakes_report(tmp_path):
    (tmp_path / "s.tsv").write_text(
        f"slide\timage\tsplit\tgroup\tsubject\nt\tt.tif\ttest\t{SCRIPT}\tm{SCRIPT}\n"
    )
    model = {"kind": "colour_threshold", "weights": "w.safetensors"}
    values = {"report": {"title": SCRIPT}, "slides": tmp_path / "s.tsv", "models": {"m": model}}
    plan = Plan.read(values)
    assert plan.json["report"] == as_json(plan.settings)["report"]
    assert SCRIPT not in plan.json["report"]
    assert plan.settings.report.model_validate_json(plan.json["report"]).title == SCRIPT
    text = plan.fields(["t"], "slide", "group", "subject")(None)
    assert "<" not in text
    assert "script" in text
    with pytest.raises(HolohistoError, match="slides: has '<' in it"):
        parse_config({"slides": f"{SCRIPT}.tsv"})


def test_an_error_is_one_printable_line_of_300_characters():
    text = str(HolohistoError("x" * 500, "is\x1b[31m\r\nwrong", found="y" * 20_000_000))
    assert len(text) == LONGEST
    assert text.isprintable()
    assert text.startswith("xxx")
    assert text.endswith("yyy")
    assert one_line("a\x1b[31mb\nc") == "a\\x1b[31mb c"
    lines = str(SeveralErrors([f"mistake {n}" for n in range(5000)])).splitlines()
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == f"and {5000 - MOST_LINES} more mistakes"


def test_a_message_with_escapes_or_line_breaks_is_one_line_of_the_log(tmp_path, monkeypatch):
    def run(_):
        logging.getLogger("x").warning("%s", "a\x1b[31m\n12:00:00 ERROR made up" + "z" * 20_000_000)
        raise HolohistoError("where", "what")

    monkeypatch.setattr("holohisto.commands.check.run", run)
    log = tmp_path / "a.log"
    assert cli.main(["--log", str(log), "check", "x.tif"]) == 2
    warning, error = log.read_text().splitlines()
    assert len(warning) < 5000
    assert "a\\x1b[31m\\n12:00:00 ERROR made up" in warning
    assert error.endswith("ERROR where: what")
    assert reason_in(log) == "where: what"


def test_a_log_without_end_is_read_from_its_end(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("12:00:00 ERROR first\n" + "x" * 3_000_000 + "\n12:00:01 ERROR \x1b[2Jlast\n")
    assert reason_in(log) == "\\x1b[2Jlast"

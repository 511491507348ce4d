"""The one line of an error: short, and facts before folders."""

from holohisto.errors import LONGEST, HolohistoError

PATH = "/data/" + "/".join(f"folder{n}" for n in range(20)) + "/slide.tif"


def test_a_short_line_names_the_whole_path():
    error = HolohistoError(PATH, "is damaged", found=1, allowed=2, advice="scan it again")
    assert str(error) == f"{PATH}: is damaged (found 1; allowed 2); scan it again"


def test_a_long_line_leaves_out_as_many_folders_as_it_must_and_no_fact():
    problem = "is " + "very " * 40 + "damaged"
    line = str(HolohistoError(PATH, problem, found=1, advice="scan it again"))
    where, rest = line.split(": ", 1)
    assert rest == f"{problem} (found 1); scan it again"
    assert len(line) <= LONGEST
    assert where.startswith(".../folder")
    assert where.endswith("/folder19/slide.tif")
    assert len(line) + len("/folder10") > LONGEST


def test_without_folders_the_middle_is_left_out():
    line = str(HolohistoError("--option", "x" * 400))
    assert len(line) == LONGEST
    assert line.startswith("--option: xxx")
    assert " ... " in line

"""The sample sheet: every mistake at once, with line and column."""

import os

import pytest

from holohisto.errors import HolohistoError
from holohisto.runtime.paths import ALLOWED
from holohisto.sheet.rows import drawn_files, missing_files, read_sheet

HEADER = (
    "slide\timage\tsplit\tannotation\tgroup\tsubject\tmpp\tsaturation\tannotated\texclude\tnote\n"
)


def write(folder, *lines, header=HEADER):
    path = folder / "slides.tsv"
    path.write_text(header + "".join(line + "\n" for line in lines))
    return path


def mistakes(path, classes=None):
    with pytest.raises(HolohistoError) as caught:
        read_sheet(path, classes)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_a_full_row_and_a_bare_row(tmp_path):
    path = write(
        tmp_path,
        'k-1\ta b.svs\ttrain\tm.tif\tDN\tp1\t0.25\t0.1\tcapsule,tuft\t\t=looks, "odd"',
        "k.2\tc.tif\tpredict\t\t\t\t\t\t\tyes\t",
    )
    first, second = read_sheet(path, ("tuft", "capsule")).values()
    assert (first.slide, str(first.image), first.split) == ("k-1", "a b.svs", "train")
    assert (str(first.annotation), first.group, first.subject) == ("m.tif", "DN", "p1")
    assert (first.mpp, first.saturation, first.annotated) == (0.25, 0.1, ("capsule", "tuft"))
    assert not first.exclude
    assert second.exclude
    assert (second.annotation, second.group, second.mpp, second.annotated) == (None,) * 4


def test_only_three_columns_are_needed_in_any_order(tmp_path):
    path = write(tmp_path, "test\ta.tif\ta", header="split\timage\tslide\n")
    assert list(read_sheet(path)) == ["a"]


def test_all_mistakes_are_told_at_once(tmp_path):
    path = write(
        tmp_path,
        "../x\ta.tif\ttset\t\t\t\t\t\t\t\t",
        "b\t\ttest\t\t\t\tzero\t7\tkidney\tperhaps\t",
        "c\tc.tif\ttrain\t\t\t\t\t\t\t\t",
        "cohort\tc.tif\ttest\t\t\t\t\t\t\t\t",
    )
    found = mistakes(path, ("tuft",))
    assert [line.split(":")[0] for line in found] == [
        "line 2, column slide",
        "line 2, column split",
        "line 3, column image",
        "line 3, column mpp",
        "line 3, column saturation",
        "line 3, column annotated",
        "line 3, column exclude",
        "line 4, column annotation",
        "line 5, column slide",
    ]
    assert found[1] == "line 2, column split: found 'tset'; allowed train, val, test, predict"
    assert found[3].endswith("found 'zero'; allowed a number from 0.01 to 100.0")


def test_a_duplicate_id_names_both_lines(tmp_path):
    path = write(tmp_path, "a\ta.tif\ttest", "b\tb.tif\ttest", "a\tc.tif\ttest", header=HEADER3)
    assert mistakes(path) == [
        "line 4, column slide: id 'a' is already on line 2; every slide needs its own id"
    ]


def test_ids_that_differ_in_case_only_are_refused(tmp_path):
    """On a file system that ignores case they would overwrite each other's results."""
    path = write(tmp_path, "a\ta.tif\ttest", "A\tb.tif\ttest", header=HEADER3)
    assert mistakes(path)[0].startswith("line 3, column slide: id 'A' is already on line 2")


HEADER3 = "slide\timage\tsplit\n"


def test_unknown_and_missing_columns(tmp_path):
    path = write(tmp_path, "a\ttest\tx", header="slide\tsplit\tMask\n")
    unknown, missing = mistakes(path)
    assert unknown.startswith("line 1, column Mask: unknown column; allowed slide, image,")
    assert missing.startswith("line 1, column image: missing")


def test_commas_instead_of_tabs(tmp_path):
    path = write(tmp_path, "a,a.tif,test", header="slide,image,split\n")
    assert any("must be tab-separated" in line for line in mistakes(path))


def test_a_subject_in_two_splits_is_a_leak_unless_excluded_or_only_predicted(tmp_path):
    header = "slide\timage\tsplit\tannotation\tsubject\texclude\n"
    lines = ["a\ta.tif\ttrain\tm.tif\tp1\t", "b\tb.tif\ttest\tm.tif\tp1\t"]
    path = write(tmp_path, *lines, header=header)
    assert mistakes(path) == [
        "column subject: subject 'p1' is in several splits (train on line 2, test on line 3);"
        " keep all slides of one subject in one split"
    ]
    read_sheet(write(tmp_path, lines[0], lines[1] + "yes", header=header))
    read_sheet(write(tmp_path, lines[0], lines[1].replace("test", "predict"), header=header))


def test_groups_that_differ_in_case_are_one(tmp_path):
    header = "slide\timage\tsplit\tgroup\n"
    path = write(tmp_path, "a\ta\ttest\tNEP25", "b\tb\ttest\tnep25", header=header)
    assert [row.group for row in read_sheet(path).values()] == ["NEP25", "NEP25"]


def test_cells_are_text_and_not_guessed(tmp_path):
    """Ids such as 007 or NA stay what they are."""
    path = write(tmp_path, "007\ta.tif\ttest", "NA\tb.tif\ttest", header=HEADER3)
    assert list(read_sheet(path)) == ["007", "NA"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "sample sheet cannot be read: No such file"),
        ("", "is not a tab-separated table"),
        (HEADER3, "has no rows"),
        ("\n\t\n", "is not a tab-separated table: it is empty"),
        (HEADER3 + "\t\t\n", "has no rows"),
        (b"\xff\xfe\x00", "is not a tab-separated table"),
    ],
)
def test_files_that_are_no_sheet(tmp_path, text, problem):
    path = tmp_path / "slides.tsv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert mistakes(path)[0].startswith(problem)


def test_a_sheet_of_excluded_slides_only(tmp_path):
    path = write(tmp_path, "a\ta.tif\ttest\tyes", header="slide\timage\tsplit\texclude\n")
    assert "every slide is excluded" in mistakes(path)[0]


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "slides.tsv"
    path.write_bytes(
        b"\xef\xbb\xbf" + HEADER3.replace("\n", "\r\n").encode() + b"a\ta.tif\ttest\r\n"
    )
    assert read_sheet(path)["a"].split == "test"


@pytest.mark.parametrize("name", ["All", "all", "pooled"])
def test_groups_named_as_rows_of_the_tables_are_refused(tmp_path, name):
    path = write(tmp_path, f"a\ta\ttest\t{name}", header="slide\timage\tsplit\tgroup\n")
    assert mistakes(path)[0].startswith(f"line 2, column group: {name!r} is reserved")


def test_line_numbers_are_those_of_the_file(tmp_path):
    """Blank lines count, also before the header; lines of tabs only, as Excel leaves, are none."""
    lines = ["", "a\ta.tif\ttest", "", " ", "\t\t", "b\tb.tif\ttset", "\t\t", "\t\t\t\t\t"]
    path = write(tmp_path, *lines, header="\n" + HEADER3)
    assert mistakes(path) == [
        "line 8, column split: found 'tset'; allowed train, val, test, predict"
    ]
    path.write_text(path.read_text().replace("tset", "test"))
    assert {slide: row.line for slide, row in read_sheet(path).items()} == {"a": 4, "b": 8}


def test_header_cells_are_stripped_and_a_last_tab_is_none(tmp_path):
    path = write(tmp_path, "a\ta.tif\ttest\t", header=" slide \timage\tsplit\t\n")
    assert list(read_sheet(path)) == ["a"]


def test_mistakes_in_columns_do_not_hide_those_in_rows(tmp_path):
    lines = ["a\ta.tif\ttset\tx\ttest", "b\tb.tif\ttest\tx\ttest\tmore"]
    path = write(tmp_path, *lines, header="slide\timage\tsplit\tMask\tsplit\n")
    found = mistakes(path)
    assert found[0].startswith("line 1, column Mask: unknown column")
    assert found[1:] == [
        "line 1, column split: is there more than once",
        "line 2, column split: found 'tset'; allowed train, val, test, predict",
        "line 3: has more cells than the header has columns: 'more' is under no column",
    ]


def test_quotes_of_spreadsheets_are_taken_off_and_open_ones_told(tmp_path):
    header = '"slide"\t"image"\t"split"\t"note"\n'
    path = write(tmp_path, '"a"\t"a (b), c.tif"\t"test"\t"say ""b"""', header=header)
    assert str(read_sheet(path)["a"].image) == "a (b), c.tif"
    assert read_sheet(path)["a"].note == 'say "b"'
    path = write(tmp_path, "a\ta.tif\ttest\t", 'b\tb.tif\ttest\t"of', 'two lines"', header=header)
    assert mistakes(path) == ["line 3, cell 4: a quote is opened, but not closed on this line"]


def test_an_image_in_two_splits_is_a_leak(tmp_path):
    header = "slide\timage\tsplit\tannotation\n"
    lines = ["a\td/a.tif\ttrain\tm.tif", "b\td/../d/a.tif\ttest\tm.tif"]
    (found,) = mistakes(write(tmp_path, *lines, header=header))
    assert "d/a.tif' is in several splits (train on line 2, test on line 3)" in found
    read_sheet(write(tmp_path, lines[0], lines[1].replace("test", "train"), header=header))
    read_sheet(write(tmp_path, lines[0], lines[1].replace("test", "predict"), header=header))


def test_a_link_to_an_image_in_another_split_is_a_leak(tmp_path):
    (tmp_path / "a.tif").touch()
    (tmp_path / "b.tif").symlink_to("a.tif")
    header = "slide\timage\tsplit\tannotation\n"
    lines = [f"a\t{tmp_path}/a.tif\ttrain\tm.tif", f"b\t{tmp_path}/b.tif\ttest\tm.tif"]
    (found,) = mistakes(write(tmp_path, *lines, header=header))
    assert "a.tif' is in several splits (train on line 2, test on line 3)" in found


def test_a_pipe_is_told_from_a_file(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    path = write(tmp_path, f"a\t{tmp_path}/a.tif\ttest", header="slide\timage\tsplit\n")
    (found,) = missing_files(path, read_sheet(path).values())
    assert found.endswith(f"column image: is a pipe or device, not a file: {tmp_path}/a.tif")


def test_an_id_of_240_characters_is_refused(tmp_path):
    path = write(tmp_path, f"{'a' * 240}\ta.tif\ttest", header="slide\timage\tsplit\n")
    (found,) = mistakes(path)
    assert "is longer than 100 characters" in found


def test_subjects_that_differ_in_case_are_one(tmp_path):
    header = "slide\timage\tsplit\tannotation\tsubject\n"
    lines = ["a\ta.tif\ttrain\tm.tif\tM1", "b\tb.tif\ttest\tm.tif\tm1"]
    (found,) = mistakes(write(tmp_path, *lines, header=header))
    assert "'M1' is in several splits (train on line 2, test on line 3)" in found
    path = write(tmp_path, lines[0], lines[1].replace("test", "train"), header=header)
    assert [row.subject for row in read_sheet(path).values()] == ["M1", "M1"]


@pytest.mark.parametrize("name", ["a{1}.tif", "a}.tif", "a\x07.tif", "a\x00.tif", "a$(id).tif"])
def test_paths_that_snakemake_would_read_differently_are_refused(tmp_path, name):
    path = write(tmp_path, f"a\t{name}\ttest\t{name}", header="slide\timage\tsplit\tannotation\n")
    found = mistakes(path)
    assert [line.split(":")[0] for line in found] == [
        "line 2, column image",
        "line 2, column annotation",
    ]
    assert found[0].endswith(f"allowed {ALLOWED}")


def test_missing_files_are_told_all_at_once(tmp_path):
    there = tmp_path / "a.tif"
    there.touch()
    header = "slide\timage\tsplit\tannotation\texclude\n"
    lines = [
        f"a\t{there}\ttest\tno/m.png",
        f"b\tb.tif\ttest\t{there}/m.png",
        "c\tc.tif\ttest\t\tyes",
    ]
    path = write(tmp_path, *lines, header=header)
    assert missing_files(path, read_sheet(path).values()) == [
        f"{path}: line 2, column annotation: no such file: no/m.png",
        f"{path}: line 3, column image: no such file: b.tif",
        f"{path}: line 3, column annotation: no such file: {there}/m.png",
    ]


def test_an_old_column_is_one_line_that_names_the_new_one(tmp_path):
    path = write(tmp_path, "a\ta.tif\ttest\t0.1", header="slide\timage\tsplit\tthreshold\n")
    assert mistakes(path) == ["line 1, column threshold: is called saturation now; rename it"]


def test_delivered_outlines_of_a_correction(tmp_path):
    header = "slide\timage\tsplit\tannotation\tcorrected_from\n"
    for name in ("a.svs", "b.svs", "a.geojson", "old.geojson", "mask.png"):
        (tmp_path / name).touch()
    lines = [
        f"a\t{tmp_path}/a.svs\ttrain\t{tmp_path}/a.geojson\t{tmp_path}/old.geojson",
        f"b\t{tmp_path}/b.svs\ttrain\t{tmp_path}/mask.png\t",
    ]
    rows = read_sheet(write(tmp_path, *lines, header=header))
    assert rows["a"].corrected_from == tmp_path / "old.geojson"
    assert rows["b"].corrected_from is None
    assert drawn_files(rows.values()) == [tmp_path / "a.geojson", tmp_path / "old.geojson"]
    (tmp_path / "old.geojson").unlink()
    assert missing_files(tmp_path / "slides.tsv", rows.values()) == [
        f"{tmp_path}/slides.tsv: line 2, column corrected_from: no such file:"
        f" {tmp_path}/old.geojson"
    ]
    lines = ["a\ta.svs\ttest\t\tresults/models/m/geojson/a.geojson"]
    assert mistakes(write(tmp_path, *lines, header=header)) == [
        "line 2, column corrected_from: there is no annotation that corrects it; allowed nothing",
        "line 2, column corrected_from: 'results/models/m/geojson/a.geojson' will be written again"
        " by a run; allowed a copy of it outside results/",
    ]

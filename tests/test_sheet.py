"""The sample sheet: every mistake at once, with line and column."""

import pytest

from holohisto import sheet
from holohisto.errors import HolohistoError

HEADER = (
    "slide\timage\tsplit\tannotation\tgroup\tsubject\tmpp\tthreshold\tannotated\texclude\tnote\n"
)


def write(folder, *lines, header=HEADER):
    path = folder / "slides.tsv"
    path.write_text(header + "".join(line + "\n" for line in lines))
    return path


def mistakes(path, classes=None):
    with pytest.raises(HolohistoError) as caught:
        sheet.read(path, classes)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_a_full_row_and_a_bare_row(tmp_path):
    path = write(
        tmp_path,
        "k-1\ta b.svs\ttrain\tm.tif\tDN\tp1\t0.25\t0.1\tcapsule,tuft\t\t=looks, \"odd\"",
        "k.2\tc.tif\tpredict\t\t\t\t\t\t\tyes\t",
    )  # fmt: skip
    first, second = sheet.read(path, ("tuft", "capsule")).values()
    assert (first.slide, str(first.image), first.split) == ("k-1", "a b.svs", "train")
    assert (str(first.annotation), first.group, first.subject) == ("m.tif", "DN", "p1")
    assert (first.mpp, first.threshold, first.annotated) == (0.25, 0.1, ("capsule", "tuft"))
    assert not first.exclude
    assert second.exclude
    assert (second.annotation, second.group, second.mpp, second.annotated) == (None,) * 4


def test_only_three_columns_are_needed_in_any_order(tmp_path):
    path = write(tmp_path, "test\ta.tif\ta", header="split\timage\tslide\n")
    assert list(sheet.read(path)) == ["a"]


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
        "line 3, column threshold",
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
        " keep all slides of a subject in one split"
    ]
    sheet.read(write(tmp_path, lines[0], lines[1] + "yes", header=header))
    sheet.read(write(tmp_path, lines[0], lines[1].replace("test", "predict"), header=header))


def test_groups_that_differ_in_case_are_one(tmp_path):
    header = "slide\timage\tsplit\tgroup\n"
    path = write(tmp_path, "a\ta\ttest\tNEP25", "b\tb\ttest\tnep25", header=header)
    assert [row.group for row in sheet.read(path).values()] == ["NEP25", "NEP25"]


def test_cells_are_text_and_not_guessed(tmp_path):
    """Ids such as 007 or NA stay what they are."""
    path = write(tmp_path, "007\ta.tif\ttest", "NA\tb.tif\ttest", header=HEADER3)
    assert list(sheet.read(path)) == ["007", "NA"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "sample sheet cannot be read: No such file"),
        ("", "is not a tab-separated table"),
        (HEADER3, "has no rows"),
        (HEADER3 + "a\ta.tif\ttest\tmore\n", "rows have more cells than the header"),
        (HEADER3 + "a\ta.tif\ttest\n\tb.tif\ttest\tmore\n", "is not a tab-separated table"),
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
    assert sheet.read(path)["a"].split == "test"


@pytest.mark.parametrize("name", ["All", "all", "pooled"])
def test_groups_named_as_rows_of_the_tables_are_refused(tmp_path, name):
    path = write(tmp_path, f"a\ta\ttest\t{name}", header="slide\timage\tsplit\tgroup\n")
    assert mistakes(path)[0].startswith(f"line 2, column group: {name!r} is reserved")

"""The files of a DICOM series are one slide."""

import struct

from holohisto.sheet.dicom import one_of_each_series, series_files, series_of
from holohisto.slide.integrity import file_bytes


def write_dicom(path, series, size=1000, explicit=True):
    """The beginning of a DICOM file, padded to `size` bytes."""
    value = series.encode() + b"\0" * (len(series) % 2)
    kind = b"UI" + struct.pack("<H", len(value)) if explicit else struct.pack("<I", len(value))
    head = bytes(128) + b"DICM" + b"\x08\x00\x60\x00CS\x02\x00SM" + b"\x20\x00\x0e\x00"
    path.write_bytes((head + kind + value).ljust(size, b"\1"))


def test_the_series_of_a_file(tmp_path):
    write_dicom(tmp_path / "a.dcm", "1.2.345")
    write_dicom(tmp_path / "b.dcm", "1.2.34", explicit=False)
    (tmp_path / "c.dcm").write_bytes(b"no DICOM \x20\x00\x0e\x00UI\x02\x001.")
    names = ("a.dcm", "b.dcm", "c.dcm", "missing.dcm")
    assert [series_of(tmp_path / name) for name in names] == ["1.2.345", "1.2.34", None, None]


def test_levels_of_a_series_are_one_slide_at_its_largest_file(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for number, size in enumerate((4000, 9000, 1500)):
            write_dicom(tmp_path / folder / f"{number}.dcm", "1.2.3", size)
        write_dicom(tmp_path / folder / "other.dcm", "1.2.4")
    slide = tmp_path / "slide.svs"
    files = [slide, *sorted(tmp_path.glob("*/*.dcm"))]
    kept = one_of_each_series(files)
    assert [str(path.relative_to(tmp_path)) for path in kept] == [
        "slide.svs",
        "one/1.dcm",
        "one/other.dcm",
        "two/1.dcm",
        "two/other.dcm",
    ]
    series = [tmp_path / "one" / f"{number}.dcm" for number in (0, 1, 2)]
    assert series_files(kept[1]) == series
    assert file_bytes(kept[1]) == [series[1], series[0], series[2]]


def test_a_mirax_slide_has_the_files_of_its_folder(tmp_path):
    files = [tmp_path / name for name in ("a.mrxs", "a/Data0000.dat", "a/Slidedat.ini")]
    (tmp_path / "a").mkdir()
    for path in files:
        path.write_bytes(b"")
    assert file_bytes(files[0]) == files


def test_a_file_without_series_is_alone(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(200))
    assert series_files(tmp_path / "a.dcm") == [tmp_path / "a.dcm"]

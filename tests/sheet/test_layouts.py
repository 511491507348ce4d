"""Sheets from folders."""

from pathlib import Path

import pytest

from holohisto import cli
from holohisto.errors import HolohistoError
from holohisto.sheet.layouts import folder as plain
from holohisto.sheet.layouts import names as kinds
from holohisto.sheet.layouts.found import assign_splits
from holohisto.sheet.rows import read_sheet


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def init(folder: Path, output: Path, *more: str) -> int:
    return cli.main(["init", "folder", str(folder), "--output", str(output), *more])


def test_every_kind_of_slide_is_found(tmp_path: Path) -> None:
    names = [f"s{n}{suffix}" for n, suffix in enumerate(kinds.SLIDE_SUFFIXES)]
    hamamatsu = [name for name in names if name.endswith((".vms", ".vmu"))]
    others = [name for name in names if name not in hamamatsu]
    make(tmp_path / "d", "deep/er/X.SVS", ".hidden.svs", ".cache/y.svs", "notes.txt", *others)
    make(tmp_path / "d" / "ham", *hamamatsu, "tile(0,1).jpg")
    assert init(tmp_path / "d", tmp_path / "s.tsv") == 0
    rows = read_sheet(tmp_path / "s.tsv")
    assert sorted(rows) == sorted(["X", *(Path(name).stem for name in names)])
    assert {row.split for row in rows.values()} == {"predict"}
    assert rows["X"].image == tmp_path / "d" / "deep" / "er" / "X.SVS"


def test_annotations_beside_and_in_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(
        tmp_path,
        "a.svs",
        "a_mask.tif",
        "b.tif",
        "b-labels.png",
        "c.tif",
        "c_annotation.tiff",
        "images/d.png",
        "masks/d.png",
        "e.ndpi",
        "mask/e.tif",
        "deep/slides/f.tif",
        "deep/annotations/f_mask.tif",
        "g.ome.tif",
        "g_mask.png",
        "h.tif",
        "h_mask.jpg",
        "other/a.svs",
    )
    assert init(tmp_path, tmp_path / "s.tsv") == 0
    rows = read_sheet(tmp_path / "s.tsv")
    found = {
        slide: str(row.annotation.relative_to(tmp_path)) if row.annotation else None
        for slide, row in rows.items()
    }
    # The second a.svs has no annotation: the one beside the first is not its own.
    assert found == {
        "a": "a_mask.tif",
        "b": "b-labels.png",
        "c": "c_annotation.tiff",
        "d": "masks/d.png",
        "e": "mask/e.tif",
        "f": "deep/annotations/f_mask.tif",
        "g": "g_mask.png",
        "h": None,
        "other-a": None,
    }
    assert rows["h"].split == rows["other-a"].split == "predict"
    assert (
        "left out: 1 images of other kinds that look like annotations (h_mask.jpg)"
        in capsys.readouterr().err
    )
    annotated = [row.split for row in rows.values() if row.annotation]
    assert sorted(annotated) == ["test", "train", "train", "train", "train", "train", "val"][:7]


def test_outlines_are_annotations(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a.svs",
        "a.geojson",
        "b.ome.tif",
        "annotations/b.geojson.gz",
        "c.c.tif",
        "c.c_annotation.geojson",
        "lonely.geojson",
    )
    assert init(tmp_path, tmp_path / "s.tsv") == 0
    rows = read_sheet(tmp_path / "s.tsv")
    assert {slide: row.annotation and row.annotation.name for slide, row in rows.items()} == {
        "a": "a.geojson",
        "b": "b.geojson.gz",
        "c.c": "c.c_annotation.geojson",
    }


def test_ids_are_valid_and_unique(tmp_path: Path) -> None:
    make(
        tmp_path,
        "Maus 1 (links).svs",
        "_x.svs",
        "cohort.svs",
        "ü.svs",
        "one/k.svs",
        "two/k.svs",
        "k.tif",
        "K.svs",
        "s.svs",
        "s.tif",
    )
    assert init(tmp_path, tmp_path / "s.tsv") == 0
    rows = read_sheet(tmp_path / "s.tsv")
    assert sorted(rows) == sorted(
        ["Maus-1-links", "x", "cohort-2", "slide", "one-k", "two-k", "K", "k-2", "s", "s-2"]
    )
    assert len({slide.lower() for slide in rows}) == len(rows)


def test_splits_are_deterministic_and_about_60_20_20() -> None:
    names = [f"slide{n}" for n in range(50)]
    splits = assign_splits(names)
    assert splits == assign_splits(names[::-1])
    counts = [list(splits.values()).count(split) for split in ("train", "val", "test")]
    assert counts == [30, 10, 10]
    assert list(splits.values()) != sorted(splits.values())
    assert [sorted(assign_splits(names[:n]).values()) for n in range(4)] == [
        [],
        ["train"],
        ["train", "val"],
        ["test", "train", "val"],
    ]


def test_an_existing_sheet_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "d/a.svs")
    output = tmp_path / "s.tsv"
    output.write_text("mine")
    assert init(tmp_path / "d", output) == 2
    assert "s.tsv: is already there; give another --output, or --force" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert init(tmp_path / "d", output, "--force") == 0
    assert list(read_sheet(output)) == ["a"]


def test_nothing_found_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "d/readme.txt", "m/x_mask.png")
    assert init(tmp_path / "d", tmp_path / "s.tsv") == 2
    assert "d: holds no slides (allowed svs svslide ndpi" in capsys.readouterr().err
    assert init(tmp_path / "m", tmp_path / "s.tsv") == 2
    assert "found 1 other files" in capsys.readouterr().err
    assert init(tmp_path / "nowhere", tmp_path / "s.tsv") == 2
    assert "nowhere: is no folder" in capsys.readouterr().err
    assert not (tmp_path / "s.tsv").exists()


def test_orphans_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "a.svs", "masks/b.png")
    found = plain.find(tmp_path)
    assert [f.slide for f in found] == ["a"]
    assert "b.png: looks like an annotation, but there is no such slide" in caplog.text


def test_relative_folders_give_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "slides/a.svs")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "folder", "slides", "--output", "config/slides.tsv"]) == 0
    assert read_sheet(Path("config/slides.tsv"))["a"].image == Path("slides/a.svs")


@pytest.mark.parametrize("name", ["a\tb.svs", "a{b}.svs"])
def test_names_that_no_sheet_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path, name)
    with pytest.raises(HolohistoError, match="in it; rename the file"):
        plain.find(tmp_path)


def test_a_missing_folder_is_told_before_an_existing_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.tsv").write_text("mine")
    assert init(tmp_path / "nodir", tmp_path / "s.tsv") == 2
    assert "nodir: is no folder" in capsys.readouterr().err


def test_a_demo_cohort_is_found_by_its_folder(tmp_path: Path) -> None:
    make(tmp_path, "slides/DN-1.tif", "annotations/DN-1.tif")
    (found,) = plain.find(tmp_path)
    assert found.annotation == tmp_path / "annotations" / "DN-1.tif"

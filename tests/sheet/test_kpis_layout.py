"""Sheets of the KPIs 2024 challenge, from folders generated in its layouts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from public_datasets import KPIS, ROOT, SIZE, Pair, init

from holohisto import cli
from holohisto.annotation import Annotation
from holohisto.slide.record import inspect
from holohisto.slide.scale import Scale


def slides_side_by_side(folder: Path) -> None:
    """As released: `<group>/<case>_wsi.tiff` beside `<case>_mask.tiff`, masks 0/1 or 0/255."""
    half = (SIZE[0] // 2, SIZE[1] // 2)
    for split, case, white in (
        ("KPIs24 Training Data", "56Nx/12-116", 1),
        ("KPIs24 Training Data", "DN/11-356", 255),
        ("KPIs24 Training Data", "normal/normal_F1", 255),
        ("KPIs24_Validation_Data", "56Nx/12-173", 255),
        ("KPIs24 Testing Data", "56NX/12-299", 255),
        ("KPIs24 Testing Data", "DN/11-362", 1),
        ("KPIs24 Testing Data", "normal/normal_M1574", 255),
    ):
        place = folder / split / "Task2_WSI_level" / case
        Pair(Path(f"{place}_wsi.tiff"), Path(f"{place}_mask.tiff"), SIZE, white).write()
    for split, case in (
        ("Training", "08_368_01"),
        ("Training", "08_368_02"),
        ("Testing", "18-578"),
    ):
        place = folder / f"KPIs24 {split} Data" / "Task2_WSI_level" / "NEP25" / case
        Pair(Path(f"{place}_wsi.tiff"), Path(f"{place}_mask.tiff"), half).write()


def test_kpis_slides_as_released(tmp_path):
    slides_side_by_side(tmp_path / "kpis")
    rows = init("kpis", tmp_path / "kpis", tmp_path / "s.tsv")
    told = {name: (row.group, row.subject, row.split, row.mpp) for name, row in rows.items()}
    assert told == {
        "56Nx-12-116": ("56Nx", "56Nx-12-116", "train", 0.25),
        "56Nx-12-173": ("56Nx", "56Nx-12-173", "val", 0.25),
        "56Nx-12-299": ("56Nx", "56Nx-12-299", "test", 0.25),
        "DN-11-356": ("DN", "DN-11-356", "train", 0.25),
        "DN-11-362": ("DN", "DN-11-362", "test", 0.25),
        "NEP25-08-368-01": ("NEP25", "NEP25-08-368", "train", 0.5),
        "NEP25-08-368-02": ("NEP25", "NEP25-08-368", "train", 0.5),
        "NEP25-18-578": ("NEP25", "NEP25-18-578", "test", 0.5),
        "normal-F1": ("normal", "normal-F1", "train", 0.25),
        "normal-M1574": ("normal", "normal-M1574", "test", 0.25),
    }
    assert all(row.annotation and row.annotation.exists() for row in rows.values())


def test_kpis_slides_are_checked_at_their_magnifications_and_their_masks_read(tmp_path):
    """NEP25 at 20x, all others at 40x; masks of 0/1 and of 0/255 give the same labels."""
    slides_side_by_side(tmp_path / "kpis")
    rows = init("kpis", tmp_path / "kpis", tmp_path / "s.tsv")
    for row in rows.values():
        record = inspect(row.slide, row.image, row.annotation, row.mpp, KPIS.check)
        assert record.scale.factor == (1 if row.group == "NEP25" else 2)
        assert record.working_mpp == 0.5
        assert record.background == (0, 0, 0)
        annotation = Annotation(row.annotation, KPIS.classes, record.size, record.scale)
        labels = annotation.read((0, 0), record.working_size)
        expected = 101 * 103 if row.group == "NEP25" else 51 * 52 - 1  # half a block counts
        assert labels.sum() == expected
    arguments = ["--sheet", str(tmp_path / "s.tsv"), "--config", str(ROOT / "config/kpis.yaml")]
    assert cli.main(["check", *arguments]) == 0


def test_kpis_slides_as_the_scorer_reads_them(tmp_path):
    """`<group>/img/<case>_wsi.tiff` and `<group>/mask/<case>_mask.tiff`, no split told."""
    for group in ("56Nx", "DN"):
        for n in range(6):
            place = tmp_path / "input_slide" / group
            Pair(place / f"img/12-{n}_wsi.tiff", place / f"mask/12-{n}_mask.tiff").write()
    rows = init("kpis", tmp_path / "input_slide", tmp_path / "s.tsv")
    assert len(rows) == 12
    for slide, row in rows.items():
        assert row.annotation is not None
        assert row.annotation.stem == f"{slide.split('-', 1)[1]}_mask"
        assert row.annotation.parent.parent == row.image.parent.parent
    for group in ("56Nx", "DN"):
        splits = [row.split for row in rows.values() if row.group == group]
        assert {split: splits.count(split) for split in splits} == {"train": 4, "val": 1, "test": 1}


def patches(folder: Path) -> None:
    """Two cases to train on, one to test on, named with and without the group."""
    train, test = (folder / split / "Task1_patch_level" / split for split in ("train", "test"))
    for case, name in (
        (train / "56Nx/12_116", "56Nx_12_116_4_4096_0"),
        (train / "56Nx/12_116", "56Nx_12_116_5_0_1024"),
        (train / "NEP25/08_368_01", "NEP25_08_368_01_1_0_0"),
        (test / "56Nx/12-299", "12-299_37_11264_1024"),
    ):
        Pair(case / "img" / f"{name}_img.jpg", case / "mask" / f"{name}_mask.jpg").write()


def test_kpis_patches(tmp_path):
    patches(tmp_path)
    rows = init("kpis", tmp_path, tmp_path / "s.tsv", "--level", "patches")
    told = {name: (row.subject, row.split, row.mpp) for name, row in rows.items()}
    assert told == {
        "56Nx-12-116-4-4096-0": ("56Nx-12-116", "train", 0.5),
        "56Nx-12-116-5-0-1024": ("56Nx-12-116", "train", 0.5),
        "NEP25-08-368-01-1-0-0": ("NEP25-08-368", "train", 0.5),
        "56Nx-12-299-37-11264-1024": ("56Nx-12-299", "test", 0.5),
    }
    row = rows["56Nx-12-299-37-11264-1024"]
    assert row.annotation.name == "12-299_37_11264_1024_mask.jpg"
    record = inspect(row.slide, row.image, row.annotation, row.mpp, KPIS.check)
    assert (record.scale.factor, record.reader) == (1, "libvips")
    labels = Annotation(row.annotation, KPIS.classes, record.size, Scale.whole(1)).read(
        (0, 0), record.size
    )
    assert labels.sum() == 101 * 103  # JPEG noise is cut at half
    assert len(np.unique(np.asarray(Image.open(row.annotation)))) > 10


def test_kpis_masks_of_the_image_s_own_name(tmp_path):
    place = tmp_path / "Task1_patch_level/data/DN/11_356"
    Pair(place / "img/DN_11_356_1_0_0_img.jpg", place / "mask/DN_11_356_1_0_0_img.jpg").write()
    rows = init("kpis", tmp_path, tmp_path / "s.tsv")
    assert [row.annotation.parent.name for row in rows.values()] == ["mask"]


def test_kpis_slides_go_before_patches(tmp_path):
    slides_side_by_side(tmp_path)
    patches(tmp_path)
    both = init("kpis", tmp_path, tmp_path / "a.tsv")
    slides = init("kpis", tmp_path, tmp_path / "b.tsv", "--level", "slides")
    assert list(both) == list(slides)
    assert len(both) == 10
    assert len(init("kpis", tmp_path, tmp_path / "c.tsv", "--level", "patches")) == 4


def test_kpis_slides_without_masks_are_segmented_only(tmp_path, capsys):
    Pair(tmp_path / "test/DN/11-362_wsi.tiff", None).write()
    rows = init("kpis", tmp_path, tmp_path / "s.tsv")
    assert rows["DN-11-362"].split == "predict"
    assert "1 of 1 images have no mask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("kpis", "is not in the layout of the KPIs challenge's slides or patches (found 2 images;"),
        ("neptune", "is not in the layout of the NEPTUNE structures (found 2 images;"),
    ],
)
def test_another_layout_is_refused(tmp_path, capsys, layout, words):
    Pair(tmp_path / "x/a_wsi.png", tmp_path / "x/b.png").write()
    assert cli.main(["init", layout, str(tmp_path), "--output", str(tmp_path / "s.tsv")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "s.tsv").exists()

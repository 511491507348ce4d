"""Sheets of public datasets, from folders generated in their layouts; NEPTUNE's on real images."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from holohisto import cli
from holohisto.annotation import Annotation
from holohisto.config.parsing import read_config
from holohisto.runtime.results import Results
from holohisto.sheet.cells import Row
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord, inspect

ROOT = Path(__file__).parents[2]
KPIS, NEPTUNE = (read_config(ROOT / "config" / f"{name}.yaml") for name in ("kpis", "neptune"))
SIZE = (517, 341)


def init(layout: str, folder: Path, output: Path, *more: str) -> dict[str, Row]:
    assert cli.main(["init", layout, str(folder), "--output", str(output), *more]) == 0
    return read_sheet(output, tuple(NEPTUNE.classes) if layout == "neptune" else None)


@dataclass
class Pair:
    """An image, black around a piece of tissue, and a mask of one object."""

    image: Path
    mask: Path | None
    size: tuple[int, int] = SIZE
    white: int = 255

    def write(self) -> None:
        width, height = self.size
        rng = np.random.default_rng(width)
        rgb = np.zeros((height, width, 3), np.uint8)
        rgb[20:-20, 30:-30] = rng.integers(120, 220, (height - 40, width - 60, 3))
        mask = np.zeros((height, width), np.uint8)
        mask[60:161, 100:203] = self.white
        for path, pixels in ((self.image, rgb), (self.mask, mask)):
            if path is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".tif", ".tiff"):
                tifffile.imwrite(path, pixels, tile=(128, 128), compression="lzw", metadata=None)
            else:
                Image.fromarray(pixels).save(path, quality=85)


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
        assert record.factor == (1 if row.group == "NEP25" else 2)
        assert record.working_mpp == 0.5
        assert record.background == (0, 0, 0)
        annotation = Annotation(row.annotation, KPIS.classes, record.size, record.factor)
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
    assert (record.factor, record.reader) == (1, "libvips")
    labels = Annotation(row.annotation, KPIS.classes, record.size, 1).read((0, 0), record.size)
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


def test_neptune_layout(tmp_path):
    """The same tissue under two structures, two crops of it, two masks of one image."""
    for path, mask in (
        ("2_0_capsule/pas/im_174_0", "capsule"),
        ("3_0_tuft/pas/im_174_0", "tuft"),
        ("3_0_tuft/he/im_174_3", "tuft"),
        ("0_1_dt/sil/im_9_0", "distal"),
        ("1_1_pt/sil/im_9_0", "proximal"),
        ("5_3_ptc/pas/im_5_1", "PTC_lumen"),
        ("4_1_vessel/tri/im_7_1", "vessel"),
    ):
        Pair(tmp_path / f"{path}.png", tmp_path / f"{path}_mask_{mask}.png", (256, 251)).write()
    tuft = tmp_path / "3_0_tuft/pas"
    Pair(tuft / "im_174_0.png", tuft / "im_174_0_mask_capsule.png", (256, 251)).write()
    rows = init("neptune", tmp_path, tmp_path / "s.tsv")
    told = {name: (row.annotated, row.subject, row.mpp, row.note) for name, row in rows.items()}
    assert told == {
        "im_9_0-DT": (("DT",), "im_9", 1.0, "sil"),
        "im_9_0-PT": (("PT",), "im_9", 1.0, "sil"),
        "pas-im_174_0-CAP": (("CAP",), "im_174", 2.0, "pas"),
        "pas-im_174_0-CAP-2": (("CAP",), "im_174", 2.0, "pas"),
        "im_174_0-TUFT": (("TUFT",), "im_174", 2.0, "pas"),
        "im_174_3-TUFT": (("TUFT",), "im_174", 2.0, "he"),
        "im_7_1-VES": (("VES",), "im_7", 1.0, "tri"),
        "im_5_1-PTC": (("PTC",), "im_5", 0.25, "pas"),
    }
    assert rows["pas-im_174_0-CAP-2"].image == rows["im_174_0-TUFT"].image
    by_subject = {row.subject: set() for row in rows.values()}
    for row in rows.values():
        by_subject[row.subject].add(row.split)
    assert all(len(splits) == 1 for splits in by_subject.values())
    assert {row.split for row in rows.values()} == {"train", "val", "test"}


def test_neptune_images_and_masks_in_two_folders(tmp_path):
    for n in range(3):
        image, mask = f"test/tuft/images/r{n}.png", f"test/tuft/masks/r{n}.png"
        Pair(tmp_path / image, tmp_path / mask).write()
    rows = init("neptune", tmp_path, tmp_path / "s.tsv")
    assert [row.annotation.name for row in rows.values()] == ["r0.png", "r1.png", "r2.png"]
    for row in rows.values():
        assert (row.annotated, row.split, row.mpp) == (("TUFT",), "test", 0.25)
        assert row.note == ""


@pytest.mark.data
def test_the_real_neptune_structures(data, tmp_path):
    rows = init("neptune", data / "structures", tmp_path / "s.tsv")
    counts = {name: 0 for name in NEPTUNE.classes}
    for row in rows.values():
        counts[row.annotated[0]] += 1
    assert counts == {"DT": 20, "PT": 20, "CAP": 20, "TUFT": 20, "VES": 15, "PTC": 15}
    capsule, tuft = rows["im_174_0-CAP"], rows["im_174_0-TUFT"]  # crops of one glomerulus
    assert (capsule.subject, capsule.split) == (tuft.subject, tuft.split)
    options = NEPTUNE.check.model_copy(update={"mpp": 2.0})
    for row in rows.values():
        record = inspect(row.slide, row.image, row.annotation, row.mpp, options)
        place = list(NEPTUNE.classes).index(row.annotated[0])
        annotation = Annotation(row.annotation, NEPTUNE.classes, record.size, 1, row.annotated)
        expected = np.asarray(Image.open(row.annotation).convert("RGB")).max(axis=2) > 127
        np.testing.assert_array_equal(annotation.read((0, 0), record.size), expected << place)


@pytest.mark.data
def test_the_real_neptune_structures_can_all_be_processed(data, tmp_path, capsys):
    """As Omni-Seg has them, at three magnifications: at the coarsest, which `init` names."""
    path = tmp_path / "s.tsv"
    init("neptune", data / "structures", path)
    assert "at 0.25, 1, 2 um per pixel: set `check.mpp` to 2 or more" in capsys.readouterr().err
    config_file = str(ROOT / "config" / "omni-seg.yaml")
    assert cli.main(["check", "--sheet", str(path), "--config", config_file]) == 0
    statuses = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:111]]
    assert statuses == ["ok"] * 110


@pytest.mark.data
def test_the_real_neptune_structures_are_learned_and_scored_one_class_each(data, tmp_path):
    """Of six classes each image teaches, and is scored on, the one annotated on it."""
    rows = init("neptune", data / "structures", tmp_path / "s.tsv")
    kept = [row for row in rows.values() if row.annotated[0] in ("CAP", "TUFT")]
    lines = (tmp_path / "s.tsv").read_text().splitlines()
    names = {row.slide for row in kept}
    chosen = [line for line in lines if line.split("\t")[0] in names | {"slide"}]
    (tmp_path / "s.tsv").write_text("\n".join(chosen) + "\n")
    classes = json.dumps({name: {} for name in NEPTUNE.classes})
    results = Results(tmp_path)
    for row in kept:
        check, tissue = str(results.record(row.slide)), str(results.foreground(row.slide))
        assert (
            cli.main(
                [
                    "check",
                    str(row.image),
                    "--slide",
                    row.slide,
                    "--annotation",
                    str(row.annotation),
                    "--annotated",
                    row.annotated[0],
                    "--slide-mpp",
                    str(row.mpp),
                    "--options",
                    '{"mpp": 2.0}',
                    "--classes",
                    classes,
                    "--output",
                    check,
                ]
            )
            == 0
        )
        assert SlideRecord.read(Path(check)).warnings == []
        assert (
            cli.main(
                [
                    "foreground",
                    str(row.image),
                    "--record",
                    check,
                    "--foreground",
                    tissue,
                    "--options",
                    NEPTUNE.foreground.model_dump_json(),
                    "--picture",
                    tissue + ".jpg",
                ]
            )
            == 0
        )
    segmenter = str(tmp_path / "threshold.safetensors")
    assert (
        cli.main(
            [
                "train",
                "--model",
                "floor",
                "--sheet",
                str(tmp_path / "s.tsv"),
                "--results",
                str(tmp_path),
                "--model-options",
                '{"kind": "colour_threshold"}',
                "--options",
                '{"tile": [256, 256]}',
                "--classes",
                classes,
                "--segmenter",
                segmenter,
                "--table",
                str(tmp_path / "t.tsv"),
            ]
        )
        == 0
    )
    tested = [row for row in kept if row.split == "test"]
    for row in tested:
        check, tissue = str(results.record(row.slide)), str(results.foreground(row.slide))
        labels = str(results.labels("floor", row.slide))
        assert (
            cli.main(
                [
                    "infer",
                    str(row.image),
                    "--record",
                    check,
                    "--foreground",
                    tissue,
                    "--segmenter",
                    segmenter,
                    "--classes",
                    classes,
                    "--labels",
                    labels,
                    "--probability",
                    labels + ".p",
                ]
            )
            == 0
        )
        assert (
            cli.main(
                [
                    "metrics",
                    labels,
                    "--record",
                    check,
                    "--annotation",
                    str(row.annotation),
                    "--annotated",
                    row.annotated[0],
                    "--foreground",
                    tissue,
                    "--probability",
                    labels + ".p",
                    "--mask-options",
                    "{}",
                    "--classes",
                    classes,
                    "--output",
                    str(tmp_path / "scores" / row.slide),
                ]
            )
            == 0
        )
        scores = json.loads((tmp_path / "scores" / row.slide).read_text())["classes"]
        assert [name for name in scores if scores[name]["annotated"]] == [row.annotated[0]]
        mask = np.asarray(Image.open(row.annotation).convert("L")) > 127
        own = scores[row.annotated[0]]
        assert own["everywhere"]["tp"] + own["everywhere"]["fn"] == mask.sum()
        assert own["area_annotated_um2"] == pytest.approx(4 * mask.sum())
        assert own["outside_foreground"] == 0
    assert len(tested) > 4

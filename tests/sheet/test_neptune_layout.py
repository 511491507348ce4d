"""Sheets of the NEPTUNE structures, from generated folders and from real images."""

import numpy as np
import pytest
from PIL import Image
from public_datasets import NEPTUNE, ROOT, Pair, init

from holohisto import cli
from holohisto.annotation import Annotation
from holohisto.slide.record import inspect
from holohisto.slide.scale import Scale


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
        annotation = Annotation(
            row.annotation, NEPTUNE.classes, record.size, Scale.whole(1), row.annotated
        )
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

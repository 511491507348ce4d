"""Folders of slides as people have them."""

import os
from pathlib import Path

import pytest
from test_layouts import init, make

from holohisto.sheet.layouts import folder as plain
from holohisto.sheet.rows import read_sheet


def found(folder: Path) -> dict[str, tuple[str, str | None, str]]:
    """Image, annotation and split of each slide, files relative to the folder."""
    return {
        slide.slide: (
            str(slide.image.relative_to(folder)),
            str(slide.annotation.relative_to(folder)) if slide.annotation else None,
            slide.split,
        )
        for slide in plain.find(folder)
    }


@pytest.mark.parametrize("inner", [("images", "masks"), ("", ""), ("img", "labels")])
def test_folders_named_after_splits_decide(tmp_path: Path, inner: tuple[str, str]) -> None:
    images, masks = inner
    for split in ("train", "validation", "Test set"):
        for i in range(2):
            mask = f"{split[0]}{i}_mask.png" if not masks else f"{split[0]}{i}.png"
            make(tmp_path / split, f"{images}/{split[0]}{i}.tif".strip("/"))
            make(tmp_path / split, f"{masks}/{mask}".strip("/"))
    make(tmp_path, "train/bare.tif")
    assert init(tmp_path, tmp_path / "s.tsv") == 0
    rows = read_sheet(tmp_path / "s.tsv")
    by_folder = {
        str(row.image.relative_to(tmp_path)).split("/")[0]: row.split
        for row in rows.values()
        if row.annotation
    }
    assert by_folder == {"train": "train", "validation": "val", "Test set": "test"}
    bare = [row.split for row in rows.values() if not row.annotation]
    assert (len(rows), bare) == (7, ["predict"])  # without an annotation none can be trained on


@pytest.mark.parametrize("name", ["{split}_{kind}", "{kind}-{split}", "{split} {kind}"])
def test_one_folder_may_name_the_split_and_the_kind(tmp_path: Path, name: str) -> None:
    wanted: set[tuple[str, str | None, str]] = set()
    for split in ("train", "val", "Test"):
        image, mask = (
            f"{name.format(split=split, kind=kind)}/{split[0]}1.png" for kind in ("images", "masks")
        )
        make(tmp_path, image, mask)
        wanted.add((image, mask, split.lower()))
    assert set(found(tmp_path).values()) == wanted


def test_a_folder_of_masks_belongs_to_the_images_of_its_split(tmp_path: Path) -> None:
    make(
        tmp_path,
        "train/images/P1/a.png",
        "train/masks/P1/a.png",
        "test/images/P1/a.png",
        "test/masks/P1/a.png",
    )
    assert set(found(tmp_path).values()) == {
        ("train/images/P1/a.png", "train/masks/P1/a.png", "train"),
        ("test/images/P1/a.png", "test/masks/P1/a.png", "test"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "S1.xml",
        "S1.json",
        "S1.svs.geojson",
        "S1.svs - S1.geojson",
        "S1.geojson.gz",
        "S1.annotations",
        "S1_annotations.xml",
        "annotations/S1.xml",
        "ground_truth/S1.png",
        "S1_Mask.TIF",
        "S1-Labels.png",
        "S1_seg.png",
        "S1_gt.png",
        "S1 segmentation.tif",
    ],
)
def test_annotations_of_every_tool_are_found(tmp_path: Path, name: str) -> None:
    make(tmp_path, "S1.svs", name)
    assert found(tmp_path) == {"S1": ("S1.svs", name, "train")}


def test_an_ome_tiff_has_its_geojson(tmp_path: Path) -> None:
    make(tmp_path, "a.ome.tif", "a.ome.tif.geojson", "b.ome.tif", "b.geojson")
    assert [annotation for _, annotation, _ in found(tmp_path).values()] == [
        "a.ome.tif.geojson",
        "b.geojson",
    ]


def test_json_and_xml_without_drawn_objects_are_no_annotations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "a.svs", "b.svs")
    (tmp_path / "a.json").write_text('{"scanner": "AT2", "date": "2021"}')
    (tmp_path / "a.xml").write_text("<Slide><Barcode>7</Barcode></Slide>")
    (tmp_path / "b.xml").write_text('<?xml version="1.0"?><Annotations><Annotation/></Annotations>')
    assert found(tmp_path)["a"][1] is None
    assert found(tmp_path)["b"][1] == "b.xml"
    assert "left out: 2 files without drawn objects (a.json, a.xml)" in caplog.text


def test_previews_and_overlays_are_no_slides(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(
        tmp_path,
        "S1.svs",
        "S1.jpg",
        "S1_thumbnail.png",
        "S1_macro.jpg",
        "S1-overview.tif",
        "S1_label.jpg",
        "overlays/S1.jpg",
        "Thumbnails/S1.png",
        "roi.png",
        "S2.tif",
    )
    assert sorted(found(tmp_path)) == ["S1", "S2", "roi"]
    assert "left out: 7 previews and overlays" not in caplog.text
    assert "left out: 6 previews and overlays (S1-overview.tif, S1.jpg, S1_macro.jpg, ...)" in (
        caplog.text
    )
    assert "left out: 1 images of other kinds that look like annotations (S1_label.jpg)" in (
        caplog.text
    )


def test_predictions_and_exports_called_like_a_slide_are_no_slides(tmp_path: Path) -> None:
    others = ("S1.svs.png", "S1_pred.png", "S1_lowres.jpg", "S1-low-res.tif", "predictions/S1.png")
    make(tmp_path, "S1.svs", *others, "S3_spred.png")
    assert sorted(found(tmp_path)) == ["S1", "S3_spred"]


def test_a_flat_picture_called_like_a_tiff_beside_it_is_no_slide(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "a.tif", "a.png", "b.tiff", "b.jpg", "b_mask.png", "c.png", "deep/a.png")
    assert sorted(image for image, _, _ in found(tmp_path).values()) == [
        "a.tif",
        "b.tiff",
        "c.png",
        "deep/a.png",
    ]
    assert found(tmp_path)["b"][1] == "b_mask.png"
    assert "left out: 1 previews and overlays (b.jpg)" in caplog.text
    assert "beside them; name annotations <stem>_mask (a.png)" in caplog.text


def test_slides_are_slides_whatever_they_and_their_folders_are_called(tmp_path: Path) -> None:
    names = ["control_mask.svs", "kidney_label.ndpi", "A_annotations.mrxs", "masks/S1.svs"]
    make(tmp_path, *names, "masks/S1_mask.png", "Mask study/S2.svs", "Mask study/S2_mask.png")
    slides = found(tmp_path)
    assert sorted(slides) == ["A_annotations", "S1", "S2", "control_mask", "kidney_label"]
    assert slides["S1"][1] == "masks/S1_mask.png"
    assert slides["S2"][1] == "Mask study/S2_mask.png"


def test_what_cannot_be_read_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(
        tmp_path,
        "S1.svs",
        "S1_RoiSet.zip",
        "S1.ndpi.ndpa",
        "b.czi",
        "c.vsi",
        "S1_glomerulus_mask.png",
        "S1_tubule_mask.png",
        "S3_mask.png",
    )
    assert found(tmp_path) == {"S1": ("S1.svs", None, "predict")}
    text = caplog.text
    assert "left out: 2 slides of formats that are not read: convert them to pyramidal TIFF" in text
    assert "left out: 2 annotations of formats that are not read: export GeoJSON" in text
    assert text.count("a slide has one annotation: if it is of S1.svs") == 2
    assert "S3_mask.png: looks like an annotation, but there is no such slide" in text


def test_of_several_annotations_the_first_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "S1.svs", "S1.geojson", "S1_mask.png")
    assert found(tmp_path)["S1"][1] == "S1.geojson"
    assert "1 slides have several annotations: the first one is taken" in caplog.text


def test_links_are_followed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "a/S1.svs", "a/b/S2.svs")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    os.symlink(tmp_path / "a", tmp_path / "again")
    os.symlink(tmp_path / "a" / "S1.svs", tmp_path / "z.svs")
    assert sorted(Path(image).name for image, _, _ in found(tmp_path).values()) == [
        "S2.svs",
        "z.svs",
    ]
    assert "left out: 1 links to a slide above (S1.svs)" in caplog.text

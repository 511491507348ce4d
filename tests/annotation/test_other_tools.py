"""Outlines of other tools than QuPath: COCO, labelme, ASAP, ImageScope and HALO."""

import gzip
import json

import numpy as np
import pytest
from outline_files import SIZE, TWO, read_all
from PIL import Image

from holohisto import cli
from holohisto.errors import HolohistoError

Y, X = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5


def corners(x, y, width, height):
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def flat(*rectangle):
    return np.ravel(corners(*rectangle)).tolist()


def xml_points(tag, points):
    return "".join(f'<{tag} Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points))


def coco(**changes):
    return {
        "images": [{"id": 7, "file_name": "s.svs", "width": SIZE[0], "height": SIZE[1]}],
        "categories": [{"id": 3, "name": "Capsule"}, {"id": 5, "name": "tuft"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "segmentation": [flat(10, 20, 30, 40)]},
            {"image_id": 7, "category_id": 5, "segmentation": [flat(20, 30, 5, 6)]},
        ],
        **changes,
    }


def labelme(**changes):
    return {
        "version": "5.4.1",
        "shapes": [
            {"label": "capsule", "points": corners(10, 20, 30, 40), "shape_type": "polygon"},
            {"label": "tuft", "points": [[25, 36], [20, 30]], "shape_type": "rectangle"},
            {"label": "tuft", "points": [[1, 1], [9, 9]], "shape_type": "line"},
        ],
        "imagePath": "s.png",
        "imageData": "aGVsbG8=",
        "imageWidth": SIZE[0],
        "imageHeight": SIZE[1],
        **changes,
    }


ASAP = (
    '<?xml version="1.0"?><ASAP_Annotations><Annotations>'
    '<Annotation Name="1" Type="Polygon" PartOfGroup="capsule" Color="#F4FA58"><Coordinates>'
    f"{xml_points('Coordinate', corners(10, 20, 30, 40))}</Coordinates></Annotation>"
    '<Annotation Name="2" Type="Rectangle" PartOfGroup="Tuft" Color="#F4FA58"><Coordinates>'
    f"{xml_points('Coordinate', corners(20, 30, 5, 6))}</Coordinates></Annotation>"
    '<Annotation Name="3" Type="Dot" PartOfGroup="tuft"><Coordinates>'
    f"{xml_points('Coordinate', [(1, 1)])}</Coordinates></Annotation></Annotations>"
    '<AnnotationGroups><Group Name="tuft" PartOfGroup="None" Color="#00ff00"><Attributes/></Group>'
    "</AnnotationGroups></ASAP_Annotations>"
)
IMAGESCOPE = (
    '<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="capsule"><Attributes>'
    '<Attribute Name="Description" Id="0" Value=""/></Attributes><Regions>'
    '<RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/></RegionAttributeHeaders>'
    '<Region Id="1" Type="0" NegativeROA="0" Text=""><Attributes/><Vertices>'
    f"{xml_points('Vertex', corners(10, 20, 30, 40))}</Vertices></Region></Regions></Annotation>"
    '<Annotation Id="2" Name=""><Attributes><Attribute Name="Description" Value="tuft"/>'
    '</Attributes><Regions><Region Id="1" Type="1"><Vertices>'
    f"{xml_points('Vertex', [(20, 30), (25, 36)])}</Vertices></Region></Regions></Annotation>"
    "</Annotations>"
)
HALO = (
    '<Annotations><Annotation LineColor="65535" Name="Capsule" Visible="True"><Regions>'
    '<Region Type="Polygon" HasEndcaps="0" NegativeROA="0"><Vertices>'
    f"{xml_points('V', corners(10, 20, 30, 40))}</Vertices></Region></Regions></Annotation>"
    '<Annotation Name="Tuft"><Regions><Region Type="Rectangle"><Vertices>'
    f"{xml_points('V', [(20, 30), (25, 36)])}</Vertices></Region></Regions></Annotation>"
    "</Annotations>"
)
FILES = {
    "coco.json": json.dumps(coco()),
    "labelme.json": json.dumps(labelme()),
    "asap.xml": ASAP,
    "imagescope.xml": IMAGESCOPE,
    "halo.annotations": HALO,
}


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_outlines_of_every_tool(tmp_path, name, packed):
    expected = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    expected[20:60, 10:40] = 1
    expected[30:36, 20:25] |= 2
    path = write(tmp_path / f"{name}{packed}", FILES[name])
    np.testing.assert_array_equal(read_all(path, TWO), expected)
    assert read_all(path, TWO, annotated=("tuft",)).sum() == 2 * 30


@pytest.mark.parametrize("name", FILES)
def test_objects_without_class_belong_to_the_only_one(tmp_path, name):
    text = FILES[name]
    for word in ("capsule", "Capsule", "tuft", "Tuft"):
        text = text.replace(word, "None" if name == "asap.xml" else "")
    if name != "coco.json":  # where every object has a category
        assert read_all(write(tmp_path / name, text)).sum() == 30 * 40


def test_outlines_drawn_on_a_reduced_picture_are_enlarged(tmp_path):
    slide = (4 * SIZE[0] + 3, 4 * SIZE[1] + 1)
    for name, document in (("coco.json", coco()), ("labelme.json", labelme())):
        found = read_all(write(tmp_path / name, json.dumps(document)), TWO, slide)
        scale = slide[0] / SIZE[0]
        assert (found & 1).sum() == pytest.approx(30 * 40 * scale**2, rel=0.01)
        assert found[int(59 * scale), int(39 * scale)] == 1
        assert not found[int(61 * scale)].any()
        with pytest.raises(HolohistoError, match=r"other proportions .*341x267.*300x341"):
            read_all(tmp_path / name, TWO, (300, 341))


def test_circles_and_ellipses(tmp_path):
    circle = {"label": "tuft", "points": [[100, 90], [130, 130]], "shape_type": "circle"}
    path = write(tmp_path / "a.json", json.dumps(labelme(shapes=[circle])))
    disc = ((X - 100) ** 2 + (Y - 90) ** 2 < 50**2) * 2
    assert (read_all(path, TWO) != disc).sum() < 30
    ellipse = IMAGESCOPE.replace('Type="1"', 'Type="2"').replace('X="25" Y="36"', 'X="120" Y="70"')
    disc = ((X - 70) / 50) ** 2 + ((Y - 50) / 20) ** 2 < 1
    assert ((read_all(write(tmp_path / "a.xml", ellipse), TWO) >> 1) != disc).sum() < 30


def negative(points):
    region = f'<Region Type="0" NegativeROA="1"><Vertices>{xml_points("Vertex", points)}</Vertices>'
    return IMAGESCOPE.replace("</Regions>", f"{region}</Region></Regions>", 1)


def test_negative_regions_are_holes_even_across_the_border(tmp_path):
    path = write(tmp_path / "a.xml", negative(corners(15, 25, 10, 10)))
    found = read_all(path, TWO) & 1
    assert (found.sum(), found[30, 20]) == (30 * 40 - 100, 0)
    path = write(tmp_path / "b.xml", negative(corners(0, 10, 20, 20)))
    found = read_all(path, TWO) & 1
    assert found.sum() == 30 * 40 - 10 * 10
    assert not found[10:30, :20].any()


def test_a_region_may_be_named_itself_and_have_decimal_commas(tmp_path):
    text = IMAGESCOPE.replace('Text=""', 'Text="tuft"').replace('X="40"', 'X="40,0"')
    found = read_all(write(tmp_path / "a.xml", text), TWO)
    assert (found == 2).sum() == 30 * 40


ENTITIES = '<!DOCTYPE a [<!ENTITY a "x">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 50}">' for i in range(9)
)
BAD = {
    "doctype.xml": (f"{ENTITIES}]>{ASAP.split('?>')[1]}", "declares a document type"),
    "cut.xml": (ASAP[:300], "no whole XML"),
    "other.xml": ("<annotations><image/></annotations>", "its root is annotations"),
    "deep.xml": ("<Annotations>" + "<a>" * 200, "more than 100 elements hold one another"),
    "x.xml": (ASAP.replace('X="10"', 'X="ten"'), "could not convert string to float"),
    "no_x.xml": (ASAP.replace('X="10"', ""), "a point without X"),
    "nan.xml": (ASAP.replace('X="10"', 'X="nan"'), "is not between"),
    "latin.xml": (ASAP.replace("1.0", '1.0" encoding="x-none'), "no whole XML"),
    "several.json": (json.dumps(coco(images=[{}, {}])), "COCO of one picture is read, found 2"),
    "category.json": (json.dumps(coco(categories=[])), "category 3 is not in its `categories`"),
    "rle.json": (
        json.dumps(coco(annotations=[{"category_id": 5, "segmentation": {"counts": "x"}}])),
        "is run lengths",
    ),
    "odd.json": (
        json.dumps(coco(annotations=[{"category_id": 5, "segmentation": [[1, 2, 3]]}])),
        "is not x, y, x, y",
    ),
    "mask.json": (
        json.dumps(labelme(shapes=[{"label": "tuft", "points": [], "shape_type": "mask"}])),
        "it is a mask; polygons, rectangles and circles are read",
    ),
    "shape.json": (json.dumps(labelme(shapes=[3])), "annotation cannot be read"),
    "via.json": ('{"_via_settings": {}, "_via_img_metadata": {}}', "JSON of another tool"),
    "rois.zip": ("PK", "it is ROIs of ImageJ"),
    "a.roi": ("Iout", "it is ROIs of ImageJ"),
    "a.ndpa": ("<annotations/>", "NDP.view annotations, in nanometres"),
    "a.csv": ("x,y", "it is a table"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_read_is_one_line_that_says_what_is(tmp_path, name):
    text, words = BAD[name]
    with pytest.raises(HolohistoError) as caught:
        read_all(write(tmp_path / name, text), TWO)
    line = str(caught.value).removeprefix(str(tmp_path))
    assert words in line
    assert "\n" not in line
    assert len(line) < 300
    if "cannot be read" in line:
        assert "allowed TIFF, PNG, JPEG, GeoJSON, COCO, labelme, XML of ASAP, ImageScope" in line


def test_check_refuses_other_formats_before_it_reads_them(tmp_path, capsys):
    Image.fromarray(np.full((267, 341, 3), 200, np.uint8)).save(tmp_path / "s.png")
    (tmp_path / "rois.zip").write_bytes(b"PK")
    words = ["check", str(tmp_path / "s.png"), "--slide", "s", "--slide-mpp", "0.5"]
    words += ["--annotation", str(tmp_path / "rois.zip"), "--classes", '{"tuft": {}}']
    assert cli.main([*words, "--output", str(tmp_path / "c.json")]) == 2
    assert "it is ROIs of ImageJ" in capsys.readouterr().err

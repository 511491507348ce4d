"""Whatever a file holds, its parser returns the value or refuses in short lines (hypothesis).

HOLOHISTO_EXAMPLES sets how many files of each kind are tried; they are the same every time.
"""

import json
import os
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import yaml
from outcomes import REFUSED, parsed
from safetensors.numpy import save

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holohisto.annotation import Annotation
from holohisto.config.config import Config
from holohisto.config.parsing import read_config
from holohisto.config.sections import ClassOptions
from holohisto.runtime.seal import sealed_header
from holohisto.runtime.tensor_file import read_metadata
from holohisto.segmenter.card import FORMAT as SEGMENTER
from holohisto.segmenter.file import load_segmenter
from holohisto.sheet.cells import SPLITS
from holohisto.sheet.rows import OPTIONAL, REQUIRED, read_sheet
from holohisto.slide.scale import Scale
from holohisto.tokenizer.file import FORMAT as TOKENIZER
from holohisto.tokenizer.file import load_tokenizer
from holohisto.tokens.token_map import FORMAT as TOKENS
from holohisto.tokens.token_map import load_token_map

EXAMPLES = int(os.environ.get("HOLOHISTO_EXAMPLES", "25"))
examples = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SIZE = (130, 110)
CLASSES = {"glomerulus": ClassOptions()}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, 0.5, 10**400, 2**63]))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)
places = st.integers(-20, 160) | numbers
rings = st.lists(st.lists(places, min_size=1, max_size=3), max_size=6)
polygons = st.one_of(rings, st.lists(rings, max_size=3), st.lists(st.lists(rings), max_size=2))


@st.composite
def boxes(draw):
    """One to six rectangles within the slide: left, top, right, bottom, whole pixels."""
    corners = st.tuples(st.integers(0, SIZE[0] - 2), st.integers(0, SIZE[1] - 2))
    lengths = st.tuples(st.integers(1, 60), st.integers(1, 60))
    found = draw(st.lists(st.tuples(corners, lengths), min_size=1, max_size=6))
    return [(x, y, min(x + w, SIZE[0]), min(y + h, SIZE[1])) for (x, y), (w, h) in found]


def ring(box):
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def annotated(path: Path) -> np.ndarray:
    with Annotation(path, CLASSES, SIZE, Scale.whole(1)) as annotation:
        return annotation.read((0, 0), SIZE)


def geojson(geometries, properties=None):
    properties = {"classification": {"name": "glomerulus"}} if properties is None else properties
    features = [{"type": "Feature", "geometry": g, "properties": properties} for g in geometries]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def coco(segmentations, size=SIZE, category: object = 1):
    image = {"id": 1, "width": size[0], "height": size[1]}
    objects = [{"image_id": 1, "category_id": category, "segmentation": s} for s in segmentations]
    categories = [{"id": 1, "name": "glomerulus"}]
    document = {"images": [image], "categories": categories, "annotations": objects}
    return json.dumps(document).encode()


def labelme(shapes, size=SIZE, label: object = "glomerulus", kind: object = "polygon"):
    drawn = [{"label": label, "points": points, "shape_type": kind} for points in shapes]
    document = {"version": "5", "imageWidth": size[0], "imageHeight": size[1], "shapes": drawn}
    return json.dumps(document).encode()


def asap(shapes, group="glomerulus", kind="Polygon"):
    drawn = "".join(
        f"<Annotation Type={quoteattr(kind)} PartOfGroup={quoteattr(group)}><Coordinates>"
        + "".join(
            f'<Coordinate Order="{n}" X={quoteattr(str(x))} Y={quoteattr(str(y))} />'
            for n, (x, y) in enumerate(shape)
        )
        + "</Coordinates></Annotation>"
        for shape in shapes
    )
    return f"<ASAP_Annotations><Annotations>{drawn}</Annotations></ASAP_Annotations>".encode()


FORMATS = {
    "a.geojson": lambda found: geojson(
        [{"type": "Polygon", "coordinates": [[*ring(box), ring(box)[0]]]} for box in found]
    ),
    "coco.json": lambda found: coco([[np.ravel(ring(box)).tolist()] for box in found]),
    "labelme.json": lambda found: labelme([ring(box) for box in found]),
    "a.xml": lambda found: asap([ring(box) for box in found]),
}


@pytest.mark.parametrize("name", FORMATS)
@examples
@given(found=boxes())
def test_rectangles_of_whole_pixels_are_read_exactly(tmp_path, name, found):
    expected = np.zeros(SIZE[::-1], np.uint8)
    for left, top, right, bottom in found:
        expected[top:bottom, left:right] = 1
    result = parsed(annotated, tmp_path / name, FORMATS[name](found))
    np.testing.assert_array_equal(result, expected)


def is_annotation(result) -> bool:
    return result is REFUSED or (result.shape == SIZE[::-1] and result.max(initial=0) <= 1)


kinds = st.sampled_from(["Polygon", "MultiPolygon", "LineString", "Point", "GeometryCollection"])
geometries = st.fixed_dictionaries({"type": kinds | texts, "coordinates": polygons | values})


@examples
@given(found=st.lists(geometries | values, max_size=4), properties=st.none() | values)
def test_any_geojson(tmp_path, found, properties):
    assert is_annotation(parsed(annotated, tmp_path / "a.geojson", geojson(found, properties)))


@examples
@given(found=st.lists(polygons | values, max_size=3), size=st.tuples(places, places))
def test_any_coco(tmp_path, found, size):
    assert is_annotation(parsed(annotated, tmp_path / "a.json", coco(found, size)))
    assert is_annotation(parsed(annotated, tmp_path / "a.json", coco(found, category=size[0])))


@examples
@given(
    found=st.lists(rings | values, max_size=3),
    size=st.tuples(places, places),
    words=st.tuples(st.sampled_from(["polygon", "rectangle", "circle", "mask"]) | texts, scalars),
)
def test_any_labelme(tmp_path, found, size, words):
    assert is_annotation(parsed(annotated, tmp_path / "a.json", labelme(found, size)))
    other = labelme(found, SIZE, words[1], words[0])
    assert is_annotation(parsed(annotated, tmp_path / "a.json", other))


printed = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)


@examples
@given(
    found=st.lists(st.lists(st.tuples(places | printed, places), max_size=5), max_size=3),
    words=st.tuples(printed, printed),
)
def test_any_xml(tmp_path, found, words):
    assert is_annotation(parsed(annotated, tmp_path / "a.xml", asap(found)))
    assert is_annotation(parsed(annotated, tmp_path / "a.xml", asap(found, *words)))


@examples
@given(value=values, content=st.binary(max_size=200))
def test_any_json_and_any_bytes(tmp_path, value, content):
    for name in ("a.json", "a.geojson"):
        assert is_annotation(parsed(annotated, tmp_path / name, json.dumps(value).encode()))
    for name in ("a.json", "a.geojson", "a.xml", "a.png", "a.tif"):
        assert parsed(annotated, tmp_path / name, content) is REFUSED


sections = st.sampled_from([*Config.model_fields]) | texts
options = st.dictionaries(
    st.sampled_from(["tile", "mpp", "batch", "epochs", "overlap", "splits", "kind"]) | texts, values
)


@examples
@given(value=st.dictionaries(sections, options | values, max_size=4))
def test_any_configuration(tmp_path, value):
    text = yaml.safe_dump(value, allow_unicode=True).encode()
    result = parsed(read_config, tmp_path / "c.yaml", text)
    if result is not REFUSED:
        written = yaml.safe_dump(json.loads(result.model_dump_json())).encode()
        assert parsed(read_config, tmp_path / "c.yaml", written) == result


@examples
@given(content=st.binary(max_size=200) | texts.map(str.encode))
def test_any_bytes_as_configuration_and_sheet(tmp_path, content):
    found = parsed(read_config, tmp_path / "c.yaml", content)
    assert found is REFUSED or isinstance(found, Config)
    assert parsed(read_sheet, tmp_path / "s.tsv", content) is REFUSED


cells = st.dictionaries(st.sampled_from([*REQUIRED, *OPTIONAL]), texts, max_size=6)


@examples
@given(columns=st.permutations([*REQUIRED, *OPTIONAL]), body=st.lists(cells, max_size=4))
def test_any_sheet(tmp_path, columns, body):
    lines = [columns, *([row.get(name, "") for name in columns] for row in body)]
    text = "\n".join("\t".join(line) for line in lines) + "\n"
    found = parsed(read_sheet, tmp_path / "s.tsv", text.encode())
    assert found is REFUSED or all(row.split in SPLITS for row in found.values())


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@examples
@given(
    ids=st.lists(names, min_size=1, max_size=5, unique_by=str.lower),
    split=st.sampled_from(SPLITS),
    mpp=st.floats(0.01, 100),
    note=st.from_regex(r"[a-z]([a-z ]{0,20}[a-z])?", fullmatch=True),
)
def test_sheets_of_allowed_values_are_read_exactly(tmp_path, ids, split, mpp, note):
    rows = [f"x{name}\t{name}.tif\t{name}.png\t{split}\t{mpp!r}\t{note}\n" for name in ids]
    text = "slide\timage\tannotation\tsplit\tmpp\tnote\n" + "".join(rows)
    found = parsed(read_sheet, tmp_path / "s.tsv", text.encode())
    assert found is not REFUSED
    assert [*found] == [f"x{name}" for name in ids]
    for name, row in zip(ids, found.values(), strict=True):
        files = str(row.image), str(row.annotation)
        assert (*files, row.split) == (f"{name}.tif", f"{name}.png", split)
        assert (row.mpp, row.note) == (mpp, note)


HEADERS = {
    TOKENS: (load_token_map, "downscale backgrounds precision options scale slide fingerprint"),
    TOKENIZER: (load_tokenizer, "architecture summary digest"),
    SEGMENTER: (load_segmenter, "name options classes mpp tile tokenizer downscale mode precision"),
}


@pytest.mark.parametrize("kind", HEADERS)
@examples
@given(data=st.data())
def test_any_header_with_a_fitting_digest(tmp_path, kind, data):
    read, keys = HEADERS[kind]
    facts = st.fixed_dictionaries(
        {}, optional={key: values.map(json.dumps) | texts for key in keys.split()}
    )
    tensor = np.arange(12, dtype=np.uint16).reshape(3, 4)
    header = sealed_header({"format": kind, **data.draw(facts)}, tensor.data)
    assert parsed(read, tmp_path / "x.safetensors", save({"tokens.0": tensor}, header)) is REFUSED


@examples
@given(value=values, length=st.integers(0, 2**64 - 1) | st.none(), rest=st.binary(max_size=30))
def test_any_header_of_safetensors(tmp_path, value, length, rest):
    text = json.dumps({"__metadata__": value, "w": value}).encode()
    content = (len(text) if length is None else length).to_bytes(8, "little") + text + rest
    path = tmp_path / "x.safetensors"
    found = parsed(lambda path: read_metadata(path, "file"), path, content)
    assert found is REFUSED or all(isinstance(text, str) for text in found.values())
    for read, _ in HEADERS.values():
        assert parsed(read, path, content) is REFUSED

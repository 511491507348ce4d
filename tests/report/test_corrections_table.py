"""What was corrected, as the report lists it."""

import json
import re
import shutil

import pandas as pd
import pytest
import report_fixture
import shapely
from corrected_outlines import changed, drawn, write_features

from holohisto import cli
from holohisto.annotation.delivered import metadata


def section(html):
    return re.search(r'<section id="corrections">.*?</section>', html, flags=re.S)[0]


def carrying(feature, fingerprint):
    shape = shapely.from_geojson(json.dumps(feature["geometry"]))
    carried = metadata(fingerprint, "holohisto", "glomerulus", shape, {"glomerulus": 4})
    return {**feature, "properties": {**feature["properties"], "metadata": carried}}


@pytest.fixture(scope="module")
def corrected(folder, tmp_path_factory):
    """Two slides with corrected annotations, one of them with outlines of the other slide."""
    own = tmp_path_factory.mktemp("corrected") / "run"
    shutil.copytree(folder, own)
    sheet = pd.read_csv(own / "slides.tsv", sep="\t", dtype=str, keep_default_na=False)
    names = sheet["slide"][sheet["split"] == "train"].tolist()[:3]
    for name, fingerprint in zip(names, ("ab" * 32, "cd" * 32), strict=False):
        record = {"mpp": 0.25, "mpp_y": 0.5, "fingerprint": fingerprint}
        (own / f"results/check/{name}.json").write_text(json.dumps(record))
    kept, before = (carrying(drawn("glomerulus", x, 10), "ab" * 32) for x in (10, 90))
    features = [kept, changed(before), drawn("glomerulus", 200, 10)]
    delivered = write_features(own / "delivered.geojson", [kept, before, drawn("glomerulus", 1, 9)])
    for name, content in zip(names, (features, features, [features[2]]), strict=True):
        write_features(own / f"{name}.geojson", content)
        sheet.loc[sheet["slide"] == name, "annotation"] = str(own / f"{name}.geojson")
    sheet["corrected_from"] = ""
    sheet.loc[sheet["slide"] == names[0], "corrected_from"] = str(delivered)
    sheet.to_csv(own / "slides.tsv", sep="\t", index=False)
    assert cli.main(report_fixture.arguments(own)["report"]) == 0
    return own, names


def test_corrections_are_counted_in_the_table(corrected):
    own, names = corrected
    table = pd.read_csv(own / "results/tables/corrections.tsv", sep="\t")
    assert table["slide"].tolist() == names[:2]  # the third has drawn outlines, no corrected ones
    counts = table[["delivered", "kept", "changed", "added", "deleted"]].values.tolist()
    assert counts == [[3, 1, 1, 1, 1], [4, 1, 1, 1, 2]]
    assert table["model"].tolist() == ["holohisto"] * 2
    assert table["area_before_um2"][0] == 900 * 0.25 * 0.5
    assert table["area_after_um2"][1] > 1.3 * table["area_before_um2"][1]
    assert 0.5 < table["iou_mean"][0] < 0.8
    assert pd.isna(table["iou_mean"][1])


def test_corrections_are_in_the_report(corrected):
    own, names = corrected
    text = section((own / "report.html").read_text())
    assert all(name in text for name in names[:2])
    assert names[2] not in text
    assert f"annotation of {names[1]} were delivered for another slide" in text
    assert f"annotation of {names[0]} were delivered" not in text


def test_a_run_without_corrections_has_no_such_section(html):
    assert 'id="corrections"' not in html

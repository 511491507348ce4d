"""Which slides to correct next, as the report shows it."""

import re
import shutil

from PIL import Image
from report_page import render

from holohisto.runtime.seal import read_sealed_json, sealed_json
from holohisto.statistics.uncertainty import COLUMNS

LINES = (
    "1\tp<7\tDN\tpredict\tholohisto\t0.4\t0.6\t0.2\t0.7",
    "2\tp8\tDN\tpredict\tholohisto\t0.1\t0.1\t\t0.95",
    "3\tp9\tDN\tpredict\tholohisto\t\t\t\t",
)
TABLE = "\n".join(["\t".join(COLUMNS), *LINES]) + "\n"


def test_the_report_ranks_slides_and_shows_their_least_sure_objects(folder, tmp_path):
    own = tmp_path / "run"
    shutil.copytree(folder, own)
    (own / "results/cohort/correct_next.tsv").write_text(TABLE)
    index = read_sealed_json(own / "results/gallery/gallery.json")
    Image.new("RGB", (90, 70), "#aa3377").save(own / "results/gallery/p7.unsure-0.jpg")
    shown = {"file": "p7.unsure-0.jpg", "class": "glomerulus", "probability": 0.5123}
    absent = {"file": "gone.jpg", "class": "glomerulus", "probability": 0.6}
    index["unsure"] = [
        {"slide": "p<7", "group": "DN", "objects": [{**shown, "area_um2": 9000.0}, absent]}
    ]
    (own / "results/gallery/gallery.json").write_text(sealed_json(index))
    html = render(own)
    part = re.search(r'<section id="next">.*?</section>', html, flags=re.S)[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", part)
    assert cells[:4] == ["40.00", "60.00", "20.00", "70.00"]
    assert cells[4:8] == ["10.00", "10.00", "–", "95.00"]
    assert cells[8] == "–<small>nothing found</small>"
    assert "p<7" not in part
    assert part.index("p&lt;7") < part.index("p8") < part.index("p9")
    assert part.count("<img ") == 1
    assert "mean probability 0.51" in part
    assert html.count('href="#next"') == 1


def test_a_cohort_without_such_slides_has_no_such_section(html):
    assert 'id="next"' not in html

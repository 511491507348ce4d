"""Slides of several files open nothing outside their folder."""

import numpy as np
import pytest
from vendor_files import SIDE, write_mrxs

from holohisto.errors import HolohistoError
from holohisto.slide.probe import probe
from holohisto.slide.side_files import require_own_folder

VMS = "[Virtual Microscope Specimen]\nNoLayers=1\nMapFile=s_map2.jpg\nImageFile={}\nNoJpegRows=1\n"


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "..\\secret.jpg", "C:secret", ".."]
)
def test_a_vms_that_names_a_file_elsewhere_is_refused(tmp_path, name):
    path = tmp_path / "s.vms"
    path.write_text(VMS.format(name))
    with pytest.raises(HolohistoError, match=r"names a file outside its folder.*ImageFile"):
        require_own_folder(path)
    path.write_text(VMS.format("s_image.jpg"))
    require_own_folder(path)


def test_a_mirax_slide_that_names_a_file_elsewhere_is_refused(tmp_path):
    path = tmp_path / "s.mrxs"
    scanned = np.ones((2, 4), bool)
    write_mrxs(path, np.full((2 * SIDE, 4 * SIDE, 3), 200, np.uint8), scanned)
    assert probe(path).levels[0] == (4 * SIDE, 2 * SIDE)
    settings = tmp_path / "s" / "Slidedat.ini"
    text = settings.read_text(encoding="utf-8")
    named = next(line for line in text.splitlines() if line.startswith("FILE_0"))
    settings.write_text(text.replace(named, "FILE_0 = ../../secret.dat"), encoding="utf-8")
    with pytest.raises(HolohistoError, match=r"names a file outside its folder.*FILE_0"):
        probe(path)

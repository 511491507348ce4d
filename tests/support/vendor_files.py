"""Small slides in the layouts of scanners whose plane is larger than what was scanned."""

import io
import struct

import numpy as np
import tifffile
from PIL import Image
from slide_files import brute_mean

SIDE = 256
"""Side of a tile of a MIRAX slide."""


def write_scn(path, scanned, at, plane, mpp=0.5):
    """A Leica SCN: a picture whose left upper corner lies at `at` on a plane of the given size."""
    nm = round(mpp * 1000)
    height, width = scanned.shape[:2]
    macro = np.full((plane[1] // 8, plane[0] // 8, 3), 230, np.uint8)
    sizes = [(macro.shape[1], macro.shape[0], 0), (width, height, 1), (width // 4, height // 4, 2)]
    pages = [
        f'<dimension sizeX="{w}" sizeY="{h}" r="{max(i - 1, 0)}" ifd="{i}"/>' for w, h, i in sizes
    ]
    settings = (
        "<scanSettings><objectiveSettings><objective>{}</objective></objectiveSettings>"
        "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>"
    )
    image = (
        '<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2020-01-01T00:00:00.00Z'
        '</creationDate><device model="d" version="1"/><pixels sizeX="{w}" sizeY="{h}">{pages}'
        '</pixels><view sizeX="{vw}" sizeY="{vh}" offsetX="{x}" offsetY="{y}" spacingZ="1"/>'
    )
    whole = {"vw": plane[0] * nm, "vh": plane[1] * nm, "x": 0, "y": 0}
    part = {"vw": width * nm, "vh": height * nm, "x": at[0] * nm, "y": at[1] * nm}
    w, h, _ = sizes[0]
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"'
        f' uuid="urn:uuid:1"><collection name="c" uuid="urn:uuid:2" sizeX="{plane[0] * nm}"'
        f' sizeY="{plane[1] * nm}"><barcode>x</barcode>'
        + image.format(name="macro", w=w, h=h, pages=pages[0], **whole)
        + settings.format(0.6)
        + "</image>"
        + image.format(name="main", w=width, h=height, pages=pages[1] + pages[2], **part)
        + settings.format(20)
        + "</image></collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        options = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": 95}}
        options |= {"tile": (SIDE, SIDE), "metadata": None}
        for depth, level in enumerate((macro, scanned, brute_mean(scanned, 4))):
            per_cm = 1e4 / (mpp * (1, 1, 4)[depth])
            options |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
            writer.write(level, description=None if depth else xml, **options)


def write_mrxs(path, plane, scanned, mpp=0.5, levels=2):
    """A MIRAX slide that has tiles only where something was scanned.

    Args:
        path: The .mrxs file; its folder is written beside it.
        plane: (height, width, 3), sides are multiples of SIDE * 2**(levels - 1).
        scanned: (rows, columns) bool, one value per tile of level 0.
        mpp: Micrometres per pixel.
        levels: Number of levels, each half the size of the one before.
    """
    folder = path.with_suffix("")
    folder.mkdir()
    Image.fromarray(plane[::16, ::16]).save(path, "JPEG")
    data, pages = b"", []
    for level in range(levels):
        step = 1 << level
        entries = []
        for y, x in np.argwhere(scanned[::step, ::step] | (step > 1)) * step:
            if not scanned[y : y + step, x : x + step].any():
                continue
            top, left = y // step * SIDE, x // step * SIDE
            pixels = plane if step == 1 else brute_mean(plane, step)
            file = io.BytesIO()
            Image.fromarray(pixels[top : top + SIDE, left : left + SIDE]).save(
                file, "JPEG", quality=95
            )
            entries.append((y * scanned.shape[1] + x, len(data), file.tell(), 0))
            data += file.getvalue()
        pages.append(entries)
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(_mrxs_index(pages))
    text = _mrxs_settings(scanned.shape, mpp, levels)
    (folder / "Slidedat.ini").write_text("\ufeff" + "\r\n".join(text) + "\r\n", encoding="utf-8")


def _mrxs_index(pages):
    head = b"01.02" + b"0" * 32
    table = len(head) + 8
    pointers, lists = [], b""
    for entries in pages:
        start = table + 4 * len(pages) + len(lists)
        pointers.append(start)
        lists += struct.pack("<4i", 0, start + 8, len(entries), 0)
        lists += b"".join(struct.pack("<4i", *map(int, entry)) for entry in entries)
    return head + struct.pack("<ii", table, 0) + struct.pack(f"<{len(pages)}i", *pointers) + lists


def _mrxs_settings(shape, mpp, levels):
    yield from ("[GENERAL]", "SLIDE_ID=" + "0" * 32)
    yield from (f"IMAGENUMBER_X={shape[1]}", f"IMAGENUMBER_Y={shape[0]}")
    yield from ("OBJECTIVE_MAGNIFICATION=20", "CameraImageDivisionsPerSide=1")
    yield from ("[HIERARCHICAL]", "HIER_COUNT=1", "NONHIER_COUNT=0", "INDEXFILE=Index.dat")
    yield from ("HIER_0_NAME=Slide zoom level", f"HIER_0_COUNT={levels}")
    for level in range(levels):
        yield f"HIER_0_VAL_{level}_SECTION=LEVEL_{level}"
    yield from ("[DATAFILE]", "FILE_COUNT=1", "FILE_0=Data0000.dat")
    for level in range(levels):
        yield from (f"[LEVEL_{level}]", "OVERLAP_X=0.0", "OVERLAP_Y=0.0")
        yield from (f"MICROMETER_PER_PIXEL_{axis}={mpp * 2**level}" for axis in "XY")
        yield from (f"IMAGE_CONCAT_FACTOR={int(level > 0)}", "IMAGE_FORMAT=JPEG")
        yield from ("IMAGE_FILL_COLOR_BGR=16777215", f"DIGITIZER_WIDTH={SIDE}")
        yield f"DIGITIZER_HEIGHT={SIDE}"

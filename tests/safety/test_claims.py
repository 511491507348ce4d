"""Small files that claim to be large, and files that point elsewhere, cost nothing."""

import contextlib
import json
import subprocess
import sys
import time
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from programs import program

from holohisto import cli
from holohisto.errors import HolohistoError
from holohisto.runtime import memory
from holohisto.slide.claims import encoded_size
from holohisto.slide.pictures import open_picture, picture_size
from holohisto.slide.probe import probe

NAMESPACE = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
PIXELS = np.full((530, 700, 3), 200, np.uint8)
JPEG = imagecodecs.jpeg_encode(PIXELS[:256, :256])
LARGE_JPEG = JPEG.replace(b"\x01\x00\x01\x00\x03", b"\xff\xdc\xff\xdc\x03", 1)
J2K = imagecodecs.jpeg2k_encode(PIXELS[:256, :256], codecformat="j2k")
LARGE_J2K = J2K.replace((256).to_bytes(4, "big") * 2, (2**20).to_bytes(4, "big") * 2, 1)


def tiles(path, data, compression, photometric="rgb", size=(700, 530), tile=(256, 256)):
    """A TIFF in which every tile is the same bytes."""
    across, down = -(-size[0] // tile[0]), -(-size[1] // tile[1])
    tifffile.imwrite(
        path,
        iter([data] * (across * down)),
        shape=(size[1], size[0], 3),
        dtype=np.uint8,
        tile=tile[::-1],
        compression=compression,
        photometric=photometric,
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )


def ome(path, description):
    tifffile.imwrite(path, PIXELS, tile=(256, 256), description=description, metadata=None)


def described(sizes, more=""):
    return (
        f'<OME {NAMESPACE}><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT"'
        f' Type="uint8" SizeX="700" SizeY="530" SizeC="3" {sizes} PhysicalSizeX="0.5"><TiffData/>'
        f"</Pixels>{more}</Image></OME>"
    )


ENTITIES = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>'


def write_claim(folder, name):
    path = folder / name
    match name:
        case "jpeg.tif":
            tiles(path, LARGE_JPEG, "jpeg", "ycbcr")
        case "j2k.tif":
            tiles(path, LARGE_J2K, 33005)
        case "planes.ome.tif":
            ome(path, described('SizeZ="100000" SizeT="10000"'))
        case "entities.ome.tif":
            ome(path, ENTITIES + described('SizeZ="1" SizeT="1"', "<Description>&b;</Description>"))
        case "flat.jpg":
            path.write_bytes(LARGE_JPEG)
        case "flat.png":
            Image.fromarray(PIXELS).save(path)
            content = bytearray(path.read_bytes())
            content[16:24] = (40_000).to_bytes(4, "big") * 2
            content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
            path.write_bytes(bytes(content))
        case "levels.tif":
            tifffile.imwrite(path, PIXELS, tile=(256, 256))
            _widened(path, {256: 2**30, 257: 2**30, 322: 2**29, 323: 2**29})
        case "tile.tif":
            tifffile.imwrite(path, PIXELS, tile=(256, 256))
            _widened(path, {256: 60_000, 257: 60_000, 322: 2**16 - 16, 323: 2**16 - 16})
    return path


def _widened(path, values):
    """Overwrite tags of the first page in place."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for code, value in values.items():
            tiff.pages.first.tags[code].overwrite(value, dtype=4)


CLAIMS = {
    "jpeg.tif": "claims 65500x65500 pixels",
    "j2k.tif": "claims 1048576x1048576 pixels",
    "planes.ome.tif": "claims a size beyond any slide's (found 3x100000x10000 planes",
    "entities.ome.tif": "its description defines XML entities",
    "flat.jpg": "claims a size beyond any slide's (found 65500x65500 pixels in",
    "flat.png": "claims a size beyond any slide's (found 40000x40000 pixels in",
    "levels.tif": "claims a size beyond any slide's (found 1073741824x1073741824 pixels",
    "tile.tif": "claims a size beyond any slide's (found tiles of 65520x65520",
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_refused_at_once_and_costs_no_memory(tmp_path, name):
    path = write_claim(tmp_path, name)
    script = "import sys; from holohisto.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["check", str(path), "--slide", "x", "--slide-mpp", "0.5"]
    start = time.monotonic()
    done = subprocess.run(
        ["prlimit", "--as=6000000000", *program(script), *words, "--output", tmp_path / "o.json"],
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert CLAIMS[name] in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 60
    assert not (tmp_path / "o.json").exists()


def test_sizes_in_encoded_tiles_are_found():
    assert encoded_size(JPEG, 7) == (256, 256)
    assert encoded_size(LARGE_JPEG, 7) == (65500, 65500)
    assert encoded_size(J2K, 33005) == (256, 256)
    assert encoded_size(b"\xff\xd8" + b"\xff" * 100, 7) is None
    assert encoded_size(b"", 7) is None
    assert encoded_size(b"\xff\x4f\xff\x51\0", 33005) is None


def test_postscript_named_png_is_not_handed_to_another_program(tmp_path, monkeypatch):
    called = tmp_path / "called"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {called}\nexit 1\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 70 50\n%%EndComments\n%%EOF\n")
    with pytest.raises(HolohistoError, match="annotation cannot be read"):
        picture_size(path)
    with pytest.raises(OSError, match="cannot identify"):
        open_picture(path)
    assert not called.exists()


def test_a_mask_that_its_file_cannot_hold_is_refused_undecoded(tmp_path):
    with pytest.raises(HolohistoError, match="found 40000x40000 pixels in"):
        picture_size(write_claim(tmp_path, "flat.png"))


def test_an_ome_tiff_that_names_another_file_does_not_open_it(tmp_path):
    """The second plane is said to be in a file outside the folder."""
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "secret.tif", PIXELS[..., 0])
    file = '<UUID FileName="a.ome.tif">urn:uuid:a</UUID>'
    first = f'<TiffData IFD="0" PlaneCount="1">{file}</TiffData>'
    other = first.replace("a.ome.tif", "../secret.tif").replace("urn:uuid:a", "urn:uuid:b")
    text = described('SizeZ="2" SizeT="1"').replace("<TiffData/>", first + other)
    text = text.replace('SizeC="3"', 'SizeC="1"')
    path = tmp_path / "in" / "a.ome.tif"
    grey = PIXELS[..., 0]
    tifffile.imwrite(path, grey, tile=(256, 256), description=text, metadata=None)
    opened = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    with contextlib.suppress(HolohistoError):
        probe(path)
    assert str(path) in opened
    assert not any("secret" in name for name in opened)


def test_memory_beyond_the_limit_is_one_clear_line(tmp_path, capsys, monkeypatch):
    def too_much(*_):
        with memory.at_most(2**27):
            np.ones(2**29, np.uint8)

    monkeypatch.setattr("holohisto.commands.check._check", too_much)
    assert cli.main(["check", "x.tif"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "out of memory" in line
    np.ones(2**28, np.uint8)  # the limit is gone


def test_memory_that_torch_cannot_have_is_one_clear_line_too(capsys, monkeypatch):
    def too_much(_):
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr("holohisto.commands.check.run", too_much)
    assert cli.main(["check", "x.tif"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "out of memory" in line


def test_a_sound_slide_and_mask_pass(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, tile=(256, 256), compression="jpeg", photometric="rgb")
    Image.fromarray(np.zeros((530, 700), bool)).save(tmp_path / "m.png")
    words = ["--slide", "a", "--slide-mpp", "0.5", "--annotation", str(tmp_path / "m.png")]
    output = tmp_path / "o.json"
    assert cli.main(["check", str(path), *words, "--output", str(output)]) == 0
    assert json.loads(output.read_text())["size"] == [700, 530]

"""PNG by bands: every kind of pixel, in bounded memory, and damage is heard."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from holohisto.annotation import Annotation
from holohisto.annotation.pixels import FlatPixels
from holohisto.annotation.png import Png
from holohisto.config.sections import ClassOptions
from holohisto.errors import HolohistoError
from holohisto.slide.scale import Scale

SIZE = (341, 267)
Y, X = np.mgrid[: SIZE[1], : SIZE[0]]
GREY = ((X + Y) // 3 % 256).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, GREY.shape, np.uint8)
PICTURES = {
    "grey": Image.fromarray(GREY),
    "noise": Image.fromarray(NOISE),
    "alpha": Image.fromarray(np.stack([GREY, NOISE], 2), "LA"),
    "rgb": Image.fromarray(np.stack([GREY, GREY[::-1], NOISE], 2)),
    "rgba": Image.fromarray(np.stack([GREY, GREY[::-1], NOISE, GREY], 2)),
    "16 bits": Image.fromarray((X * 191 + Y).astype(np.uint16)),
    "1 bit": Image.fromarray(GREY > 99),
}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size, depth, colour, rows, interlaced=0):
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("rows", [1, 7, 64, 512])
def test_bands_are_the_rows_of_the_picture(tmp_path, name, rows):
    path = tmp_path / "a.png"
    PICTURES[name].save(path)
    expected = np.asarray(Image.open(path))
    found = list(Png(path).bands(rows))
    assert {len(band) for band in found[:-1]} <= {rows}
    np.testing.assert_array_equal(np.concatenate(found), expected.reshape(*expected.shape[:2], -1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_any_depth_keep_their_indices(tmp_path, bits):
    indices = (GREY % 2 ** np.uint16(bits)).astype(np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette([5, 6, 7, *(np.arange(3, 768) % 256).tolist()])
    picture.save(tmp_path / "a.png", bits=bits)
    png = Png(tmp_path / "a.png")
    np.testing.assert_array_equal(np.concatenate(list(png.bands(50)))[..., 0], indices)
    assert png.palette[:2].tolist() == [[5, 6, 7], [3, 4, 5]]


@pytest.mark.parametrize(("depth", "scale"), [(2, 85), (4, 17)])
def test_grey_of_few_bits_is_scaled_to_8(tmp_path, depth, scale):
    values = NOISE % 2**depth
    padded = np.pad(values, ((0, 0), (0, -SIZE[0] % (8 // depth))))
    bits = np.unpackbits(padded[..., None], axis=2)[..., 8 - depth :].reshape(SIZE[1], -1)
    rows = np.pad(np.packbits(bits, axis=1), ((0, 0), (1, 0)))
    (tmp_path / "a.png").write_bytes(png(SIZE, depth, 0, rows.tobytes()))
    found = np.concatenate(list(Png(tmp_path / "a.png").bands(50)))[..., 0]
    np.testing.assert_array_equal(found, values * scale)


def test_what_cannot_be_read_by_bands_is_decoded_whole_if_it_is_small(tmp_path, monkeypatch):
    deep = np.pad(np.stack([NOISE] * 6, 2).reshape(SIZE[1], -1), ((0, 0), (1, 0)))
    path = tmp_path / "a.png"
    path.write_bytes(png(SIZE, 16, 2, deep.tobytes()))
    assert np.concatenate(list(Png(path).bands(50)))[..., 0].tolist() == NOISE.tolist()
    monkeypatch.setattr("holohisto.annotation.png.MOST_PIXELS", 1000)
    with pytest.raises(ValueError, match="interlaced or of 16-bit colours"):
        list(Png(path).bands(50))


def packed(path):
    PICTURES["noise"].save(path)
    return bytearray(path.read_bytes())


def flipped(path):
    data = packed(path)
    data[len(data) // 2] ^= 1
    return data


def wrong_sum(path):
    data = packed(path)
    data[-14] ^= 1  # in the checksum of the pixels
    return data


def truncated(path):
    return packed(path)[:30_000]


def few_rows(path):
    return png(SIZE, 8, 0, bytes((SIZE[0] + 1) * (SIZE[1] - 1)))


def many_rows(path):
    return png(SIZE, 8, 0, bytes((SIZE[0] + 1) * (SIZE[1] + 5)))


def no_filter(path):
    return png(SIZE, 8, 0, b"\x09" * ((SIZE[0] + 1) * SIZE[1]))


def huge_chunk(path):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**31, b"IHDR")


DAMAGED = (flipped, wrong_sum, truncated, few_rows, many_rows, no_filter, huge_chunk)


@pytest.mark.parametrize("make", DAMAGED)
def test_damage_is_one_line(tmp_path, make):
    path = tmp_path / "a.png"
    path.write_bytes(make(path))
    classes = {"a": ClassOptions(values=(7,))}
    with (
        pytest.raises(HolohistoError, match=r"annotation (is damaged|cannot be read)") as caught,
        Annotation(path, classes, SIZE, Scale.whole(1)) as annotation,
    ):
        annotation.read((0, 0), SIZE)
    assert "\n" not in str(caught.value)


def test_damage_of_a_jpeg_is_one_line(tmp_path):
    file = io.BytesIO()
    PICTURES["grey"].save(file, "JPEG", quality=95)
    data = bytearray(file.getvalue())
    for at, value in ((len(data) - 9000, 0xFF), (len(data) - 8999, 0xD9)):
        data[at] = value
    (tmp_path / "a.jpg").write_bytes(data)
    with (
        pytest.raises(HolohistoError, match="annotation is damaged"),
        Annotation(tmp_path / "a.jpg", {"a": ClassOptions()}, SIZE, Scale.whole(1)) as annotation,
    ):
        annotation.read((0, 0), SIZE)


def test_memory_of_a_large_mask_is_bounded(tmp_path):
    """100 megapixels in 100 kB; the pixels alone would be 100 MB."""
    size = (10_007, 10_003)
    compress = zlib.compressobj(9)
    row = np.zeros(size[0] + 1, np.uint8)
    row[3000:3100] = 255
    data = b"".join(compress.compress(row.tobytes()) for _ in range(size[1])) + compress.flush()
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    tracemalloc.start()
    with Annotation(path, {"a": ClassOptions()}, size, Scale.whole(1)) as annotation:
        found = annotation.read((2900, 9000), (300, 500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.sum() == 500 * 100
    assert found[:, 99:199].all()
    assert peak < 70e6


def test_tiles_are_the_same_packed_or_not(tmp_path, monkeypatch):
    size = (1301, 1187)
    pixels = np.random.default_rng(2).integers(0, 9, (size[1], size[0]), np.uint8)
    pixels[:600, 400:] = 3
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for limit in (0, 300_000, 2**26):
        monkeypatch.setattr("holohisto.annotation.tiles.UNPACKED_BYTES", limit)
        picture = FlatPixels(tmp_path / "a.png")
        for x, y, width, height in ((0, 0, *size), (500, 490, 30, 40), (1300, 1186, 1, 1)):
            expected = pixels[y : y + height, x : x + width]
            np.testing.assert_array_equal(picture.read(x, y, width, height)[..., 0], expected)


def test_opening_decodes_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the picture is decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    for name in ("a.png", "a.jpg"):
        PICTURES["grey"].save(tmp_path / name)
        assert FlatPixels(tmp_path / name).size == SIZE

"""DICOM files of one series, which together are one slide."""

from pathlib import Path

HEAD = 2**16
"""Bytes of a file in which the series is looked for; it precedes all pixels."""
SERIES = b"\x20\x00\x0e\x00"
"""The tag SeriesInstanceUID, little-endian."""
PREAMBLE, MAGIC = 128, b"DICM"


def series_of(path: Path) -> str | None:
    """Return the SeriesInstanceUID of a DICOM file; None for any other file."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    at = head.find(SERIES)
    if head[PREAMBLE : PREAMBLE + len(MAGIC)] != MAGIC or at < 0:
        return None
    explicit = head[at + 4 : at + 6] == b"UI"
    size = head[at + 6 : at + 8] if explicit else head[at + 4 : at + 8]
    value = head[at + 8 : at + 8 + int.from_bytes(size, "little")]
    return value.rstrip(b"\0 ").decode("ascii", errors="replace") or None


def series_files(path: Path) -> list[Path]:
    """Return all files of a DICOM file's series in its folder, sorted; itself without a series."""
    series = series_of(path)
    if series is None:
        return [path]
    beside = (other for other in path.parent.iterdir() if other.suffix.lower() == ".dcm")
    return sorted({path, *(other for other in beside if series_of(other) == series)})


def one_of_each_series(paths: list[Path]) -> list[Path]:
    """Keep the largest file of each DICOM series of a folder, which holds its full resolution.

    Args:
        paths: Files of any kind; others are all kept, in their order.
    """
    largest: dict[tuple[Path, str], Path] = {}
    for path in paths:
        series = series_of(path) if path.suffix.lower() == ".dcm" else None
        if series is None:
            continue
        key = path.parent, series
        if key not in largest or path.stat().st_size > largest[key].stat().st_size:
            largest[key] = path
    kept = set(largest.values())
    return [
        path
        for path in paths
        if path in kept or path.suffix.lower() != ".dcm" or series_of(path) is None
    ]

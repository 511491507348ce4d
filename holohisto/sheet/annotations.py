"""Kinds of annotation files, by their names."""

from pathlib import Path

OUTLINES = (".geojson", ".json", ".xml", ".annotations")
"""Endings of drawn objects that are read, plain or gzipped."""
PEEKED = 2**16
"""Bytes in which a word is looked for that only drawn objects have."""
MARKS = (b"Annotation", b"annotations", b'"Feature', b'"features"', b'"coordinates"', b'"shapes"')
NOT_READ = {
    (".zip", ".roi"): "ROIs of ImageJ",
    (".ndpa",): "NDP.view annotations, in nanometres from the slide's centre",
    (".qpdata", ".qpproj"): "a project of QuPath",
    (".csv", ".tsv", ".txt", ".xlsx"): "a table",
    (".mld", ".sqlite", ".db"): "a database of another tool",
    (".mat", ".npy", ".npz", ".h5", ".hdf5", ".nrrd", ".nii"): "an array",
}
"""Endings of other annotations that people have, and what they are."""


def is_outlines(path: Path) -> bool:
    """Whether an annotation is no picture, by its name: drawn objects, or refused."""
    return is_drawn(path) or not_read(path) is not None


def is_drawn(path: Path) -> bool:
    """Whether a file may hold drawn objects that are read, by its name."""
    return path.name.lower().removesuffix(".gz").endswith(OUTLINES)


def not_read(path: Path) -> str | None:
    """Return what an annotation of a format that is not read is; None for any other."""
    name = path.name.lower().removesuffix(".gz")
    return next((kind for endings, kind in NOT_READ.items() if name.endswith(endings)), None)


def holds_drawings(path: Path) -> bool:
    """Whether a file may hold drawn objects, by its first bytes; gzipped and empty ones may."""
    with path.open("rb") as file:
        start = file.read(PEEKED)
    packed = start.startswith(b"\x1f\x8b")
    return packed or not start.strip() or any(word in start for word in MARKS)

"""Any folder of slides, with annotations beside them or in folders of their own."""

import logging
import re
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.sheet.annotations import OUTLINES, is_drawn
from holohisto.sheet.layouts.found import FoundSlide, files, unique, with_splits

logger = logging.getLogger(__name__)

SLIDE_SUFFIXES = (
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".dcm",
    ".png",
    ".jpg",
    ".jpeg",
    ".qptiff",
    ".bif",
    ".vms",
    ".vmu",
)
ANNOTATION_SUFFIXES = (".tif", ".tiff", ".png")
ANNOTATION_FOLDERS = ("masks", "mask", "annotations")
ANNOTATION_STEM = re.compile(r"^(.+)[-_](masks?|labels?|annotations?)$", re.IGNORECASE)


def find(folder: Path) -> list[FoundSlide]:
    """Find all slides below a folder, sorted by path; groups and subjects are left empty.

    An image is the annotation of the slide with the same stem when it stands beside it as
    `<stem>_mask`, `<stem>-labels`, `<stem>_annotation`, or in a folder `masks`, `mask` or
    `annotations` beside the slide or beside the slide's folder; GeoJSON also as `<stem>.geojson`.

    Raises:
        HolohistoError: the folder cannot be read, or holds no slide.
    """
    candidates = _files(folder)
    annotations: dict[tuple[Path, str], Path] = {}
    images: list[Path] = []
    lossy = 0
    for path in candidates:
        key = _annotates(folder, path)
        if key is None:
            images.append(path)
        elif is_drawn(path) or path.suffix.lower() in ANNOTATION_SUFFIXES:
            annotations.setdefault(key, path)
        else:
            lossy += 1
    if lossy:
        logger.warning(
            "%d images of other kinds look like annotations: left out; if they are, put them into"
            " the sheet yourself",
            lossy,
        )
    if not images:
        raise HolohistoError(
            folder,
            "holds no slides",
            found=f"{len(candidates)} annotation-like images",
            allowed=" ".join(suffix[1:] for suffix in SLIDE_SUFFIXES),
            advice="check the folder; sub-folders are searched too",
        )
    pairs = [(image, _annotation(annotations, image)) for image in images]
    used = {annotation for _, annotation in pairs}
    for path in annotations.values():
        if path not in used:
            logger.warning("%s: looks like an annotation, but there is no such slide", path)
    ids = unique(
        [_stem(image) for image in images],
        ["" if image.parent == folder else image.parent.name for image in images],
    )
    return with_splits([FoundSlide(slide, *pair) for slide, pair in zip(ids, pairs, strict=True)])


def _files(folder: Path) -> list[Path]:
    """All slides and outlines by their suffixes, without the JPEGs of VMS slides."""
    paths = list(
        files(folder, (*SLIDE_SUFFIXES, *OUTLINES, *(f"{ending}.gz" for ending in OUTLINES)))
    )
    hamamatsu = {path.parent for path in paths if path.suffix.lower() in (".vms", ".vmu")}
    paths = [
        path
        for path in paths
        if path.parent not in hamamatsu or path.suffix.lower() not in (".jpg", ".jpeg")
    ]
    if not paths:
        raise HolohistoError(
            folder,
            "holds no slides",
            allowed=" ".join(suffix[1:] for suffix in SLIDE_SUFFIXES),
            advice="check the folder; sub-folders are searched too",
        )
    return paths


def _stem(path: Path) -> str:
    return re.sub(r"\.(ome\.\w+|\w+\.gz|\w+)$", "", path.name, flags=re.IGNORECASE)


def _annotates(folder: Path, path: Path) -> tuple[Path, str] | None:
    """Return (folder, stem) of the slide an annotation-like file belongs to, else None.

    The folder is the one that holds the folder `masks`, for files in such a folder.
    """
    match = ANNOTATION_STEM.match(_stem(path))
    stem = match.group(1) if match else _stem(path)
    inner = path.relative_to(folder).parent.parts
    for depth, name in enumerate(inner):
        if name.lower() in ANNOTATION_FOLDERS:
            return folder.joinpath(*inner[:depth], "masks"), stem.lower()
    return (path.parent, stem.lower()) if match or is_drawn(path) else None


def _annotation(annotations: dict[tuple[Path, str], Path], image: Path) -> Path | None:
    """The annotation of a slide, beside it or in one of the folders for annotations."""
    stem = _stem(image).lower()
    for parent in (image.parent, image.parent / "masks", image.parent.parent / "masks"):
        if (parent, stem) in annotations:
            return annotations[parent, stem]
    return None

"""A sample sheet from a folder of slides: ids, annotations and splits by convention."""

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from holohisto import sheet
from holohisto.errors import HolohistoError

logger = logging.getLogger(__name__)

SLIDE_SUFFIXES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".dcm", ".png", ".jpg", ".jpeg",
    ".qptiff", ".bif", ".vms", ".vmu",
)  # fmt: skip
ANNOTATION_SUFFIXES = (".tif", ".tiff", ".png")
ANNOTATION_FOLDERS = ("masks", "mask", "annotations")
ANNOTATION_STEM = re.compile(r"^(.+)[-_](masks?|labels?|annotations?)$", re.IGNORECASE)
TEST_SHARE = VAL_SHARE = 0.2


@dataclass(frozen=True)
class Found:
    """A slide found in a folder."""

    slide: str
    image: Path
    annotation: Path | None
    split: str


def find(folder: Path) -> list[Found]:
    """Find all slides below a folder, sorted by path.

    An image is the annotation of the slide with the same stem when it stands beside it as
    `<stem>_mask`, `<stem>-labels`, `<stem>_annotation`, or in a folder `masks`, `mask` or
    `annotations` beside the slide or beside the slide's folder.

    Raises:
        HolohistoError: the folder cannot be read, or holds no slide.
    """
    require(folder)
    files = _files(folder)
    annotations: dict[tuple[Path, str], Path] = {}
    images: list[Path] = []
    for path in files:
        place = _annotates(folder, path)
        if place is None:
            images.append(path)
        elif path.suffix.lower() in ANNOTATION_SUFFIXES:
            annotations.setdefault(place, path)
    if not images:
        raise HolohistoError(
            folder, "holds no slides", found=f"{len(files)} annotation-like images",
            allowed=" ".join(suffix[1:] for suffix in SLIDE_SUFFIXES),
            advice="check the folder; sub-folders are searched too",
        )  # fmt: skip
    pairs = [(image, _annotation(annotations, image)) for image in images]
    used = {annotation for _, annotation in pairs}
    for path in annotations.values():
        if path not in used:
            logger.warning("%s: looks like an annotation, but there is no such slide", path)
    ids = _ids(images, folder)
    splits = assign_splits([i for i, (_, a) in zip(ids, pairs, strict=True) if a])
    return [
        Found(slide, image, annotation, splits.get(slide, "predict"))
        for slide, (image, annotation) in zip(ids, pairs, strict=True)
    ]


def require(folder: Path) -> None:
    """Raise if there is no such folder."""
    if not folder.is_dir():
        raise HolohistoError(folder, "is no folder", advice="give the folder that holds the slides")


def table(slides: list[Found]) -> str:
    """Return the sheet's text; groups and subjects are left empty, to be filled in."""
    rows = [
        {
            "slide": found.slide,
            "image": str(found.image),
            "annotation": str(found.annotation or ""),
            "group": "",
            "subject": "",
            "split": found.split,
        }
        for found in slides
    ]
    return pd.DataFrame(rows).to_csv(sep="\t", index=False, lineterminator="\n")


def assign_splits(slides: list[str]) -> dict[str, str]:
    """Deal ids to train, val and test, about 60/20/20, in the order of their hashes.

    One slide is for training, a second for validation, a third for the test.
    """
    order = sorted(slides, key=lambda slide: hashlib.sha256(slide.encode()).hexdigest())
    count = len(order)
    val = max(round(VAL_SHARE * count), 1 if count > 1 else 0)
    test = max(round(TEST_SHARE * count), 1 if count > 2 else 0)
    train = count - val - test
    names = ["train"] * train + ["val"] * val + ["test"] * test
    return dict(zip(order, names, strict=True))


def _files(folder: Path) -> list[Path]:
    """All files with a slide's suffix, hidden ones and a VMS slide's JPEGs left out."""

    def refuse(error: OSError) -> None:
        raise HolohistoError(error.filename, f"cannot be read: {error.strerror}") from error

    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        hamamatsu = any(name.lower().endswith((".vms", ".vmu")) for name in names)
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            part = hamamatsu and suffix in (".jpg", ".jpeg")
            if suffix in SLIDE_SUFFIXES and not name.startswith(".") and not part:
                found.append(_plain(Path(place) / name))
    if not found:
        raise HolohistoError(
            folder, "holds no slides",
            allowed=" ".join(suffix[1:] for suffix in SLIDE_SUFFIXES),
            advice="check the folder; sub-folders are searched too",
        )  # fmt: skip
    return found


def _plain(path: Path) -> Path:
    if unfit := sheet.UNFIT.search(str(path)):
        raise HolohistoError(
            repr(str(path)), f"has {unfit[0]!r} in its name", advice="rename the file or folder"
        )
    return path


def _stem(path: Path) -> str:
    return re.sub(r"\.ome$", "", path.stem, flags=re.IGNORECASE)


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
    return (path.parent, stem.lower()) if match else None


def _annotation(annotations: dict[tuple[Path, str], Path], image: Path) -> Path | None:
    stem = _stem(image).lower()
    for place in (image.parent, image.parent / "masks", image.parent.parent / "masks"):
        if (place, stem) in annotations:
            return annotations[place, stem]
    return None


def _ids(images: list[Path], folder: Path) -> list[str]:
    """Make valid, unique ids; slides of one name get their folder's name in front."""
    plain = [_valid(_stem(image)) for image in images]
    ids: list[str] = []
    taken: set[str] = set()
    for image, name in zip(images, plain, strict=True):
        shared = sum(other.lower() == name.lower() for other in plain) > 1
        if shared and image.parent != folder:
            name = _valid(f"{image.parent.name}-{name}")
        unique, number = name, 1
        while unique.lower() in taken | {"cohort"}:
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique.lower())
        ids.append(unique)
    return ids


def _valid(name: str) -> str:
    """Turn any name into an id that can be part of a file name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return re.sub(r"^[^A-Za-z0-9]+", "", name).rstrip("-.") or "slide"

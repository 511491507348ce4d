"""The NEPTUNE structures: ROI images with one annotated structure each, six structures in all.

An image and its mask lie side by side, as in Omni-Seg and later work:

    <structure>/<stain>/<roi>.png, <roi>_mask_<structure>.png

or in two folders. A folder named `<task>_<scale>_<structure>` also states the magnification: 5x for
scale 0, doubled with each further scale. In other folders ROIs are assumed to be at 40x, 0.25 µm
per pixel.

The same tissue occurs under several structures (capsule and tuft of one glomerulus) and in several
crops. Therefore all images whose names start with the same number are one subject, so that no
tissue is in two splits. An image with several masks becomes one row per mask.
"""

import logging
import re
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.sheet.layouts.found import (
    FoundSlide,
    at,
    by_stem,
    files,
    renamed,
    split_of,
    unique,
    with_splits,
)

logger = logging.getLogger(__name__)

STRUCTURES = {
    "DT": ("dt", "distal"),
    "PT": ("pt", "proximal"),
    "CAP": ("cap", "capsule", "capsules"),
    "TUFT": ("tuft", "tufts"),
    "VES": ("ves", "vessel", "vessels", "artery", "arteries", "arterial"),
    "PTC": ("ptc", "peritubular"),
}
"""Class -> words for it in the names of files and folders."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MASK = re.compile(r"^(.+?)_mask(?:_(.+))?$", re.IGNORECASE)
MASK_FOLDERS = ("mask", "masks")
IMAGE_FOLDERS = ("img", "imgs", "image", "images")
SCALE = re.compile(r"^\d+_([0-3])_")
AT_5X, AT_40X = 2.0, 0.25
CROP = re.compile(r"^(.*\d.*)[-_]\d+$")
"""A name with a number, and the number of the crop."""


def find(folder: Path) -> list[FoundSlide]:
    """Find all ROI images with a mask of one of the six structures.

    Raises:
        HolohistoError: there are none.
    """
    every = by_stem(files(folder, SUFFIXES))
    found: list[FoundSlide] = []
    alone = strange = 0
    for mask in every.values():
        match = MASK.match(mask.stem)
        if match is None and mask.parent.name.lower() not in MASK_FOLDERS:
            continue
        stem, name = match.groups("") if match else (mask.stem, "")
        image, structure = _image(mask, stem, every), _structure(folder, mask, name)
        if image and structure:
            found.append(_found(folder, image, mask, structure))
        alone, strange = alone + (not image), strange + (not structure)
    for count, problem in ((alone, "have no image"), (strange, "name none of the six structures")):
        if count:
            logger.warning("%d masks %s: left out", count, problem)
    if not found:
        raise HolohistoError(
            folder,
            "is not in the layout of the NEPTUNE structures",
            found=f"{len(every)} images",
            allowed="<roi>.png beside <roi>_mask_<structure>.png; structures "
            + ", ".join(words[1] for words in STRUCTURES.values()),
        )
    found.sort(key=lambda slide: str(slide.annotation))
    ids = unique([slide.slide for slide in found], [slide.note for slide in found])
    return with_splits(renamed(found, ids))


def _found(folder: Path, image: Path, mask: Path, structure: str) -> FoundSlide:
    crop = CROP.match(image.stem)
    return FoundSlide(
        slide=f"{image.stem}-{structure}",
        image=image,
        annotation=mask,
        subject=crop[1] if crop else image.stem,
        split=split_of(image.relative_to(folder).parent.parts),
        mpp=_mpp(folder, image),
        annotated=structure,
        note=_stain(folder, image),
    )


def _image(mask: Path, stem: str, every: dict[tuple[str, str], Path]) -> Path | None:
    """The image beside a mask, or in an image folder beside the mask's own folder."""
    places = [mask.parent]
    if mask.parent.name.lower() in MASK_FOLDERS:
        places = [mask.parent.parent / name for name in IMAGE_FOLDERS]
    return next((every[at(p, stem)] for p in places if at(p, stem) in every), None)


def _structure(folder: Path, mask: Path, name: str) -> str:
    """The class named by the mask's own name, or else by its innermost folder that names one."""
    parts = (name, *reversed(mask.relative_to(folder).parent.parts), folder.name)
    return next((structure for structure in map(_named, parts) if structure), "")


def _named(part: str) -> str:
    words = re.split(r"[^a-z]+", part.lower())
    return next((c for c, known in STRUCTURES.items() if set(known) & set(words)), "")


def _stain(folder: Path, image: Path) -> str:
    """The innermost folder that names no structure, split or images; "" where there is none."""
    for part in reversed(image.relative_to(folder).parent.parts):
        if part.lower() not in IMAGE_FOLDERS and not _named(part) and not split_of([part]):
            return part
    return ""


def _mpp(folder: Path, image: Path) -> float:
    for part in (*image.relative_to(folder).parent.parts, folder.name):
        if scale := SCALE.match(part):
            return AT_5X / 2 ** int(scale[1])
    return AT_40X
